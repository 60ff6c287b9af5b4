//! buildah, without a daemon and without a registry.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cache;
use crate::command::Program;

/// The image store of this project.
#[derive(Debug)]
pub(crate) struct Buildah {
    storage: PathBuf,
}

impl Buildah {
    /// The store in the user's cache.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            storage: cache::cache_directory()?.join("buildah"),
        })
    }

    /// Builds an image from the text of a Dockerfile. Layers that did not change are reused.
    pub(crate) fn build(
        &self,
        name: &str,
        recipe: &str,
        context: &Path,
        options: &[&str],
    ) -> Result<()> {
        // Isolation by chroot needs neither runc's control groups nor a network of its own.
        self.command(&[
            "build",
            "--isolation=chroot",
            "--layers",
            "--pull=never",
            "--file=-",
        ])
        .args(options)
        .args(["--tag", name])
        .arg(context)
        .input(recipe)
        .run()
    }

    /// Writes an image to a file that containerd, docker and podman read.
    pub(crate) fn archive(&self, name: &str, file: &Path) -> Result<()> {
        self.command(&[
            "push",
            "--quiet",
            name,
            &format!("oci-archive:{}:{name}", file.display()),
        ])
        .run()
    }

    /// A subcommand on this store. The driver `vfs` works on every file system.
    fn command(&self, args: &[&str]) -> Program {
        Program::new("buildah")
            .arg("--root")
            .arg(self.storage.join("root"))
            .arg("--runroot")
            .arg(self.storage.join("run"))
            .arg("--storage-driver=vfs")
            .args(args)
    }
}
