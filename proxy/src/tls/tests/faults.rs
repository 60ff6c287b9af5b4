//! What is not accepted in a message, and how it is said.

use fairlead_xds::{
    envoy::{
        config::core::v3::{
            AggregatedConfigSource, ConfigSource, DataSource, PathConfigSource,
            TypedExtensionConfig, config_source::ConfigSourceSpecifier, data_source::Specifier,
        },
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, CommonTlsContext, DownstreamTlsContext, SdsSecretConfig,
            TlsCertificate, TlsKeyLog, TlsSessionTicketKeys, UpstreamTlsContext,
            common_tls_context::ValidationContextType,
            downstream_tls_context::SessionTicketKeysType, subject_alt_name_matcher::SanType,
        },
        r#type::matcher::v3::string_matcher::MatchPattern,
    },
    google::protobuf::{Duration, UInt32Value},
};

use super::kit::*;
use crate::{
    compile::Findings,
    tls::{DownstreamTls, UpstreamTls},
};

#[track_caller]
fn check_upstream(message: &UpstreamTlsContext, expected: &[&str]) {
    let findings = Findings::default();
    let compiled = UpstreamTls::compile(&findings.at("tls"), message, &contexts());
    assert_eq!(faults(&findings), expected);
    assert!(compiled.is_none());
}

#[track_caller]
fn check_downstream(message: &DownstreamTlsContext, expected: &[&str]) {
    let findings = Findings::default();
    let compiled = DownstreamTls::compile(&findings.at("tls"), message, &contexts());
    assert_eq!(faults(&findings), expected);
    assert!(compiled.is_none());
}

#[track_caller]
fn check_certificate(certificate: TlsCertificate, expected: &[&str]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|fault| format!("tls.common_tls_context.tls_certificates[0]{fault}"))
        .collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    let common = CommonTlsContext {
        tls_certificates: vec![certificate],
        ..CommonTlsContext::default()
    };
    check_upstream(&of(common), &expected);
}

#[track_caller]
fn check_validation(validation: CertificateValidationContext, expected: &[&str]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|fault| format!("tls.common_tls_context.validation_context.{fault}"))
        .collect();
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    check_upstream(&of(common(&[], Some(validation))), &expected);
}

fn of(common: CommonTlsContext) -> UpstreamTlsContext {
    UpstreamTlsContext {
        common_tls_context: Some(common),
        ..UpstreamTlsContext::default()
    }
}

fn source(specifier: Specifier) -> Option<DataSource> {
    Some(DataSource {
        watched_directory: None,
        specifier: Some(specifier),
    })
}

