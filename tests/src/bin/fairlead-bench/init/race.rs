//! Rounds in which each program programs a pod of its own, so that what else the machine does falls on
//! all alike.

use anyhow::Context;
use fairlead_tests::netns::Namespace;

use super::{
    installed::{self, Difference, Installed},
    milliseconds,
    subject::{Backend, Subject},
};

/// All rounds of one redirect.
#[derive(Debug)]
pub(super) struct Race {
    redirect: Vec<String>,
    lanes: Vec<Lane>,
    rounds: usize,
    /// Rules in each set of ours, and in each of theirs.
    rules: [usize; 2],
    difference: Option<(Subject, Difference)>,
    /// Rounds after which Istio's rules were in the legacy backend too.
    doubled: usize,
    refused: Vec<String>,
}

/// One program's part.
#[derive(Debug)]
struct Lane {
    subject: Subject,
    /// In milliseconds, of the first and the second run.
    samples: [Vec<f64>; 2],
}

impl Race {
    /// Lets each program run once for nothing, which fills the page cache. A program that cannot
    /// use nftables natively is left out.
    pub(super) fn new(redirect: Vec<String>, subjects: &[Subject]) -> anyhow::Result<Self> {
        let mut race = Self {
            redirect,
            lanes: Vec::new(),
            rounds: 0,
            rules: [0; 2],
            difference: None,
            doubled: 0,
            refused: Vec::new(),
        };
        for &subject in subjects {
            match race.run(subject, &pod()) {
                Err(error) if subject.backend() == Backend::Nftables => {
                    race.refused
                        .push(format!("{subject} is left out: {error:#}"));
                }
                run => {
                    run?;
                    let samples = [Vec::new(), Vec::new()];
                    race.lanes.push(Lane { subject, samples });
                }
            }
        }
        Ok(race)
    }

    /// Each program once, and those that are `twice` a second time in the same pod.
    pub(super) fn round(&mut self, twice: impl Fn(Subject) -> bool) -> anyhow::Result<()> {
        // None is always the one after the same other.
        self.lanes.rotate_left(1);
        self.rounds += 1;
        let mut sets = Vec::new();
        for index in 0..self.lanes.len() {
            let subject = self.lanes[index].subject;
            let pod = pod();
            let runs = if twice(subject) { 2 } else { 1 };
            for run in 0..runs {
                let elapsed = self.run(subject, &pod)?;
                self.lanes[index].samples[run].push(elapsed);
            }
            if subject.backend() == Backend::Iptables {
                sets.push((subject, Installed::of(&pod)?));
            }
            if subject == Subject::Istio && installed::has_legacy_rules(&pod)? {
                self.doubled += 1;
            }
        }
        self.compare(&sets);
        Ok(())
    }

    /// Runs a program, makes sure that its rules are there, and returns how long it took.
    fn run(&self, subject: Subject, pod: &Namespace) -> anyhow::Result<f64> {
        let command = subject.command(&self.redirect)?;
        milliseconds(pod, command, "")
            .and_then(|elapsed| {
                installed::check(pod, subject.backend())?;
                Ok(elapsed)
            })
            .with_context(|| subject.to_string())
    }

    fn compare(&mut self, sets: &[(Subject, Installed)]) {
        let Some((_, ours)) = sets.iter().find(|(subject, _)| subject.is_ours()) else {
            return;
        };
        let theirs = sets.iter().find(|(subject, _)| !subject.is_ours());
        self.rules = [ours.count(), theirs.map_or(0, |(_, theirs)| theirs.count())];
        let differences = sets.iter().filter_map(|(subject, installed)| {
            let difference = ours.difference(installed)?;
            Some((*subject, difference))
        });
        self.difference = self.difference.take().or(differences.into_iter().next());
    }

    /// How long the first and the second run of a program took, by round; of one that was left out,
    /// nothing.
    pub(super) fn samples(&self, subject: Subject) -> &[Vec<f64>] {
        let lane = self.lanes.iter().find(|lane| lane.subject == subject);
        lane.map_or(&[], |lane| &lane.samples)
    }

    /// What the first and the second run of one take of the other's in the same round.
    pub(super) fn ratios(&self, [ours, theirs]: [Subject; 2]) -> Vec<Vec<f64>> {
        let runs = self.samples(ours).iter().zip(self.samples(theirs));
        runs.map(|(ours, theirs)| {
            let rounds = ours.iter().zip(theirs);
            rounds.map(|(ours, theirs)| ours / theirs).collect()
        })
        .collect()
    }

    /// What the times do not say.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.refused.clone();
        let rounds = self.rounds;
        let [ours, theirs] = self.rules;
        notes.push(match &self.difference {
            None => format!(
                "Rules equal: the {ours} rules of Fairlead are those of Istio in all {rounds} rounds, order included.",
            ),
            Some(_) if ours < theirs => format!(
                "Fairlead has {ours} rules, of up to 15 ports each, where Istio has {theirs}."
            ),
            Some((subject, difference)) => {
                format!("RULES DIFFER between Fairlead and {subject}: {difference}.")
            }
        });
        if self.doubled > 0 {
            notes.push(format!(
                "Istio installed its rules a second time, in the legacy backend, in the second run of {} of {rounds} rounds.",
                self.doubled
            ));
        }
        notes
    }
}

/// A fresh network namespace with an interface that has an address of each family, as a pod's has:
/// by it Istio's program decides which families there are.
pub(super) fn pod() -> Namespace {
    let pod = Namespace::new();
    pod.ip(&[
        "link", "add", "eth0", "type", "veth", "peer", "name", "cable",
    ]);
    for interface in ["eth0", "cable"] {
        pod.ip(&["link", "set", interface, "up"]);
    }
    pod.ip(&["address", "add", "10.0.0.1/24", "dev", "eth0"]);
    pod.ip(&["address", "add", "fd00::1/64", "dev", "eth0", "nodad"]);
    pod
}
