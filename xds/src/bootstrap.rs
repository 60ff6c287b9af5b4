//! Envoy's bootstrap: the file that a proxy starts from.

use std::iter;

use prost::{Message, Name, bytes::Bytes};

use crate::{
    descriptors::MessageType,
    envoy::config::bootstrap::v3::{Bootstrap, bootstrap::StaticResources},
    read::{Fault, Format, Read, UnknownFields, read_encoded, read_message},
    wire::{self, Raw, WireError},
};

/// The bootstrap that `bytes` are written for.
///
/// # Errors
///
/// All faults, each with its path, in the order of the text.
pub fn read(
    bytes: &[u8],
    format: Format,
    unknown: UnknownFields,
) -> Result<Read<Bootstrap>, Vec<Fault>> {
    read_message(bytes, format, unknown)
}

/// A bootstrap whose resources stay encoded: decoded, thousands of clusters take ten times the memory.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pieces {
    /// Everything else.
    pub bootstrap: Bootstrap,
    /// The encoded `static_resources.listeners`.
    pub listeners: Vec<Bytes>,
    /// The encoded `static_resources.clusters`.
    pub clusters: Vec<Bytes>,
    /// The encoded `static_resources.secrets`.
    pub secrets: Vec<Bytes>,
}

/// The same as [`read`], with its resources in pieces.
///
/// # Errors
///
/// As of [`read`].
pub fn read_pieces(
    bytes: &[u8],
    format: Format,
    unknown: UnknownFields,
) -> Result<Read<Pieces>, Vec<Fault>> {
    let read = read_encoded(&Bootstrap::full_name(), bytes, format, unknown)?;
    let pieces = pieces(&read.message.into()).map_err(|error| {
        vec![Fault {
            path: String::new(),
            message: format!("is no bootstrap: {error}"),
        }]
    })?;
    Ok(Read {
        message: pieces,
        warnings: read.warnings,
    })
}

/// Why bytes are no bootstrap.
#[derive(Debug, thiserror::Error)]
pub enum PiecesError {
    /// The bytes are no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// They are one, of another type.
    #[error(transparent)]
    Decode(#[from] prost::DecodeError),
}

impl Pieces {
    /// The bootstrap with its resources, encoded; small parts that belong behind one another.
    pub fn encoded(&self) -> impl Iterator<Item = Vec<u8>> {
        let [resources, numbers @ ..] = numbers();
        let lists = [&self.listeners, &self.clusters, &self.secrets];
        let lists = numbers.into_iter().zip(lists);
        let each = lists.flat_map(|(number, list)| list.iter().map(move |piece| (number, piece)));
        let each = each.map(move |(number, piece)| {
            let (mut inner, mut outer) = (Vec::new(), Vec::new());
            wire::put_bytes(&mut inner, number, piece);
            // What stands several times is merged.
            wire::put_bytes(&mut outer, resources, &inner);
            outer
        });
        iter::once(self.bootstrap.encode_to_vec()).chain(each)
    }

    /// Lays another one over this one, as [`overlay`] does.
    #[must_use]
    pub fn overlaid(self, over: Self) -> Self {
        let concatenated = |mut list: Vec<Bytes>, more: Vec<Bytes>| {
            list.extend(more);
            list
        };
        Self {
            bootstrap: overlay(self.bootstrap, &over.bootstrap),
            listeners: concatenated(self.listeners, over.listeners),
            clusters: concatenated(self.clusters, over.clusters),
            secrets: concatenated(self.secrets, over.secrets),
        }
    }
}

/// Of `static_resources`, and of the `listeners`, `clusters` and `secrets` in it.
fn numbers() -> [u32; 4] {
    let number = |message: &str, field: &str| {
        let message = MessageType::named(message);
        let field = message.and_then(|message| message.field(field));
        field.expect("the tables have Envoy's bootstrap").number()
    };
    let of_resources = |field| number(&StaticResources::full_name(), field);
    [
        number(&Bootstrap::full_name(), "static_resources"),
        of_resources("listeners"),
        of_resources("clusters"),
        of_resources("secrets"),
    ]
}

/// The pieces of an encoded bootstrap, which share its memory.
///
/// # Errors
///
/// The bytes are no bootstrap. The pieces themselves are not looked at.
pub fn pieces(encoded: &Bytes) -> Result<Pieces, PiecesError> {
    let [resources, numbers @ ..] = numbers();
    let mut lists = [const { Vec::new() }; 3];
    let mut rest = Vec::new();
    for field in wire::fields(encoded) {
        let (field, raw) = field?;
        let Raw::Bytes(content) = raw else {
            wire::put(&mut rest, field, raw);
            continue;
        };
        if field != resources {
            wire::put_bytes(&mut rest, field, content);
            continue;
        }
        let mut others = Vec::new();
        for field in wire::fields(content) {
            let (field, raw) = field?;
            let list = numbers.iter().position(|number| *number == field);
            match (list, raw) {
                (Some(list), Raw::Bytes(piece)) => lists[list].push(encoded.slice_ref(piece)),
                _ => wire::put(&mut others, field, raw),
            }
        }
        wire::put_bytes(&mut rest, resources, &others);
    }
    let bootstrap = Bootstrap::decode(&*rest)?;
    let [listeners, clusters, secrets] = lists;
    Ok(Pieces {
        bootstrap,
        listeners,
        clusters,
        secrets,
    })
}

/// Lays one bootstrap over another, as `--config-yaml` is laid over the file: what both have, the second
/// one has said; lists are added to, messages are merged.
#[must_use]
pub fn overlay(mut bootstrap: Bootstrap, over: &Bootstrap) -> Bootstrap {
    bootstrap
        .merge(&*over.encode_to_vec())
        .expect("what was encoded can be decoded");
    bootstrap
}

#[cfg(test)]
mod tests;
