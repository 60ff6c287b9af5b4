//! YAML and JSON → messages, or every fault at once, each with its path.
//!
//! The forms are those of proto3 JSON, in YAML, too. A field that its message does not have is a fault:
//! what is misspelt would otherwise be left out in silence. The rules that Envoy's definitions put on
//! the fields are checked here as well, inside of `Any`, too.

use std::{fmt, path::Path, thread};

use prost::Name;

use crate::{
    descriptors::MessageType,
    tree::{self, Node},
};

mod any;
mod fields;
mod lists;
mod path;
mod scalar;
mod structs;
mod times;
mod walk;

use self::walk::Walk;

/// What is wrong with a text, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The field: `static_resources.listeners[0].filter_chains[0]`. Empty if it is the whole.
    pub path: String,
    /// What is wrong, and what is accepted.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            return f.write_str(&self.message);
        }
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// What a text is written in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// YAML, of which JSON is a part except for some escapes.
    Yaml,
    /// JSON.
    Json,
    /// JSON if it begins with a brace and is sound; else YAML.
    Unknown,
}

impl Format {
    /// The format that a file's name tells.
    #[must_use]
    pub fn of_path(path: &Path) -> Self {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            _ => Self::Unknown,
        }
    }
}

/// What a field is that its message does not have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnknownFields {
    /// A fault.
    Refuse,
    /// A warning: a newer Envoy may have it (`--allow-unknown-static-fields`).
    Skip,
}

/// A message, and what to tell about its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Read<M> {
    /// The message.
    pub message: M,
    /// Deprecated fields, and unknown ones that were skipped.
    pub warnings: Vec<Fault>,
}

/// The message that `bytes` are written for.
///
/// # Errors
///
/// All faults of the text, in the order of the text; none is there without at least one.
pub fn read_message<M: prost::Message + Name + Default>(
    bytes: &[u8],
    format: Format,
    unknown: UnknownFields,
) -> Result<Read<M>, Vec<Fault>> {
    let read = read_encoded(&M::full_name(), bytes, format, unknown)?;
    match M::decode(&*read.message) {
        Ok(message) => Ok(Read {
            message,
            warnings: read.warnings,
        }),
        // Values of a Struct nest twice as deep as their text.
        Err(error) => Err(vec![whole(format!("is no {}: {error}", M::full_name()))]),
    }
}

/// The encoded message of the full name `name` that `bytes` are written for.
///
/// # Errors
///
/// As of [`read_message`]; also, that there is no such message.
pub fn read_encoded(
    name: &str,
    bytes: &[u8],
    format: Format,
    unknown: UnknownFields,
) -> Result<Read<Vec<u8>>, Vec<Fault>> {
    let message = MessageType::named(name)
        .ok_or_else(|| vec![whole(format!("there is no message {name}"))])?;
    let read = on_its_own(|| walked(message, bytes, format, unknown))?;
    Ok(Read {
        // A copy: what the thread has made would hold on to the thread's memory.
        message: read.message.as_slice().to_vec(),
        warnings: read.warnings,
    })
}

/// Runs `work` in a thread, whose memory the allocator gives back when the thread ends. The tree of a
/// large file takes ten times the file; freed among what stays, that much would stay, too.
fn on_its_own<T: Send>(work: impl Fn() -> T + Send + Sync) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("reader".to_owned());
        match thread.spawn_scoped(scope, &work) {
            Ok(thread) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // No thread is to be had; only memory is lost.
            Err(_) => work(),
        }
    })
}

fn walked(
    message: MessageType,
    bytes: &[u8],
    format: Format,
    unknown: UnknownFields,
) -> Result<Read<Vec<u8>>, Vec<Fault>> {
    let (tree, is_yaml) = parse(bytes, format).map_err(|error| vec![whole(error.to_string())])?;
    if tree == Node::Null {
        return Err(vec![whole("is empty".to_owned())]);
    }
    let mut walk = Walk::new(unknown, is_yaml);
    let mut out = Vec::new();
    walk.message(path::Path::Root, message, &tree, &mut out);
    if walk.faults.is_empty() {
        Ok(Read {
            message: out,
            warnings: walk.warnings,
        })
    } else {
        Err(walk.faults)
    }
}

/// The tree, and whether it was YAML.
fn parse(bytes: &[u8], format: Format) -> Result<(Node, bool), tree::TreeError> {
    match format {
        Format::Yaml => Ok((tree::yaml(bytes)?, true)),
        Format::Json => Ok((tree::json(bytes)?, false)),
        Format::Unknown if bytes.trim_ascii_start().starts_with(b"{") => tree::json(bytes)
            .map(|tree| (tree, false))
            .or_else(|error| match tree::yaml(bytes) {
                Ok(tree) => Ok((tree, true)),
                Err(_) => Err(error),
            }),
        Format::Unknown => parse(bytes, Format::Yaml),
    }
}

fn whole(message: String) -> Fault {
    Fault {
        path: String::new(),
        message,
    }
}

#[cfg(test)]
pub(crate) mod tests;
