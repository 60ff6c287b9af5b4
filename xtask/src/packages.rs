//! Programs that come from the Debian archive.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::command::Program;
use crate::progress;

/// A program, and the Debian package that brings it.
pub(crate) type Needed = (&'static str, &'static str);

/// Makes sure that the programs are there: installs what is missing as root, and otherwise says how
/// to.
pub(crate) fn ensure(needed: &[Needed]) -> Result<()> {
    let missing = missing_packages(needed, |program| find(program).is_some());
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let command =
        format!("apt-get update && apt-get install --yes --no-install-recommends {packages}");
    if find("apt-get").is_none() {
        bail!(
            "this machine lacks programs that Debian has in the packages {packages}, and has no apt-get; \
             install them in its own way"
        );
    }
    if !is_root() {
        bail!("missing Debian packages: {packages}. Install them with\n    sudo sh -c '{command}'");
    }
    progress::step(&format!("installing Debian packages: {packages}"), || {
        let apt = |args: &[&str]| {
            Program::new("apt-get")
                .args(args)
                .env("DEBIAN_FRONTEND", "noninteractive")
        };
        apt(&["update", "--quiet"]).run()?;
        apt(&["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(&missing)
            .run()
    })?;
    let missing = missing_packages(needed, |program| find(program).is_some());
    if !missing.is_empty() {
        bail!(
            "the packages {} are installed, yet not all of their programs are in PATH",
            missing.join(" ")
        );
    }
    Ok(())
}

/// Whether this process may do what a cluster asks for.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Finds a program in `PATH`, or in the system directories that a user's `PATH` may lack; a name
/// with a slash is looked for as it stands.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|file| file.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn missing_packages(needed: &[Needed], is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let mut packages: Vec<_> = needed
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, package)| *package)
        .collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_missing_package_is_named_once() {
        let needed = [
            ("nft", "nftables"),
            ("ctr", "containerd"),
            ("etcd", "etcd-server"),
            ("containerd", "containerd"),
        ];
        assert_eq!(
            missing_packages(&needed, |program| program == "nft"),
            ["containerd", "etcd-server"]
        );
    }

    #[test]
    fn finds_programs_by_name_and_by_file() {
        assert!(find("sh").is_some());
        assert!(find("/bin/sh").is_some());
        assert!(find("/nonexistent/sh").is_none());
        assert!(find("no-such-program").is_none());
    }
}
