//! A directory of the run's own.

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context;

const PREFIX: &str = "fairlead-bench-";

/// Readable for the proxy's user; removed on drop, and by the next run if this one is killed.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    pub(super) fn new() -> anyhow::Result<Self> {
        sweep(&env::temp_dir())?;
        let directory = env::temp_dir().join(format!("{PREFIX}{}", process::id()));
        let create = || -> io::Result<()> {
            fs::create_dir(&directory)?;
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))
        };
        create().with_context(|| format!("create {}", directory.display()))?;
        Ok(Self { directory })
    }

    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    pub(super) fn write(&self, name: &str, content: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.directory) {
            eprintln!("remove {}: {error}", self.directory.display());
        }
    }
}

/// Removes what runs left behind that were killed.
fn sweep(parent: &Path) -> anyhow::Result<()> {
    let entries = fs::read_dir(parent).with_context(|| format!("list {}", parent.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", parent.display()))?;
        let runs = |id: &str| Path::new("/proc").join(id).exists();
        if is_left_behind(&entry.file_name().to_string_lossy(), runs) {
            let path = entry.path();
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

fn is_left_behind(name: &str, runs: impl Fn(&str) -> bool) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|id| id.parse::<u32>().is_ok() && !runs(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: bool) {
        assert_eq!(is_left_behind(name, |id| id == "7"), expected, "{name}");
    }

    #[test]
    fn only_directories_of_runs_that_ended_are_left_behind() {
        check("fairlead-bench-8", true);
        check("fairlead-bench-7", false);
        check("fairlead-bench-x", false);
        check("fairlead-bench-", false);
        check("other-8", false);
    }
}
