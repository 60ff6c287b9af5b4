//! The init container that programs the redirect.

use fairlead_api::{
    names::{INIT_CONTAINER, PROXY_ID},
    ports::{INBOUND, OUTBOUND, STATUS, UNCAPTURED_INBOUND},
    values::{Ports, Selection, join},
};
use serde_json::{Value, json};

use super::{Plan, sidecar};

/// The container as it is wanted.
pub(super) fn container(plan: &Plan<'_>) -> Value {
    let mut container = json!({
        "name": INIT_CONTAINER,
        "command": ["/usr/local/bin/fairlead-init"],
        "args": arguments(plan),
        // The redirect belongs to the kernel's network namespace of the pod: it takes root and these
        // two capabilities, and nothing else.
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] },
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "runAsUser": 0,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
    });
    sidecar::image_and_resources(&mut container, plan);
    container
}

/// Istio's arguments, which `fairlead-init` takes.
fn arguments(plan: &Plan<'_>) -> Vec<String> {
    let (wishes, mesh) = (plan.wishes, &plan.settings.traffic);
    let include_ranges = wishes.include_outbound_ip_ranges.as_ref();
    let exclude_ranges = wishes.exclude_outbound_ip_ranges.as_ref();
    let inbound = wishes.include_inbound_ports.as_ref();
    let fixed = UNCAPTURED_INBOUND
        .into_iter()
        .filter(|port| *port != STATUS);
    let mut uncaptured: Vec<Ports> = fixed.chain(plan.status_port).map(Ports::from).collect();
    let excluded = wishes.exclude_inbound_ports.as_ref();
    uncaptured.extend(excluded.unwrap_or(&mesh.exclude_inbound_ports));

    let mut arguments: Vec<(&str, String)> = vec![
        ("-p", OUTBOUND.to_string()),
        ("-z", INBOUND.to_string()),
        // Whose packets pass, and whose group's: with TPROXY the proxy is of this group alone.
        ("-u", PROXY_ID.to_string()),
        ("-m", plan.interception_mode().as_str().to_owned()),
        (
            "-i",
            include_ranges
                .unwrap_or(&mesh.include_outbound_ip_ranges)
                .to_string(),
        ),
        (
            "-x",
            join(exclude_ranges.unwrap_or(&mesh.exclude_outbound_ip_ranges)),
        ),
        (
            "-b",
            inbound.unwrap_or(&mesh.include_inbound_ports).to_string(),
        ),
        ("-d", join(&uncaptured)),
    ];
    let included = wishes.include_outbound_ports.as_ref();
    let included = included.unwrap_or(&mesh.include_outbound_ports);
    if *included != Selection::Only(Vec::new()) {
        arguments.push(("-q", included.to_string()));
    }
    let excluded = wishes.exclude_outbound_ports.as_ref();
    let excluded = excluded.unwrap_or(&mesh.exclude_outbound_ports);
    if !excluded.is_empty() {
        arguments.push(("-o", join(excluded)));
    }
    let mut arguments: Vec<String> = arguments
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value])
        .collect();
    if plan.settings.native_nftables {
        arguments.push("--native-nftables".to_owned());
    }
    arguments
}
