//! Handshakes that fail, and what both sides say of it.

use std::{net::SocketAddr, time::Duration};

use fairlead_xds::{
    envoy::{
        config::core::v3::TypedExtensionConfig,
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, DownstreamTlsContext, SpiffeCertValidatorConfig,
            UpstreamTlsContext, spiffe_cert_validator_config::TrustDomain,
            subject_alt_name_matcher::SanType, tls_parameters::TlsProtocol,
        },
        r#type::matcher::v3::string_matcher::MatchPattern,
    },
    google::protobuf::{Any, UInt32Value},
    prost::Message,
};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::kit::*;
use crate::tls::{
    Connect, Event, TlsCause, TlsError, accept, connect, is_answer_to_plaintext, tls_error,
};

#[track_caller]
fn check(error: &TlsError, token: &str, words: &str, events: &[&str]) {
    assert_eq!(error.token(), token, "{error}");
    let text = error.to_string();
    assert!(text.contains(words), "{text}");
    assert!(error.transport_failure_reason().contains(words));
    let names: Vec<_> = error.events().map(|event| event.name()).collect();
    assert_eq!(names, events, "{error}");
}

/// A client refuses a server: the client's words, then the server's.
async fn client_refuses(
    message: &UpstreamTlsContext,
    listener: &DownstreamTlsContext,
) -> (TlsError, TlsError) {
    let contexts = contexts();
    let (client, server) = (client(&contexts, message), server(&contexts, listener));
    let (near, far) = meet(&client, &server, asking()).await;
    (near.unwrap_err(), far.unwrap_err())
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_told_so() {
    let (ca, other) = (Authority::new("mesh"), Authority::new("other"));
    let verify = ["ssl.fail_verify_error"];
    let message = caller(None, &ca, SERVER);

    let (near, far) = client_refuses(&message, &open(&[&other.issue(&[SERVER])])).await;
    check(
        &near,
        "tls_peer_certificate_unknown_issuer",
        "unknown issuer",
        &verify,
    );
    assert!(
        near.to_string()
            .starts_with("TLS with the server 10.4.5.6:8080: ")
    );
    check(
        &far,
        "tls_peer_does_not_know_our_ca",
        "does not know the CA",
        &["ssl.connection_error"],
    );
    let reason = far.transport_failure_reason();
    assert!(
        reason.starts_with(
            "TLS_error:|268436504:SSL routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA:TLS_error_end"
        ),
        "{reason}"
    );

    let expired = ca.issue_with(&[SERVER], -2, &rcgen::PKCS_ECDSA_P256_SHA256);
    let (near, far) = client_refuses(&message, &open(&[&expired])).await;
    check(
        &near,
        "tls_peer_certificate_expired",
        "expired at 20",
        &verify,
    );
    check(
        &far,
        "tls_our_certificate_expired",
        "finds our certificate expired",
        &["ssl.connection_error"],
    );

    let elsewhere = ca.issue(&["spiffe://cluster.local/ns/shop/sa/till", "till.shop"]);
    let (near, _) = client_refuses(&message, &open(&[&elsewhere])).await;
    check(
        &near,
        "tls_peer_san_mismatch",
        "for others (SAN: URI spiffe://cluster.local/ns/shop/sa/till, DNS till.shop) than those \
         who are accepted (URI exact 'spiffe://cluster.local/ns/shop/sa/stock')",
        &["ssl.fail_verify_san"],
    );
    let reason = near.transport_failure_reason();
    assert!(
        reason.starts_with(
            "TLS_error:|268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:"
        ),
        "{reason}"
    );
}

fn spiffe(domains: &[(&str, &Authority)]) -> CertificateValidationContext {
    let domains = domains.iter().map(|(name, ca)| TrustDomain {
        name: (*name).to_owned(),
        trust_bundle: inline(&ca.pem),
        workload_trust_domain: String::new(),
    });
    let config = SpiffeCertValidatorConfig {
        trust_domains: domains.collect(),
        trust_bundles: None,
    };
    CertificateValidationContext {
        custom_validator_config: Some(TypedExtensionConfig {
            name: "envoy.tls.cert_validator.spiffe".to_owned(),
            typed_config: Some(Any {
                type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.\
                           SPIFFECertValidatorConfig"
                    .to_owned(),
                value: config.encode_to_vec(),
            }),
        }),
        ..CertificateValidationContext::default()
    }
}

#[tokio::test]
async fn a_trust_domain_has_its_own_bundle() {
    let (here, there) = (Authority::new("here"), Authority::new("there"));
    let domains = [("here.example", &here), ("there.example", &there)];
    let message = UpstreamTlsContext {
        common_tls_context: Some(common(&[], Some(spiffe(&domains)))),
        ..UpstreamTlsContext::default()
    };
    let contexts = contexts();
    let client = client(&contexts, &message);
    for (ca, uris, expected) in [
        (&here, &["spiffe://here.example/a"][..], ""),
        (&there, &["spiffe://there.example/a"], ""),
        // Nobody issues for another's domain.
        (&there, &["spiffe://here.example/a"], "unknown issuer"),
        (
            &here,
            &["spiffe://nowhere.example/a"],
            "of the trust domain 'nowhere.example', trusted are here.example, there.example",
        ),
        (&here, &["here.example"], "it holds no URI"),
        (&here, &["https://here.example/"], "its URI is no SPIFFE ID"),
        (
            &here,
            &["spiffe://here.example/a", "spiffe://here.example/b"],
            "it holds more than one URI",
        ),
    ] {
        let server = server(&contexts, &open(&[&ca.issue(uris)]));
        let (near, _) = meet(&client, &server, asking()).await;
        match near {
            Ok((_, handshaked)) => assert!(handshaked.validated && expected.is_empty()),
            Err(error) => {
                let error = error.to_string();
                assert!(!expected.is_empty() && error.contains(expected), "{error}");
            }
        }
    }
}

/// The words of a client that trusts as the message says; none: it is content.
async fn words_of(validation: CertificateValidationContext, pair: &Pair) -> String {
    let contexts = contexts();
    let message = UpstreamTlsContext {
        common_tls_context: Some(common(&[], Some(validation))),
        ..UpstreamTlsContext::default()
    };
    let server = server(&contexts, &open(&[pair]));
    let (near, _) = meet(&client(&contexts, &message), &server, asking()).await;
    match near {
        Ok((_, handshaked)) => {
            assert!(handshaked.validated);
            String::new()
        }
        Err(error) => error.cause.to_string(),
    }
}

#[tokio::test]
async fn what_is_revoked_is_refused() {
    let ca = Authority::new("mesh");
    let pair = ca.issue(&[SERVER]);
    let listing = |crl: &str| CertificateValidationContext {
        crl: inline(crl),
        ..trusting(&ca)
    };
    assert_eq!(words_of(listing(&ca.revoke(&[1])), &pair).await, "");
    let words = words_of(listing(&ca.revoke(&[SERIAL])), &pair).await;
    assert!(words.contains("is revoked"), "{words}");
    let others = Authority::new("other").revoke(&[1]);
    let words = words_of(listing(&others), &pair).await;
    assert!(words.contains("no valid revocation list"), "{words}");
}

#[tokio::test]
async fn a_chain_may_be_as_long_as_it_is_told() {
    let ca = Authority::new("root");
    let below = ca.below("below");
    let mut pair = below.issue(&[SERVER]);
    pair.chain.push_str(&below.pem);
    let deep = |max: u32| CertificateValidationContext {
        max_verify_depth: Some(UInt32Value { value: max }),
        ..trusting(&ca)
    };
    assert_eq!(words_of(trusting(&ca), &pair).await, "");
    assert_eq!(words_of(deep(2), &pair).await, "");
    let words = words_of(deep(1), &pair).await;
    assert!(
        words.contains("more than 1 certificates above it"),
        "{words}"
    );
    // An intermediate one may be trusted alone.
    assert_eq!(words_of(trusting(&below), &pair).await, "");
}

#[tokio::test]
async fn an_end_of_validity_can_be_forgiven() {
    let ca = Authority::new("mesh");
    let expired = ca.issue_with(&[SERVER], -2, &rcgen::PKCS_ECDSA_P256_SHA256);
    let forgiving = CertificateValidationContext {
        allow_expired_certificate: true,
        ..trusting(&ca)
    };
    assert_eq!(words_of(forgiving.clone(), &expired).await, "");
    let other = Authority::new("other");
    let expired = other.issue_with(&[SERVER], -2, &rcgen::PKCS_ECDSA_P256_SHA256);
    let words = words_of(forgiving, &expired).await;
    assert!(words.contains("unknown issuer"), "{words}");
}

#[tokio::test]
async fn names_are_matched_by_their_kind() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let names = [SERVER, "*.shop.example.com", "10.0.0.7"];
    let server = server(&contexts, &open(&[&ca.issue(&names)]));
    let exact = |text: &str| MatchPattern::Exact(text.to_owned());
    let prefix = |text: &str| MatchPattern::Prefix(text.to_owned());
    for (kind, pattern, accepted) in [
        (SanType::Uri, exact(SERVER), true),
        (SanType::Uri, prefix("spiffe://cluster.local/"), true),
        (SanType::Uri, prefix("spiffe://other/"), false),
        (SanType::Dns, exact(SERVER), false),
        (SanType::Dns, exact("cart.shop.example.com"), true),
        (SanType::Dns, exact("a.cart.shop.example.com"), false),
        (SanType::IpAddress, exact("10.0.0.7"), true),
        (SanType::IpAddress, exact("10.0.0.8"), false),
        (SanType::Email, prefix("s"), false),
    ] {
        let mut validation = trusting(&ca);
        validation.match_typed_subject_alt_names = vec![san(kind, pattern.clone())];
        let message = UpstreamTlsContext {
            common_tls_context: Some(common(&[], Some(validation))),
            ..UpstreamTlsContext::default()
        };
        let (near, _) = meet(&client(&contexts, &message), &server, asking()).await;
        assert_eq!(near.is_ok(), accepted, "{kind:?} {pattern:?}");
    }
}

