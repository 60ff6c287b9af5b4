//! A bootstrap file → a snapshot, or every fault at once.

mod kept;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use fairlead_xds::{
    bootstrap::{self, Pieces},
    envoy::config::bootstrap::v3::Bootstrap,
    envoy::extensions::transport_sockets::tls::v3::Secret,
    read::{self, Format, UnknownFields},
};

use prost::Message as _;

pub use self::kept::KeptBootstrap;
use crate::compile::{Fault, Findings};

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// What is run where there is no file.
    pub built_in: Bootstrap,
    /// The file.
    pub path: Option<PathBuf>,
    /// What is laid over it.
    pub yaml: Option<String>,
    /// What a field is that is not known.
    pub allow_unknown: bool,
}

/// Why a configuration cannot be run: all of its faults.
#[derive(Debug)]
pub enum ConfigurationError {
    /// It cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's words.
        source: io::Error,
    },
    /// It is not what it must be.
    Faults(Vec<Fault>),
}

impl std::error::Error for ConfigurationError {}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, source } => write!(f, "read {}: {source}", path.display()),
            Self::Faults(faults) => {
                f.write_str("the configuration is wrong:")?;
                for fault in faults {
                    write!(f, "\n  {fault}")?;
                }
                Ok(())
            }
        }
    }
}

impl ConfigurationError {
    /// The faults among the findings.
    pub fn of(findings: &Findings) -> Self {
        Self::Faults(findings.faults())
    }
}

impl Source {
    /// The bootstrap, and what is worth a warning. Its resources stay encoded: decoded all at once, they
    /// would leave holes among what is made of them.
    ///
    /// # Errors
    /// It cannot be read, or has faults.
    pub fn read(&self) -> Result<(Pieces, Vec<Fault>), ConfigurationError> {
        let unknown = if self.allow_unknown {
            UnknownFields::Skip
        } else {
            UnknownFields::Refuse
        };
        let built_in = self.built_in.encode_to_vec().into();
        let mut whole = bootstrap::pieces(&built_in).expect("what was encoded can be decoded");
        let mut warnings = Vec::new();
        if let Some(path) = &self.path {
            let text = fs::read(path).map_err(|source| ConfigurationError::Read {
                path: path.clone(),
                source,
            })?;
            let read = bootstrap::read_pieces(&text, Format::of_path(path), unknown)
                .map_err(|found| faults(&found, &path.display().to_string()))?;
            warnings.extend(read.warnings.iter().map(fault));
            whole = read.message;
        }
        if let Some(yaml) = &self.yaml {
            let read = bootstrap::read_pieces(yaml.as_bytes(), Format::Yaml, unknown)
                .map_err(|found| faults(&found, "--config-yaml"))?;
            warnings.extend(read.warnings.iter().map(fault));
            whole = whole.overlaid(read.message);
        }
        Ok((whole, warnings))
    }
}

/// The secrets that stand in a bootstrap.
///
/// # Errors
/// They nest too deep.
pub fn secrets(bootstrap: &Pieces) -> Result<Box<[Secret]>, ConfigurationError> {
    let decoded = bootstrap
        .secrets
        .iter()
        .enumerate()
        .map(|(index, encoded)| {
            Secret::decode(&**encoded).map_err(|error| {
                ConfigurationError::Faults(vec![Fault {
                    path: format!("static_resources.secrets[{index}]"),
                    message: format!("is no secret: {error}"),
                }])
            })
        });
    decoded.collect()
}

/// The faults; one of the whole text is of its origin.
fn faults(found: &[read::Fault], origin: &str) -> ConfigurationError {
    let faults = found.iter().map(|found| {
        let mut fault = fault(found);
        if fault.path.is_empty() {
            origin.clone_into(&mut fault.path);
        }
        fault
    });
    ConfigurationError::Faults(faults.collect())
}

fn fault(found: &read::Fault) -> Fault {
    Fault {
        path: found.path.clone(),
        message: found.message.clone(),
    }
}

/// What a file is when it is looked at; another one if it was written or swapped.
pub type Stamp = Option<(PathBuf, SystemTime, u64)>;

/// The stamp of the file now; none if there is no such file.
pub fn stamp(path: &Path) -> Stamp {
    let resolved = fs::canonicalize(path).ok()?;
    let metadata = fs::metadata(&resolved).ok()?;
    // To open anything else may take for ever.
    if !metadata.is_file() {
        return None;
    }
    Some((resolved, metadata.modified().ok()?, metadata.len()))
}

/// Reads a file of SDS: a `DiscoveryResponse` whose resources are secrets.
///
/// # Errors
/// All faults, in one text.
pub fn read_secrets(path: &Path, text: &[u8]) -> Result<Vec<Secret>, String> {
    resources::<Secret>(path, text)
}

/// The resources of one kind in a file that holds a `DiscoveryResponse`.
///
/// # Errors
/// All faults, in one text.
pub fn resources<M: prost::Message + prost::Name + Default>(
    path: &Path,
    text: &[u8],
) -> Result<Vec<M>, String> {
    use fairlead_xds::envoy::service::discovery::v3::DiscoveryResponse;
    let joined = |faults: Vec<read::Fault>| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        faults.join("; ")
    };
    let format = Format::of_path(path);
    let read = read::read_message::<DiscoveryResponse>(text, format, UnknownFields::Refuse)
        .map_err(joined)?;
    let resources = read.message.resources.iter().enumerate();
    resources
        .map(|(index, any)| {
            if any.type_url != M::type_url() {
                return Err(format!(
                    "resources[{index}]: is a {}, not a {}",
                    any.type_url,
                    M::type_url()
                ));
            }
            M::decode(&*any.value).map_err(|error| format!("resources[{index}]: {error}"))
        })
        .collect()
}
