//! buildah, without a daemon and without a registry.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::Program;
use crate::{cache, progress};

/// The Debian release that brings iptables and nft; the default of the Dockerfile too.
const DEBIAN: &str = "bookworm";

/// What a package manager and a reader need: more than half of the file system, and each build
/// copies all of it.
const SUPERFLUOUS: [&str; 7] = [
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/zoneinfo",
    "var/cache/apt",
    "var/lib/apt/lists",
];

/// The image store of this project.
#[derive(Debug)]
pub(super) struct Buildah {
    storage: PathBuf,
}

impl Buildah {
    /// The store in the user's cache.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            storage: cache::cache_directory()?.join("buildah"),
        })
    }

    /// Builds an image from the text of a Dockerfile, and writes it to a file that containerd,
    /// docker and podman read.
    pub(super) fn build(
        &self,
        name: &str,
        dockerfile: &str,
        context: &Path,
        options: &[String],
        archive: &Path,
    ) -> Result<()> {
        // Isolation by chroot asks for no control groups. Layers are not kept: with this store each
        // would be a whole file system.
        self.command(&[
            "build",
            "--isolation=chroot",
            "--layers=false",
            "--pull=never",
            "--file=-",
            "--tag",
            name,
        ])
        .args(options)
        .arg(context)
        .input(dockerfile)
        .run()?;
        // buildah adds to an archive that exists.
        match fs::remove_file(archive) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", archive.display()));
            }
            _ => {}
        }
        self.command(&[
            "push",
            "--quiet",
            name,
            &format!("oci-archive:{}:{name}", archive.display()),
        ])
        .run()?;
        // What the tag named before has no name now.
        self.command(&["rmi", "--prune", "--force"]).run()
    }

    /// Pushes a built image to a registry, with the credentials the user logged in with.
    pub(super) fn push(
        &self,
        archive: &Path,
        name: &str,
        destination: &str,
        verify: bool,
    ) -> Result<()> {
        let from = format!("oci-archive:{}:{name}", archive.display());
        let id = self.command(&["pull", "--quiet", &from]).output()?;
        let to = format!("docker://{destination}");
        self.command(&[
            "push",
            "--quiet",
            &format!("--tls-verify={verify}"),
            id.trim(),
            &to,
        ])
        .run()
    }

    /// Returns the name of a Debian image with the packet filters in it, after making it from
    /// packages the first time.
    pub(super) fn debian_base(&self) -> Result<String> {
        let name = format!("localhost/fairlead-base:{DEBIAN}-slim");
        let _lock = cache::lock(
            &self.storage.join("base.lock"),
            "another run that makes the base image",
        )?;
        if self
            .command(&["inspect", "--type=image", &name])
            .finish()?
            .status
            .success()
        {
            return Ok(name);
        }
        progress::step(
            "making a Debian base image with debootstrap (about a minute, once)",
            || {
                let root = self.storage.join("debootstrap");
                cache::remove(&root)?;
                Program::new("debootstrap")
                    .args(["--variant=minbase", "--include=iptables,nftables", DEBIAN])
                    .arg(&root)
                    .run()?;
                for directory in SUPERFLUOUS {
                    cache::remove(&root.join(directory))?;
                }
                let dockerfile = "FROM scratch\nCOPY . /\n";
                self.command(&["build", "--layers=false", "--file=-", "--tag", &name])
                    .arg(&root)
                    .input(dockerfile)
                    .run()?;
                cache::remove(&root)
            },
        )?;
        Ok(name)
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