#[tokio::test]
async fn a_certificate_can_be_named_by_its_hash() {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let ca = Authority::new("mesh");
    let (pair, other) = (ca.issue(&[SERVER]), ca.issue(&[SERVER]));
    let contexts = contexts();
    let der = CertificateDer::from_pem_slice(pair.chain.as_bytes()).unwrap();
    let hash = crate::tls::PeerCertificate::new(&der).sha256();
    let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let message = UpstreamTlsContext {
        common_tls_context: Some(common(
            &[],
            Some(CertificateValidationContext {
                verify_certificate_hash: vec![hash],
                ..CertificateValidationContext::default()
            }),
        )),
        ..UpstreamTlsContext::default()
    };
    let client = client(&contexts, &message);
    talk(&client, &server(&contexts, &open(&[&pair])), asking()).await;
    let (near, _) = meet(&client, &server(&contexts, &open(&[&other])), asking()).await;
    check(
        &near.unwrap_err(),
        "tls_peer_certificate_invalid",
        "named by their hash",
        &["ssl.fail_verify_cert_hash"],
    );
}

#[tokio::test]
async fn a_client_without_a_certificate_learns_that_the_peer_requires_mtls() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let server = server(&contexts, &strict(&ca.issue(&[SERVER]), &ca));
    for (version, is_late) in [(TlsProtocol::TlSv13, true), (TlsProtocol::TlSv12, false)] {
        let mut message = caller(None, &ca, SERVER);
        message.common_tls_context.as_mut().unwrap().tls_params = versions(version, version);
        let client = client(&contexts, &message);
        let (near, far) = meet(&client, &server, asking()).await;
        let far = far.unwrap_err();
        check(
            &far,
            "tls_no_peer_certificate",
            "shows no certificate",
            &["ssl.fail_verify_no_cert"],
        );
        let text = far.to_string();
        assert!(text.contains("10.1.2.3:4567 at 10.4.5.6:8080"), "{text}");
        let events = ["ssl.connection_error"];
        let (token, words) = ("tls_peer_requires_mtls", "peer requires mTLS");
        if is_late {
            let (mut near, _) = near.unwrap();
            let error = near.read_u8().await.unwrap_err();
            check(tls_error(&error).unwrap(), token, words, &events);
        } else {
            check(&near.unwrap_err(), token, words, &events);
        }
    }
}

