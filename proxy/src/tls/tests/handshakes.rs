//! Handshakes that succeed.

use fairlead_xds::{
    envoy::{
        extensions::transport_sockets::tls::v3::{UpstreamTlsContext, tls_parameters::TlsProtocol},
        r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::BoolValue,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::kit::*;
use crate::tls::{Connect, Event, accept};

#[tokio::test]
async fn both_sides_know_each_other_by_their_certificates() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let (own, stock) = (ca.issue(&[CLIENT]), ca.issue(&[SERVER]));
    let client = client(&contexts, &caller(Some(&own), &ca, SERVER));
    let server = server(&contexts, &strict(&stock, &ca));
    let (at_client, at_server) = talk(&client, &server, asking()).await;
    for (side, uri) in [(&at_client, SERVER), (&at_server, CLIENT)] {
        assert_eq!(side.version, "TLSv1.3");
        assert_eq!(side.cipher, Some("TLS_AES_128_GCM_SHA256"));
        assert_eq!(side.curve, Some("X25519MLKEM768"));
        assert!(side.validated && !side.resumed);
        assert_eq!(
            side.sni.as_deref(),
            Some("outbound_.8000_._.stock.shop.svc.cluster.local")
        );
        let parsed = side.peer.as_ref().unwrap().parsed().unwrap();
        assert_eq!(*parsed.uri_sans, [uri.into()]);
        assert_eq!(&*parsed.issuer, "CN=mesh");
    }
    let events: Vec<_> = at_server.events().map(|event| event.name()).collect();
    assert_eq!(
        events,
        [
            "ssl.handshake",
            "ssl.ciphers.TLS_AES_128_GCM_SHA256",
            "ssl.versions.TLSv1.3",
            "ssl.curves.X25519MLKEM768",
            "ssl.sigalgs.ecdsa_secp256r1_sha256",
        ]
    );
}

#[tokio::test]
async fn a_client_speaks_tls_12_by_default() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let mut message = caller(None, &ca, SERVER);
    message.common_tls_context.as_mut().unwrap().tls_params = None;
    let client = client(&contexts, &message);
    let server = server(&contexts, &open(&[&ca.issue(&[SERVER])]));
    let (at_client, at_server) = talk(&client, &server, asking()).await;
    assert_eq!(at_client.version, "TLSv1.2");
    assert_eq!(at_client.cipher, Some("ECDHE-ECDSA-AES128-GCM-SHA256"));
    assert!(at_client.validated && !at_server.validated);
    assert!(
        at_server
            .events()
            .any(|event| event == Event::NoCertificate)
    );
}

#[tokio::test]
async fn the_certificate_follows_the_name_and_the_algorithms() {
    let ca = Authority::new("public");
    let contexts = contexts();
    let first = ca.issue(&["first.example.com"]);
    let wild = ca.issue(&["*.shop.example.com"]);
    let exact = ca.issue(&["cart.shop.example.com"]);
    let rsa = ca.issue_with(&["both.example.com"], 1, &rcgen::PKCS_RSA_SHA256);
    let ecdsa = ca.issue(&["both.example.com"]);
    let server = server(&contexts, &open(&[&first, &wild, &exact, &rsa, &ecdsa]));
    let mut only_rsa = trusting_client(&ca);
    let parameters = only_rsa.common_tls_context.as_mut().unwrap();
    parameters.tls_params.as_mut().unwrap().signature_algorithms = vec![
        "rsa_pss_rsae_sha256".to_owned(),
        "rsa_pkcs1_sha256".to_owned(),
    ];
    let any = client(&contexts, &trusting_client(&ca));
    let only_rsa = client(&contexts, &only_rsa);
    for (client, name, expected) in [
        (&any, "first.example.com", &first),
        (&any, "cart.shop.example.com", &exact),
        (&any, "stock.shop.example.com", &wild),
        (&any, "a.stock.shop.example.com", &first),
        (&any, "elsewhere.org", &first),
        (&any, "both.example.com", &ecdsa),
        (&only_rsa, "both.example.com", &rsa),
    ] {
        let what = Connect {
            sni: Some(name),
            ..asking()
        };
        let (at_client, _) = talk(client, &server, what).await;
        let shown = at_client.peer.unwrap();
        let expected = pem_der(&expected.chain);
        assert_eq!(shown.der().as_ref(), expected, "{name}");
    }
}

