//! `fairlead-init` beside Istio's `pilot-agent istio-iptables`: the whole run, from start to exit, as the
//! container runtime would see it.

mod installed;
mod peak;
mod race;
mod subject;

use std::{
    io::{self, Write},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, ensure};
use fairlead_tests::netns::Namespace;

use self::{
    race::Race,
    subject::{Backend, Subject},
};
use crate::table::{Limit, Row, Statistic, Table};

const ROUNDS: usize = 50;
const LARGE_ROUNDS: usize = 15;
const MEMORY_ROUNDS: usize = 5;

/// Of the time of Istio's program in the same round, as it runs in a pod: with iptables.
const RATIO_LIMIT: f64 = 0.2;
const FIRST_LIMIT_MILLISECONDS: f64 = 12.0;
const SECOND_LIMIT_MILLISECONDS: f64 = 6.0;
const LARGE_LIMIT_MILLISECONDS: f64 = 40.0;
const MEMORY_LIMIT_MEGABYTES: f64 = 6.0;

/// What the webhook gives the init container by default, and both families, which Istio's program does
/// not assume.
const REDIRECT: [&str; 16] = [
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
    "--dual-stack",
];

/// The two runs of a program in one pod.
const RUNS: [&str; 2] = ["first run", "second run"];

/// Begins what is said of the redirect with long lists.
const LARGE: &str = "500 ports, 500 CIDRs: ";

/// Both families' restores with nothing to restore: what any program that uses them pays.
const EMPTY_TABLE: &str = "*nat\nCOMMIT\n";

pub(crate) fn measure() -> anyhow::Result<Table> {
    let mut table =
        Table::new("init: the whole run of fairlead-init, IPv4 and IPv6, beside Istio's");
    table.note(subject::describe_istio()?);
    table.note("The first run is in a fresh pod; the second finds all as it should be.");
    default_redirect(&mut table)?;
    large_redirect(&mut table)?;
    memory(&mut table)?;
    Ok(table)
}

fn default_redirect(table: &mut Table) -> anyhow::Result<()> {
    let mut race = Race::new(redirect([]), &Subject::ALL)?;
    let mut empty_restores = Vec::new();
    for _ in 0..ROUNDS {
        empty_restores.push(two_empty_restores()?);
        race.round(|_| true)?;
    }
    let limits = Limits {
        milliseconds: [FIRST_LIMIT_MILLISECONDS, SECOND_LIMIT_MILLISECONDS],
        ratio: Some(RATIO_LIMIT),
    };
    rows("", &race, &limits, table);
    table.row(Row::samples(
        "for comparison: two empty iptables-restore, ms",
        empty_restores,
    ));
    for note in race.notes() {
        table.note(note);
    }
    Ok(())
}

fn large_redirect(table: &mut Table) -> anyhow::Result<()> {
    let subjects = [Subject::Fairlead, Subject::FairleadNative, Subject::Istio];
    let mut race = Race::new(redirect(large()), &subjects)?;
    for _ in 0..LARGE_ROUNDS {
        // Istio's would start a program for each rule.
        race.round(Subject::is_ours)?;
    }
    let limits = Limits {
        milliseconds: [LARGE_LIMIT_MILLISECONDS; 2],
        ratio: None,
    };
    rows(LARGE, &race, &limits, table);
    for note in race.notes() {
        table.note(format!("{LARGE}{note}"));
    }
    Ok(())
}

/// Of our programs, for the first and the second run, and for both of Istio's time.
struct Limits {
    milliseconds: [f64; 2],
    ratio: Option<f64>,
}

fn rows(prefix: &str, race: &Race, limits: &Limits, table: &mut Table) {
    let mut add = |label: String, samples: &[f64], limit: Option<f64>| {
        // Not every program ran twice.
        if samples.is_empty() {
            return;
        }
        let row = Row::samples(format!("{prefix}{label}"), samples.iter().copied());
        table.row(match limit {
            Some(limit) => row.limit(Statistic::Median, Limit::AtMost(limit)),
            None => row,
        });
    };
    for subject in Subject::ALL {
        let runs = RUNS.iter().zip(race.samples(subject));
        for ((run, samples), limit) in runs.zip(limits.milliseconds) {
            let limit = Some(limit).filter(|_| subject.is_ours());
            add(format!("{subject}, {run}, ms"), samples, limit);
        }
    }
    for pair @ [ours, theirs] in Subject::PAIRS {
        let limit = limits
            .ratio
            .filter(|_| theirs.backend() == Backend::Iptables);
        for (run, ratios) in RUNS.iter().zip(race.ratios(pair)) {
            add(format!("{ours} / {theirs}, {run}"), &ratios, limit);
        }
    }
}

/// Apart from the timed runs, which looking would slow down.
fn memory(table: &mut Table) -> anyhow::Result<()> {
    for (prefix, redirect) in [("", redirect([])), (LARGE, redirect(large()))] {
        let peaks: Vec<f64> = (0..MEMORY_ROUNDS)
            .map(|_| peak::megabytes(&race::pod(), &Subject::Fairlead.command(&redirect)?))
            .collect::<anyhow::Result<_>>()?;
        table.row(
            Row::samples(format!("{prefix}Fairlead, memory at its peak, MB"), peaks)
                .limit(Statistic::Max, Limit::AtMost(MEMORY_LIMIT_MEGABYTES)),
        );
    }
    Ok(())
}

fn redirect(besides: impl IntoIterator<Item = String>) -> Vec<String> {
    let default = REDIRECT.map(str::to_owned);
    default.into_iter().chain(besides).collect()
}

/// 500 ports and 500 CIDRs that are left alone.
fn large() -> [String; 4] {
    let ports: Vec<String> = (20_001..=20_500)
        .map(|port: u16| port.to_string())
        .collect();
    let cidrs: Vec<String> = (0..250)
        .flat_map(|n| [format!("10.64.{n}.0/24"), format!("fd00:64:{n:x}::/48")])
        .collect();
    ["-o", &ports.join(","), "-x", &cidrs.join(",")].map(str::to_owned)
}

fn two_empty_restores() -> anyhow::Result<f64> {
    let bare = Namespace::new();
    let mut elapsed = 0.0;
    for program in ["iptables-restore", "ip6tables-restore"] {
        let mut restore = Command::new(program);
        restore.arg("--noflush");
        elapsed += milliseconds(&bare, restore, EMPTY_TABLE)?;
    }
    Ok(elapsed)
}

/// How long a program takes from before its start to after its exit; it must succeed.
fn milliseconds(namespace: &Namespace, mut command: Command, input: &str) -> anyhow::Result<f64> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Its arguments can be thousands of characters.
    let program = command.get_program().to_string_lossy().into_owned();
    let (elapsed, output) = namespace
        .run(|| {
            let started = Instant::now();
            let mut child = command.spawn()?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            let output = child.wait_with_output()?;
            Ok::<_, io::Error>((started.elapsed(), output))
        })
        .with_context(|| format!("run {program}"))?;
    ensure!(
        output.status.success(),
        "{program}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(elapsed.as_secs_f64() * 1e3)
}
