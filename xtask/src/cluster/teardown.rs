//! Removing a cluster, whole or half-made, by what it left on the machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::mount::{UnmountFlags, unmount};

use super::configuration::DAEMONS;
use super::state::{Name, State};
use super::{control_groups, network, process};
use crate::cache;

/// One of these runs beside each pod.
const SHIM: &str = "containerd-shim-runc-v2";

/// Where containerd and the CNI library keep a little, whatever they are told.
const SHARED_LEFTOVERS: [&str; 2] = ["/var/lib/cni/results", "/var/log/containers"];

/// Removes all traces of the cluster; does nothing if there are none.
///
/// Nothing in it is worth a farewell, so everything is killed: first the daemons, which would
/// restart what they miss, then the shims, then the containers, which their control group names.
pub(crate) fn remove(name: &Name, state: &State) -> Result<()> {
    let record = state.record()?;
    let recorded = record.iter().flat_map(|record| &record.daemons);
    let recorded: Vec<_> = recorded
        .filter(|(name, process)| process.runs(name))
        .map(|(_, process)| *process)
        .collect();
    process::kill(&recorded)?;
    // A run that was killed between starting a daemon and recording it leaves one that only its
    // arguments tell.
    process::kill(&process::with_argument_under(
        state.root(),
        &[&DAEMONS[..], &[SHIM]].concat(),
    )?)?;
    control_groups::delete(&name.prefixed())?;

    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    for mount in mounts_under(&mounts, state.root()) {
        unmount(&mount, UnmountFlags::DETACH)
            .with_context(|| format!("unmount {}", mount.display()))?;
    }
    if let Some(record) = record {
        record.network.delete_link()?;
    }
    network::delete_namespace(&name.prefixed())?;
    for directory in SHARED_LEFTOVERS {
        remove_shared(Path::new(directory), name, state)?;
    }
    cache::remove(state.root())
}

/// The mount points in the directory, the innermost and last mounted first.
fn mounts_under(mounts: &str, directory: &Path) -> Vec<PathBuf> {
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .map(unescape)
        .map(PathBuf::from);
    let mut found: Vec<_> = points
        .filter(|point| point.starts_with(directory))
        .collect();
    found.reverse();
    found
}

/// The kernel writes space, tab, newline and backslash in octal.
fn unescape(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

/// Removes files named after the cluster's pod network, and links into its state.
fn remove_shared(directory: &Path, name: &Name, state: &State) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    let prefix = format!("{}-", name.prefixed());
    for entry in entries {
        let path = entry
            .with_context(|| format!("list {}", directory.display()))?
            .path();
        let links_here = fs::read_link(&path).is_ok_and(|target| target.starts_with(state.root()));
        // The network's name is followed by a container's id, so `dev` does not match `dev-2`.
        let named = path
            .file_name()
            .and_then(|file| file.to_str())
            .and_then(|file| file.strip_prefix(&prefix));
        let is_result =
            named.is_some_and(|rest| rest.split('-').next().is_some_and(|id| id.len() == 64));
        if links_here || is_result {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_undone_from_the_inside() {
        let mounts = "overlay /state/cluster-dev/run/rootfs overlay rw 0 0\n\
                      tmpfs /state/cluster-dev/run/rootfs/tmp tmpfs rw 0 0\n\
                      tmpfs /state/cluster-dev2/x tmpfs rw 0 0\n\
                      tmpfs /state/cluster-dev/a\\040b tmpfs rw 0 0";
        let expected = [
            "/state/cluster-dev/a b",
            "/state/cluster-dev/run/rootfs/tmp",
            "/state/cluster-dev/run/rootfs",
        ];
        assert_eq!(
            mounts_under(mounts, Path::new("/state/cluster-dev")),
            expected.map(PathBuf::from)
        );
    }
}
