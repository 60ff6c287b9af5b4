//! A directory of the run's own.

use std::{
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context;

/// Readable for the proxy's user; removed on drop.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: PathBuf,
}

impl Scratch {
    pub(super) fn new() -> anyhow::Result<Self> {
        let directory = env::temp_dir().join(format!("fairlead-bench-{}", process::id()));
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
