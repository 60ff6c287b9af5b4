//! The Go programs of the development cluster: Kubernetes, Helm, CoreDNS and pause.
//!
//! One Go module (`xtask/kube`) builds them all, so that what they share compiles once. The result
//! is cached outside the checkout, under a name made of all that goes into it.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::command::{Program, tail_of_file};
use crate::{cache, packages, progress};

/// The Kubernetes that runs in the development cluster; `xtask/kube/go.mod` requires the same.
pub(crate) const KUBERNETES_VERSION: &str = "1.35.4";
const HELM_VERSION: &str = "3.20.2";

const TARGETS: [&str; 4] = ["./kube", "./coredns", "./pause", "helm.sh/helm/v3/cmd/helm"];

/// How often a long build says how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(20);

/// Where the built programs lie.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    directory: PathBuf,
}

impl Tools {
    /// Returns the programs, after building them if this version of them is not in the cache.
    ///
    /// The first build takes minutes on both cores; it may run in a thread beside a Rust build.
    pub(crate) fn ensure() -> Result<Self> {
        let module = crate::checkout().join("xtask/kube");
        let name = format!("kube-{KUBERNETES_VERSION}-{:016x}", fingerprint(&module)?);
        let directory = cache::ensure(&name, |scratch| build(&module, scratch))?;
        Ok(Self { directory })
    }

    /// The multi-call Kubernetes binary: it acts as the component by whose name it is called.
    pub(crate) fn kube(&self) -> PathBuf {
        self.directory.join("kube")
    }

    /// Helm.
    pub(crate) fn helm(&self) -> PathBuf {
        self.directory.join("helm")
    }

    /// The directory of all of them, `coredns` and `pause` included: what their images are made of.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Changes whenever the programs would.
fn fingerprint(module: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for file in [
        "go.mod",
        "go.sum",
        "kube/main.go",
        "coredns/main.go",
        "pause/main.go",
    ] {
        let path = module.join(file);
        hasher.write(&fs::read(&path).with_context(|| format!("read {}", path.display()))?);
    }
    hasher.write(linker_flags().as_bytes());
    Ok(hasher.finish())
}

fn build(module: &Path, directory: &Path) -> Result<()> {
    if packages::find("go").is_none() {
        bail!(
            "Kubernetes is built from source, and there is no `go` in PATH; install Go 1.25 or newer: https://go.dev/dl"
        );
    }
    let go = |args: &[&str]| {
        Program::new("go")
            .args(args)
            .args(TARGETS)
            .current_dir(module)
            .env("CGO_ENABLED", "0")
            // Go would ask git for the version, and git refuses the checkout of another user: root,
            // say, in yours.
            .env("GOFLAGS", "-buildvcs=false")
            // The compiler collects its garbage a sixth of its time, for memory that is there.
            .env("GOGC", "400")
            .env("GOMEMLIMIT", "1500MiB")
    };
    let total = progress::step(
        "fetching the sources of Kubernetes, Helm and CoreDNS (once)",
        || {
            Ok(go(&["list", "-mod=readonly", "-deps"])
                .output()?
                .lines()
                .count())
        },
    )?;
    let title = format!(
        "building Kubernetes {KUBERNETES_VERSION}, Helm {HELM_VERSION} and CoreDNS (about 6 minutes, once)"
    );
    progress::step(&title, || {
        let output = format!("{}/", directory.display());
        let flags = linker_flags();
        // Debug information is stripped in the end, so it need not be made.
        let args = [
            "build",
            "-mod=readonly",
            "-v",
            "-ldflags",
            &flags,
            "-gcflags=all=-dwarf=false",
            "-o",
            &output,
        ];
        run_reporting(
            go(&args).into_command(),
            total,
            &directory.join("build.log"),
        )
    })
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

/// Without its version Kubernetes says v0.0.0-master, and a chart's `kubeVersion` refuses it.
fn linker_flags() -> String {
    let (major, minor) = major_and_minor(KUBERNETES_VERSION);
    let kubernetes = "k8s.io/component-base/version";
    let helm = "helm.sh/helm/v3";
    [
        "-s -w".to_owned(),
        format!("-X {kubernetes}.gitVersion=v{KUBERNETES_VERSION}"),
        format!("-X {kubernetes}.gitMajor={major} -X {kubernetes}.gitMinor={minor}"),
        format!("-X {helm}/internal/version.version=v{HELM_VERSION} -X {helm}/internal/version.metadata="),
        format!("-X {helm}/pkg/lint/rules.k8sVersionMajor={major} -X {helm}/pkg/lint/rules.k8sVersionMinor={minor}"),
        format!("-X {helm}/pkg/chartutil.k8sVersionMajor={major} -X {helm}/pkg/chartutil.k8sVersionMinor={minor}"),
    ]
    .join(" ")
}

fn major_and_minor(version: &str) -> (&str, &str) {
    let mut parts = version.split('.');
    (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_module_requires_the_versions_named_here() {
        let module = fs::read_to_string(crate::checkout().join("xtask/kube/go.mod")).unwrap();
        let (_, minor) = major_and_minor(KUBERNETES_VERSION);
        let patch = KUBERNETES_VERSION.rsplit('.').next().unwrap();
        for line in [
            format!("k8s.io/kubernetes v{KUBERNETES_VERSION}"),
            format!("k8s.io/client-go => k8s.io/client-go v0.{minor}.{patch}"),
            format!("helm.sh/helm/v3 v{HELM_VERSION}"),
        ] {
            assert!(module.contains(&line), "go.mod lacks {line:?}");
        }
    }

    #[test]
    fn linker_is_told_the_version() {
        let flags = linker_flags();
        assert!(flags.contains("version.gitVersion=v1.35.4"), "{flags}");
        assert!(flags.contains("version.gitMinor=35"), "{flags}");
    }
}
