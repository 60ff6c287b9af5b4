//! The sidecar that a pod has.

use std::fmt;

use fairlead_api::names::{PROXY_CONTAINER, STATUS};
use serde_json::Value;

use super::mesh::{Mesh, annotation};

/// How other meshes call the container that they add.
const FOREIGN: [(&str, Mesh); 3] = [
    ("linkerd-proxy", Mesh::Linkerd),
    ("consul-dataplane", Mesh::Consul),
    ("kuma-sidecar", Mesh::Kuma),
];

/// The sidecar that a pod has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Sidecar {
    /// Of Fairlead or Istio, which call it the same; with the revision, if that is noted.
    Proxy(Option<String>),
    Foreign(Mesh),
}

impl Sidecar {
    /// Finds it among the pod's containers.
    pub(super) fn of(pod: &Value) -> Option<Self> {
        let lists = ["/spec/containers", "/spec/initContainers"];
        let containers = lists
            .iter()
            .filter_map(|list| pod.pointer(list)?.as_array());
        let names = containers
            .flatten()
            .filter_map(|container| container.get("name")?.as_str());
        names.into_iter().find_map(|name| {
            if name == PROXY_CONTAINER {
                return Some(Self::Proxy(revision(pod)));
            }
            let mut foreign = FOREIGN.into_iter();
            foreign.find_map(|(container, mesh)| (container == name).then_some(Self::Foreign(mesh)))
        })
    }
}

/// The revision in the injector's status annotation.
fn revision(pod: &Value) -> Option<String> {
    let status = annotation(pod, STATUS)?;
    let status: Value = serde_json::from_str(status).ok()?;
    let revision = status.get("revision")?.as_str()?;
    (!revision.is_empty()).then(|| revision.to_owned())
}

impl fmt::Display for Sidecar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy(Some(revision)) => write!(f, "a sidecar of revision {revision}"),
            Self::Proxy(None) => f.write_str("a sidecar that names no revision"),
            Self::Foreign(mesh) => write!(f, "a sidecar of {}", mesh.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sidecar_is_known_by_its_container() {
        let pod = |list: &str, name: &str, status: &str| {
            let containers = json!({ list: [{ "name": "app" }, { "name": name }] });
            let annotations = json!({ "sidecar.istio.io/status": status });
            json!({ "metadata": { "annotations": annotations }, "spec": containers })
        };
        let canary = r#"{"revision":"canary"}"#;
        for (list, name, status, expected) in [
            ("containers", "other", canary, None),
            (
                "initContainers",
                "istio-proxy",
                canary,
                Some("a sidecar of revision canary"),
            ),
            (
                "containers",
                "istio-proxy",
                "",
                Some("a sidecar that names no revision"),
            ),
            (
                "containers",
                "linkerd-proxy",
                "",
                Some("a sidecar of Linkerd"),
            ),
            ("containers", "kuma-sidecar", "", Some("a sidecar of Kuma")),
        ] {
            let found = Sidecar::of(&pod(list, name, status));
            assert_eq!(found.map(|found| found.to_string()).as_deref(), expected);
        }
        assert_eq!(Sidecar::of(&json!({})), None);
    }
}
