//! `/config_dump`: what the proxy was told, and what it made of it.

mod endpoints;
mod sds;

use axum::{http::StatusCode, response::Response};
use fairlead_xds::{
    descriptors::{Field, Kind, MessageType},
    envoy::{
        admin::v3::{
            BootstrapConfigDump, ClustersConfigDump, ConfigDump, EcdsConfigDump,
            ListenersConfigDump, RoutesConfigDump, SecretsConfigDump,
            clusters_config_dump::StaticCluster, listeners_config_dump::StaticListener,
            secrets_config_dump::StaticSecret,
        },
        config::{bootstrap::v3::Bootstrap, cluster::v3::Cluster, listener::v3::Listener},
        extensions::transport_sockets::tls::v3::Secret,
    },
    google::protobuf::{Any, Timestamp},
    mask::{self, MaskError},
};
use prost::{Message, Name, bytes::Bytes};
use regex::{Regex, RegexBuilder};

use super::{Served, process::user_agent, timestamp};
use crate::admin::handler::{Parameters, message, refuse};

/// What an expression's automaton may take; a larger one is a mistake.
const REGEX_SIZE: usize = 1024 * 1024;

/// What is asked for.
#[derive(Debug, Default)]
struct Query {
    resource: Option<String>,
    mask: Vec<String>,
    name_regex: Option<Regex>,
    include_eds: bool,
}

