//! The pods that an object holds or describes: itself, its template, or those of a list's items.

use std::fmt;

use serde_json::Value;

/// Kinds that have a pod template, or else they are broken, and where.
const TEMPLATES: [(&str, &str); 8] = [
    ("Deployment", "/spec/template"),
    ("StatefulSet", "/spec/template"),
    ("DaemonSet", "/spec/template"),
    ("ReplicaSet", "/spec/template"),
    ("ReplicationController", "/spec/template"),
    ("Job", "/spec/template"),
    ("CronJob", "/spec/jobTemplate/spec/template"),
    ("PodTemplate", "/template"),
];
/// Groups that the kinds above are of.
const GROUPS: [&str; 3] = ["", "apps", "batch"];
/// Where others keep it: Argo's Rollouts, OpenShift's DeploymentConfigs and their like.
const USUAL_TEMPLATE: &str = "/spec/template";

/// The object that a pod stands in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Subject {
    pub(crate) kind: String,
    pub(crate) api_version: String,
    /// Or the prefix of the name that it will get.
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

impl Subject {
    /// Whether the object is the pod.
    pub(crate) fn is_pod(&self) -> bool {
        self.kind == "Pod" && self.api_version == "v1"
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() {
            "(no name)"
        } else {
            &self.name
        };
        write!(f, "{}/{name}", self.kind)
    }
}

/// Why a document is no object of Kubernetes.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ShapeError {
    #[error("{place} is not an object of Kubernetes, but {found}")]
    Type { place: String, found: &'static str },
    #[error("{place} has no {field}, which every object of Kubernetes has")]
    Missing { place: String, field: &'static str },
    #[error("{subject} has no pod template at {path}")]
    NoTemplate { subject: String, path: String },
}

/// Shows each pod of a document to `edit`, which may change it.
///
/// # Errors
/// All that keeps the document from being understood.
pub(crate) fn edit(
    document: &mut Value,
    mut edit: impl FnMut(&Subject, &mut Value),
) -> Result<(), Vec<ShapeError>> {
    let mut errors = Vec::new();
    let place = Place {
        name: "the document".to_owned(),
        list: None,
    };
    visit(document, &place, &mut edit, &mut errors);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors)
    }
}

struct Place<'a> {
    name: String,
    /// Kind and version that the items of a list may leave out.
    list: Option<(&'a str, &'a str)>,
}

fn visit(
    object: &mut Value,
    place: &Place<'_>,
    edit: &mut impl FnMut(&Subject, &mut Value),
    errors: &mut Vec<ShapeError>,
) {
    let Some(subject) = subject(object, place, errors) else {
        return;
    };
    let item_kind = subject.kind.strip_suffix("List");
    if let (Some(item_kind), Some(items)) = (item_kind, object.get_mut("items")) {
        let typed = (item_kind, subject.api_version.as_str());
        for (index, item) in items.as_array_mut().into_iter().flatten().enumerate() {
            let place = Place {
                name: format!("items[{index}] of the {}", subject.kind),
                list: (!item_kind.is_empty()).then_some(typed),
            };
            visit(item, &place, edit, errors);
        }
    } else if subject.is_pod() {
        edit(&subject, object);
    } else if let Some(path) = known_template(&subject) {
        match object.pointer_mut(path) {
            Some(template) if template.is_object() => edit(&subject, template),
            _ => errors.push(ShapeError::NoTemplate {
                subject: subject.to_string(),
                path: path[1..].replace('/', "."),
            }),
        }
    } else if let Some(template) = object.pointer_mut(USUAL_TEMPLATE)
        && template
            .pointer("/spec/containers")
            .is_some_and(Value::is_array)
    {
        edit(&subject, template);
    }
}

fn known_template(subject: &Subject) -> Option<&'static str> {
    let group = subject
        .api_version
        .rsplit_once('/')
        .map_or("", |(group, _)| group);
    let known = TEMPLATES.iter().find(|(kind, _)| *kind == subject.kind);
    known
        .filter(|_| GROUPS.contains(&group))
        .map(|(_, path)| *path)
}

