//! A CA, contexts, and both sides of a handshake.

use std::{sync::Arc, time::Duration};

use fairlead_xds::envoy::{
    config::core::v3::{DataSource, data_source::Specifier},
    extensions::transport_sockets::tls::v3::{
        CertificateValidationContext, CommonTlsContext, DownstreamTlsContext,
        SubjectAltNameMatcher, TlsCertificate, TlsParameters, UpstreamTlsContext,
        common_tls_context::ValidationContextType, subject_alt_name_matcher::SanType,
        tls_parameters::TlsProtocol,
    },
    r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern},
};
use fairlead_xds::google::protobuf::BoolValue;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType as Name, SignatureAlgorithm,
};
use time::{Duration as Span, OffsetDateTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::{
    compile::{Fault, Findings},
    tls::{
        Connect, Contexts, DownstreamTls, Ends, Handshaked, Stream, TlsError, UpstreamTls, accept,
        connect,
    },
};

pub(super) const WITHIN: Duration = Duration::from_secs(5);

pub(super) const CLIENT: &str = "spiffe://cluster.local/ns/shop/sa/cart";
pub(super) const SERVER: &str = "spiffe://cluster.local/ns/shop/sa/stock";

/// Of each certificate that is issued.
pub(super) const SERIAL: u64 = 4711;

pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) pem: String,
}

