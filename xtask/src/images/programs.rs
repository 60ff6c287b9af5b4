//! The static release programs that images hold.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::Program;
use crate::progress;

/// A program of the workspace, and the package that builds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Built {
    package: &'static str,
    /// The name of the file.
    pub(crate) program: &'static str,
}

/// What an image may ask for.
pub(crate) const PROGRAMS: [Built; 5] = [
    Built {
        package: "fairlead-webhook",
        program: "fairlead-webhook",
    },
    Built {
        package: "fairlead-cli",
        program: "fairlead",
    },
    Built {
        package: "fairlead-init",
        program: "fairlead-init",
    },
    Built {
        package: "fairlead-proxy",
        program: "fairlead-proxy",
    },
    Built {
        package: "fairlead-tests",
        program: "fairlead-testapp",
    },
];

/// What measures. It runs on the machine and is in no image.
pub(crate) const BENCH: Built = Built {
    package: "fairlead-tests",
    program: "fairlead-bench",
};

/// As in the Dockerfile. Packed, relocations take a byte or two each, not 24 that are read at each start
/// and stay in memory.
const RUSTFLAGS: [&str; 2] = [
    "-Ctarget-feature=+crt-static",
    "-Clink-arg=-Wl,-z,pack-relative-relocs",
];

/// Builds the programs as they ship: optimized, and static, so that they run in an image with
/// nothing else.
///
/// Returns the directory they are in.
pub(crate) fn build(programs: &[Built]) -> Result<PathBuf> {
    let target = host_target()?;
    let selection = programs
        .iter()
        .flat_map(|built| ["--package", built.package, "--bin", built.program]);
    progress::step(
        "building the programs of Fairlead (minutes the first time)",
        || {
            cargo(&["build", "--release"], &target)
                .args(selection)
                .show()
        },
    )?;
    Ok(target_directory().join(target).join("release"))
}

/// Runs a benchmark inside a package, which is built as the programs are.
///
/// Returns the directory of what they measured.
pub(crate) fn benchmark(package: &str, bench: &str) -> Result<PathBuf> {
    let target = host_target()?;
    progress::step(
        &format!("running benchmark {bench} of {package} (minutes to build the first time)"),
        || {
            cargo(&["bench"], &target)
                .args(["--package", package, "--bench", bench])
                .show()
        },
    )?;
    Ok(target_directory().join("criterion"))
}

fn cargo(verb: &[&str], target: &str) -> Program {
    Program::new("cargo")
        .args(verb)
        .args(["--locked", "--target", target])
        // Beats whatever the user's own configuration says, and holds for this build alone.
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\u{1f}"))
        .current_dir(crate::checkout())
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> PathBuf {
    let chosen = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    crate::checkout().join(chosen.as_deref().unwrap_or(Path::new("target")))
}

fn host_target() -> Result<String> {
    let version = Program::new("rustc")
        .args(["--version", "--verbose"])
        .current_dir(crate::checkout())
        .output()?;
    host_of(&version)
        .map(str::to_owned)
        .context("`rustc --version --verbose` names no host")
}

fn host_of(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("host: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_is_read_from_what_rustc_says() {
        assert_eq!(
            host_of("rustc 1.95.0\nbinary: rustc\nhost: aarch64-unknown-linux-gnu\n"),
            Some("aarch64-unknown-linux-gnu")
        );
        assert_eq!(host_of("rustc 1.95.0"), None);
    }
}
