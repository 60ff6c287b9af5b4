//! What a node agent reads of a pod whose redirect it programs: the annotations, as they are resolved
//! here. It knows neither the mesh's defaults nor the namespace's.

use fairlead_api::{
    annotations::{
        EXCLUDE_INBOUND_PORTS, EXCLUDE_INTERFACES, EXCLUDE_OUTBOUND_IP_RANGES,
        EXCLUDE_OUTBOUND_PORTS, INCLUDE_INBOUND_PORTS, INCLUDE_OUTBOUND_IP_RANGES,
        INCLUDE_OUTBOUND_PORTS, INTERCEPTION_MODE, REROUTE_VIRTUAL_INTERFACES,
    },
    names::MULTUS_NETWORKS,
    ports,
    values::{Ports, join},
};
use serde_json::{Map, Value, json};

use super::{Plan, init::Redirect};
use crate::settings::CniProvider;

/// The network that brings the agent into play where Multus calls it.
const NAMESPACE: &str = "default";
const NETWORK: &str = "istio-cni";

/// Writes them; those of the pod's own are resolved already.
pub(super) fn write(annotations: &mut Map<String, Value>, plan: &Plan<'_>) {
    let redirect = Redirect::of(plan);
    let mode = plan.mode.as_str().to_owned();
    let mut excluded = redirect.exclude_inbound_ports.to_vec();
    // The agent leaves out 15020 of its own, not the port that is in its place.
    let moved = plan.status_port.filter(|port| *port != ports::STATUS);
    let added = moved.filter(|port| !excluded.iter().any(|ports| ports.contains(*port)));
    excluded.extend(added.map(Ports::from));
    let listed = |items: &[String]| join(items);
    for (key, value, is_needed) in [
        (INTERCEPTION_MODE, mode, true),
        (
            INCLUDE_OUTBOUND_IP_RANGES,
            redirect.include_outbound_ip_ranges.to_string(),
            true,
        ),
        (
            EXCLUDE_OUTBOUND_IP_RANGES,
            join(redirect.exclude_outbound_ip_ranges),
            false,
        ),
        (
            INCLUDE_INBOUND_PORTS,
            redirect.include_inbound_ports.to_string(),
            true,
        ),
        (EXCLUDE_INBOUND_PORTS, join(&excluded), false),
        (
            INCLUDE_OUTBOUND_PORTS,
            redirect.include_outbound_ports.to_string(),
            false,
        ),
        (
            EXCLUDE_OUTBOUND_PORTS,
            join(redirect.exclude_outbound_ports),
            false,
        ),
        (
            EXCLUDE_INTERFACES,
            listed(redirect.exclude_interfaces),
            false,
        ),
        (
            REROUTE_VIRTUAL_INTERFACES,
            listed(redirect.reroute_virtual_interfaces),
            false,
        ),
    ] {
        let is_more = key == EXCLUDE_INBOUND_PORTS && added.is_some();
        if is_more || !annotations.contains_key(key) && (is_needed || !value.is_empty()) {
            annotations.insert(key.to_owned(), json!(value));
        }
    }
    if plan.settings.cni.provider == CniProvider::Multus {
        let given = annotations.get(MULTUS_NETWORKS).and_then(Value::as_str);
        let networks = with_network(given.unwrap_or_default());
        annotations.insert(MULTUS_NETWORKS.to_owned(), json!(networks));
    }
}

/// The networks of a pod with the agent's: a comma list, or a JSON list of objects.
fn with_network(given: &str) -> String {
    let name = format!("{NAMESPACE}/{NETWORK}");
    let given = given.trim();
    if given.starts_with('[') {
        let Ok(Value::Array(mut networks)) = serde_json::from_str(given) else {
            // Multus will say what is wrong with it.
            return given.to_owned();
        };
        let is_there = networks.iter().any(|network| {
            network.get("name").is_some_and(|name| name == NETWORK)
                && network.get("namespace").is_some_and(|n| n == NAMESPACE)
        });
        if is_there {
            return given.to_owned();
        }
        networks.push(json!({ "name": NETWORK, "namespace": NAMESPACE }));
        return Value::Array(networks).to_string();
    }
    let mut words = given.split(',').map(str::trim);
    if words.any(|word| word == name || word.starts_with(&format!("{name}@"))) {
        return given.to_owned();
    }
    if given.is_empty() {
        name
    } else {
        format!("{given},{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_network_is_added_once_in_either_form() {
        for (given, expected) in [
            ("", "default/istio-cni"),
            ("macvlan", "macvlan,default/istio-cni"),
            ("a, default/istio-cni", "a, default/istio-cni"),
            (
                r#"[{"name":"macvlan"}]"#,
                r#"[{"name":"macvlan"},{"name":"istio-cni","namespace":"default"}]"#,
            ),
            ("[not json", "[not json"),
        ] {
            let networks = with_network(given);
            assert_eq!(networks, expected);
            assert_eq!(with_network(&networks), networks);
        }
    }
}