/// A certificate and its key.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) chain: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    pub(super) fn issue(&self, names: &[&str]) -> Pair {
        self.issue_with(names, 1, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    /// Expires after so many days, or has before.
    pub(super) fn issue_with(
        &self,
        names: &[&str],
        days: i64,
        algorithm: &'static SignatureAlgorithm,
    ) -> Pair {
        let mut params = CertificateParams::new([]).unwrap();
        params.not_before = OffsetDateTime::now_utc() - Span::days(10);
        params.not_after = OffsetDateTime::now_utc() + Span::days(days);
        params.serial_number = Some(SERIAL.into());
        for name in names {
            params.subject_alt_names.push(match name.parse() {
                Ok(ip) => Name::IpAddress(ip),
                Err(_) if name.contains("://") => Name::URI((*name).try_into().unwrap()),
                Err(_) => Name::DnsName((*name).try_into().unwrap()),
            });
        }
        let key = KeyPair::generate_for(algorithm).unwrap();
        Pair {
            chain: params.signed_by(&key, &self.issuer).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Authority {
    /// A list that revokes the certificates of these serial numbers.
    pub(super) fn revoke(&self, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: OffsetDateTime::now_utc() - Span::days(1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: OffsetDateTime::now_utc() - Span::days(1),
            next_update: OffsetDateTime::now_utc() + Span::days(1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    /// Another CA, below this one.
    pub(super) fn below(&self, name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }
}

pub(super) fn inline(text: &str) -> Option<DataSource> {
    Some(DataSource {
        watched_directory: None,
        specifier: Some(Specifier::InlineString(text.to_owned())),
    })
}

pub(super) fn file(path: &std::path::Path) -> Option<DataSource> {
    Some(DataSource {
        watched_directory: None,
        specifier: Some(Specifier::Filename(path.to_str().unwrap().to_owned())),
    })
}

pub(super) fn certificate(pair: &Pair) -> TlsCertificate {
    TlsCertificate {
        certificate_chain: inline(&pair.chain),
        private_key: inline(&pair.key),
        ..TlsCertificate::default()
    }
}

pub(super) fn trusting(ca: &Authority) -> CertificateValidationContext {
    CertificateValidationContext {
        trusted_ca: inline(&ca.pem),
        ..CertificateValidationContext::default()
    }
}

pub(super) fn uri(text: &str) -> SubjectAltNameMatcher {
    san(SanType::Uri, MatchPattern::Exact(text.to_owned()))
}

pub(super) fn san(kind: SanType, pattern: MatchPattern) -> SubjectAltNameMatcher {
    SubjectAltNameMatcher {
        san_type: kind.into(),
        matcher: Some(StringMatcher {
            ignore_case: false,
            match_pattern: Some(pattern),
        }),
        oid: String::new(),
    }
}

pub(super) fn common(
    pairs: &[&Pair],
    validation: Option<CertificateValidationContext>,
) -> CommonTlsContext {
    CommonTlsContext {
        tls_params: versions(TlsProtocol::TlSv12, TlsProtocol::TlSv13),
        tls_certificates: pairs.iter().map(|pair| certificate(pair)).collect(),
        validation_context_type: validation.map(ValidationContextType::ValidationContext),
        ..CommonTlsContext::default()
    }
}

pub(super) fn versions(minimum: TlsProtocol, maximum: TlsProtocol) -> Option<TlsParameters> {
    Some(TlsParameters {
        tls_minimum_protocol_version: minimum.into(),
        tls_maximum_protocol_version: maximum.into(),
        ..TlsParameters::default()
    })
}

/// A server that requires a certificate of the CA.
pub(super) fn strict(pair: &Pair, ca: &Authority) -> DownstreamTlsContext {
    DownstreamTlsContext {
        common_tls_context: Some(common(&[pair], Some(trusting(ca)))),
        require_client_certificate: Some(BoolValue { value: true }),
        ..DownstreamTlsContext::default()
    }
}

/// A server that asks for nothing.
pub(super) fn open(pairs: &[&Pair]) -> DownstreamTlsContext {
    DownstreamTlsContext {
        common_tls_context: Some(common(pairs, None)),
        ..DownstreamTlsContext::default()
    }
}

/// A client that expects a URI.
pub(super) fn caller(pair: Option<&Pair>, ca: &Authority, expected: &str) -> UpstreamTlsContext {
    let mut validation = trusting(ca);
    validation.match_typed_subject_alt_names = vec![uri(expected)];
    let pairs: Vec<_> = pair.into_iter().collect();
    UpstreamTlsContext {
        common_tls_context: Some(common(&pairs, Some(validation))),
        sni: "outbound_.8000_._.stock.shop.svc.cluster.local".to_owned(),
        ..UpstreamTlsContext::default()
    }
}

pub(super) fn contexts() -> Contexts {
    let no_secrets = |_: &std::path::Path, _: &[u8]| Err("no secrets are read here".to_owned());
    Contexts::new(|_| None, no_secrets, Box::default())
}

#[track_caller]
pub(super) fn server(contexts: &Contexts, message: &DownstreamTlsContext) -> Arc<DownstreamTls> {
    let findings = Findings::default();
    let compiled = DownstreamTls::compile(&findings.at("tls"), message, contexts);
    compiled.unwrap_or_else(|| panic!("{:?}", faults(&findings)))
}

#[track_caller]
pub(super) fn client(contexts: &Contexts, message: &UpstreamTlsContext) -> UpstreamTls {
    let findings = Findings::default();
    let compiled = UpstreamTls::compile(&findings.at("tls"), message, contexts);
    compiled.unwrap_or_else(|| panic!("{:?}", faults(&findings)))
}

pub(super) fn faults(findings: &Findings) -> Vec<String> {
    findings.faults().iter().map(Fault::to_string).collect()
}

pub(super) fn ends() -> Ends {
    Ends {
        peer: "10.1.2.3:4567".parse().unwrap(),
        local: "10.4.5.6:8080".parse().unwrap(),
    }
}

pub(super) fn asking<'a>() -> Connect<'a> {
    Connect {
        ends: Ends {
            peer: "10.4.5.6:8080".parse().unwrap(),
            local: "10.1.2.3:4567".parse().unwrap(),
        },
        host: None,
        sni: None,
        alpn: None,
    }
}

pub(super) type Side = Result<(Stream<DuplexStream>, Handshaked), TlsError>;

/// Both sides' views of one connection.
pub(super) async fn meet(
    client: &UpstreamTls,
    server: &DownstreamTls,
    what: Connect<'_>,
) -> (Side, Side) {
    let (near, far) = duplex(64 * 1024);
    tokio::join!(
        connect(client, near, what, WITHIN),
        accept(server, far, ends(), WITHIN)
    )
}

/// A connection that is made, over which the server has said something: a client takes its tickets
/// with the first bytes.
pub(super) async fn talk(
    client: &UpstreamTls,
    server: &DownstreamTls,
    what: Connect<'_>,
) -> (Handshaked, Handshaked) {
    let (near, far) = meet(client, server, what).await;
    let ((mut near, at_client), (mut far, at_server)) = (near.unwrap(), far.unwrap());
    far.write_all(b"!").await.unwrap();
    far.flush().await.unwrap();
    assert_eq!(near.read_u8().await.unwrap(), b'!');
    (at_client, at_server)
}