fn subject(object: &Value, place: &Place<'_>, errors: &mut Vec<ShapeError>) -> Option<Subject> {
    let name = || place.name.clone();
    if !object.is_object() {
        errors.push(ShapeError::Type {
            place: name(),
            found: type_of(object),
        });
        return None;
    }
    let mut field = |field: &'static str, of_list: Option<&str>| {
        let own = object.get(field).and_then(Value::as_str);
        let found = own.filter(|text| !text.is_empty()).or(of_list);
        if found.is_none() {
            errors.push(ShapeError::Missing {
                place: name(),
                field,
            });
        }
        found.map(ToOwned::to_owned)
    };
    let (kind, api_version) = (
        field("kind", place.list.map(|(kind, _)| kind)),
        field("apiVersion", place.list.map(|(_, version)| version)),
    );
    let metadata = |field: &str| {
        let text = object.get("metadata")?.get(field)?.as_str()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    let prefix = || Some(metadata("generateName")?.trim_end_matches('-').to_owned());
    Some(Subject {
        kind: kind?,
        api_version: api_version?,
        name: metadata("name").or_else(prefix).unwrap_or_default(),
        namespace: metadata("namespace"),
    })
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The subjects and pods found, and the document with each pod's place marked.
    fn found(mut document: Value) -> Result<Vec<(String, Value)>, Vec<ShapeError>> {
        let mut all = Vec::new();
        edit(&mut document, |subject, pod| {
            all.push((subject.to_string(), pod.clone()));
        })?;
        Ok(all)
    }

    fn pod() -> Value {
        json!({ "spec": { "containers": [{ "name": "a" }] } })
    }

    #[test]
    fn workloads_have_a_template() {
        for (api_version, kind, document) in [
            (
                "apps/v1",
                "Deployment",
                json!({ "spec": { "template": pod() } }),
            ),
            (
                "v1",
                "ReplicationController",
                json!({ "spec": { "template": pod() } }),
            ),
            ("batch/v1", "Job", json!({ "spec": { "template": pod() } })),
            (
                "batch/v1",
                "CronJob",
                json!({ "spec": { "jobTemplate": { "spec": { "template": pod() } } } }),
            ),
            ("v1", "PodTemplate", json!({ "template": pod() })),
            (
                "argoproj.io/v1alpha1",
                "Rollout",
                json!({ "spec": { "template": pod() } }),
            ),
        ] {
            let mut document = document;
            document["kind"] = json!(kind);
            document["apiVersion"] = json!(api_version);
            document["metadata"] = json!({ "name": "x" });
            assert_eq!(found(document), Ok(vec![(format!("{kind}/x"), pod())]));
        }
    }

    #[test]
    fn lists_are_looked_through_and_may_name_the_kind_of_their_items() {
        let mut item = pod();
        item["metadata"] = json!({ "generateName": "x-" });
        let typed = json!({ "kind": "PodList", "apiVersion": "v1", "items": [item, pod()] });
        let list = json!({ "kind": "List", "apiVersion": "v1", "items": [typed] });
        let names: Vec<String> = found(list)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["Pod/x", "Pod/(no name)"]);
        let empty = json!({ "kind": "List", "apiVersion": "v1", "items": null });
        assert_eq!(found(empty), Ok(vec![]));
    }

    #[test]
    fn other_objects_have_no_pods() {
        for document in [
            json!({ "kind": "Service", "apiVersion": "v1", "spec": { "ports": [] } }),
            json!({ "kind": "Rollout", "apiVersion": "argoproj.io/v1alpha1", "spec": { "workloadRef": {} } }),
            json!({ "kind": "Deployment", "apiVersion": "example.org/v1" }),
            json!({ "kind": "Pod", "apiVersion": "metrics.k8s.io/v1beta1", "containers": [] }),
            json!({ "kind": "AllowList", "apiVersion": "example.org/v1" }),
        ] {
            assert_eq!(found(document), Ok(vec![]));
        }
    }

    #[test]
    fn what_is_no_object_is_told() {
        let item = json!({ "kind": "List", "apiVersion": "v1", "items": [{ "kind": "Pod" }, 1] });
        for (document, words) in [
            (
                json!([]),
                vec!["the document is not an object of Kubernetes, but a list"],
            ),
            (
                json!({}),
                vec![
                    "the document has no kind, which every object of Kubernetes has",
                    "the document has no apiVersion, which every object of Kubernetes has",
                ],
            ),
            (
                item,
                vec![
                    "items[0] of the List has no apiVersion, which every object of Kubernetes has",
                    "items[1] of the List is not an object of Kubernetes, but a number",
                ],
            ),
            (
                json!({ "kind": "CronJob", "apiVersion": "batch/v1", "metadata": { "name": "x" } }),
                vec!["CronJob/x has no pod template at spec.jobTemplate.spec.template"],
            ),
        ] {
            let errors = found(document).unwrap_err();
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(texts, words);
        }
    }
}
