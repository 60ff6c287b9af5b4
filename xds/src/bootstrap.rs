//! Envoy's bootstrap: the file that a proxy starts from.

use prost::Message;

use crate::{
    envoy::config::bootstrap::v3::Bootstrap,
    read::{Fault, Format, Read, UnknownFields, read_message},
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
