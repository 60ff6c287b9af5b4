//! A pod → the pod that it was before the injection: pure.
//!
//! What the status annotation lists is taken out, what was redirected is brought back, as are containers
//! that were merged with the injected ones, and of the labels and annotations those go that an injection
//! would give the pod now. Where that would not give back the very pod that was injected,
//! say because it had one of the labels before, `inject` leaves what is missing in an annotation.

mod originals;

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use fairlead_api::{
    annotations::{
        INCLUDE_INBOUND_PORTS, INCLUDE_OUTBOUND_IP_RANGES, INTERCEPTION_MODE, prometheus,
    },
    names::{
        CANONICAL_NAME_LABEL, CANONICAL_REVISION_LABEL, DEFAULT_CONTAINER, DEFAULT_LOGS_CONTAINER,
        NETWORK_LABEL, OVERRIDES, REVISION, STATUS, VALIDATION_CONTAINER,
    },
};
use fairlead_webhook::{
    inject::{Place, inject},
    settings::Settings,
};
use json_patch::Patch;
use serde_json::{Map, Value, json};

/// What `uninject` does after it has taken out what was injected, as a JSON Patch.
const RECORD: &str = "fairlead.io/uninject";

/// Labels and annotations that an injected pod has, perhaps of its own.
const METADATA: [(&str, &[&str]); 2] = [
    (
        "labels",
        &[
            CANONICAL_NAME_LABEL,
            CANONICAL_REVISION_LABEL,
            NETWORK_LABEL,
        ],
    ),
    (
        "annotations",
        &[
            DEFAULT_CONTAINER,
            DEFAULT_LOGS_CONTAINER,
            INTERCEPTION_MODE,
            INCLUDE_INBOUND_PORTS,
            INCLUDE_OUTBOUND_IP_RANGES,
        ],
    ),
];
/// Annotations that a pod without metrics has only because it was injected.
const METRICS: (&str, &[&str]) = (
    "annotations",
    &[prometheus::PATH, prometheus::PORT, prometheus::SCRAPE],
);

/// Most settings have no part in labels and annotations.
static ANY: LazyLock<Option<Settings>> = LazyLock::new(|| Settings::parse("image: any").ok());

/// Why a pod cannot be brought back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error("annotation '{STATUS}' is not the injector's JSON ({0}); remove it")]
    Status(String),
    #[error("annotation '{RECORD}' is not a JSON Patch ({0}); remove it")]
    Record(String),
    #[error(
        "annotation '{RECORD}' no longer fits the pod, which was changed since ({0}); remove the \
         annotation and look at what is left"
    )]
    Changed(String),
}

/// The pod as it was; none if it was never injected.
///
/// # Errors
/// An annotation of the injection was edited, or the pod was.
pub(crate) fn restore(pod: &Value) -> Result<Option<Value>, RestoreError> {
    let Some(mut restored) = stripped(pod)? else {
        return Ok(None);
    };
    if let Some(text) = annotation(pod, RECORD) {
        let patch: Patch =
            serde_json::from_str(text).map_err(|error| RestoreError::Record(error.to_string()))?;
        json_patch::patch(&mut restored, &patch)
            .map_err(|error| RestoreError::Changed(error.to_string()))?;
    }
    Ok(Some(restored))
}

/// A copy of the pod without the annotation that [`record`] leaves.
pub(crate) fn without_record(pod: &Value) -> Value {
    let mut pod = pod.clone();
    if let Some(annotations) = object(&mut pod, "/metadata/annotations") {
        annotations.remove(RECORD);
    }
    pod
}

/// Notes in an injected pod what else it takes to get the pod from before.
pub(crate) fn record(injected: &mut Value, before: &Value) {
    // The status is the injector's own work, and so is well formed.
    let Ok(Some(stripped)) = stripped(injected) else {
        return;
    };
    let missing = json_patch::diff(&stripped, before);
    if missing.0.is_empty() {
        return;
    }
    let text = serde_json::to_string(&missing).expect("a JSON Patch has a JSON form");
    if let Some(annotations) = object(injected, "/metadata/annotations") {
        annotations.insert(RECORD.to_owned(), text.into());
    }
}

