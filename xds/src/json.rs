//! Encoded messages → JSON, in the form that Envoy's admin interface prints.
//!
//! The form is proto3 JSON with the names of the definitions, fields in the order of their numbers,
//! defaults left out, one space for each level. A message inside of an `Any` whose type is not known
//! prints its `@type` alone: it must not cost the rest of the dump.

use crate::{descriptors::MessageType, wire::WireError};

mod any;
mod number;
mod out;
mod print;
mod sent;
mod special;
mod time;

use self::{out::Out, print::Printer};

/// How JSON is laid out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// On one line.
    Compact,
    /// A line for each field, as Envoy's admin interface answers.
    Pretty,
}

/// What becomes of fields that hold secrets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Secrets {
    /// They say `[redacted]`, as in Envoy's configuration dump.
    Redact,
    /// They are printed.
    Print,
}

/// Why bytes cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The type of the message itself is not known.
    #[error("'{0}' is no message that is known")]
    Unknown(String),
    /// The bytes are not of their type.
    #[error("the bytes are no {message}: {source}")]
    Wire {
        /// The message's full name.
        message: &'static str,
        /// What is wrong with them.
        source: WireError,
    },
    /// A field is not of the kind that it must be.
    #[error("the bytes are no {message}: its field '{field}' has another type")]
    Field {
        /// The message's full name.
        message: &'static str,
        /// The field's name.
        field: &'static str,
    },
    /// A duration or a point in time is none.
    #[error("the bytes are no {0}")]
    Malformed(&'static str),
    /// Messages nest without end.
    #[error("the bytes of {0} nest deeper than 100 messages")]
    Depth(&'static str),
}

/// The JSON of the message that `bytes` encode, whose type `type_url` names.
///
/// # Errors
///
/// The type is unknown, or the bytes are not of it; the error names the type.
pub fn to_json(
    type_url: &str,
    bytes: &[u8],
    layout: Layout,
    secrets: Secrets,
) -> Result<String, JsonError> {
    let message = MessageType::of_url(type_url)
        .or_else(|| MessageType::named(type_url))
        .ok_or_else(|| JsonError::Unknown(type_url.to_owned()))?;
    let mut printer = Printer {
        out: Out::new(layout),
        secrets,
        is_hidden: false,
    };
    printer.message(message, bytes, 0)?;
    Ok(printer.out.into_string())
}

/// The JSON of a message.
///
/// # Errors
///
/// As of [`to_json`]: an `Any` in the message may hold bytes that are not of its type.
pub fn message_to_json<M: prost::Message + prost::Name>(
    message: &M,
    layout: Layout,
    secrets: Secrets,
) -> Result<String, JsonError> {
    to_json(&M::full_name(), &message.encode_to_vec(), layout, secrets)
}

#[cfg(test)]
mod tests;
