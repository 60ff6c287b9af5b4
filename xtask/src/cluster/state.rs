//! The one directory in which a cluster keeps everything, and the record of what runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::network::Network;
use super::process::Process;
use crate::cache;

const DIRECTORY_PREFIX: &str = "cluster-";
const RECORD: &str = "cluster.json";

/// The kernel's number of overlayfs, on which another overlayfs cannot put its upper layer.
const OVERLAYFS_MAGIC: u64 = 0x794c_7630;

/// The name of a cluster: it becomes part of file, namespace and control-group names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// Accepts what is safe in each of the places it goes to.
    pub(crate) fn parse(name: &str) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 20 || !name.chars().all(allowed) || name.starts_with('-')
        {
            bail!("cluster name {name:?}: want at most 20 lower-case letters, digits and dashes");
        }
        Ok(Self(name.to_owned()))
    }

    /// What the cluster's network namespace, control group, node and container network are called.
    pub(crate) fn prefixed(&self) -> String {
        format!("fairlead-{}", self.0)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The files of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct State {
    root: PathBuf,
}

impl State {
    /// The state of the cluster of this name, whether or not it exists.
    pub(crate) fn of(name: &Name) -> Result<Self> {
        Ok(Self {
            root: cache::state_directory()?.join(format!("{DIRECTORY_PREFIX}{name}")),
        })
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A file or directory of the cluster.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// The log of a daemon.
    pub(crate) fn log(&self, daemon: &str) -> PathBuf {
        self.root.join(format!("log/{daemon}.log"))
    }

    /// The program under the name by which it acts.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }

    /// The socket of containerd.
    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.root.join("containerd.sock")
    }

    /// The file that makes a user of the cluster.
    pub(crate) fn kubeconfig(&self, user: &str) -> PathBuf {
        self.root.join(format!("{user}.kubeconfig"))
    }

    /// The file that is locked while the cluster changes. Beside the state, which comes and goes.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.root.with_extension("lock")
    }

    /// Makes the directories, on a file system that containers can live on.
    pub(crate) fn create(&self) -> Result<()> {
        for directory in ["bin", "cni", "cni-addresses", "log", "pki", "pod-logs"] {
            let directory = self.root.join(directory);
            fs::create_dir_all(&directory)
                .with_context(|| format!("create {}", directory.display()))?;
        }
        let statistics = rustix::fs::statfs(&self.root)
            .with_context(|| format!("examine {}", self.root.display()))?;
        if statistics.f_type.cast_unsigned() == OVERLAYFS_MAGIC {
            bail!(
                "{} lies on overlayfs, which cannot hold container file systems; set XDG_STATE_HOME to a directory on a \
                 disk or a volume",
                self.root.display()
            );
        }
        Ok(())
    }

    /// Writes a file of the cluster.
    pub(crate) fn write(&self, relative: &str, content: &str) -> Result<()> {
        let path = self.path(relative);
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))
    }

    /// Reads the record, if the cluster has one.
    pub(crate) fn record(&self) -> Result<Option<Record>> {
        let path = self.path(RECORD);
        match fs::read(&path) {
            Ok(content) => Ok(Record::parse(&content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Replaces the record in one go.
    pub(crate) fn write_record(&self, record: &Record) -> Result<()> {
        let scratch = self.path("cluster.json.new");
        fs::write(&scratch, record.to_json().to_string())
            .with_context(|| format!("write {}", scratch.display()))?;
        let path = self.path(RECORD);
        fs::rename(&scratch, &path).with_context(|| format!("replace {}", path.display()))
    }

    /// The network slots of all clusters of this user.
    pub(crate) fn taken_slots() -> Result<Vec<u8>> {
        let mut slots = Vec::new();
        let Ok(entries) = fs::read_dir(cache::state_directory()?) else {
            return Ok(slots);
        };
        for entry in entries {
            let entry = entry.context("list the clusters")?;
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with(DIRECTORY_PREFIX)
                && entry.path().is_dir()
            {
                let state = Self { root: entry.path() };
                slots.extend(state.record()?.map(|record| record.network.slot()));
            }
        }
        Ok(slots)
    }
}

/// What a cluster was started as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The directory of the programs it runs: another version of them asks for a new cluster.
    pub(crate) tools: PathBuf,
    pub(crate) network: Network,
    pub(crate) daemons: BTreeMap<String, Process>,
    /// True once everything was started: the opposite is left by a run that was killed.
    pub(crate) complete: bool,
}

impl Record {
    fn to_json(&self) -> Value {
        let daemons: BTreeMap<_, _> = self
            .daemons
            .iter()
            .map(|(name, process)| (name, json!({"id": process.id, "started": process.started})))
            .collect();
        json!({
            "tools": self.tools,
            "slot": self.network.slot(),
            "daemons": daemons,
            "complete": self.complete,
        })
    }

    /// `None` for a record of another version of this program: such a cluster is cleared away like
    /// a half-made one.
    fn parse(content: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(content).ok()?;
        let daemon = |(name, value): (&String, &Value)| {
            let id = value.get("id")?.as_i64()?.try_into().ok()?;
            Some((
                name.clone(),
                Process {
                    id,
                    started: value.get("started")?.as_u64()?,
                },
            ))
        };
        Some(Self {
            tools: json.get("tools")?.as_str()?.into(),
            network: Network::of_slot(json.get("slot")?.as_u64()?.try_into().ok()?)?,
            daemons: json
                .get("daemons")?
                .as_object()?
                .iter()
                .map(daemon)
                .collect::<Option<_>>()?,
            complete: json.get("complete")?.as_bool()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(name: &str, accepted: bool) {
        assert_eq!(Name::parse(name).is_ok(), accepted, "{name:?}");
    }

    #[test]
    fn names_are_safe_in_file_and_interface_names() {
        check_name("dev", true);
        check_name("test-2", true);
        for refused in [
            "",
            "../x",
            "Dev",
            "-x",
            "a b",
            "a-name-that-is-far-too-long",
        ] {
            check_name(refused, false);
        }
    }

    #[test]
    fn record_comes_back_as_written() {
        let record = Record {
            tools: "/cache/kube".into(),
            network: Network::of_slot(3).unwrap(),
            daemons: [("etcd".to_owned(), Process { id: 42, started: 7 })].into(),
            complete: true,
        };
        assert_eq!(
            Record::parse(record.to_json().to_string().as_bytes()),
            Some(record)
        );
    }

    #[test]
    fn unreadable_record_counts_as_none() {
        assert_eq!(Record::parse(b"{\"slot\": 99}"), None);
        assert_eq!(Record::parse(b""), None);
    }
}
