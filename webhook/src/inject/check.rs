//! Whether a pod is refused, and what is only warned of.

use fairlead_api::{
    annotations::{MERGE_METRICS, PodSettings, REWRITE_PROBES, warnings::warnings},
    names::{INIT_CONTAINER, POD_INFO_VOLUME, PROXY_CONTAINER, PROXY_ID},
    ports,
};
use serde_json::Value;

use super::{
    CONTAINERS, Fault, INIT_CONTAINERS, Place, Refusal, Status, metrics::Metrics, probes::Probes,
};
use crate::{pod, settings::Settings};

/// What a pod that is not refused asks for.
pub(super) struct Checked {
    pub(super) previous: Status,
    pub(super) wishes: PodSettings,
    /// Whether the proxy is a restartable init container.
    pub(super) native: bool,
    /// Where the proxy answers the kubelet and Prometheus.
    pub(super) status_port: Option<u16>,
    pub(super) probes: Probes,
    pub(super) metrics: Metrics,
    pub(super) warnings: Vec<String>,
}

/// Looks at a pod as a whole.
pub(super) fn check(
    pod: &Value,
    settings: &Settings,
    place: &Place<'_>,
) -> Result<Checked, Refusal> {
    let mut faults = shape(pod);
    if !faults.is_empty() {
        return Err(Refusal(faults));
    }
    let annotations = pod::annotations(pod);
    let wishes = match PodSettings::parse(&annotations, place.namespace, place.annotations) {
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
    let native = match previous.place(pod, PROXY_CONTAINER) {
        // An earlier injection's container stays where it is: moving it would take it away.
        Some(field) => field == INIT_CONTAINERS,
        None => place.native,
    };
    let status_port = match wishes.status_port {
        None => Some(ports::STATUS),
        Some(0) => None,
        Some(port) => Some(port),
    };
    let mut warnings = warnings(&annotations, place.namespace, place.annotations);
    warnings.extend(reserved_ports(pod, &previous, status_port));
    let rewrites = wishes.rewrite_probes;
    let probes = match status_port {
        Some(port) if rewrites.unwrap_or(settings.rewrite_app_http_probe) => {
            Probes::of(pod, &previous, native, port, &mut faults, &mut warnings)
        }
        _ => Probes::default(),
    };
    let merges = wishes.merge_metrics;
    let metrics = match status_port {
        Some(port) if merges.unwrap_or(settings.enable_prometheus_merge) => {
            Metrics::of(pod, &previous, port).unwrap_or_else(|bad| {
                faults.push(Fault::Annotations(bad));
                Metrics::default()
            })
        }
        _ => Metrics::default(),
    };
    if status_port.is_none() {
        for (key, wish) in [(REWRITE_PROBES, rewrites), (MERGE_METRICS, merges)] {
            if wish == Some(true) {
                faults.push(Fault::NoStatusPort { key });
            }
        }
    }
    if !faults.is_empty() {
        return Err(Refusal(faults));
    }
    Ok(Checked {
        previous,
        wishes,
        native,
        status_port,
        probes,
        metrics,
        warnings,
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

fn reserved_ports(pod: &Value, previous: &Status, status_port: Option<u16>) -> Vec<String> {
    const TAKEN: [u16; 5] = [
        ports::ADMIN,
        ports::OUTBOUND,
        ports::INBOUND,
        ports::HEALTH,
        ports::PROXY_METRICS,
    ];
    let is_taken = |port| {
        TAKEN
            .iter()
            .chain(&status_port)
            .any(|taken| u64::from(*taken) == port)
    };
    let mut warnings = Vec::new();
    for container in applications(pod, previous) {
        let declared = container
            .get("ports")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        for port in declared.filter_map(|port| port.get("containerPort")?.as_u64()) {
            if is_taken(port) {
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
