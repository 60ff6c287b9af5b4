//! The pod that is asked about, as it would be created now, and the pods that there are already.

use std::fmt;

use serde_json::{Value, json};

use super::{facts::Namespace, reason, sidecar::Sidecar, world::World};
use crate::{inject, manifest, uninject};

/// What is asked about.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    /// `Deployment/cart`, or words for a pod that nobody has created.
    pub(super) name: String,
    pub(super) namespace: String,
    /// As it would be created.
    pub(super) pod: Value,
    pub(super) owner: Owner,
    /// The pods that run.
    pub(super) running: Vec<Running>,
}

/// A pod that there is.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) name: String,
    pub(super) sidecar: Option<Sidecar>,
}

/// Who makes the pod anew.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    Nobody,
    Object { kind: String, name: String },
}

impl Subject {
    /// A pod that there is; created once more, it would be as its controller's template says, or
    /// else as it was before its injection.
    pub(super) fn of_pod(
        namespace: &str,
        pod: &Value,
        controller: Option<&(manifest::Subject, Value)>,
    ) -> Self {
        let before = match controller {
            Some((controller, template)) => inject::as_created(controller, template),
            None => match uninject::restore(pod) {
                Ok(Some(before)) => before,
                // What was edited so that it cannot be brought back is looked at as it is.
                Ok(None) | Err(_) => pod.clone(),
            },
        };
        Self {
            name: format!("Pod/{}", name(pod)),
            namespace: namespace.to_owned(),
            owner: Owner::of(pod),
            running: Running::of(pod).into_iter().collect(),
            pod: before,
        }
    }

    /// What a workload makes, with the pods that it has.
    pub(super) fn of_template(
        namespace: &str,
        workload: &manifest::Subject,
        template: &Value,
        pods: &[Value],
    ) -> Self {
        Self {
            name: workload.to_string(),
            namespace: namespace.to_owned(),
            owner: Owner::Object {
                kind: workload.kind.clone(),
                name: workload.name.clone(),
            },
            running: pods.iter().filter_map(Running::of).collect(),
            pod: inject::as_created(workload, template),
        }
    }

    /// The pods that a namespace may get: one without labels, and one with each label that counts.
    pub(super) fn of_namespace(namespace: &Namespace, world: &World) -> Vec<Self> {
        let inject = fairlead_api::names::INJECT;
        let mut labels = vec![
            None,
            Some((inject, "true".to_owned())),
            Some((inject, "false".to_owned())),
        ];
        let revisions = reason::revisions(world.entries.iter());
        let revisions = revisions.into_iter();
        labels.extend(revisions.map(|name| Some((fairlead_api::names::REVISION, name))));
        labels
            .into_iter()
            .map(|label| {
                let mut pod = json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "metadata": { "name": "pod", "labels": {} },
                    "spec": { "containers": [{ "name": "app", "image": "app" }] },
                });
                let name = match label {
                    None => "a pod without labels".to_owned(),
                    Some((key, value)) => {
                        pod["metadata"]["labels"][key] = json!(value);
                        format!("a pod with the label {key}={value}")
                    }
                };
                Self {
                    name,
                    namespace: namespace.name.clone(),
                    pod,
                    owner: Owner::Nobody,
                    running: Vec::new(),
                }
            })
            .collect()
    }
}

impl Running {
    /// None if the pod has ended, or is about to.
    fn of(pod: &Value) -> Option<Self> {
        let phase = pod.pointer("/status/phase").and_then(Value::as_str)?;
        let ends = pod.pointer("/metadata/deletionTimestamp").is_some();
        (!ends && ["Pending", "Running", "Unknown"].contains(&phase)).then(|| Self {
            name: name(pod).to_owned(),
            sidecar: Sidecar::of(pod),
        })
    }
}

impl Owner {
    /// The workload that users know, found without asking for it.
    fn of(pod: &Value) -> Self {
        let controller = controller(pod);
        let text = |field: &str| controller?.get(field)?.as_str();
        let (Some(kind), Some(name)) = (text("kind"), text("name")) else {
            return Self::Nobody;
        };
        let labels = super::entry::labels(pod);
        for (label, owner) in [
            ("pod-template-hash", "Deployment"),
            ("rollouts-pod-template-hash", "Rollout"),
        ] {
            let hash = labels.get(label);
            let name = hash.and_then(|hash| name.strip_suffix(hash)?.strip_suffix('-'));
            if let Some(name) = name
                && kind == "ReplicaSet"
            {
                return Self::object(owner, name);
            }
        }
        Self::object(kind, name)
    }

    fn object(kind: &str, name: &str) -> Self {
        Self::Object {
            kind: kind.to_owned(),
            name: name.to_owned(),
        }
    }

    /// How its pods are created once more.
    pub(super) fn restart(&self, namespace: &str) -> String {
        match self {
            Self::Nobody => "delete the pod and create it again".to_owned(),
            Self::Object { kind, name } => match kind.as_str() {
                "Deployment" | "StatefulSet" | "DaemonSet" => format!(
                    "kubectl --namespace {namespace} rollout restart {}/{name}",
                    kind.to_lowercase()
                ),
                "Rollout" => {
                    format!("kubectl argo rollouts --namespace {namespace} restart {name}")
                }
                "Job" => format!("run {self} once more"),
                "CronJob" => format!("its next run is as {self} says now"),
                _ => format!("delete the pods; {self} makes them anew"),
            },
        }
    }

    /// Where the labels of its pods are written.
    pub(super) fn template(&self) -> String {
        match self {
            Self::Nobody => "the pod".to_owned(),
            Self::Object { .. } => format!("the pod template of {self}"),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Object { kind, name } => write!(f, "{kind}/{name}"),
        }
    }
}

/// The reference to who makes a pod anew.
pub(super) fn controller(pod: &Value) -> Option<&Value> {
    let owners = pod.pointer("/metadata/ownerReferences")?.as_array()?;
    let is_controller = |owner: &&Value| owner.get("controller") == Some(&Value::Bool(true));
    owners.iter().find(is_controller)
}

fn name(pod: &Value) -> &str {
    let name = |field: &str| pod.get("metadata")?.get(field)?.as_str();
    name("name")
        .or_else(|| name("generateName"))
        .unwrap_or("(no name)")
}
