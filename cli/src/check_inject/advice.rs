//! What to change so that a pod is injected: changes of labels are tried, so what is advised works.

use fairlead_api::names::{INJECT, INJECTION_LABEL, REVISION};
use serde_json::Value;

use super::{
    entry::labels,
    facts::Namespace,
    predict::{Outcome, predict},
    reason::revisions,
    world::World,
};

/// A label that is set, or taken away.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Change {
    OfNamespace(&'static str, Option<String>),
    OfPod(&'static str, Option<&'static str>),
    /// The annotation that forbids the injection.
    NoAnnotation,
}

/// The fewest changes that lead to an injection by one installation, of the namespace and of the
/// pod; `template` is where the pod's labels are written.
pub(super) fn advise(
    world: &World,
    namespace: &Namespace,
    pod: &Value,
    outcome: &Outcome,
    template: &str,
) -> Vec<String> {
    let of_pod: Vec<Vec<Change>> = match outcome {
        Outcome::Conflict { .. } => Vec::new(),
        Outcome::Skipped { .. } | Outcome::NotAsked { .. } | Outcome::Unanswered { .. } => {
            of_pod(pod)
        }
        _ => return Vec::new(),
    };
    let works = |changes: &&Vec<Change>| {
        let (namespace, pod) = changed(namespace, pod, changes);
        matches!(
            predict(world, &namespace, &pod).outcome,
            Outcome::Injected { .. }
        )
    };
    let of_pod = of_pod.iter().find(works);
    // What the pod itself forbids stays, whatever its namespace says.
    if matches!(outcome, Outcome::Skipped { .. }) {
        return of_pod
            .map(|changes| words(changes, namespace, template))
            .into_iter()
            .collect();
    }
    let opted_out = is_opted_out(pod);
    if let Some(changes) = of_pod.filter(|_| opted_out) {
        return vec![words(changes, namespace, template)];
    }
    let all = of_namespace(world, namespace, opted_out);
    let of_namespace = all.iter().find(works);
    [of_namespace, of_pod]
        .into_iter()
        .flatten()
        .map(|changes| words(changes, namespace, template))
        .collect()
}

/// What the pod can say for itself, the least first.
fn of_pod(pod: &Value) -> Vec<Vec<Change>> {
    let annotations = pod.pointer("/metadata/annotations");
    let annotated = annotations.and_then(|found| found.get(INJECT));
    let mut candidates = Vec::new();
    if labels(pod).contains_key(INJECT) {
        candidates.push(vec![Change::OfPod(INJECT, None)]);
    } else if annotated.is_some_and(|value| value == "false") {
        candidates.push(vec![Change::NoAnnotation]);
    }
    candidates.push(vec![Change::OfPod(INJECT, Some("true"))]);
    candidates
}

/// What the namespace can say: the default revision, or another; or that in the words that it uses.
fn of_namespace(world: &World, namespace: &Namespace, opted_out: bool) -> Vec<Vec<Change>> {
    let has = |key: &str| namespace.labels.contains_key(key);
    let enabled = Change::OfNamespace(INJECTION_LABEL, Some("enabled".to_owned()));
    let mut candidates = vec![vec![enabled]];
    for revision in revisions(world.own_entries()) {
        let mut changes = vec![Change::OfNamespace(REVISION, Some(revision))];
        if has(INJECTION_LABEL) {
            changes.push(Change::OfNamespace(INJECTION_LABEL, None));
        }
        candidates.push(changes);
    }
    if has(REVISION) && !has(INJECTION_LABEL) {
        candidates.rotate_left(1);
    }
    if opted_out {
        for changes in &mut candidates {
            changes.push(Change::OfPod(INJECT, None));
        }
    }
    candidates
}

fn is_opted_out(pod: &Value) -> bool {
    labels(pod)
        .get(INJECT)
        .is_some_and(|value| value == "false")
}

fn changed(namespace: &Namespace, pod: &Value, changes: &[Change]) -> (Namespace, Value) {
    let (mut namespace, mut pod) = (namespace.clone(), pod.clone());
    for change in changes {
        match change {
            Change::OfNamespace(key, Some(value)) => {
                namespace.labels.insert((*key).to_owned(), value.clone());
            }
            Change::OfNamespace(key, None) => {
                namespace.labels.remove(*key);
            }
            Change::OfPod(key, value) => set(&mut pod, "labels", key, *value),
            Change::NoAnnotation => set(&mut pod, "annotations", INJECT, None),
        }
    }
    (namespace, pod)
}

/// Sets a text of the pod's metadata, or takes it away.
fn set(pod: &mut Value, field: &str, key: &str, value: Option<&str>) {
    let Some(pod) = pod.as_object_mut() else {
        return;
    };
    let mut place = pod;
    for step in ["metadata", field] {
        let next = place.entry(step).or_insert(Value::Null);
        if next.is_null() {
            *next = Value::Object(serde_json::Map::new());
        }
        let Some(next) = next.as_object_mut() else {
            return;
        };
        place = next;
    }
    match value {
        Some(value) => place.insert(key.to_owned(), value.into()),
        None => place.remove(key),
    };
}