/// The pod without what an injection gives to a pod that has none of it.
fn stripped(pod: &Value) -> Result<Option<Value>, RestoreError> {
    let text = match annotation(pod, STATUS) {
        None | Some("") => return Ok(None),
        Some(text) => text,
    };
    let status: BTreeMap<String, Value> =
        serde_json::from_str(text).map_err(|error| RestoreError::Status(error.to_string()))?;

    let settings = settings(pod, &status);
    let mut stripped = pod.clone();
    let has_metrics = originals::bring_back(&mut stripped);
    let metadata = METADATA
        .into_iter()
        .chain((!has_metrics).then_some(METRICS));
    for field in [
        "initContainers",
        "containers",
        "volumes",
        "imagePullSecrets",
    ] {
        let listed = status.get(field).and_then(Value::as_array);
        remove_named(&mut stripped, field, listed.map_or(&[], Vec::as_slice));
    }
    originals::bring_overrides_back(&mut stripped);
    remove_keys(
        &mut stripped,
        "annotations",
        &[STATUS, REVISION, RECORD, OVERRIDES],
    );
    let mut bare = stripped.clone();
    for (field, keys) in metadata.clone() {
        remove_keys(&mut bare, field, keys);
    }
    // Those with which it would be injected now are not the pod's own, and the others are.
    let again = settings
        .as_deref()
        .and_then(|settings| inject(&bare, &Place::named("", true), settings).ok());
    for (field, keys) in metadata {
        for key in keys {
            let path = format!("/metadata/{field}");
            let given = again
                .as_ref()
                .and_then(|done| done.pod.pointer(&path)?.get(key));
            let has = stripped.pointer(&path).and_then(|texts| texts.get(key));
            if has.is_some() && (has == given || is_workloads_name(key, &bare)) {
                remove_keys(&mut stripped, field, &[key]);
            }
        }
    }
    Ok(Some(stripped))
}

/// Of the settings that the pod was injected with, those that show in labels and annotations.
fn settings(pod: &Value, status: &BTreeMap<String, Value>) -> Option<Cow<'static, Settings>> {
    let network = originals::network(pod).unwrap_or_default();
    let initial = status.get("initContainers").and_then(Value::as_array);
    let is_validated = initial.is_some_and(|names| names.iter().any(|n| n == VALIDATION_CONTAINER));
    if network.is_empty() && !is_validated {
        return ANY.as_ref().map(Cow::Borrowed);
    }
    let text = json!({ "image": "any", "network": network, "cni": { "enabled": is_validated } });
    Settings::parse(&text.to_string()).ok().map(Cow::Owned)
}

/// Whether the value of a label comes from the name of the workload, which the pod alone does not
/// tell.
fn is_workloads_name(key: &str, bare: &Value) -> bool {
    let labels = bare.pointer("/metadata/labels");
    let has = |label: &str| labels.is_some_and(|labels| labels.get(label).is_some());
    key == CANONICAL_NAME_LABEL && !has("app.kubernetes.io/name") && !has("app")
}

/// Takes elements out of a list of the spec, and the list if none is left.
fn remove_named(pod: &mut Value, field: &str, names: &[Value]) {
    let Some(spec) = object(pod, "/spec") else {
        return;
    };
    let Some(list) = spec.get_mut(field).and_then(Value::as_array_mut) else {
        return;
    };
    let before = list.len();
    list.retain(|element| element.get("name").is_none_or(|name| !names.contains(name)));
    if list.is_empty() && before > 0 {
        spec.remove(field);
    }
}

/// Takes keys out of the labels or annotations, and these and the metadata if none is left.
fn remove_keys(pod: &mut Value, field: &str, keys: &[&str]) {
    let Some(metadata) = object(pod, "/metadata") else {
        return;
    };
    let Some(texts) = metadata.get_mut(field).and_then(Value::as_object_mut) else {
        return;
    };
    let before = texts.len();
    texts.retain(|key, _| !keys.contains(&key.as_str()));
    if texts.is_empty() && before > 0 {
        metadata.remove(field);
        if metadata.is_empty()
            && let Some(pod) = pod.as_object_mut()
        {
            pod.remove("metadata");
        }
    }
}

fn annotation<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    pod.pointer("/metadata/annotations")?.get(key)?.as_str()
}

fn object<'a>(pod: &'a mut Value, path: &str) -> Option<&'a mut Map<String, Value>> {
    pod.pointer_mut(path)?.as_object_mut()
}

#[cfg(test)]
mod tests;
