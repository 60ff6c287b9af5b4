//! What makes a pod refused, and what is only warned of.

use std::fmt;

use fairlead_api::{
    annotations::{self, PodSettings},
    names::{INIT_CONTAINER, INJECT, POD_INFO_VOLUME, PROXY_CONTAINER, PROXY_ID, STATUS},
    ports,
};
use serde_json::Value;

use super::{CONTAINERS, INIT_CONTAINERS, Status};
use crate::pod;

/// What a pod that is not refused asks for.
pub(super) struct Checked {
    pub(super) previous: Status,
    pub(super) wishes: PodSettings,
    pub(super) warnings: Vec<String>,
}

/// Why a pod is refused; never empty.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Refusal(pub Vec<Fault>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sidecar cannot be injected: ")?;
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

/// One thing that speaks against the injection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A field is not of the type that the Kubernetes API gives it.
    #[error("{path} is not {expected}")]
    Shape {
        /// Where.
        path: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Annotations whose values are not accepted.
    #[error("{0}")]
    Annotations(annotations::Faults),
    /// The status annotation was edited.
    #[error("annotation '{STATUS}' is not the injector's JSON ({reason}); remove it")]
    Status {
        /// The parser's words.
        reason: String,
    },
    /// The pod has an element of its own with a name that the mesh needs.
    #[error(
        "the name '{name}' in spec.{field} is the mesh's own; rename it, or opt the pod out with \
         the label {INJECT}: \"false\""
    )]
    NameTaken {
        /// The list.
        field: &'static str,
        /// The name.
        name: String,
    },
    /// An application would run as the proxy, whose traffic is not captured.
    #[error(
        "container '{container}' has {field} {PROXY_ID}, the proxy's own, whose traffic bypasses \
         the mesh; choose another id"
    )]
    ProxyIdentity {
        /// The application's container.
        container: String,
        /// `runAsUser` or `runAsGroup`.
        field: &'static str,
    },
}

/// Looks at a pod as a whole.
pub(super) fn check(pod: &Value) -> Result<Checked, Refusal> {
    let mut faults = shape(pod);
    if !faults.is_empty() {
        return Err(Refusal(faults));
    }
    let wishes = match PodSettings::parse(&pod::annotations(pod)) {
        Ok(wishes) => wishes,
        Err(bad) => {
            faults.push(Fault::Annotations(bad));
            PodSettings::default()
        }
    };
    let previous = match Status::read(pod) {
        Ok(previous) => {
            faults.extend(names(pod, &previous));
            previous
        }
        Err(error) => {
            let reason = error.to_string();
            faults.push(Fault::Status { reason });
            Status::default()
        }
    };
    faults.extend(identities(pod, &previous));
    if !faults.is_empty() {
        return Err(Refusal(faults));
    }
    Ok(Checked {
        warnings: reserved_ports(pod, &previous),
        previous,
        wishes,
    })
}

fn shape(pod: &Value) -> Vec<Fault> {
    const OBJECTS: [&str; 4] = [
        "/metadata",
        "/metadata/labels",
        "/metadata/annotations",
        "/spec",
    ];
    const LISTS: [&str; 4] = [
        "/spec/containers",
        "/spec/initContainers",
        "/spec/volumes",
        "/spec/imagePullSecrets",
    ];
    let odd = |path: &&str, fits: fn(&Value) -> bool| {
        pod.pointer(path)
            .is_some_and(|value| !value.is_null() && !fits(value))
    };
    let mut faults = Vec::new();
    if pod.get("spec").is_none_or(|spec| !spec.is_object()) {
        let (path, expected) = ("/spec", "an object");
        faults.push(Fault::Shape { path, expected });
        return faults;
    }
    for path in OBJECTS
        .into_iter()
        .filter(|path| odd(path, Value::is_object))
    {
        let expected = "an object";
        faults.push(Fault::Shape { path, expected });
    }
    for path in LISTS.into_iter().filter(|path| odd(path, Value::is_array)) {
        let expected = "a list";
        faults.push(Fault::Shape { path, expected });
    }
    faults
}

fn names(pod: &Value, previous: &Status) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut taken = |field, ours: fn(&str) -> bool, listed: &dyn Fn(&str) -> bool| {
        for name in pod::list(pod, field).iter().map(pod::name) {
            if ours(name) && !listed(name) {
                let name = name.to_owned();
                faults.push(Fault::NameTaken { field, name });
            }
        }
    };
    let container = |name: &str| name == INIT_CONTAINER || name == PROXY_CONTAINER;
    for field in [INIT_CONTAINERS, CONTAINERS] {
        taken(field, container, &|name| previous.has_container(name));
    }
    taken("volumes", |name| name == POD_INFO_VOLUME, &|name| {
        previous.has_volume(name)
    });
    faults
}

/// Containers that run beside the proxy as the proxy. Plain init containers may: they run when the
/// proxy may not yet, and take its id to reach the network.
fn identities(pod: &Value, previous: &Status) -> Vec<Fault> {
    let of_pod = pod.pointer("/spec/securityContext");
    let id = |context: Option<&Value>, field| context?.get(field)?.as_u64();
    let mut faults = Vec::new();
    for container in applications(pod, previous) {
        let own = container.get("securityContext");
        for field in ["runAsUser", "runAsGroup"] {
            if id(own, field).or_else(|| id(of_pod, field)) == Some(PROXY_ID.into()) {
                let container = pod::name(container).to_owned();
                faults.push(Fault::ProxyIdentity { container, field });
            }
        }
    }
    faults
}

fn reserved_ports(pod: &Value, previous: &Status) -> Vec<String> {
    const RESERVED: [u16; 6] = [
        ports::ADMIN,
        ports::OUTBOUND,
        ports::INBOUND,
        ports::STATUS,
        ports::HEALTH,
        ports::PROXY_METRICS,
    ];
    let mut warnings = Vec::new();
    for container in applications(pod, previous) {
        let declared = container
            .get("ports")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for port in declared.filter_map(|port| port.get("containerPort")?.as_u64()) {
            if RESERVED.iter().any(|reserved| u64::from(*reserved) == port) {
                let name = pod::name(container);
                warnings.push(format!(
                    "container {name}: port {port} is taken by the sidecar; listening on it fails"
                ));
            }
        }
    }
    warnings
}

/// The containers that run as long as the pod and are not ours.
fn applications<'a>(pod: &'a Value, previous: &Status) -> impl Iterator<Item = &'a Value> {
    let restarts = |c: &&Value| c.get("restartPolicy").and_then(Value::as_str) == Some("Always");
    let sidecars = pod::list(pod, INIT_CONTAINERS).iter().filter(restarts);
    let all = pod::list(pod, CONTAINERS).iter().chain(sidecars);
    all.filter(|container| !previous.has_container(pod::name(container)))
}

#[cfg(test)]
mod tests;
