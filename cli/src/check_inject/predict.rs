//! What happens to a pod when it is created: pure, from all webhooks, the namespace and the pod.

use serde::Serialize;
use serde_json::Value;

use super::{
    entry::{self, Match},
    facts::{Known, Namespace},
    mesh::{Decision, Installation, Mesh, Server},
    own, reason,
    world::{Entry, World},
};

/// What happens to a pod.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "camelCase")]
pub(super) enum Outcome {
    /// It gets a sidecar of ours.
    Injected { by: Installation },
    /// A webhook of ours is asked and lets it pass.
    Skipped { by: Installation, why: String },
    /// No webhook of ours is asked, and that is as the labels say.
    NotAsked { why: String },
    /// Another mesh alone takes it.
    OtherMesh { by: Installation },
    /// It asks for a sidecar that nobody has.
    Unanswered { why: String },
    /// It is not created.
    Refused {
        by: Installation,
        faults: Vec<String>,
    },
    /// A webhook of ours is to be asked and cannot be; `created` says whether the pod comes into
    /// being nevertheless.
    Unreachable {
        by: Installation,
        why: String,
        created: bool,
    },
    /// Several installations take it.
    Conflict { between: Vec<Installation> },
    /// It cannot be told.
    Unknown { why: String },
}

impl Outcome {
    /// Whether this is as somebody wants it.
    pub(super) fn is_right(&self) -> bool {
        match self {
            Self::Injected { .. }
            | Self::Skipped { .. }
            | Self::NotAsked { .. }
            | Self::OtherMesh { .. } => true,
            Self::Unanswered { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Conflict { .. }
            | Self::Unknown { .. } => false,
        }
    }
}

/// What happens to a pod, and what led to that.
#[derive(Debug)]
pub(super) struct Prediction<'a> {
    pub(super) outcome: Outcome,
    /// What the webhook would warn of.
    pub(super) warnings: Vec<String>,
    /// What else is wrong.
    pub(super) problems: Vec<String>,
    pub(super) entries: Vec<Evaluated<'a>>,
}

/// An entry, for one pod.
#[derive(Debug)]
pub(super) struct Evaluated<'a> {
    pub(super) entry: &'a Entry,
    pub(super) found: Match,
    /// What a webhook of a mesh answers, if it is asked.
    pub(super) answer: Option<Decision>,
}

/// An installation that is asked, and what it answers.
struct Asked<'a> {
    installation: &'a Installation,
    decision: Decision,
    warnings: Vec<String>,
    obstacles: Vec<String>,
    ignored_on_failure: bool,
}

/// Tells what happens to a pod.
pub(super) fn predict<'a>(world: &'a World, namespace: &Namespace, pod: &Value) -> Prediction<'a> {
    let evaluated = world.entries.iter().map(|entry| Evaluated {
        found: entry::asked(&entry.webhook, namespace, pod),
        entry,
        answer: None,
    });
    let mut entries: Vec<Evaluated<'_>> = evaluated.collect();
    let asked = who_is_asked(world, &entries, namespace, pod);
    for evaluated in &mut entries {
        let installation = evaluated.entry.installation.as_ref();
        if let (Some(installation), Match::Asked) = (installation, &evaluated.found) {
            let mut asked = asked.iter();
            let asked = asked.find(|asked| asked.installation.is_same(installation));
            evaluated.answer = asked.map(|asked| asked.decision.clone());
        }
    }
    let mut problems = obstacles_of_others(world, &entries);
    problems.extend(undecided(&asked));
    let mut warnings = uncounted(world, &asked);
    warnings.extend(asked.iter().flat_map(|asked| asked.warnings.clone()));
    Prediction {
        warnings,
        outcome: outcome(&entries, &asked, namespace, pod),
        problems,
        entries,
    }
}

/// Each installation once, however many entries lead to it.
fn who_is_asked<'a>(
    world: &World,
    entries: &[Evaluated<'a>],
    namespace: &Namespace,
    pod: &Value,
) -> Vec<Asked<'a>> {
    let mut all: Vec<Asked<'_>> = Vec::new();
    for Evaluated { entry, found, .. } in entries {
        let (Some(installation), Match::Asked) = (&entry.installation, found) else {
            continue;
        };
        let known = all
            .iter_mut()
            .find(|asked| asked.installation.is_same(installation));
        if let Some(known) = known {
            for obstacle in entry.obstacles(&world.ready) {
                if !known.obstacles.contains(&obstacle) {
                    known.obstacles.push(obstacle);
                }
            }
            known.ignored_on_failure &= entry.is_ignored_on_failure();
            continue;
        }
        let (decision, warnings) = match (&installation.mesh, &installation.server) {
            (Mesh::Fairlead, server) => match own_settings(world, server) {
                Ok(known) => own::answer(known, namespace, pod),
                Err(why) => (Decision::Unknown(why), Vec::new()),
            },
            (other, _) => (other.decide(namespace, pod), Vec::new()),
        };
        all.push(Asked {
            installation,
            decision,
            warnings,
            obstacles: entry.obstacles(&world.ready),
            ignored_on_failure: entry.is_ignored_on_failure(),
        });
    }
    all
}