#[tokio::test]
async fn a_client_that_is_not_trusted_is_told_so() {
    let (ca, other) = (Authority::new("mesh"), Authority::new("other"));
    let contexts = contexts();
    let server = server(&contexts, &strict(&ca.issue(&[SERVER]), &ca));
    let expired = ca.issue_with(&[CLIENT], -2, &rcgen::PKCS_ECDSA_P256_SHA256);
    for (own, token, at_client) in [
        (
            other.issue(&[CLIENT]),
            "tls_peer_certificate_unknown_issuer",
            "tls_peer_does_not_know_our_ca",
        ),
        (
            expired,
            "tls_peer_certificate_expired",
            "tls_our_certificate_expired",
        ),
    ] {
        let client = client(&contexts, &caller(Some(&own), &ca, SERVER));
        let (near, far) = meet(&client, &server, asking()).await;
        assert_eq!(far.unwrap_err().token(), token);
        let error = near.unwrap().0.read_u8().await.unwrap_err();
        assert_eq!(tls_error(&error).unwrap().token(), at_client);
    }
}

#[tokio::test]
async fn sides_without_a_common_version_say_so() {
    let ca = Authority::new("mesh");
    let mut listener = open(&[&ca.issue(&[SERVER])]);
    let only = |version| versions(version, version);
    listener.common_tls_context.as_mut().unwrap().tls_params = only(TlsProtocol::TlSv13);
    let mut message = caller(None, &ca, SERVER);
    message.common_tls_context.as_mut().unwrap().tls_params = only(TlsProtocol::TlSv12);
    let (near, far) = client_refuses(&message, &listener).await;
    let events = ["ssl.connection_error"];
    check(&near, "tls_no_common_version", "no version of TLS", &events);
    check(&far, "tls_no_common_version", "no version of TLS", &events);
}

