//! Reading a pod that is a JSON value.
//!
//! The pod stays a value throughout: a typed copy would lose the fields that are newer than our
//! client library.

use std::collections::BTreeMap;

use serde_json::Value;

/// The value at a path; a JSON Pointer would allocate for each step.
pub(crate) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter()
        .try_fold(value, |value, field| value.get(*field))
}

/// The pod's labels; entries that are not text are left out.
pub(crate) fn labels(pod: &Value) -> BTreeMap<String, String> {
    texts(at(pod, &["metadata", "labels"]))
}

/// The pod's annotations; entries that are not text are left out.
pub(crate) fn annotations(pod: &Value) -> BTreeMap<String, String> {
    texts(at(pod, &["metadata", "annotations"]))
}

/// One annotation.
pub(crate) fn annotation<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    at(pod, &["metadata", "annotations", key])?.as_str()
}

/// A text of the pod's metadata; empty counts as absent.
pub(crate) fn metadata<'a>(pod: &'a Value, field: &str) -> Option<&'a str> {
    let text = pod.get("metadata")?.get(field)?.as_str()?;
    (!text.is_empty()).then_some(text)
}

/// The elements of a list of the pod's spec; none if it is absent.
pub(crate) fn list<'a>(pod: &'a Value, field: &str) -> &'a [Value] {
    pod.get("spec")
        .and_then(|spec| spec.get(field))
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The owner reference of the controller that makes the pod.
pub(crate) fn controller(pod: &Value) -> Option<&Value> {
    let mut owners = pod.pointer("/metadata/ownerReferences")?.as_array()?.iter();
    owners.find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

/// The name of a container, volume or other named element; empty if it has none.
pub(crate) fn name(element: &Value) -> &str {
    element.get("name").and_then(Value::as_str).unwrap_or("")
}

fn texts(object: Option<&Value>) -> BTreeMap<String, String> {
    let entries = object.and_then(Value::as_object).into_iter().flatten();
    entries
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}
