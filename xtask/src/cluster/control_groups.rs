//! The control group that holds all of a cluster's containers, in both layouts of the kernel.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::process::{self, Process};

/// What the kubelet wants to limit; a version 2 group has only what its parent hands down.
const CONTROLLERS: [&str; 6] = ["cpuset", "cpu", "hugetlb", "io", "memory", "pids"];

/// How long the kernel may take to let go of what was killed.
const DEADLINE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Makes the group in every hierarchy the kubelet looks at.
pub(crate) fn create(group: &str) -> Result<()> {
    let mut hierarchies = hierarchies()?;
    // Beside version 1 hierarchies the kubelet ignores a unified one, which then has no
    // controllers.
    if hierarchies.iter().any(|hierarchy| !hierarchy.unified) {
        hierarchies.retain(|hierarchy| !hierarchy.unified);
    }
    if hierarchies.is_empty() {
        bail!(
            "no control groups are mounted under /sys/fs/cgroup; the kubelet cannot work without"
        );
    }
    for Hierarchy { root, unified } in hierarchies {
        let directory = root.join(group);
        if unified {
            delegate(&root)?;
        }
        fs::create_dir_all(&directory)
            .with_context(|| format!("create the control group {}", directory.display()))?;
        if unified {
            delegate(&directory)?;
        } else {
            // A new cpuset is empty, and nothing can run in it.
            for file in ["cpuset.cpus", "cpuset.mems"] {
                copy_if_there(&root.join(file), &directory.join(file))?;
            }
        }
    }
    Ok(())
}

/// Kills every process in the group and removes it.
pub(crate) fn delete(group: &str) -> Result<()> {
    let directories: Vec<PathBuf> = hierarchies()?
        .into_iter()
        .map(|hierarchy| hierarchy.root.join(group))
        .filter(|path| path.is_dir())
        .collect();
    let end = Instant::now() + DEADLINE;
    for directory in &directories {
        loop {
            kill_members(&directories)?;
            match remove(directory) {
                // A process that has ended holds its group until its parent has noticed, and a
                // program of the runtime may have put another one there meanwhile.
                Err(error) if is_busy(&error) && Instant::now() < end => thread::sleep(PAUSE),
                removed => break removed?,
            }
        }
    }
    Ok(())
}

fn kill_members(directories: &[PathBuf]) -> Result<()> {
    // A process may fork while the list is read, so look until none is left.
    loop {
        let mut processes = Vec::new();
        for directory in directories {
            processes.extend(members(directory)?);
        }
        if processes.is_empty() {
            return Ok(());
        }
        process::kill(&processes)?;
    }
}

fn is_busy(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::ResourceBusy)
}

struct Hierarchy {
    root: PathBuf,
    unified: bool,
}

fn hierarchies() -> Result<Vec<Hierarchy>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    Ok(parse(&mounts))
}

fn parse(mounts: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(root), Some(kind)) = (fields.next(), fields.next()) else {
            continue;
        };
        if matches!(kind, "cgroup" | "cgroup2") && root.starts_with("/sys/fs/cgroup") {
            found.push(Hierarchy {
                root: root.into(),
                unified: kind == "cgroup2",
            });
        }
    }
    found
}

fn delegate(directory: &Path) -> Result<()> {
    let available = fs::read_to_string(directory.join("cgroup.controllers"))
        .with_context(|| format!("read the controllers of {}", directory.display()))?;
    for controller in available
        .split_whitespace()
        .filter(|controller| CONTROLLERS.contains(controller))
    {
        let file = directory.join("cgroup.subtree_control");
        fs::write(&file, format!("+{controller}")).with_context(|| {
            format!(
                "hand the {controller} controller down in {} (inside a container? then this group must hold no processes)",
                file.display()
            )
        })?;
    }
    Ok(())
}

fn copy_if_there(from: &Path, to: &Path) -> Result<()> {
    if !from.exists() {
        return Ok(());
    }
    let value = fs::read_to_string(from).with_context(|| format!("read {}", from.display()))?;
    fs::write(to, value.trim()).with_context(|| format!("write {}", to.display()))
}

/// The processes in the group and the groups below. Groups come and go meanwhile, so what vanished
/// holds none.
fn members(directory: &Path) -> Result<Vec<Process>> {
    let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<Process> = listed
        .lines()
        .filter_map(|id| id.parse().ok())
        .filter_map(Process::with_id)
        .collect();
    for child in subdirectories(directory) {
        found.extend(members(&child)?);
    }
    Ok(found)
}

fn remove(directory: &Path) -> Result<()> {
    for child in subdirectories(directory) {
        remove(&child)?;
    }
    match fs::remove_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove the control group {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mounts: &str, expected: &[(&str, bool)]) {
        let parsed = parse(mounts);
        let found: Vec<_> = parsed
            .iter()
            .map(|hierarchy| (hierarchy.root.to_str().unwrap(), hierarchy.unified))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_busy_group_is_told_by_its_cause() {
        let error = |kind| anyhow::Error::new(io::Error::from(kind)).context("remove the group");
        assert!(is_busy(&error(io::ErrorKind::ResourceBusy)));
        assert!(!is_busy(&error(io::ErrorKind::PermissionDenied)));
    }

    #[test]
    fn unified_layout_is_one_hierarchy() {
        check(
            "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\ntmpfs /tmp tmpfs rw 0 0",
            &[("/sys/fs/cgroup", true)],
        );
    }

    #[test]
    fn hybrid_layout_has_both_kinds() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0";
        let expected = [
            ("/sys/fs/cgroup/cpu", false),
            ("/sys/fs/cgroup/unified", true),
        ];
        check(mounts, &expected);
    }
}