fn words(changes: &[Change], namespace: &Namespace, template: &str) -> String {
    let mut of_namespace = Vec::new();
    let mut overwrite = false;
    let mut of_pod = Vec::new();
    for change in changes {
        match change {
            Change::OfNamespace(key, Some(value)) => {
                overwrite |= namespace.labels.contains_key(*key);
                of_namespace.push(format!("{key}={value}"));
            }
            Change::OfNamespace(key, None) => of_namespace.push(format!("{key}-")),
            Change::OfPod(key, Some(value)) => {
                of_pod.push(format!("set the label {key}: \"{value}\" in {template}"));
            }
            Change::OfPod(key, None) => {
                of_pod.push(format!("take the label {key} out of {template}"));
            }
            Change::NoAnnotation => {
                of_pod.push(format!("take the annotation {INJECT} out of {template}"));
            }
        }
    }
    if !of_namespace.is_empty() {
        let overwrite = if overwrite { " --overwrite" } else { "" };
        of_pod.insert(
            0,
            format!(
                "kubectl label namespace {} {}{overwrite}",
                namespace.name,
                of_namespace.join(" ")
            ),
        );
    }
    of_pod.join(", and ")
}

#[cfg(test)]
mod tests {
    use fairlead_webhook::settings::Policy;
    use serde_json::json;

    use super::*;
    use crate::check_inject::kit::{namespace, pod, rendered, world};

    #[track_caller]
    fn check(world: &World, namespace: &Namespace, pod: &Value, expected: &[&str]) {
        let outcome = predict(world, namespace, pod).outcome;
        let found = advise(world, namespace, pod, &outcome, "the pod");
        assert_eq!(found, expected, "{outcome:?}");
    }

    const LABEL: &str = "set the label sidecar.istio.io/inject: \"true\" in the pod";
    const NO_LABEL: &str = "take the label sidecar.istio.io/inject out of the pod";

    #[test]
    fn the_fewest_changes_are_advised() {
        let default = world(vec![rendered("default")]);
        for (of_namespace, of_pod, expected) in [
            (
                "",
                "",
                &[
                    "kubectl label namespace shop istio-injection=enabled",
                    LABEL,
                ][..],
            ),
            ("istio-injection=enabled", "", &[]),
            (
                "istio-injection=off",
                "",
                &["kubectl label namespace shop istio-injection=enabled --overwrite"],
            ),
            (
                "istio-injection=off",
                "sidecar.istio.io/inject=false",
                &[
                    "kubectl label namespace shop istio-injection=enabled --overwrite, and take \
                     the label sidecar.istio.io/inject out of the pod",
                ],
            ),
            (
                "istio-injection=enabled",
                "sidecar.istio.io/inject=false",
                &[NO_LABEL],
            ),
            ("", "sidecar.istio.io/inject=false", &[LABEL]),
            (
                "istio.io/rev=old",
                "",
                &["kubectl label namespace shop istio.io/rev=default --overwrite"],
            ),
        ] {
            check(&default, &namespace(of_namespace), &pod(of_pod), expected);
        }
    }

    #[test]
    fn a_named_revision_is_advised_where_there_is_no_default_one() {
        let canary = world(vec![rendered("canary")]);
        for (of_namespace, expected) in [
            ("", "kubectl label namespace shop istio.io/rev=canary"),
            (
                "istio-injection=enabled",
                "kubectl label namespace shop istio.io/rev=canary istio-injection-",
            ),
        ] {
            check(&canary, &namespace(of_namespace), &pod(""), &[expected]);
        }
    }

    #[test]
    fn what_the_webhook_itself_skips_is_the_pods_to_change() {
        let mut world = world(vec![rendered("default")]);
        let enabled = namespace("istio-injection=enabled");
        let mut annotated = pod("");
        annotated["metadata"]["annotations"] = json!({ INJECT: "false" });
        let advice = "take the annotation sidecar.istio.io/inject out of the pod";
        check(&world, &enabled, &annotated, &[advice]);
        for settings in world.settings.values_mut() {
            settings.as_mut().unwrap().settings.policy = Policy::Disabled;
        }
        check(&world, &enabled, &pod(""), &[LABEL]);
    }

    #[test]
    fn nothing_is_advised_where_nothing_helps() {
        let default = world(vec![rendered("default")]);
        let mut host = pod("");
        host["spec"]["hostNetwork"] = json!(true);
        check(&default, &namespace(""), &host, &[]);
        check(&default, &Namespace::named("kube-system"), &pod(""), &[]);
        check(&world(vec![]), &namespace(""), &pod(""), &[]);
        let mut typo = pod("");
        typo["metadata"]["annotations"] = json!({ "sidecar.istio.io/logLevel": "loud" });
        check(&default, &namespace("istio-injection=enabled"), &typo, &[]);
    }
}
