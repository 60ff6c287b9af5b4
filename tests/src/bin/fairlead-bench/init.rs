//! `fairlead-init`: the whole run, from start to exit, as the container runtime would see it.

mod peak;

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, ensure};
use fairlead_tests::{binary, netns::Namespace};

use crate::table::{Limit, Row, Statistic, Table};

const ROUNDS: usize = 50;
const MEMORY_ROUNDS: usize = 5;
const LIMIT_MILLISECONDS: f64 = 12.0;

/// What the webhook gives the init container by default.
const ARGUMENTS: [&str; 15] = [
    "-p",
    "15001",
    "-z",
    "15006",
    "-u",
    "1337",
    "-m",
    "REDIRECT",
    "-i",
    "*",
    "-b",
    "*",
    "-d",
    "15090,15021,15020",
    "--log_output_level=default:info",
];

/// Both families' restores with nothing to restore: what any program that uses them pays.
const EMPTY_TABLE: &str = "*nat\nCOMMIT\n";

pub(crate) fn measure() -> anyhow::Result<Table> {
    // The first round warms the page cache and counts for nothing.
    check_both_families(&round(&mut Samples::default())?)?;
    let mut samples = Samples::default();
    for _ in 0..ROUNDS {
        round(&mut samples)?;
    }
    let mut table = Table::new("init: the whole run of fairlead-init, IPv4 and IPv6");
    table.row(
        Row::samples("first run, in a fresh namespace, ms", samples.first)
            .limit(Statistic::Median, Limit::AtMost(LIMIT_MILLISECONDS)),
    );
    table.row(Row::samples(
        "second run, nothing to do, ms",
        samples.second,
    ));
    table.row(Row::samples(
        "for comparison: two empty iptables-restore, ms",
        samples.empty_restores,
    ));
    table.row(Row::samples("memory at its peak, MB", peaks()?));
    Ok(table)
}

#[derive(Default)]
struct Samples {
    first: Vec<f64>,
    second: Vec<f64>,
    empty_restores: Vec<f64>,
}

/// One run of each kind; returns the namespace that was programmed.
fn round(samples: &mut Samples) -> anyhow::Result<Namespace> {
    let bare = Namespace::new();
    let mut elapsed = 0.0;
    for program in ["iptables-restore", "ip6tables-restore"] {
        let mut restore = Command::new(program);
        restore.arg("--noflush");
        elapsed += milliseconds(&bare, restore, EMPTY_TABLE)?;
    }
    samples.empty_restores.push(elapsed);

    let pod = Namespace::new();
    for runs in [&mut samples.first, &mut samples.second] {
        let mut init = Command::new(binary("fairlead-init"));
        init.args(ARGUMENTS);
        runs.push(milliseconds(&pod, init, "")?);
    }
    Ok(pod)
}

/// Apart from the timed runs, which looking would slow down.
fn peaks() -> anyhow::Result<Vec<f64>> {
    (0..MEMORY_ROUNDS)
        .map(|_| peak::megabytes(&Namespace::new(), &binary("fairlead-init"), &ARGUMENTS))
        .collect()
}

/// How long a program takes from before its start to after its exit.
fn milliseconds(namespace: &Namespace, mut command: Command, input: &str) -> anyhow::Result<f64> {
    use std::io::Write;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let (elapsed, output) = namespace
        .run(|| {
            let started = Instant::now();
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            let output = child.wait_with_output()?;
            Ok::<_, std::io::Error>((started.elapsed(), output))
        })
        .with_context(|| format!("run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(elapsed.as_secs_f64() * 1e3)
}

/// A run that programmed one family alone would be half the work.
fn check_both_families(pod: &Namespace) -> anyhow::Result<()> {
    for program in ["iptables", "ip6tables"] {
        let rules = pod.stdout(program, &["-t", "nat", "-S"]);
        ensure!(
            rules.contains("-A OUTPUT -j ISTIO_OUTPUT"),
            "fairlead-init left no redirect for {program}:\n{rules}"
        );
    }
    Ok(())
}
