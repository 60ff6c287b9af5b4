//! `cargo xtask lint`: what must hold before any test is worth running.

use anyhow::Result;

use crate::command::Program;
use crate::{cache, progress};

const CARGO_DENY_VERSION: &str = "0.20.2";

/// Formatting, clippy and the dependency policy; stops at the first complaint.
pub(crate) fn run() -> Result<()> {
    let cargo = |args: &[&str]| Program::new("cargo").args(args);
    progress::step("formatting", || cargo(&["fmt", "--all", "--check"]).show())?;
    progress::step("clippy", || {
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ])
        .show()
    })?;
    let deny = cargo_deny()?;
    progress::step("licences, sources and banned crates", || {
        Program::new(deny.join("bin/cargo-deny"))
            .args(["--log-level", "error", "check", "--hide-inclusion-graph"])
            .args(["bans", "licenses", "sources"])
            .show()
    })
}

fn cargo_deny() -> Result<std::path::PathBuf> {
    cache::ensure(&format!("cargo-deny-{CARGO_DENY_VERSION}"), |scratch| {
        progress::step("building cargo-deny (about 3 minutes, once)", || {
            let version = format!("cargo-deny@{CARGO_DENY_VERSION}");
            let log = scratch.join("build.log");
            Program::new("cargo")
                .args(["install", "--locked", "--quiet", &version, "--root"])
                .arg(scratch)
                .arg("--target-dir")
                .arg(scratch.join("target"))
                .run_logged(&log)?;
            // What it was built from is of no use any more, and large.
            cache::remove(&scratch.join("target"))
        })
    })
}