/// Why there is no answer, in Envoy's words.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("{0} not found in config dump")]
    Unknown(String),
    #[error("{0} is not a repeated field. Use ?mask={0} to get only this field")]
    Single(String),
    #[error("FieldMask {0} could not be successfully applied to any configs.")]
    MaskOfNone(String),
    #[error("FieldMask {0} could not be successfully used.")]
    Mask(String),
    #[error("Error while parsing name_regex from {0}: {1}")]
    Regex(String, String),
    #[error("what is kept of the configuration cannot be read: {0}")]
    Kept(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unknown(_) => StatusCode::NOT_FOUND,
            Self::Kept(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

pub(super) fn answer(served: &Served, parameters: &Parameters) -> Response {
    let dumped = Query::parse(parameters).and_then(|query| {
        let sections = sections(served, &query);
        select(sections, &query)
    });
    match dumped {
        Ok(configs) => message(&ConfigDump { configs }),
        Err(refusal) => refuse(refusal.status(), refusal.to_string()),
    }
}

impl Query {
    fn parse(parameters: &Parameters) -> Result<Self, Refusal> {
        let given = |name| parameters.get(name).filter(|value| !value.is_empty());
        let name_regex = given("name_regex").map(|text| {
            let regex = RegexBuilder::new(text).size_limit(REGEX_SIZE).build();
            regex.map_err(|error| {
                let error = error.to_string();
                let reason = error.lines().last().unwrap_or_default();
                let reason = reason.strip_prefix("error: ").unwrap_or(reason);
                Refusal::Regex(text.clone(), reason.to_owned())
            })
        });
        let mask = given("mask").map(|mask| mask.split(',').map(str::to_owned).collect());
        Ok(Self {
            resource: given("resource").cloned(),
            mask: mask.unwrap_or_default(),
            name_regex: name_regex.transpose()?,
            // Whatever its value is, as in Envoy.
            include_eds: parameters.contains_key("include_eds"),
        })
    }

    fn asks_for(&self, name: &str) -> bool {
        self.name_regex
            .as_ref()
            .is_none_or(|regex| regex.is_match(name))
    }
}

/// All there is, in Envoy's order. What is always empty at layer 4 is there too: tools that look for
/// it would fail without.
fn sections(served: &Served, query: &Query) -> Vec<Any> {
    let pieces = served.bootstrap.pieces();
    let updated = timestamp(served.bootstrap.since());
    let mut clusters = named::<Cluster>(&pieces.clusters, query, |cluster| cluster.name);
    clusters.sort_by(|(one, _), (other, _)| one.cmp(other));
    let clusters = clusters.into_iter().map(|(_, cluster)| StaticCluster {
        cluster: Some(cluster),
        last_updated: Some(updated),
    });
    let clusters = any(&ClustersConfigDump {
        static_clusters: clusters.collect(),
        ..ClustersConfigDump::default()
    });
    let listeners = named::<Listener>(&pieces.listeners, query, |listener| listener.name);
    let listeners = listeners.into_iter().map(|(_, listener)| StaticListener {
        listener: Some(listener),
        last_updated: Some(updated),
    });
    let listeners = any(&ListenersConfigDump {
        static_listeners: listeners.collect(),
        ..ListenersConfigDump::default()
    });
    let given = named::<Secret>(&pieces.secrets, query, |secret| secret.name);
    let given = given.into_iter().map(|(name, secret)| StaticSecret {
        name,
        last_updated: Some(updated),
        secret: Some(secret),
    });
    let mut dynamic = sds::secrets(&pieces, updated);
    dynamic.retain(|secret| query.asks_for(&secret.name));
    let secrets = any(&SecretsConfigDump {
        static_secrets: given.collect(),
        dynamic_active_secrets: dynamic,
        ..SecretsConfigDump::default()
    });
    drop(pieces);
    let mut sections = vec![
        bootstrap(&served.bootstrap.encoded(), updated),
        clusters,
        any(&EcdsConfigDump::default()),
    ];
    if query.include_eds {
        let clusters = served.plane.clusters.load();
        sections.push(any(&endpoints::dump(&clusters, |name| {
            query.asks_for(name)
        })));
    }
    sections.extend([listeners, any(&RoutesConfigDump::default()), secrets]);
    sections
}

/// The pieces that are asked for, each decoded for no longer than to find its name.
fn named<M: Message + Name + Default>(
    pieces: &[Bytes],
    query: &Query,
    name: impl Fn(M) -> String,
) -> Vec<(String, Any)> {
    let named = pieces.iter().filter_map(|piece| {
        let name = name(M::decode(&**piece).ok()?);
        let any = Any {
            type_url: M::type_url(),
            value: piece.to_vec(),
        };
        query.asks_for(&name).then_some((name, any))
    });
    named.collect()
}

/// A [`BootstrapConfigDump`] of what is encoded already, and of the name of this program.
fn bootstrap(encoded: &[u8], updated: Timestamp) -> Any {
    let more = Bootstrap {
        node: Some(user_agent()),
        ..Bootstrap::default()
    };
    let whole = [encoded, &more.encode_to_vec()].concat();
    let mut value = Vec::new();
    prost::encoding::bytes::encode(1, &whole, &mut value);
    let rest = BootstrapConfigDump {
        last_updated: Some(updated),
        ..BootstrapConfigDump::default()
    };
    value.extend(rest.encode_to_vec());
    Any {
        type_url: BootstrapConfigDump::type_url(),
        value,
    }
}

/// What is asked for of the sections.
fn select(sections: Vec<Any>, query: &Query) -> Result<Vec<Any>, Refusal> {
    let paths: Vec<&str> = query.mask.iter().map(String::as_str).collect();
    let Some(resource) = &query.resource else {
        if paths.is_empty() {
            return Ok(sections);
        }
        let trimmed = sections.into_iter().filter_map(|section| {
            let trimmed = mask::trim(
                MessageType::of_url(&section.type_url)?,
                &section.value,
                &paths,
            );
            let value = trimmed.ok()?;
            Some(Any { value, ..section })
        });
        let trimmed: Vec<Any> = trimmed.collect();
        if trimmed.is_empty() {
            return Err(Refusal::MaskOfNone(query.mask.join(",")));
        }
        return Ok(trimmed);
    };
    let (section, field) = find(&sections, resource)?;
    let Kind::Message(element) = field.kind() else {
        return Err(Refusal::Single(resource.clone()));
    };
    let elements = mask::elements(&section.value, field);
    let elements = elements.map_err(|error| Refusal::Kept(error.to_string()))?;
    elements
        .into_iter()
        .map(|value| {
            let value = if paths.is_empty() {
                value.to_vec()
            } else {
                trim_element(element, value, &paths).map_err(|error| match error {
                    MaskError::Path(_) => Refusal::Mask(query.mask.join(",")),
                    MaskError::Wire(error) => Refusal::Kept(error.to_string()),
                })?
            };
            let type_url = format!("type.googleapis.com/{}", element.name());
            Ok(Any { type_url, value })
        })
        .collect()
}

/// The section that has the field of that name, which is a list.
fn find<'a>(sections: &'a [Any], resource: &str) -> Result<(&'a Any, Field), Refusal> {
    for section in sections {
        let message = MessageType::of_url(&section.type_url);
        let field = message.and_then(|message| {
            let mut fields = message.fields();
            fields.find(|field| field.name() == resource)
        });
        match field {
            Some(field) if field.is_repeated() => return Ok((section, field)),
            Some(_) => return Err(Refusal::Single(resource.to_owned())),
            None => {}
        }
    }
    Err(Refusal::Unknown(resource.to_owned()))
}

/// The mask of an element goes on into the resource that it wraps: `listener.name`.
fn trim_element(element: MessageType, value: &[u8], paths: &[&str]) -> Result<Vec<u8>, MaskError> {
    let wrapped = element.fields().find(|field| match field.kind() {
        Kind::Message(inner) => inner.name() == "google.protobuf.Any" && !field.is_repeated(),
        _ => false,
    });
    let Some(wrapped) = wrapped else {
        return mask::trim(element, value, paths);
    };
    let (mut outer, mut inner) = (Vec::new(), Vec::new());
    for path in paths {
        match path.split_once('.') {
            Some((first, rest)) if first == wrapped.name() => {
                outer.push(first);
                inner.push(rest);
            }
            _ => outer.push(path),
        }
    }
    let mut trimmed = mask::trim(element, value, &outer)?;
    if inner.is_empty() {
        return Ok(trimmed);
    }
    let others: Vec<&str> = outer
        .iter()
        .copied()
        .filter(|path| *path != wrapped.name())
        .collect();
    for bytes in mask::elements(value, wrapped)? {
        let Ok(any) = Any::decode(bytes) else {
            continue;
        };
        let Some(message) = MessageType::of_url(&any.type_url) else {
            continue;
        };
        let value = mask::trim(message, &any.value, &inner)?;
        let any = Any { value, ..any }.encode_to_vec();
        // The field's last occurrence would be merged with the ones before it.
        trimmed = if others.is_empty() {
            Vec::new()
        } else {
            mask::trim(element, &trimmed, &others)?
        };
        prost::encoding::bytes::encode(wrapped.number(), &any, &mut trimmed);
    }
    Ok(trimmed)
}

/// A message with the name of its type.
fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

#[cfg(test)]
mod tests;