#[test]
fn certificates_are_read_or_refused() {
    let ca = Authority::new("mesh");
    let (pair, other) = (ca.issue(&[SERVER]), ca.issue(&[SERVER]));
    let sound = certificate(&pair);
    check_certificate(
        TlsCertificate::default(),
        &[".certificate_chain: is missing", ".private_key: is missing"],
    );
    check_certificate(
        TlsCertificate {
            private_key: inline(&other.key),
            ..sound.clone()
        },
        &[".private_key: is not the key of the certificate"],
    );
    check_certificate(
        TlsCertificate {
            certificate_chain: inline("no certificate"),
            private_key: inline("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
            ..sound.clone()
        },
        &[
            ".certificate_chain: holds no certificate in PEM",
            ".private_key: encrypted keys are not supported: give the key without a password",
        ],
    );
    check_certificate(
        TlsCertificate {
            certificate_chain: inline(""),
            private_key: inline("no key"),
            ..sound.clone()
        },
        &[
            ".certificate_chain: is empty",
            ".private_key: holds no key in PEM",
        ],
    );
    check_certificate(
        TlsCertificate {
            certificate_chain: source(Specifier::Filename("/nowhere/chain.pem".to_owned())),
            private_key: source(Specifier::EnvironmentVariable("NO_KEY".to_owned())),
            ..sound.clone()
        },
        &[
            ".certificate_chain.filename: read '/nowhere/chain.pem': No such file or directory \
             (os error 2)",
            ".private_key.environment_variable: 'NO_KEY' is not set",
        ],
    );
    check_certificate(
        TlsCertificate {
            pkcs12: inline("p"),
            password: inline("p"),
            private_key_provider: Some(Default::default()),
            tls_params: Some(Default::default()),
            ..sound
        },
        &[
            ".pkcs12: is not supported: give certificate_chain and private_key as PEM",
            ".private_key_provider: is not supported",
            ".password: encrypted keys are not supported: give the key without a password",
            ".tls_params: parameters of one certificate are not supported: give them for all",
        ],
    );
    check_upstream(
        &of(common(&[&pair, &other], None)),
        &["tls.common_tls_context.tls_certificates: a client has one certificate at most"],
    );
    check_downstream(
        &open(&[]),
        &["tls.common_tls_context.tls_certificates: a server needs a certificate"],
    );
    check_downstream(
        &DownstreamTlsContext::default(),
        &["tls.common_tls_context: is missing"],
    );
}

#[test]
fn validation_that_proves_nothing_is_refused() {
    let ca = Authority::new("mesh");
    let none = CertificateValidationContext::default;
    check_validation(
        CertificateValidationContext {
            match_typed_subject_alt_names: vec![uri(SERVER)],
            ..none()
        },
        &["match_typed_subject_alt_names: names prove nothing without trusted_ca"],
    );
    check_validation(
        CertificateValidationContext {
            allow_expired_certificate: true,
            ..none()
        },
        &["allow_expired_certificate: means nothing without trusted_ca"],
    );
    check_validation(
        CertificateValidationContext {
            trusted_ca: inline("nobody"),
            ..none()
        },
        &["trusted_ca: holds no certificate in PEM"],
    );
    check_validation(
        CertificateValidationContext {
            crl: inline("none"),
            ..trusting(&ca)
        },
        &["crl: holds no revocation list in PEM"],
    );
    check_validation(
        CertificateValidationContext {
            max_verify_depth: Some(UInt32Value { value: 101 }),
            ..trusting(&ca)
        },
        &["max_verify_depth: 101 is more than 100"],
    );
    check_validation(
        CertificateValidationContext {
            trust_chain_verification: 7,
            ..trusting(&ca)
        },
        &["trust_chain_verification: 7 is no mode"],
    );
    check_validation(
        CertificateValidationContext {
            system_root_certs: Some(Default::default()),
            ca_certificate_provider_instance: Some(Default::default()),
            ..trusting(&ca)
        },
        &[
            "ca_certificate_provider_instance: is not supported",
            "system_root_certs: is not supported",
        ],
    );
    check_validation(
        CertificateValidationContext {
            custom_validator_config: Some(TypedExtensionConfig {
                name: "mine".to_owned(),
                typed_config: None,
            }),
            ..none()
        },
        &[
            "custom_validator_config.name: 'mine' is not supported, only \
           envoy.tls.cert_validator.spiffe",
        ],
    );
    check_validation(
        CertificateValidationContext {
            match_typed_subject_alt_names: vec![
                san(SanType::OtherName, MatchPattern::Exact("a".to_owned())),
                san(SanType::Unspecified, MatchPattern::Exact("a".to_owned())),
                san(SanType::Dns, MatchPattern::Prefix(String::new())),
            ],
            ..trusting(&ca)
        },
        &[
            "match_typed_subject_alt_names[0].san_type: OTHER_NAME is not supported",
            "match_typed_subject_alt_names[1].san_type: is missing",
            "match_typed_subject_alt_names[2].matcher.prefix: is empty",
        ],
    );
    let mut named = of(common(&[], None));
    named.auto_sni_san_validation = true;
    check_upstream(
        &named,
        &[
            "tls.common_tls_context.validation_context: is missing: names are expected, and prove \
           nothing without trusted_ca",
        ],
    );
}

#[test]
fn secrets_come_from_the_bootstrap_or_a_file() {
    let secret = |name: &str, specifier| SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(ConfigSource {
            config_source_specifier: specifier,
            ..ConfigSource::default()
        }),
    };
    let ads = ConfigSourceSpecifier::Ads(AggregatedConfigSource::default());
    let file = ConfigSourceSpecifier::PathConfigSource(PathConfigSource {
        path: "/dev/null".to_owned(),
        ..PathConfigSource::default()
    });
    let named = SdsSecretConfig {
        name: "default".to_owned(),
        sds_config: None,
    };
    let message = CommonTlsContext {
        tls_certificate_sds_secret_configs: vec![secret("default", Some(ads))],
        ..CommonTlsContext::default()
    };
    check_upstream(
        &of(message),
        &[
            "tls.common_tls_context.tls_certificate_sds_secret_configs[0].sds_config: secrets of a \
           server are not supported yet, only path_config_source",
        ],
    );
    let message = |config| CommonTlsContext {
        validation_context_type: Some(ValidationContextType::ValidationContextSdsSecretConfig(
            config,
        )),
        ..CommonTlsContext::default()
    };
    check_upstream(
        &of(message(named)),
        &[
            "tls.common_tls_context.validation_context_sds_secret_config.name: the bootstrap has no \
           secret 'default'",
        ],
    );
    check_upstream(
        &of(message(secret("ROOTCA", Some(file)))),
        &[
            "tls.common_tls_context.validation_context_sds_secret_config.sds_config.\
             path_config_source.path: '/dev/null' holds no secrets: no secrets are read here",
        ],
    );
}

