//! The containers that run beside the proxy.

use fairlead_api::ports;
use serde_json::Value;

use super::{CONTAINERS, INIT_CONTAINERS, status::Status};
use crate::pod;

/// Warnings of declared ports that the proxy listens on.
pub(super) fn reserved_ports(pod: &Value, added: &Status, status_port: Option<u16>) -> Vec<String> {
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
    for container in applications(pod, added) {
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

/// The containers that run as long as the pod and are not ours. Plain init containers are not among
/// them: they run when the proxy may not yet, and may take its id to reach the network.
pub(super) fn applications<'a>(pod: &'a Value, added: &Status) -> impl Iterator<Item = &'a Value> {
    let restarts = |c: &&Value| c.get("restartPolicy").and_then(Value::as_str) == Some("Always");
    let sidecars = pod::list(pod, INIT_CONTAINERS).iter().filter(restarts);
    let all = pod::list(pod, CONTAINERS).iter().chain(sidecars);
    all.filter(|container| !added.has_container(pod::name(container)))
}

/// The names of the plain ones.
pub(super) fn names<'a>(pod: &'a Value, added: &Status) -> Vec<&'a str> {
    let containers = pod::list(pod, CONTAINERS).iter();
    containers
        .map(pod::name)
        .filter(|name| !added.has_container(name))
        .collect()
}
