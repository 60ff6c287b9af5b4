//! Field masks on encoded messages: what is left of a message when only some fields are asked for.

use std::collections::BTreeMap;

use crate::{
    descriptors::{Field, Kind, MessageType},
    wire::{self, Raw, WireError},
};

/// The fields that are asked for, by name; without any, all are.
#[derive(Debug, Default)]
struct Node<'a>(BTreeMap<&'a str, Node<'a>>);

/// Why a mask cannot be applied.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MaskError {
    /// The path names no field; or it goes on behind a list, or behind what is no message.
    #[error("'{0}' is no path to a field")]
    Path(String),
    /// The bytes are no message.
    #[error("the bytes are no message: {0}")]
    Wire(#[from] WireError),
}

/// The message with those fields alone that the paths lead to: `node.id`. Behind a list no path goes
/// on. Without paths all fields stay.
///
/// # Errors
/// A path leads nowhere in messages of this type, or the bytes are no message.
pub fn trim(message: MessageType, bytes: &[u8], paths: &[&str]) -> Result<Vec<u8>, MaskError> {
    let mut root = Node::default();
    for path in paths {
        if !leads_to_a_field(message, path) {
            return Err(MaskError::Path((*path).to_owned()));
        }
        root.add(path);
    }
    let mut trimmed = Vec::new();
    root.copy(message, bytes, &mut trimmed)?;
    Ok(trimmed)
}

/// The encoded messages of a field, in their order.
///
/// # Errors
/// The bytes are no message.
pub fn elements(bytes: &[u8], field: Field) -> Result<Vec<&[u8]>, WireError> {
    let mut elements = Vec::new();
    for sent in wire::fields(bytes) {
        if let (number, Raw::Bytes(element)) = sent?
            && number == field.number()
        {
            elements.push(element);
        }
    }
    Ok(elements)
}

fn leads_to_a_field(mut message: MessageType, path: &str) -> bool {
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let Some(field) = message.fields().find(|field| field.name() == name) else {
            return false;
        };
        if names.peek().is_none() {
            return true;
        }
        match field.kind() {
            Kind::Message(inner) if !field.is_repeated() => message = inner,
            _ => return false,
        }
    }
    false
}

impl<'a> Node<'a> {
    /// A path that another one begins with adds nothing.
    fn add(&mut self, path: &'a str) {
        let mut node = self;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let known = node.0.contains_key(name);
            node = node.0.entry(name).or_default();
            if names.peek().is_none() {
                node.0.clear();
            } else if known && node.0.is_empty() {
                return;
            }
        }
    }

    fn copy(&self, message: MessageType, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), WireError> {
        if self.0.is_empty() {
            out.extend(bytes);
            return Ok(());
        }
        for sent in wire::fields(bytes) {
            let (number, raw) = sent?;
            let Some(field) = message.numbered(number) else {
                continue;
            };
            let Some(node) = self.0.get(field.name()) else {
                continue;
            };
            match (field.kind(), raw) {
                (Kind::Message(inner), Raw::Bytes(content)) if !node.0.is_empty() => {
                    let mut trimmed = Vec::new();
                    node.copy(inner, content, &mut trimmed)?;
                    wire::put_bytes(out, number, &trimmed);
                }
                _ => wire::put(out, number, raw),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prost::{Message, Name};

    use super::*;
    use crate::{
        envoy::config::cluster::v3::Cluster,
        json::{Layout, Secrets, to_json},
        read::{Format, UnknownFields, read_message},
    };

    const CLUSTER: &str = "
name: a
connect_timeout: 1s
metadata: {filter_metadata: {z: {b: 1}}}
upstream_connection_options:
  tcp_keepalive: {keepalive_time: 10, keepalive_probes: 3}
  set_local_interface_name_on_upstream_connections: true
transport_socket_matches: [{name: x}, {name: y}]
";

    fn cluster() -> (MessageType, Vec<u8>) {
        let read = read_message::<Cluster>(CLUSTER.as_bytes(), Format::Yaml, UnknownFields::Refuse);
        let bytes = read.unwrap().message.encode_to_vec();
        (MessageType::named(&Cluster::full_name()).unwrap(), bytes)
    }

    #[test]
    fn the_fields_that_are_asked_for_stay() {
        let (message, bytes) = cluster();
        for (paths, expected) in [
            (&["name"][..], r#"{"name":"a"}"#),
            (
                &["connect_timeout", "name"],
                r#"{"name":"a","connect_timeout":"1s"}"#,
            ),
            (&["alt_stat_name"], "{}"),
            (
                &["transport_socket_matches"],
                r#"{"transport_socket_matches":[{"name":"x"},{"name":"y"}]}"#,
            ),
            (
                &["upstream_connection_options.tcp_keepalive.keepalive_time"],
                r#"{"upstream_connection_options":{"tcp_keepalive":{"keepalive_time":10}}}"#,
            ),
            (
                &[
                    "upstream_connection_options.tcp_keepalive",
                    "upstream_connection_options.tcp_keepalive.keepalive_time",
                ],
                r#"{"upstream_connection_options":{"tcp_keepalive":{"keepalive_probes":3,"keepalive_time":10}}}"#,
            ),
            (
                &[
                    "upstream_connection_options.tcp_keepalive.keepalive_time",
                    "upstream_connection_options.tcp_keepalive",
                ],
                r#"{"upstream_connection_options":{"tcp_keepalive":{"keepalive_probes":3,"keepalive_time":10}}}"#,
            ),
        ] {
            let trimmed = trim(message, &bytes, paths).unwrap();
            let url = Cluster::type_url();
            let json = to_json(&url, &trimmed, Layout::Compact, Secrets::Print).unwrap();
            assert_eq!(json, expected, "{paths:?}");
        }
        assert_eq!(trim(message, &bytes, &[]).unwrap(), bytes);
    }

    #[test]
    fn a_path_that_leads_nowhere_is_told() {
        let (message, bytes) = cluster();
        for path in [
            "nope",
            "",
            "name.x",
            "transport_socket_matches.name",
            "metadata.filter_metadata.z",
            "upstream_connection_options.nope",
        ] {
            let refused = trim(message, &bytes, &["name", path]);
            assert_eq!(refused, Err(MaskError::Path(path.to_owned())));
        }
        assert!(matches!(
            trim(message, &[0xff], &["name"]),
            Err(MaskError::Wire(_))
        ));
    }

    #[test]
    fn the_messages_of_a_list_are_told_apart() {
        let (message, bytes) = cluster();
        let field = |name| message.field(name).unwrap();
        assert_eq!(
            elements(&bytes, field("transport_socket_matches"))
                .unwrap()
                .len(),
            2
        );
        assert!(elements(&bytes, field("filters")).unwrap().is_empty());
    }
}