fn trusting_client(ca: &Authority) -> UpstreamTlsContext {
    UpstreamTlsContext {
        common_tls_context: Some(common(&[], Some(trusting(ca)))),
        ..UpstreamTlsContext::default()
    }
}

fn pem_der(pem: &str) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}

#[tokio::test]
async fn a_client_of_other_protocols_is_served_without_one() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let pair = ca.issue(&[SERVER]);
    let protocols = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    let mut listener = open(&[&pair]);
    listener.common_tls_context.as_mut().unwrap().alpn_protocols =
        protocols(&["istio-peer-exchange", "h2", "http/1.1"]);
    let server = server(&contexts, &listener);
    for (offered, expected) in [
        (&["http/1.1", "h2"][..], Some(&b"h2"[..])),
        (&["http/1.1"], Some(b"http/1.1")),
        (&["istio-peer-exchange", "istio"], None),
        (&["istio-peer-exchange", "h2"], Some(b"h2")),
        (&[], None),
    ] {
        let mut message = caller(None, &ca, SERVER);
        message.common_tls_context.as_mut().unwrap().alpn_protocols = protocols(offered);
        let client = client(&contexts, &message);
        let (at_client, at_server) = talk(&client, &server, asking()).await;
        assert_eq!(at_client.alpn.as_deref(), expected, "{offered:?}");
        assert_eq!(at_server.alpn.as_deref(), expected, "{offered:?}");
    }
}

#[tokio::test]
async fn each_direction_ends_by_itself() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let server = server(&contexts, &open(&[&ca.issue(&[SERVER])]));
    for (minimum, maximum) in [
        (TlsProtocol::TlSv13, TlsProtocol::TlSv13),
        (TlsProtocol::TlSv12, TlsProtocol::TlSv12),
    ] {
        let mut message = caller(None, &ca, SERVER);
        message.common_tls_context.as_mut().unwrap().tls_params = versions(minimum, maximum);
        let client = client(&contexts, &message);
        let (near, far) = meet(&client, &server, asking()).await;
        let ((mut near, _), (mut far, _)) = (near.unwrap(), far.unwrap());
        near.write_all(b"question").await.unwrap();
        near.shutdown().await.unwrap();
        let mut question = String::new();
        far.read_to_string(&mut question).await.unwrap();
        assert_eq!(question, "question");
        far.write_all(b"answer").await.unwrap();
        far.shutdown().await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    }
}

#[tokio::test]
async fn a_cut_is_no_end() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let server = server(&contexts, &open(&[&ca.issue(&[SERVER])]));
    let client = client(&contexts, &caller(None, &ca, SERVER));
    let (near, far) = meet(&client, &server, asking()).await;
    let (mut near, _) = near.unwrap();
    drop(far);
    let error = near.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn what_is_not_verified_is_said_to_be_so() {
    let (ca, other) = (Authority::new("mesh"), Authority::new("other"));
    let contexts = contexts();
    let mut lenient = strict(&ca.issue(&[SERVER]), &ca);
    let validation = lenient.common_tls_context.as_mut().unwrap();
    let mut accepting = trusting(&ca);
    accepting.trust_chain_verification = 1;
    *validation = common(&[&ca.issue(&[SERVER])], Some(accepting));
    let server = server(&contexts, &lenient);
    for (authority, validated) in [(&ca, true), (&other, false)] {
        let own = authority.issue(&[CLIENT]);
        let client = client(&contexts, &caller(Some(&own), &ca, SERVER));
        let (_, at_server) = talk(&client, &server, asking()).await;
        assert_eq!(at_server.validated, validated);
        assert!(at_server.peer.is_some());
    }
}

