//! The answer about one pod, or the pods of one workload: pure.

use serde::Serialize;

use super::{
    advice,
    entry::Match,
    facts::Namespace,
    mesh::{Installation, Mesh},
    predict::{Evaluated, Outcome, predict},
    sidecar::Sidecar,
    subject::{Running, Subject},
    world::{Entry, World},
};

/// What happens to a pod, why, and what to do.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) subject: String,
    pub(super) namespace: String,
    /// Whether nothing is wrong.
    pub(super) ok: bool,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
    pub(super) warnings: Vec<String>,
    pub(super) problems: Vec<String>,
    /// Each leads to an injection.
    pub(super) advice: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) now: Option<Now>,
    pub(super) entries: Vec<EntryReport>,
}

/// What the pods are that run.
#[derive(Debug, Serialize)]
pub(super) struct Now {
    pub(super) pods: Vec<PodNow>,
    /// What makes them as they should be, if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restart: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct PodNow {
    pub(super) name: String,
    /// The sidecar in words; none if there is none.
    pub(super) sidecar: Option<String>,
    /// Whether it is what the pod would get now; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) current: Option<bool>,
}

/// One entry of a MutatingWebhookConfiguration, for this pod.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryReport {
    pub(super) configuration: String,
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) installation: Option<Installation>,
    /// Absent where it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<bool>,
    /// Each reason why it is not, or why that cannot be told.
    pub(super) why: Vec<String>,
    /// What it answers, if it is asked and of a mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<String>,
}

/// Answers.
pub(super) fn report(world: &World, namespace: &Namespace, subject: &Subject) -> Report {
    let prediction = predict(world, namespace, &subject.pod);
    let outcome = prediction.outcome;
    let owner = &subject.owner;
    Report {
        subject: subject.name.clone(),
        namespace: subject.namespace.clone(),
        ok: outcome.is_right() && prediction.problems.is_empty(),
        advice: advice::advise(world, namespace, &subject.pod, &outcome, &owner.template()),
        now: now(&outcome, subject),
        outcome,
        warnings: prediction.warnings,
        problems: prediction.problems,
        entries: prediction.entries.iter().map(EntryReport::of).collect(),
    }
}

/// What pods have now, and whether that is what they would get.
fn now(outcome: &Outcome, subject: &Subject) -> Option<Now> {
    if subject.running.is_empty() {
        return None;
    }
    let own = Sidecar::of(&subject.pod);
    let current = |pod: &Running| match outcome {
        Outcome::Injected { by } | Outcome::OtherMesh { by } => {
            sidecar_of(by).map(|expected| pod.sidecar.as_ref() == Some(&expected))
        }
        // What is written in the template comes back with each pod.
        Outcome::Skipped { .. } | Outcome::NotAsked { .. } => {
            Some(pod.sidecar.is_some() == own.is_some())
        }
        _ => None,
    };
    let pods: Vec<PodNow> = subject
        .running
        .iter()
        .map(|pod| PodNow {
            name: pod.name.clone(),
            sidecar: pod.sidecar.as_ref().map(ToString::to_string),
            current: current(pod),
        })
        .collect();
    let is_stale = pods.iter().any(|pod| pod.current == Some(false));
    Some(Now {
        pods,
        restart: is_stale.then(|| subject.owner.restart(&subject.namespace)),
    })
}

/// None if it cannot be told from an application's container.
fn sidecar_of(installation: &Installation) -> Option<Sidecar> {
    match installation.mesh {
        Mesh::Fairlead | Mesh::Istio => Some(Sidecar::Proxy(installation.revision.clone())),
        Mesh::Osm => None,
        other => Some(Sidecar::Foreign(other)),
    }
}

impl EntryReport {
    fn of(evaluated: &Evaluated<'_>) -> Self {
        let Evaluated {
            entry,
            found,
            answer,
        } = evaluated;
        let Entry {
            configuration,
            installation,
            webhook,
            ..
        } = entry;
        let (asked, why) = match found {
            Match::Asked => (Some(true), Vec::new()),
            Match::NotAsked(unmet) => {
                (Some(false), unmet.iter().map(ToString::to_string).collect())
            }
            Match::Unknown(why) => (None, why.clone()),
        };
        Self {
            configuration: configuration.clone(),
            name: webhook.name.clone(),
            installation: installation.clone(),
            asked,
            why,
            answer: answer.as_ref().map(ToString::to_string),
        }
    }
}