#[test]
fn a_servers_own_settings_are_checked() {
    let ca = Authority::new("mesh");
    let pair = ca.issue(&[SERVER]);
    check_downstream(
        &DownstreamTlsContext {
            ocsp_staple_policy: 2,
            session_timeout: Some(Duration {
                seconds: -1,
                nanos: 0,
            }),
            ..open(&[&pair])
        },
        &[
            "tls.ocsp_staple_policy: MUST_STAPLE is not supported, only LENIENT_STAPLING",
            "tls.session_timeout: must be at least 0 and less than 2^32 seconds",
        ],
    );
    let keys = |keys| DownstreamTlsContext {
        session_ticket_keys_type: Some(SessionTicketKeysType::SessionTicketKeys(
            TlsSessionTicketKeys { keys },
        )),
        ..open(&[&pair])
    };
    check_downstream(&keys(vec![]), &["tls.session_ticket_keys.keys: is empty"]);
    check_downstream(
        &keys(vec![inline("short").unwrap()]),
        &["tls.session_ticket_keys.keys[0]: has 5 bytes, not 80"],
    );
}

#[test]
fn a_clients_own_settings_are_checked() {
    let mut message = of(common(&[], None));
    message.sni = "a b".to_owned();
    let alpn = &mut message.common_tls_context.as_mut().unwrap().alpn_protocols;
    *alpn = vec!["h2".to_owned(), String::new()];
    check_upstream(
        &message,
        &[
            "tls.sni: 'a b' is no DNS name",
            "tls.common_tls_context.alpn_protocols[1]: is no ALPN protocol: these have 1 to 255 \
             bytes",
        ],
    );
}

#[test]
fn what_is_left_undone_is_told() {
    let ca = Authority::new("mesh");
    let findings = Findings::default();
    let mut message = of(common(&[&ca.issue(&[CLIENT])], None));
    message.allow_renegotiation = true;
    message.common_tls_context.as_mut().unwrap().key_log = Some(TlsKeyLog::default());
    UpstreamTls::compile(&findings.at("tls"), &message, &contexts()).unwrap();
    let told: Vec<_> = findings.unsupported();
    let told: Vec<_> = told.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "tls.allow_renegotiation: is not supported: renegotiation is refused",
            "tls.common_tls_context.key_log: is not supported: no keys are written",
            "tls.common_tls_context.validation_context: has no trusted_ca: any certificate of a \
             server is accepted",
        ]
    );
}
