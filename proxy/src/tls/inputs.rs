//! Where certificates and keys lie (`envoy.config.core.v3.DataSource`), and which files were read.

use std::{
    cell::RefCell,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use fairlead_xds::envoy::{
    config::core::v3::{DataSource, WatchedDirectory, data_source::Specifier},
    extensions::transport_sockets::tls::v3::Secret,
};

use super::peer::sha256;
use crate::compile::At;

/// Reads the secrets in a file of SDS, which holds a `DiscoveryResponse` as YAML or JSON.
pub type ReadSecrets = fn(path: &Path, text: &[u8]) -> Result<Vec<Secret>, String>;

/// What a file was when it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    /// Behind the links, which is what changes when the kubelet swaps `..data`.
    resolved: PathBuf,
    modified: SystemTime,
    length: u64,
}

impl Stamp {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let resolved = fs::canonicalize(path)?;
        let metadata = fs::metadata(&resolved)?;
        Ok(Self {
            resolved,
            modified: metadata.modified()?,
            length: metadata.len(),
        })
    }

    /// Whether a later change is sure to show in the stamp: the clock of files is coarse.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        now.duration_since(self.modified)
            .is_ok_and(|age| age > Duration::from_secs(2))
    }
}

/// A file that was read.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) path: PathBuf,
    pub(super) stamp: Option<Stamp>,
    /// Whether the stamp was old when the file was read.
    pub(super) is_settled: bool,
    /// Of what it held; nothing if it could not be read.
    pub(super) digest: Option<[u8; 32]>,
}

impl Read {
    /// Whether the file is there, and holds what it held.
    pub(super) fn is_current(&self) -> bool {
        let stamp = Stamp::of(&self.path).ok();
        if self.is_settled && stamp.is_some() && stamp == self.stamp {
            return true;
        }
        let bytes = fs::read(&self.path).ok();
        bytes.is_some_and(|bytes| Some(sha256(&bytes)) == self.digest)
    }
}

/// What is read while a context is made.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub(super) environment: fn(&str) -> Option<String>,
    pub(super) read_secrets: ReadSecrets,
    /// Of the bootstrap.
    pub(super) secrets: &'a [Secret],
    /// The files that were read, also those that could not be.
    pub(super) files: RefCell<Vec<Read>>,
}

impl Inputs<'_> {
    /// The bytes of a source.
    pub(super) fn read(&self, at: &At<'_>, source: &DataSource) -> Option<Vec<u8>> {
        let DataSource {
            watched_directory,
            specifier,
        } = source;
        watched(at, watched_directory.as_ref())?;
        let bytes = match at.required("specifier", specifier.as_ref())? {
            Specifier::Filename(name) => self.file(&at.field("filename"), name)?,
            Specifier::InlineBytes(bytes) => bytes.clone(),
            Specifier::InlineString(text) => text.clone().into_bytes(),
            Specifier::EnvironmentVariable(name) => {
                let at = at.field("environment_variable");
                match (self.environment)(name) {
                    Some(value) => value.into_bytes(),
                    None => return at.fault(format!("'{name}' is not set")),
                }
            }
        };
        if bytes.is_empty() {
            return at.fault("is empty");
        }
        Some(bytes)
    }

    /// The content of a file, which is noted.
    pub(super) fn file(&self, at: &At<'_>, name: &str) -> Option<Vec<u8>> {
        if name.is_empty() {
            return at.fault("is empty");
        }
        let path = PathBuf::from(name);
        // Before it is read, lest a change in between be missed.
        let stamp = Stamp::of(&path).ok();
        let read = fs::read(&path);
        self.files.borrow_mut().push(Read {
            path,
            stamp,
            is_settled: false,
            digest: read.as_ref().ok().map(|bytes| sha256(bytes)),
        });
        read.map_or_else(|error| at.fault(format!("read '{name}': {error}")), Some)
    }
}

/// A directory that is to be watched. The files themselves are watched, through any link.
pub(super) fn watched(at: &At<'_>, directory: Option<&WatchedDirectory>) -> Option<()> {
    match directory {
        Some(directory) if directory.path.is_empty() => at
            .field("watched_directory")
            .field("path")
            .fault("is empty"),
        _ => Some(()),
    }
}
