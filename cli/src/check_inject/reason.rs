//! Why no webhook of ours is asked about a pod: of all that is not met, what counts.

use std::collections::BTreeSet;

use fairlead_api::names::{INJECT, INJECTION_LABEL, REVISION};
use kube::core::Expression;
use serde_json::Value;

use super::{
    entry::{Match, Unmet, labels},
    facts::{NAME_LABEL, Namespace},
    predict::{Evaluated, Outcome},
    world::Entry,
};

/// Says it in words.
pub(super) fn not_asked(entries: &[Evaluated<'_>], namespace: &Namespace, pod: &Value) -> Outcome {
    let ours: Vec<&Evaluated<'_>> = entries
        .iter()
        .filter(|found| found.entry.is_own())
        .collect();
    if ours.is_empty() {
        return Outcome::Unanswered {
            why: "Fairlead is not installed: no MutatingWebhookConfiguration of it shows new pods"
                .to_owned(),
        };
    }
    let unmet = || {
        ours.iter().filter_map(|found| match &found.found {
            Match::NotAsked(unmet) => Some(unmet.as_slice()),
            Match::Asked | Match::Unknown(_) => None,
        })
    };
    if let Some(why) = because_of_the_pod_itself(unmet(), namespace, pod) {
        return Outcome::NotAsked { why };
    }
    by_labels(ours.iter().map(|found| found.entry), namespace, pod)
}

/// What no label can change, or what the pod has chosen.
fn because_of_the_pod_itself<'a>(
    mut unmet: impl Iterator<Item = &'a [Unmet]> + Clone,
    namespace: &Namespace,
    pod: &Value,
) -> Option<String> {
    let is_by_name = |unmet: &Unmet| matches!(unmet, Unmet::Label { expression: Expression::NotIn(key, _), .. } if key == NAME_LABEL);
    if unmet.clone().all(|unmet| unmet.iter().any(is_by_name)) {
        let name = &namespace.name;
        return Some(format!(
            "pods of the namespace {name} are never injected: its name is excluded in each entry"
        ));
    }
    let is_condition = |unmet: &&Unmet| matches!(unmet, Unmet::Condition { .. });
    let conditions = unmet.find(|unmet| unmet.iter().all(|unmet| is_condition(&unmet)));
    if let Some(Unmet::Condition { why, .. }) = conditions.and_then(<[_]>::first) {
        return Some(why.to_string());
    }
    let opted_out = labels(pod)
        .get(INJECT)
        .is_some_and(|value| value == "false");
    opted_out.then(|| format!("the pod's label {INJECT} is false"))
}

fn by_labels<'a>(
    ours: impl Iterator<Item = &'a Entry>,
    namespace: &Namespace,
    pod: &Value,
) -> Outcome {
    let revisions = revisions(ours);
    let known = || {
        let names = revisions.iter().map(String::as_str).collect::<Vec<_>>();
        format!("{REVISION} may be {}", names.join(" or "))
    };
    let of_pod = labels(pod);
    match namespace.labels.get(INJECTION_LABEL).map(String::as_str) {
        Some("enabled") => {
            return Outcome::Unanswered {
                why: format!(
                    "the namespace has the label {INJECTION_LABEL}=enabled, which asks for the \
                     default revision, and there is none; {}",
                    known()
                ),
            };
        }
        Some(other) => {
            return Outcome::NotAsked {
                why: format!(
                    "the namespace has the label {INJECTION_LABEL}={other}, and every value but \
                     enabled keeps the webhooks away"
                ),
            };
        }
        None => {}
    }
    for (of, labels) in [("namespace", &namespace.labels), ("pod", &of_pod)] {
        if let Some(revision) = labels.get(REVISION) {
            return Outcome::Unanswered {
                why: format!(
                    "the {of} has the label {REVISION}={revision}, to which no installation \
                     answers; {}",
                    known()
                ),
            };
        }
    }
    let annotation = pod.pointer("/metadata/annotations");
    let annotation = annotation.and_then(|annotations| annotations.get(INJECT));
    match of_pod.get(INJECT).map(String::as_str) {
        Some("true") => Outcome::Unanswered {
            why: format!(
                "the pod's label {INJECT} asks for the default revision, and there is none; {}",
                known()
            ),
        },
        None if annotation.is_some_and(|value| value == "true") => Outcome::NotAsked {
            why: format!(
                "neither the namespace nor the pod has a label that asks for a sidecar; the API \
                 server does not look at the annotation {INJECT}"
            ),
        },
        _ => Outcome::NotAsked {
            why: "neither the namespace nor the pod has a label that asks for a sidecar".to_owned(),
        },
    }
}

/// The values of `istio.io/rev` that lead to one of these entries: revisions and tags.
pub(super) fn revisions<'a>(entries: impl Iterator<Item = &'a Entry>) -> BTreeSet<String> {
    entries
        .flat_map(|entry| {
            [
                &entry.webhook.object_selector,
                &entry.webhook.namespace_selector,
            ]
        })
        .flatten()
        .flat_map(|selector| selector.match_expressions.iter().flatten())
        .filter(|requirement| requirement.key == REVISION && requirement.operator == "In")
        .flat_map(|requirement| requirement.values.iter().flatten().cloned())
        .collect()
}
