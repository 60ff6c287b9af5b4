//! What both sides have in common (`envoy.extensions.transport_sockets.tls.v3.CommonTlsContext`).

use std::{path::Path, sync::Arc};

use fairlead_xds::{
    envoy::{
        config::core::v3::{ConfigSource, PathConfigSource, config_source::ConfigSourceSpecifier},
        extensions::transport_sockets::tls::v3::{
            CertificateValidationContext, CommonTlsContext, SdsSecretConfig, Secret,
            TlsCertificate, common_tls_context::CombinedCertificateValidationContext,
            common_tls_context::ValidationContextType, secret::Type,
        },
    },
    prost::Message,
};

use super::super::{
    certificate::Certificate,
    inputs::{Inputs, watched},
    parameters::{Parameters, Role},
    trust::Trust,
};
use crate::compile::At;

/// What a context is made of.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) parameters: Parameters,
    pub(super) certificates: Box<[Certificate]>,
    /// Nothing: peers are not asked for a certificate.
    pub(super) trust: Option<Arc<Trust>>,
    pub(super) alpn: Vec<Vec<u8>>,
}

/// Both sides would have to send a header of Istio's before anything else, which the proxy does not.
const PEER_EXCHANGE: &str = "istio-peer-exchange";

impl Common {
    /// Reads what the message names. `has_sans`: names are expected that it does not hold.
    pub(super) fn compile(
        at: &At<'_>,
        message: &CommonTlsContext,
        has_sans: bool,
        role: Role,
        inputs: &Inputs<'_>,
    ) -> Option<Self> {
        #[expect(deprecated, reason = "what is deprecated is still sent")]
        let CommonTlsContext {
            tls_params,
            tls_certificates,
            tls_certificate_sds_secret_configs,
            tls_certificate_provider_instance,
            custom_tls_certificate_selector,
            tls_certificate_certificate_provider,
            tls_certificate_certificate_provider_instance,
            alpn_protocols,
            custom_handshaker,
            key_log,
            validation_context_type,
        } = message;
        let mut refused = false;
        for (is_asked, field) in [
            (
                tls_certificate_provider_instance.is_some(),
                "tls_certificate_provider_instance",
            ),
            (
                custom_tls_certificate_selector.is_some(),
                "custom_tls_certificate_selector",
            ),
            (
                tls_certificate_certificate_provider.is_some(),
                "tls_certificate_certificate_provider",
            ),
            (
                tls_certificate_certificate_provider_instance.is_some(),
                "tls_certificate_certificate_provider_instance",
            ),
            (custom_handshaker.is_some(), "custom_handshaker"),
        ] {
            if is_asked {
                refused = true;
                at.field(field).fault::<()>("is not supported");
            }
        }
        if key_log.is_some() {
            at.field("key_log")
                .unsupported("is not supported: no keys are written");
        }
        let parameters = Parameters::compile(&at.field("tls_params"), tls_params.as_ref(), role);
        let certificates = certificates(
            at,
            tls_certificates,
            tls_certificate_sds_secret_configs,
            role,
            inputs,
        );
        let trust = match validation_context_type {
            Some(context) => trust(at, context, has_sans, inputs).map(Some),
            None if has_sans => at
                .field("validation_context")
                .fault("is missing: names are expected, and prove nothing without trusted_ca"),
            None => Some(None),
        };
        let alpn = alpn(&at.field("alpn_protocols"), alpn_protocols);
        let (parameters, certificates) = (parameters?, certificates?);
        let (trust, alpn) = (trust?, alpn?);
        let provider = &parameters.provider;
        let made = certificates.iter().filter_map(|(at, certificate)| {
            Certificate::compile(at, certificate, inputs, provider)
        });
        let made: Box<[_]> = made.collect();
        if refused || made.len() < certificates.len() {
            return None;
        }
        Some(Self {
            parameters,
            certificates: made,
            trust,
            alpn,
        })
    }
}

fn alpn(at: &At<'_>, protocols: &[String]) -> Option<Vec<Vec<u8>>> {
    for (index, protocol) in protocols.iter().enumerate() {
        if protocol.is_empty() || protocol.len() > 255 {
            return at
                .index(index)
                .fault("is no ALPN protocol: these have 1 to 255 bytes");
        }
    }
    let protocols = protocols
        .iter()
        .filter(|protocol| *protocol != PEER_EXCHANGE);
    Some(
        protocols
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect(),
    )
}

fn certificates<'a>(
    at: &At<'a>,
    certificates: &[TlsCertificate],
    secrets: &[SdsSecretConfig],
    role: Role,
    inputs: &Inputs<'_>,
) -> Option<Vec<(At<'a>, TlsCertificate)>> {
    let (list, found): (_, Vec<_>) = if certificates.is_empty() {
        let list = at.field("tls_certificate_sds_secret_configs");
        let name = "tls_certificate_sds_secret_configs";
        let found = at.each(name, secrets, |at, config| {
            match secret(at, config, inputs)? {
                Type::TlsCertificate(certificate) => Some((at.field("secret"), certificate)),
                _ => at.fault(format!("the secret '{}' is no certificate", config.name)),
            }
        });
        if found.len() < secrets.len() {
            return None;
        }
        (list, found)
    } else {
        let list = at.field("tls_certificates");
        let found = certificates.iter().enumerate();
        let found = found.map(|(index, certificate)| (list.index(index), certificate.clone()));
        let found = found.collect();
        (list, found)
    };
    match role {
        Role::Client if found.len() > 1 => list.fault("a client has one certificate at most"),
        Role::Server if found.is_empty() => at
            .field("tls_certificates")
            .fault("a server needs a certificate"),
        _ => Some(found),
    }
}

