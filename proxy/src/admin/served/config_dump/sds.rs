//! The secrets that lie in files of SDS.

use std::{collections::BTreeMap, fs, path::Path};

use fairlead_xds::{
    bootstrap::Pieces,
    envoy::{
        admin::v3::{UpdateFailureState, secrets_config_dump::DynamicSecret},
        config::{
            cluster::v3::Cluster,
            core::v3::{
                DataSource, TransportSocket, config_source::ConfigSourceSpecifier,
                data_source::Specifier, transport_socket::ConfigType,
            },
            listener::v3::Listener,
        },
        extensions::transport_sockets::tls::v3::{
            CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, Secret, UpstreamTlsContext,
            common_tls_context::ValidationContextType, secret::Type,
        },
        service::discovery::v3::DiscoveryResponse,
    },
    google::protobuf::Timestamp,
    read::{Format, UnknownFields, read_message},
};
use prost::{Message, Name};

use super::any;

/// What stands for each private key; the file of a key is not even read.
const REDACTED: &[u8] = b"[redacted]";

/// The secrets that listeners and clusters take from files, each once, as the files are now.
pub(super) fn secrets(pieces: &Pieces, updated: Timestamp) -> Vec<DynamicSecret> {
    let mut named = Vec::new();
    let contexts = transport_sockets(pieces).filter_map(|socket| context(&socket));
    for config in contexts.flat_map(|context| asked(&context)) {
        let Some(path) = file(&config) else {
            continue;
        };
        if !named.contains(&(config.name.clone(), path.clone())) {
            named.push((config.name, path));
        }
    }
    let mut files = BTreeMap::new();
    named
        .into_iter()
        .map(|(name, path)| {
            let file = files.entry(path).or_insert_with_key(|path| read(path));
            secret(&name, file, updated)
        })
        .collect()
}

fn secret(
    name: &str,
    file: &Result<DiscoveryResponse, String>,
    updated: Timestamp,
) -> DynamicSecret {
    let found = file.as_ref().map_err(Clone::clone).and_then(|response| {
        let resources = response.resources.iter();
        let mut secrets = resources
            .filter(|any| any.type_url == Secret::type_url())
            .filter_map(|any| Secret::decode(&*any.value).ok());
        let secret = secrets.find(|secret| secret.name == name);
        let secret = secret.ok_or_else(|| format!("the file has no secret '{name}'"))?;
        Ok((response.version_info.clone(), secret))
    });
    let named = DynamicSecret {
        name: name.to_owned(),
        last_updated: Some(updated),
        ..DynamicSecret::default()
    };
    match found {
        Ok((version_info, secret)) => DynamicSecret {
            version_info,
            secret: Some(any(&resolved(secret))),
            ..named
        },
        Err(details) => DynamicSecret {
            error_state: Some(UpdateFailureState {
                details,
                ..UpdateFailureState::default()
            }),
            ..named
        },
    }
}

fn transport_sockets(pieces: &Pieces) -> impl Iterator<Item = TransportSocket> {
    let listeners = pieces.listeners.iter();
    let listeners = listeners.filter_map(|piece| Listener::decode(&**piece).ok());
    let downstream = listeners.flat_map(|listener| {
        let chains = listener.filter_chains.into_iter();
        let chains = chains.chain(listener.default_filter_chain);
        chains.filter_map(|chain| chain.transport_socket)
    });
    let clusters = pieces.clusters.iter();
    let clusters = clusters.filter_map(|piece| Cluster::decode(&**piece).ok());
    let upstream = clusters.flat_map(|cluster| {
        let matched = cluster.transport_socket_matches.into_iter();
        let matched = matched.filter_map(|matched| matched.transport_socket);
        cluster.transport_socket.into_iter().chain(matched)
    });
    downstream.chain(upstream)
}

fn context(socket: &TransportSocket) -> Option<CommonTlsContext> {
    let Some(ConfigType::TypedConfig(typed)) = &socket.config_type else {
        return None;
    };
    let bytes = &*typed.value;
    if typed.type_url == DownstreamTlsContext::type_url() {
        DownstreamTlsContext::decode(bytes).ok()?.common_tls_context
    } else if typed.type_url == UpstreamTlsContext::type_url() {
        UpstreamTlsContext::decode(bytes).ok()?.common_tls_context
    } else {
        None
    }
}

fn asked(context: &CommonTlsContext) -> Vec<SdsSecretConfig> {
    let mut asked = context.tls_certificate_sds_secret_configs.clone();
    match &context.validation_context_type {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(config)) => {
            asked.push(config.clone());
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            asked.extend(combined.validation_context_sds_secret_config.clone());
        }
        _ => {}
    }
    asked
}

fn file(config: &SdsSecretConfig) -> Option<String> {
    let source = config
        .sds_config
        .as_ref()?
        .config_source_specifier
        .as_ref()?;
    #[expect(deprecated, reason = "what is deprecated is still sent")]
    match source {
        ConfigSourceSpecifier::Path(path) => Some(path.clone()),
        ConfigSourceSpecifier::PathConfigSource(source) => Some(source.path.clone()),
        _ => None,
    }
}

fn read(path: &str) -> Result<DiscoveryResponse, String> {
    let path = Path::new(path);
    let text = fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))?;
    match read_message(&text, Format::of_path(path), UnknownFields::Refuse) {
        Ok(read) => Ok(read.message),
        Err(faults) => {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            Err(faults.join("; "))
        }
    }
}

/// With the content of files in the place of their names, as Envoy tells it.
fn resolved(mut secret: Secret) -> Secret {
    match &mut secret.r#type {
        Some(Type::TlsCertificate(certificate)) => {
            inline(certificate.certificate_chain.as_mut());
            if let Some(key) = &mut certificate.private_key
                && matches!(key.specifier, Some(Specifier::Filename(_)))
            {
                key.specifier = Some(Specifier::InlineBytes(REDACTED.to_vec()));
            }
        }
        Some(Type::ValidationContext(context)) => inline(context.trusted_ca.as_mut()),
        _ => {}
    }
    secret
}

/// A file that cannot be read keeps its name.
fn inline(source: Option<&mut DataSource>) {
    if let Some(source) = source
        && let Some(Specifier::Filename(name)) = &source.specifier
        && let Ok(text) = fs::read_to_string(name)
    {
        let certificates = certificates(&text).into_bytes();
        source.specifier = Some(Specifier::InlineBytes(certificates));
    }
}

/// The certificates of a file in PEM, which may hold their key beside them.
fn certificates(text: &str) -> String {
    let mut inside = false;
    let mut found = String::new();
    for line in text.lines() {
        inside |= line.starts_with("-----BEGIN CERTIFICATE-----");
        if inside {
            found.push_str(line);
            found.push('\n');
        }
        inside &= !line.starts_with("-----END");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_beside_its_certificate_is_not_shown() {
        let block = |label: &str, body: &str| {
            format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
        };
        let (leaf, issuer) = (
            block("CERTIFICATE", "bGVhZg=="),
            block("CERTIFICATE", "Y2E="),
        );
        for key in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
            let key = block(key, "c2VjcmV0");
            for text in [
                format!("{key}{leaf}{issuer}"),
                format!("{leaf}{key}{issuer}"),
                format!("words\n{leaf}{issuer}{key}"),
            ] {
                assert_eq!(certificates(&text), format!("{leaf}{issuer}"), "{text}");
            }
            assert_eq!(certificates(&key), "");
        }
    }
}