fn own_settings<'a>(world: &'a World, server: &Server) -> Result<&'a Known, String> {
    let found = match server {
        Server::Service(service) => world.settings.get(service),
        Server::Url(url) => return Err(format!("its settings are not known: it is at {url}")),
    };
    match found {
        Some(Ok(known)) => Ok(known),
        Some(Err(why)) => Err(why.clone()),
        None => Err("its settings are not known".to_owned()),
    }
}

/// What keeps webhooks of others from being called, since a pod may not come into being then.
fn obstacles_of_others(world: &World, entries: &[Evaluated<'_>]) -> Vec<String> {
    let mut problems = Vec::new();
    for Evaluated { entry, found, .. } in entries {
        if *found != Match::Asked || entry.is_own() {
            continue;
        }
        let effect = if entry.is_ignored_on_failure() {
            "pods are created without it"
        } else {
            "no such pod can be created (failurePolicy Fail)"
        };
        for obstacle in entry.obstacles(&world.ready) {
            let problem = format!(
                "{obstacle}, so the API server cannot ask {}: {effect}",
                entry.webhook.name
            );
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    problems
}

/// Of which webhook of ours it is not known whether anybody answers.
fn uncounted(world: &World, asked: &[Asked<'_>]) -> Vec<String> {
    let servers = asked.iter().map(|asked| asked.installation);
    let servers = servers.filter(|installation| installation.mesh == Mesh::Fairlead);
    servers
        .filter_map(|installation| {
            let Server::Service(service) = &installation.server else {
                return None;
            };
            let why = world.ready.get(service)?.as_ref().err()?;
            Some(format!(
                "whether {service} has a ready endpoint is not known: {why}"
            ))
        })
        .collect()
}

/// What is not known of other meshes where one of ours injects.
fn undecided(asked: &[Asked<'_>]) -> Vec<String> {
    let ours = |asked: &&Asked<'_>| asked.installation.mesh == Mesh::Fairlead;
    let injects = asked
        .iter()
        .filter(ours)
        .any(|asked| asked.decision == Decision::Inject);
    asked
        .iter()
        .filter(|asked| injects && !ours(asked))
        .filter_map(|asked| match &asked.decision {
            Decision::Unknown(why) => Some(format!(
                "{} is asked, too, and may inject a second sidecar: {why}",
                asked.installation
            )),
            _ => None,
        })
        .collect()
}

fn outcome(
    entries: &[Evaluated<'_>],
    asked: &[Asked<'_>],
    namespace: &Namespace,
    pod: &Value,
) -> Outcome {
    let takers: Vec<&Asked<'_>> = asked
        .iter()
        .filter(|asked| matches!(asked.decision, Decision::Inject | Decision::Refuse(_)))
        .collect();
    if takers.len() > 1 {
        let between = takers.iter().map(|taker| taker.installation.clone());
        return Outcome::Conflict {
            between: between.collect(),
        };
    }
    let own = |asked: &&Asked<'_>| asked.installation.mesh == Mesh::Fairlead;
    // The one that takes the pod, before those that let it pass.
    let of_ours = takers
        .iter()
        .copied()
        .find(own)
        .or_else(|| asked.iter().find(own));
    if let Some(asked) = of_ours {
        return outcome_of(asked);
    }
    let mut unknown = entries.iter().filter_map(|evaluated| {
        let Match::Unknown(why) = &evaluated.found else {
            return None;
        };
        let name = &evaluated.entry.webhook.name;
        evaluated
            .entry
            .is_own()
            .then(|| format!("whether {name} is asked: {}", why.join("; ")))
    });
    if let Some(why) = unknown.next() {
        return Outcome::Unknown { why };
    }
    if let [taker] = takers[..] {
        return Outcome::OtherMesh {
            by: taker.installation.clone(),
        };
    }
    reason::not_asked(entries, namespace, pod)
}

fn outcome_of(asked: &Asked<'_>) -> Outcome {
    let by = asked.installation.clone();
    if !asked.obstacles.is_empty() {
        return Outcome::Unreachable {
            by,
            why: asked.obstacles.join("; "),
            created: asked.ignored_on_failure,
        };
    }
    match &asked.decision {
        Decision::Inject => Outcome::Injected { by },
        Decision::Skip(why) => Outcome::Skipped {
            by,
            why: why.clone(),
        },
        Decision::Refuse(faults) => Outcome::Refused {
            by,
            faults: faults.clone(),
        },
        Decision::Unknown(why) => Outcome::Unknown {
            why: format!("{by} is asked, but {why}"),
        },
    }
}

#[cfg(test)]
mod tests;
