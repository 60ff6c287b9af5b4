//! Programs of others that are built from source with Go, each from a module of this checkout.
//!
//! The result is cached outside the checkout, under a name made of all that goes into it.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{Program, tail_of_file};
use crate::{cache, packages, progress};

/// How often a long build says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(20);

/// What is built, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build<'a> {
    /// Begins the name in the cache; it has the version.
    pub(crate) name: &'a str,
    /// What it is, for who waits.
    pub(crate) title: &'a str,
    /// How long the build takes on two cores, for who waits.
    pub(crate) duration: &'a str,
    /// The directory of `go.mod`.
    pub(crate) module: &'a Path,
    /// The module's own sources.
    pub(crate) files: &'a [&'a str],
    /// The packages whose programs are built.
    pub(crate) targets: &'a [&'a str],
    /// Build tags, separated by commas.
    pub(crate) tags: &'a str,
    /// For the linker.
    pub(crate) linker_flags: &'a str,
}

impl Build<'_> {
    /// Returns the directory of the programs, after building them if they are not in the cache.
    pub(crate) fn ensure(&self) -> Result<PathBuf> {
        let name = format!("{}-{:016x}", self.name, self.fingerprint()?);
        cache::ensure(&name, |scratch| self.build(scratch))
    }

    /// Changes whenever the programs would.
    fn fingerprint(&self) -> Result<u64> {
        let mut hasher = DefaultHasher::new();
        for file in [&["go.mod", "go.sum"], self.files].concat() {
            let path = self.module.join(file);
            hasher.write(&fs::read(&path).with_context(|| format!("read {}", path.display()))?);
        }
        hasher.write(self.tags.as_bytes());
        hasher.write(self.linker_flags.as_bytes());
        Ok(hasher.finish())
    }

    fn build(&self, directory: &Path) -> Result<()> {
        if packages::find("go").is_none() {
            bail!(
                "there is no `go` in PATH to build {} from source; install Go 1.26 or newer: https://go.dev/dl",
                self.title
            );
        }
        let title = format!("fetching the sources of {} (once)", self.title);
        let total = progress::step(&title, || {
            let packages = self.go(&["list", "-mod=readonly", "-deps"]).output()?;
            Ok(packages.lines().count())
        })?;
        let title = format!("building {} (about {}, once)", self.title, self.duration);
        progress::step(&title, || {
            let output = format!("{}/", directory.display());
            // Debug information is stripped in the end, so it need not be made.
            let arguments = [
                "build",
                "-mod=readonly",
                "-v",
                "-ldflags",
                self.linker_flags,
                "-gcflags=all=-dwarf=false",
                "-o",
                &output,
            ];
            run_reporting(
                self.go(&arguments).into_command(),
                total,
                &directory.join("build.log"),
            )
        })
    }

    fn go(&self, arguments: &[&str]) -> Program {
        Program::new("go")
            .args(arguments)
            .args(["-tags", self.tags])
            .args(self.targets)
            .current_dir(self.module)
            .env("CGO_ENABLED", "0")
            // Go would ask git for the version, and git refuses the checkout of another user: root,
            // say, in yours.
            .env("GOFLAGS", "-buildvcs=false")
            // The compiler collects its garbage a sixth of its time, for memory that is there.
            .env("GOGC", "400")
            .env("GOMEMLIMIT", "1500MiB")
    }
}

/// The sources of a Go module that the module in this directory requires, as Go keeps them.
pub(crate) fn sources(directory: &Path, module: &str) -> Result<PathBuf> {
    let go = |arguments: &[&str]| Program::new("go").args(arguments).current_dir(directory);
    // Where the program was cached longer than its sources.
    go(&["mod", "download", module]).run()?;
    let found = go(&["list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module]).output()?;
    Ok(found.trim().into())
}

/// Runs `go build -v`, which prints one line for each package it compiles.
fn run_reporting(mut command: Command, total: usize, log: &Path) -> Result<()> {
    let mut log_file = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start `go build`")?;
    let started = Instant::now();
    let mut reported = started;
    let mut compiled = 0;
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines() {
            let line = line.context("read what `go build` prints")?;
            writeln!(log_file, "{line}").with_context(|| format!("write {}", log.display()))?;
            compiled += 1;
            if reported.elapsed() >= REPORT_EVERY {
                reported = Instant::now();
                let seconds = started.elapsed().as_secs();
                progress::detail(&format!(
                    "{compiled} of {total} packages compiled, {seconds} s"
                ));
            }
        }
    }
    let status = child.wait().context("wait for `go build`")?;
    if !status.success() {
        bail!("`go build` failed, {status}:\n{}", tail_of_file(log));
    }
    Ok(())
}
