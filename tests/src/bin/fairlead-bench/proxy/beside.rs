//! The sidecar beside Envoy, both with the same configuration and one worker.
//!
//! Each has two pods of its own, joined by a cable, with the real redirect in both; a pod with its
//! sidecar and its application has a processor of its own. The rounds take turns.

mod bed;
mod bootstrap;
mod clusters;
mod comparison;
mod identity;
mod lane;
mod running;
mod scratch;
mod subject;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use self::{
    bed::Bed,
    bootstrap::Bootstraps,
    clusters::Sizes,
    comparison::Comparison,
    lane::{Lane, Plan},
    scratch::Scratch,
    subject::{Programs, Subject},
};
use crate::{options::Options, pin::Cpu, table::Table};

const ROUNDS: u16 = 7;
const QUICK_ROUNDS: u16 = 2;

/// Starts of each number of clusters.
const STARTS: u16 = 5;
const QUICK_STARTS: u16 = 1;

pub(crate) fn measure(options: &Options) -> anyhow::Result<Vec<Table>> {
    raise_open_files()?;
    let cpus = Cpu::pair()?;
    let scratch = Scratch::new()?;
    let rig = Rig {
        programs: Programs::new(&scratch)?,
        bootstraps: Bootstraps::write(&scratch)?,
        scratch,
        cpus,
    };
    let mut comparison = Comparison::new();
    comparison.note(rig.programs.describe_envoy()?);
    if cpus[0] == cpus[1] {
        comparison.note("There is one processor: both pods share it.");
    }
    traffic(options, &rig, &mut comparison)?;
    clusters(options, &rig, &mut comparison)?;
    Ok(comparison.tables())
}

/// What both subjects are run with.
#[derive(Debug)]
struct Rig {
    programs: Programs,
    bootstraps: Bootstraps,
    /// Of the client's pod and of the server's.
    cpus: [Cpu; 2],
    scratch: Scratch,
}

/// Everything that needs traffic: two pods a subject.
fn traffic(options: &Options, rig: &Rig, comparison: &mut Comparison) -> anyhow::Result<()> {
    let file = rig.bootstraps.sidecar();
    let mut lanes = Vec::new();
    for subject in Subject::ALL {
        let refusal = rig.programs.validate(subject, file)?;
        let bootstrap = refusal.is_none().then_some(file);
        if let Some(refusal) = refusal {
            comparison.note(format!(
                "{subject} runs as a passthrough sidecar, and its mutual TLS is left out: {refusal}."
            ));
        }
        let bed = Bed::new(rig, subject, bootstrap)?;
        lanes.push(Lane::new(bed, bootstrap.is_some())?);
    }
    for lane in &lanes {
        lane.idle(comparison)?;
    }
    let plan = options.rounds(Plan::THOROUGH, Plan::QUICK);
    for round in 0..options.rounds(ROUNDS, QUICK_ROUNDS) {
        for lane in &lanes {
            lane.round(round, &plan, comparison)
                .with_context(|| format!("{}, round {}", lane.subject(), round + 1))?;
        }
        // None is always the one after the other.
        lanes.reverse();
    }
    for lane in &lanes {
        if let Some(tls) = lane.describe_tls()? {
            comparison.note(tls);
        }
    }
    lane::compare_handshakes(comparison);
    Ok(())
}

/// Starts with few and many clusters, without traffic.
fn clusters(options: &Options, rig: &Rig, comparison: &mut Comparison) -> anyhow::Result<()> {
    let mut able = Vec::new();
    for subject in Subject::ALL {
        let file = rig.bootstraps.clusters(Sizes::LEAST, true);
        match rig.programs.validate(subject, file)? {
            None => able.push(subject),
            Some(refusal) => comparison.note(format!(
                "{subject} with many clusters is left out: {refusal}."
            )),
        }
    }
    for _ in 0..options.rounds(STARTS, QUICK_STARTS) {
        for &subject in &able {
            clusters::round(rig, subject, comparison)
                .with_context(|| format!("{subject} with many clusters"))?;
        }
        able.reverse();
    }
    Ok(())
}

/// Connections that are kept open need more than the usual 1,024, here and in what is started.
fn raise_open_files() -> anyhow::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).context("raise the limit of open files")
}