fn trust(
    at: &At<'_>,
    context: &ValidationContextType,
    has_sans: bool,
    inputs: &Inputs<'_>,
) -> Option<Arc<Trust>> {
    #[expect(deprecated, reason = "what is deprecated is still sent")]
    let (at, message) = match context {
        ValidationContextType::ValidationContext(message) => {
            (at.field("validation_context"), message.clone())
        }
        ValidationContextType::ValidationContextSdsSecretConfig(config) => {
            let at = at.field("validation_context_sds_secret_config");
            let message = validation(&at, config, inputs)?;
            (at.field("secret"), message)
        }
        ValidationContextType::CombinedValidationContext(combined) => {
            let CombinedCertificateValidationContext {
                default_validation_context,
                validation_context_sds_secret_config,
                validation_context_certificate_provider,
                validation_context_certificate_provider_instance,
            } = combined;
            let at = at.field("combined_validation_context");
            if validation_context_certificate_provider.is_some()
                || validation_context_certificate_provider_instance.is_some()
            {
                return at
                    .field("validation_context_certificate_provider")
                    .fault("is not supported");
            }
            let default = at.required(
                "default_validation_context",
                default_validation_context.as_ref(),
            );
            let config = at.required(
                "validation_context_sds_secret_config",
                validation_context_sds_secret_config.as_ref(),
            );
            let (default, config) = (default?, config?);
            let config_at = at.field("validation_context_sds_secret_config");
            let dynamic = validation(&config_at, config, inputs)?;
            let mut merged = default.clone();
            // As Envoy merges: what stands behind on the wire is merged into what stands before.
            if let Err(error) = merged.merge(&*dynamic.encode_to_vec()) {
                return config_at.fault(format!("cannot be merged: {error}"));
            }
            (at.field("default_validation_context"), merged)
        }
        ValidationContextType::ValidationContextCertificateProvider(_) => {
            return at
                .field("validation_context_certificate_provider")
                .fault("is not supported");
        }
        ValidationContextType::ValidationContextCertificateProviderInstance(_) => {
            return at
                .field("validation_context_certificate_provider_instance")
                .fault("is not supported");
        }
    };
    Trust::compile(&at, &message, has_sans, inputs).map(Arc::new)
}

fn validation(
    at: &At<'_>,
    config: &SdsSecretConfig,
    inputs: &Inputs<'_>,
) -> Option<CertificateValidationContext> {
    match secret(at, config, inputs)? {
        Type::ValidationContext(message) => Some(message),
        _ => at.fault(format!(
            "the secret '{}' is no validation context",
            config.name
        )),
    }
}

/// The secret of that name: of the bootstrap, or of a file.
pub(super) fn secret(at: &At<'_>, config: &SdsSecretConfig, inputs: &Inputs<'_>) -> Option<Type> {
    let SdsSecretConfig { name, sds_config } = config;
    if name.is_empty() {
        return at.field("name").fault("is empty");
    }
    let of_name = |secrets: &[Secret]| {
        let secret = secrets.iter().find(|secret| secret.name == *name);
        secret.and_then(|secret| secret.r#type.clone())
    };
    let Some(source) = sds_config else {
        let found = of_name(inputs.secrets);
        return match found {
            Some(found) => Some(found),
            None => at
                .field("name")
                .fault(format!("the bootstrap has no secret '{name}'")),
        };
    };
    // The time-out is for secrets that a server sends; the version of the API is 3 in any case.
    let ConfigSource {
        authorities: _,
        initial_fetch_timeout: _,
        resource_api_version: _,
        config_source_specifier,
    } = source;
    let at = at.field("sds_config");
    #[expect(deprecated, reason = "what is deprecated is still sent")]
    let (at, path) = match config_source_specifier {
        Some(ConfigSourceSpecifier::PathConfigSource(source)) => {
            let PathConfigSource {
                path,
                watched_directory,
                // Files are looked at each second in any case.
                poll_interval: _,
            } = source;
            let at = at.field("path_config_source");
            watched(&at, watched_directory.as_ref())?;
            (at.field("path"), path)
        }
        Some(ConfigSourceSpecifier::Path(path)) => (at.field("path"), path),
        Some(_) => {
            return at.fault("secrets of a server are not supported yet, only path_config_source");
        }
        None => return at.field("path_config_source").fault("is missing"),
    };
    let text = inputs.file(&at, path)?;
    match (inputs.read_secrets)(Path::new(path), &text) {
        Ok(secrets) => match of_name(&secrets) {
            Some(secret) => Some(secret),
            None => at.fault(format!("'{path}' has no secret '{name}'")),
        },
        Err(error) => at.fault(format!("'{path}' holds no secrets: {error}")),
    }
}
