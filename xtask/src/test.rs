//! `cargo xtask test`: every test, from the least powerful to the whole cluster.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::cluster::Cluster;
use crate::command::Program;
use crate::images::{Image, programs};
use crate::packages::Needed;
use crate::{envoy, istio, packages, product, progress};

/// The cluster of the tests is its own, so that a developer's is left alone.
const CLUSTER: &str = "test";

/// One rung of the ladder.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Rung {
    /// Tables, duplex streams and loopback sockets; needs nothing.
    Unit,
    /// Network namespaces with real iptables, users and programs; needs root.
    Namespace,
    /// A whole Kubernetes with the chart installed by Helm; needs root.
    Cluster,
}

const NAMESPACE_PACKAGES: [Needed; 3] = [
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
];

/// Stands for the tests of the kit itself.
const KIT: &str = "lib";

/// Runs Envoy beside ours; its tests wait more than they work, so many run at a time.
const DIFFERENTIAL: &str = "differential";

/// Runs Envoy beside ours too, and Istio's tool on what both say of themselves.
const ISTIOCTL: &str = "istioctl";

const NAMESPACE_TESTS: [&str; 5] = [KIT, "redirect", "proxy", DIFFERENTIAL, ISTIOCTL];

/// One after the other: `webhook_outage` disturbs what `cluster` tests, and `chart` removes it.
const CLUSTER_TESTS: [&str; 7] = [
    "cluster",
    "mesh_config",
    "interception",
    "selection",
    "webhook_outage",
    "drift",
    "chart",
];

/// Runs the rungs, all if none is named, and ends with one line that counts.
pub(crate) fn run(rungs: &[Rung]) -> Result<ExitCode> {
    // Now, because building the tests may put another file in its place.
    let xtask = std::env::current_exe().context("find this program")?;
    let wanted = |rung| rungs.is_empty() || rungs.contains(&rung);
    let mut tally = Tally::default();
    if wanted(Rung::Unit) {
        progress::say("unit tests");
        tally.add(cargo_test(&["--workspace"])?);
    }
    if wanted(Rung::Namespace) {
        packages::ensure(&NAMESPACE_PACKAGES)?;
        let programs = programs::build(&programs::PROGRAMS)?;
        let programs = programs.display().to_string();
        progress::say("namespace tests");
        for test in NAMESPACE_TESTS {
            let mut run = test_target(test).env("FAIRLEAD_BIN_DIR", &programs);
            if test == DIFFERENTIAL {
                run = run
                    .args(["--test-threads=6"])
                    .env("FAIRLEAD_ENVOY", envoy::program()?);
            }
            if test == ISTIOCTL {
                run = run
                    .env("FAIRLEAD_ENVOY", envoy::program()?)
                    .env("FAIRLEAD_ISTIOCTL", istio::istioctl()?);
            }
            tally.add(count(run)?);
        }
    }
    if wanted(Rung::Cluster) {
        tally.add(on_a_cluster(&xtask)?);
    }
    println!("{tally}");
    Ok(if tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Starts the cluster, runs its tests, and removes it whatever they said.
fn on_a_cluster(xtask: &Path) -> Result<Tally> {
    let product = product::ensure()?;
    let cluster = Cluster::up(CLUSTER)?;
    let tally = cluster_tests(&cluster, &product, xtask);
    Cluster::down(CLUSTER)?;
    tally
}

fn cluster_tests(cluster: &Cluster, product: &[Image], xtask: &Path) -> Result<Tally> {
    cluster.load_images(product)?;
    let programs = programs::build(&programs::PROGRAMS)?;
    progress::say("cluster tests");
    let mut tally = Tally::default();
    for test in CLUSTER_TESTS {
        let path = std::env::join_paths([cluster.programs()].into_iter().chain(
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()),
        ))
        .context("the cluster's directory cannot stand in PATH")?;
        let run = test_target(test)
            .env("PATH", path)
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("FAIRLEAD_BIN_DIR", &programs)
            .env("FAIRLEAD_CHART", crate::checkout().join("charts/fairlead"))
            .env("FAIRLEAD_CONTAINERD", cluster.containerd_socket())
            .env("FAIRLEAD_CLUSTER", CLUSTER)
            .env("FAIRLEAD_XTASK", xtask);
        tally.add(count(run)?);
    }
    Ok(tally)
}

/// An ignored test target of the `tests` package, with its output shown when it fails.
fn test_target(name: &str) -> Program {
    let target = if name == KIT {
        "--lib".to_owned()
    } else {
        format!("--test={name}")
    };
    Program::new("cargo")
        .args(["test", "--locked", "--package=fairlead-tests", &target])
        .args(["--", "--include-ignored", "--show-output"])
}

fn cargo_test(args: &[&str]) -> Result<Tally> {
    count(
        Program::new("cargo")
            .args(["test", "--locked"])
            .args(args)
            .arg("--no-fail-fast"),
    )
}

/// Runs `cargo test`, shows what it prints, and adds up its result lines.
fn count(program: Program) -> Result<Tally> {
    let shown = program.to_string();
    let mut child = program
        .into_command()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{shown}`"))?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.with_context(|| format!("read what `{shown}` prints"))?;
            println!("{line}");
            tally.add(Tally::of_line(&line).unwrap_or_default());
        }
    }
    let status = child
        .wait()
        .with_context(|| format!("wait for `{shown}`"))?;
    if !status.success() && tally.failed == 0 {
        // It did not compile, or was killed.
        tally.failed = 1;
    }
    Ok(tally)
}

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Tally {
    passed: u32,
    failed: u32,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// Reads `test result: ok. 4 passed; 0 failed; …`.
    fn of_line(line: &str) -> Option<Self> {
        let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        let number = |word: &str| {
            let part = counts
                .split("; ")
                .find_map(|part| part.strip_suffix(word))?;
            part.trim().parse().ok()
        };
        Some(Self {
            passed: number("passed")?,
            failed: number("failed")?,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(u32, u32)>) {
        let expected = expected.map(|(passed, failed)| Tally { passed, failed });
        assert_eq!(Tally::of_line(line), expected);
    }

    #[test]
    fn result_lines_are_counted() {
        check(
            "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out",
            Some((12, 0)),
        );
        check(
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            Some((1, 2)),
        );
    }

    #[test]
    fn other_lines_are_not() {
        check("test result is not here", None);
        check("running 3 tests", None);
    }
}