#[tokio::test]
async fn sides_without_a_common_suite_say_so() {
    let ca = Authority::new("mesh");
    let suites = |name: &str| {
        let mut parameters = versions(TlsProtocol::TlSv12, TlsProtocol::TlSv12);
        parameters.as_mut().unwrap().cipher_suites = vec![name.to_owned()];
        parameters
    };
    let mut listener = open(&[&ca.issue(&[SERVER])]);
    listener.common_tls_context.as_mut().unwrap().tls_params =
        suites("ECDHE-ECDSA-AES256-GCM-SHA384");
    let own = ca.issue(&[CLIENT]);
    let mut message = caller(Some(&own), &ca, SERVER);
    message.common_tls_context.as_mut().unwrap().tls_params =
        suites("ECDHE-ECDSA-AES128-GCM-SHA256");
    let (near, far) = client_refuses(&message, &listener).await;
    let events = ["ssl.connection_error"];
    check(&near, "tls_no_common_cipher", "no cipher suite", &events);
    check(&far, "tls_no_common_cipher", "no cipher suite", &events);
}

#[tokio::test]
async fn plaintext_is_named_with_its_sender_and_answered_by_an_alert() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let server = server(&contexts, &strict(&ca.issue(&[SERVER]), &ca));
    for (sent, looks_like) in [
        (&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], "HTTP"),
        (b"PRI * HTTP/2.0\r\n", "HTTP"),
        (b"HELO mail\r\n", "text"),
        (b"\0\x01\x02\xff", "bytes that are no TLS"),
    ] {
        let (mut near, far) = duplex(4096);
        near.write_all(sent).await.unwrap();
        let error = accept(&server, far, ends(), WITHIN).await.unwrap_err();
        assert!(error.is_plaintext());
        let text = error.to_string();
        assert_eq!(
            text,
            format!(
                "10.1.2.3:4567 sent plaintext ({looks_like}) to 10.4.5.6:8080, where mTLS is \
                 required: its side must speak mTLS, or this port allow plaintext"
            )
        );
        let events: Vec<_> = error.events().collect();
        assert_eq!(events, [Event::ConnectionError, Event::PlaintextRefused]);
        let mut answer = Vec::new();
        near.read_to_end(&mut answer).await.unwrap();
        assert!(is_answer_to_plaintext(&answer));
    }
    assert!(!is_answer_to_plaintext(b"HTTP/1.1 200 OK"));
    assert!(!is_answer_to_plaintext(&[0x15, 3, 3]));
}

#[tokio::test]
async fn a_server_that_speaks_plaintext_is_named() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let client = client(&contexts, &caller(None, &ca, SERVER));
    let (near, mut far) = duplex(4096);
    far.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
    let error = connect(&client, near, asking(), WITHIN).await.unwrap_err();
    check(
        &error,
        "tls_peer_speaks_plaintext",
        "answers in plaintext",
        &["ssl.connection_error"],
    );
}

