//! The labels and annotations of an injected pod.

use fairlead_api::names::{
    CANONICAL_NAME_LABEL, CANONICAL_REVISION_LABEL, DEFAULT_CONTAINER, DEFAULT_LOGS_CONTAINER,
    NETWORK_LABEL, OVERRIDES, REVISION, STATUS,
};
use serde_json::{Value, json};

use super::{Plan, cni, environment, object, templates::Base};
use crate::pod;

/// Writes what is wanted; labels and default containers of the pod's own are stronger.
///
/// The label `security.istio.io/tlsMode` is not among it: `istio` would tell the proxies of others to
/// send mutual TLS, which this proxy does not speak yet.
pub(super) fn write(pod: &mut Value, plan: &Plan<'_>) {
    if pod.get("metadata").is_none_or(Value::is_null) {
        pod["metadata"] = json!({});
    }
    let annotations = object(&mut pod["metadata"], "annotations");
    annotations.insert(REVISION.to_owned(), json!(plan.settings.revision));
    annotations.insert(STATUS.to_owned(), json!(plan.added.text()));
    if plan.base == Base::Nothing {
        return;
    }
    for (key, value) in plan.metrics.annotations() {
        annotations.insert(key.to_owned(), json!(value));
    }
    if let Some(text) = plan.overrides.text() {
        annotations.insert(OVERRIDES.to_owned(), json!(text));
    }
    if let Some(container) = plan.app_containers.first() {
        for key in [DEFAULT_CONTAINER, DEFAULT_LOGS_CONTAINER] {
            annotations.entry(key).or_insert_with(|| json!(container));
        }
    }
    if plan.settings.cni.enabled && plan.base == Base::Sidecar {
        cni::write(annotations, plan);
    }
    labels(pod, plan);
}

fn labels(pod: &mut Value, plan: &Plan<'_>) {
    let labels = pod::labels(pod);
    let first = |keys: &[&str]| keys.iter().find_map(|key| labels.get(*key)).cloned();
    let name = first(&[CANONICAL_NAME_LABEL, "app.kubernetes.io/name", "app"])
        .unwrap_or_else(|| label_value(&plan.workload.name));
    let revision = first(&[
        CANONICAL_REVISION_LABEL,
        "app.kubernetes.io/version",
        "version",
    ])
    .unwrap_or_else(|| "latest".to_owned());

    let labels = object(&mut pod["metadata"], "labels");
    for (key, value) in [
        (CANONICAL_NAME_LABEL, name),
        (CANONICAL_REVISION_LABEL, revision),
        (NETWORK_LABEL, environment::network(plan).to_owned()),
    ] {
        if !value.is_empty() {
            labels.entry(key).or_insert_with(|| json!(value));
        }
    }
}

/// The name of an object as the value of a label, which is at most 63 characters long and ends in a
/// letter or digit.
fn label_value(name: &str) -> String {
    let cut: String = name.chars().take(63).collect();
    cut.trim_matches(['-', '_', '.']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_to_a_label() {
        let long = format!("{}.tail", "a".repeat(62));
        assert_eq!(label_value(&long), "a".repeat(62));
        assert_eq!(label_value("cart"), "cart");
    }
}
