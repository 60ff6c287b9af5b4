//! Overlays of the configuration file: plain fragments of pods that are laid over pods which name
//! them in `inject.istio.io/templates`.
//!
//! They are checked when they are loaded: a fault is told to the operator, once, and not to whoever
//! creates a pod.

use std::collections::BTreeMap;

use fairlead_api::{
    annotations::{
        TEMPLATES,
        prometheus::{PATH, PORT, SCHEME, SCRAPE, SCRAPE_TARGETS},
    },
    names::{
        INIT_CONTAINER, INJECT, OVERRIDES, POD_INFO_VOLUME, PROXY_CONTAINER, STATUS,
        VALIDATION_CONTAINER,
    },
};
use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

use crate::inject::merge;

/// The built-in template that most pods have: the redirect and the proxy.
pub const SIDECAR: &str = "sidecar";
/// The built-in template of pods that are a proxy and nothing else.
pub const GATEWAY: &str = "gateway";

/// What the injector itself reads or writes.
const TAKEN_KEYS: [&str; 4] = [INJECT, TEMPLATES, STATUS, OVERRIDES];

/// What the injector writes anew for Prometheus, from what the pod's author says.
const REWRITTEN_KEYS: [&str; 4] = [PATH, PORT, SCHEME, SCRAPE];

/// One overlay.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// `metadata` and `spec`, without the containers below.
    pod: Value,
    own: Vec<OwnContainer>,
}

#[derive(Clone, Debug, PartialEq)]
struct OwnContainer {
    list: &'static str,
    fields: Value,
}

impl Template {
    /// What is laid over the pod.
    pub(crate) fn pod(&self) -> &Value {
        &self.pod
    }

    /// What is laid over the containers that the injector adds, and the list that has it.
    pub(crate) fn own(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.own.iter().map(|own| (own.list, &own.fields))
    }
}

/// The overlays, checked; what is wrong with one is a fault.
pub(super) fn check(
    templates: BTreeMap<String, Value>,
    defaults: &[String],
    faults: &mut Vec<String>,
) -> BTreeMap<String, Template> {
    let checked: BTreeMap<String, Template> = templates
        .into_iter()
        .filter_map(|(name, pod)| {
            let template = one(&name, pod, faults)?;
            Some((name, template))
        })
        .collect();
    for name in defaults {
        if ![SIDECAR, GATEWAY].contains(&name.as_str()) && !checked.contains_key(name) {
            faults.push(format!(
                "defaultTemplates names '{name}', which is neither {SIDECAR}, {GATEWAY} nor one of \
                 templates"
            ));
        }
    }
    if defaults.is_empty() {
        faults.push(format!(
            "defaultTemplates is empty: {SIDECAR} is what most pods have"
        ));
    }
    checked
}

fn one(name: &str, mut pod: Value, faults: &mut Vec<String>) -> Option<Template> {
    let before = faults.len();
    let path = format!("templates.{name}");
    let mut fault = |text: String| faults.push(format!("{path}{text}"));
    if [SIDECAR, GATEWAY].contains(&name) {
        fault(" is built in: choose another name".to_owned());
    }
    let valid = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || !name.bytes().all(valid) {
        fault(": a name of small letters, digits and hyphens is accepted".to_owned());
    }
    let Some(fields) = pod.as_object() else {
        fault(" is no object: metadata and spec are accepted".to_owned());
        return None;
    };
    for field in fields.keys() {
        if !["metadata", "spec"].contains(&field.as_str()) {
            fault(format!(".{field}: only metadata and spec are accepted"));
        }
    }
    let mut wrong = Vec::new();
    directives(&pod, &mut String::new(), &mut wrong);
    if wrong.is_empty() {
        amounts_as_text(&mut pod);
        metadata(pod.get("metadata"), &mut wrong);
        spec(pod.get("spec"), &mut wrong);
    }
    wrong.into_iter().for_each(&mut fault);
    if faults.len() > before {
        return None;
    }
    let own = take_own(&mut pod);
    Some(Template { pod, own })
}

/// An overlay adds and sets. What takes away would take it away again from a pod that the API server
/// has completed, at each injection.
fn directives(value: &Value, path: &mut String, wrong: &mut Vec<String>) {
    let length = path.len();
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                path.push('.');
                path.push_str(key);
                if key.starts_with('$') {
                    wrong.push(format!(
                        "{path}: directives of kubectl's patches are not accepted; an overlay only \
                         adds and sets"
                    ));
                } else {
                    directives(value, path, wrong);
                }
                path.truncate(length);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                path.push_str(&format!("[{index}]"));
                directives(value, path, wrong);
                path.truncate(length);
            }
        }
        Value::Null => wrong.push(format!("{path} is null: an overlay only adds and sets")),
        _ => {}
    }
}