#[tokio::test(start_paused = true)]
async fn silence_ends_with_the_time_limit() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let server = server(&contexts, &open(&[&ca.issue(&[SERVER])]));
    let client = client(&contexts, &caller(None, &ca, SERVER));
    let within = Duration::from_millis(1500);
    let (_near, far) = duplex(4096);
    let error = accept(&server, far, ends(), within).await.unwrap_err();
    check(
        &error,
        "tls_handshake_timeout",
        "not done within 1s 500ms",
        &[],
    );
    let (near, _far) = duplex(4096);
    let error = connect(&client, near, asking(), within).await.unwrap_err();
    check(
        &error,
        "tls_handshake_timeout",
        "not done within 1s 500ms",
        &[],
    );
}

#[tokio::test]
async fn an_end_in_the_handshake_is_told_from_a_reset() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let client = client(&contexts, &caller(None, &ca, SERVER));
    let (near, far) = duplex(4096);
    drop(far);
    let error = connect(&client, near, asking(), WITHIN).await.unwrap_err();
    assert!(matches!(error.cause, TlsCause::Closed | TlsCause::Reset));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let mut first = [0];
    let resetting = async {
        let mut accepted = accepted;
        accepted.read_exact(&mut first).await.unwrap();
        // Of what was not read the peer learns by a reset.
        drop(accepted);
    };
    let (error, ()) = tokio::join!(connect(&client, tcp, asking(), WITHIN), resetting);
    check(
        &error.unwrap_err(),
        "tls_reset_in_handshake",
        "reset the connection",
        &[],
    );
}

#[tokio::test]
async fn a_name_that_is_none_is_not_asked_for() {
    let ca = Authority::new("mesh");
    let contexts = contexts();
    let client = client(&contexts, &caller(None, &ca, SERVER));
    let (near, _far) = duplex(4096);
    let what = Connect {
        sni: Some("no name"),
        ..asking()
    };
    let error = connect(&client, near, what, WITHIN).await.unwrap_err();
    check(&error, "tls_name_invalid", "'no name' is no DNS name", &[]);
}

proptest! {
    #[test]
    fn garbage_is_refused_whole_or_in_pieces(
        bytes in proptest::collection::vec(any::<u8>(), 1..600),
        is_tls in any::<bool>(),
    ) {
        let mut bytes = bytes;
        if is_tls {
            // A record of the handshake, of which the rest is garbage.
            bytes.splice(..0, [0x16, 3, 1]);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = |pieces: usize| {
            let bytes = bytes.clone();
            runtime.block_on(async move {
                let server = server(&contexts(), &open(&[&PAIR]));
                let (near, far) = duplex(pieces);
                let (mut answer, mut near) = tokio::io::split(near);
                let sending = async {
                    // The server may end it before all is sent.
                    let _ = near.write_all(&bytes).await;
                    let _ = near.shutdown().await;
                };
                let answering = async {
                    let _ = answer.read_to_end(&mut Vec::new()).await;
                };
                let accepting = accept(&server, far, ends(), WITHIN);
                let (accepted, (), ()) = tokio::join!(accepting, sending, answering);
                accepted.map(|_| ()).unwrap_err().token()
            })
        };
        prop_assert_eq!(token(4096), token(1));
    }
}

static PAIR: std::sync::LazyLock<Pair> =
    std::sync::LazyLock::new(|| Authority::new("mesh").issue(&[SERVER]));

#[tokio::test]
async fn a_handshake_that_fails_tells_what_it_had_agreed_on() {
    let (ca, other) = (Authority::new("mesh"), Authority::new("other"));
    let contexts = contexts();
    let server = server(&contexts, &strict(&ca.issue(&[SERVER]), &ca));
    // Twice: a chain that was refused is not remembered.
    for _ in 0..2 {
        let own = other.issue(&[CLIENT]);
        let client = client(&contexts, &caller(Some(&own), &ca, SERVER));
        let (_, far) = meet(&client, &server, asking()).await;
        let known = far.unwrap_err().known.expect("what was agreed on");
        assert_eq!(known.version, "TLSv1.3");
        assert_eq!(known.cipher, Some("TLS_AES_128_GCM_SHA256"));
        assert!(!known.validated);
        let peer = known.peer.as_ref().and_then(|peer| peer.parsed());
        assert_eq!(*peer.expect("the refused certificate").issuer, *"CN=other");
        assert_eq!(known.own.expect("the one that was shown").cert.len(), 1);
    }
}