#[tokio::test]
async fn the_name_that_is_asked_for_can_be_expected() {
    let ca = Authority::new("public");
    let contexts = contexts();
    let server = server(&contexts, &open(&[&ca.issue(&["*.example.com"])]));
    let mut message = trusting_client(&ca);
    message.auto_host_sni = true;
    message.auto_sni_san_validation = true;
    message.sni = "fallback.org".to_owned();
    let client = client(&contexts, &message);
    let host = |host| Connect { host, ..asking() };
    let (at_client, _) = talk(&client, &server, host(Some("api.example.com"))).await;
    assert_eq!(at_client.sni.as_deref(), Some("api.example.com"));
    let (near, _) = meet(&client, &server, host(None)).await;
    let error = near.unwrap_err().to_string();
    assert!(
        error.contains("accepted (DNS exact 'fallback.org')"),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_can_insist_on_a_name() {
    let ca = Authority::new("public");
    let contexts = contexts();
    let mut listener = open(&[&ca.issue(&["example.com"])]);
    listener.require_sni = Some(BoolValue { value: true });
    let server = server(&contexts, &listener);
    let client = client(&contexts, &trusting_client(&ca));
    let (_, far) = meet(&client, &server, asking()).await;
    assert_eq!(far.unwrap_err().token(), "tls_no_certificate_for_name");
    let what = Connect {
        sni: Some("example.com"),
        ..asking()
    };
    talk(&client, &server, what).await;
}

#[tokio::test]
async fn a_certificate_may_be_required_of_anybody() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let mut listener = open(&[&ca.issue(&[SERVER])]);
    listener.require_client_certificate = Some(BoolValue { value: true });
    let server = server(&contexts, &listener);
    let own = Authority::new("own").issue(&[CLIENT]);
    let with = client(&contexts, &caller(Some(&own), &ca, SERVER));
    let (_, at_server) = talk(&with, &server, asking()).await;
    assert!(at_server.peer.is_some() && !at_server.validated);
    let without = client(&contexts, &caller(None, &ca, SERVER));
    let (_, far) = meet(&without, &server, asking()).await;
    assert_eq!(far.unwrap_err().token(), "tls_no_peer_certificate");
}

#[tokio::test]
async fn names_of_any_kind_can_be_expected_the_old_way() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let server = server(&contexts, &open(&[&ca.issue(&[SERVER, "stock.shop"])]));
    for (name, accepted) in [(SERVER, true), ("stock.shop", true), ("cart.shop", false)] {
        let mut validation = trusting(&ca);
        let matcher = StringMatcher {
            ignore_case: false,
            match_pattern: Some(MatchPattern::Exact(name.to_owned())),
        };
        #[expect(deprecated, reason = "what is deprecated is still sent")]
        validation.match_subject_alt_names.push(matcher);
        let message = UpstreamTlsContext {
            common_tls_context: Some(common(&[], Some(validation))),
            ..UpstreamTlsContext::default()
        };
        let (near, _) = meet(&client(&contexts, &message), &server, asking()).await;
        assert_eq!(near.is_ok(), accepted, "{name}");
    }
}

/// The first bytes of a client that speaks TLS 1.1 at most.
const HELLO_11: &[u8] = &[
    0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 0, 0, 2, 0xc0, 0x13, 1, 0,
];

#[tokio::test]
async fn an_old_client_is_told_from_one_of_other_ciphers() {
    let ca = Authority::new("mesh");
    let server = server(&contexts(), &open(&[&ca.issue(&[SERVER])]));
    let (mut near, far) = tokio::io::duplex(4096);
    near.write_all(HELLO_11).await.unwrap();
    let error = accept(&server, far, ends(), WITHIN).await.unwrap_err();
    assert_eq!(error.token(), "tls_no_common_version", "{error}");
}