/// YAML has `cpu: 2` for a number, which the API server takes for text.
fn amounts_as_text(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match (key.as_str(), value) {
                    ("requests" | "limits", Value::Object(amounts)) => {
                        amounts.values_mut().for_each(number_as_text);
                    }
                    ("sizeLimit" | "divisor", amount) => number_as_text(amount),
                    (_, value) => amounts_as_text(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(amounts_as_text),
        _ => {}
    }
}

fn number_as_text(value: &mut Value) {
    if value.is_number() {
        *value = Value::String(value.to_string());
    }
}

fn metadata(metadata: Option<&Value>, wrong: &mut Vec<String>) {
    let Some(metadata) = metadata else { return };
    let Some(fields) = metadata.as_object() else {
        wrong.push(".metadata is no object".to_owned());
        return;
    };
    for (field, texts) in fields {
        if !["labels", "annotations"].contains(&field.as_str()) {
            wrong.push(format!(
                ".metadata.{field}: only labels and annotations are accepted"
            ));
            continue;
        }
        let Some(texts) = texts.as_object() else {
            wrong.push(format!(".metadata.{field} is no object"));
            continue;
        };
        for (key, value) in texts {
            if TAKEN_KEYS.contains(&key.as_str()) {
                wrong.push(format!(
                    ".metadata.{field}: {key} decides before any overlay is looked at"
                ));
            }
            if REWRITTEN_KEYS.contains(&key.as_str()) {
                wrong.push(format!(
                    ".metadata.{field}: {key} is rewritten by the injector; {SCRAPE_TARGETS} adds \
                     pages of metrics"
                ));
            }
            if !value.is_string() {
                wrong.push(format!(
                    ".metadata.{field}: {key} is {value}, which is no text; put it in quotes"
                ));
            }
        }
    }
}

fn spec(spec: Option<&Value>, wrong: &mut Vec<String>) {
    let Some(spec) = spec else { return };
    if spec.get("hostNetwork").is_some() {
        wrong.push(
            ".spec.hostNetwork: the network of a node must not be redirected, nor is a pod asked \
             once more whether it has it"
                .to_owned(),
        );
    }
    let volumes = spec.get("volumes").and_then(Value::as_array);
    let mut volumes = volumes.into_iter().flatten();
    if volumes.any(|volume| crate::pod::name(volume) == POD_INFO_VOLUME) {
        wrong.push(format!(
            ".spec.volumes: {POD_INFO_VOLUME} is the injector's own; choose another name"
        ));
    }
    let mut whole = spec.clone();
    if let Some(fields) = whole.as_object_mut() {
        fields
            .entry("containers")
            .or_insert_with(|| Value::Array(Vec::new()));
    }
    let typed = match serde_json::from_value::<PodSpec>(whole) {
        Ok(typed) => typed,
        Err(error) => {
            wrong.push(format!(".spec: {error}"));
            return;
        }
    };
    match serde_json::to_value(typed) {
        Ok(known) => {
            unknown(spec, &known, ".spec", wrong);
            unnamed(spec, ".spec", wrong);
        }
        Err(error) => wrong.push(format!(".spec: {error}")),
    }
}

/// Fields that the Kubernetes API does not have: the API server would drop them without a word.
fn unknown(value: &Value, known: &Value, path: &str, wrong: &mut Vec<String>) {
    match (value, known) {
        (Value::Object(value), Value::Object(known)) => {
            for (field, value) in value {
                let path = format!("{path}.{field}");
                match known.get(field) {
                    Some(known) => unknown(value, known, &path, wrong),
                    None => wrong.push(format!("{path}: a pod has no such field")),
                }
            }
        }
        (Value::Array(value), Value::Array(known)) => {
            for (index, (value, known)) in value.iter().zip(known).enumerate() {
                unknown(value, known, &format!("{path}[{index}]"), wrong);
            }
        }
        _ => {}
    }
}

/// Elements without the field that tells them from others.
fn unnamed(value: &Value, path: &str, wrong: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (field, value) in object {
                let path = format!("{path}.{field}");
                if let (Some(key), Some(list)) = (merge::key(field), value.as_array()) {
                    for (index, element) in list.iter().enumerate() {
                        if element.get(key).is_none() {
                            wrong.push(format!("{path}[{index}] has no {key}"));
                        }
                    }
                }
                unnamed(value, &path, wrong);
            }
        }
        Value::Array(list) => {
            for (index, value) in list.iter().enumerate() {
                unnamed(value, &format!("{path}[{index}]"), wrong);
            }
        }
        _ => {}
    }
}

/// Takes the containers out that have the names of the injector's.
fn take_own(pod: &mut Value) -> Vec<OwnContainer> {
    const NAMES: [&str; 3] = [INIT_CONTAINER, VALIDATION_CONTAINER, PROXY_CONTAINER];
    let mut own = Vec::new();
    let spec = pod.get_mut("spec").and_then(Value::as_object_mut);
    let Some(spec) = spec else { return own };
    for list in ["initContainers", "containers"] {
        let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        let is_own = |c: &mut Value| NAMES.contains(&crate::pod::name(c));
        own.extend(
            containers
                .extract_if(.., is_own)
                .map(|fields| OwnContainer { list, fields }),
        );
        if containers.is_empty() {
            spec.remove(list);
        }
    }
    own
}

/// The names of the overlays, for whoever names one that is not there.
pub(crate) fn known_templates(templates: &BTreeMap<String, Template>) -> String {
    let names = [SIDECAR, GATEWAY].into_iter();
    let names: Vec<&str> = names.chain(templates.keys().map(String::as_str)).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests;
