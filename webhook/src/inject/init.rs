//! The init container that programs the redirect, or proves the one that a node agent programs.

use fairlead_api::{
    names::{INIT_CONTAINER, VALIDATION_CONTAINER},
    ports::{INBOUND, OUTBOUND, STATUS, UNCAPTURED_INBOUND},
    values::{Ports, Selection, join},
};
use ipnet::IpNet;
use serde_json::{Value, json};

use super::{Plan, environment, resources};

/// What the container runs.
pub(super) const PROGRAM: &str = "/usr/local/bin/fairlead-init";

/// Which traffic is captured: as the pod says, or its namespace, or the mesh.
pub(super) struct Redirect<'a> {
    pub(super) include_inbound_ports: &'a Selection<Ports>,
    pub(super) exclude_inbound_ports: &'a [Ports],
    pub(super) include_outbound_ip_ranges: &'a Selection<IpNet>,
    pub(super) exclude_outbound_ip_ranges: &'a [IpNet],
    pub(super) include_outbound_ports: &'a Selection<Ports>,
    pub(super) exclude_outbound_ports: &'a [Ports],
    pub(super) exclude_interfaces: &'a [String],
    pub(super) reroute_virtual_interfaces: &'a [String],
}

impl<'a> Redirect<'a> {
    pub(super) fn of(plan: &Plan<'a>) -> Self {
        let (wishes, mesh) = (plan.wishes, &plan.settings.traffic);
        Self {
            include_inbound_ports: wishes
                .include_inbound_ports
                .as_ref()
                .unwrap_or(&mesh.include_inbound_ports),
            exclude_inbound_ports: wishes
                .exclude_inbound_ports
                .as_ref()
                .unwrap_or(&mesh.exclude_inbound_ports),
            include_outbound_ip_ranges: wishes
                .include_outbound_ip_ranges
                .as_ref()
                .unwrap_or(&mesh.include_outbound_ip_ranges),
            exclude_outbound_ip_ranges: wishes
                .exclude_outbound_ip_ranges
                .as_ref()
                .unwrap_or(&mesh.exclude_outbound_ip_ranges),
            include_outbound_ports: wishes
                .include_outbound_ports
                .as_ref()
                .unwrap_or(&mesh.include_outbound_ports),
            exclude_outbound_ports: wishes
                .exclude_outbound_ports
                .as_ref()
                .unwrap_or(&mesh.exclude_outbound_ports),
            exclude_interfaces: wishes.exclude_interfaces.as_deref().unwrap_or_default(),
            reroute_virtual_interfaces: wishes
                .reroute_virtual_interfaces
                .as_deref()
                .unwrap_or_default(),
        }
    }
}

/// The container as it is wanted.
pub(super) fn container(plan: &Plan<'_>) -> Value {
    let validates = plan.settings.cni.enabled;
    let mut arguments = arguments(plan);
    if validates {
        arguments.extend(["--run-validation", "--skip-rule-apply"].map(str::to_owned));
    }
    let made = &plan.settings.container;
    // The redirect belongs to the kernel's network namespace of the pod: it takes root and these two
    // capabilities, and nothing else. Looking at it takes nothing.
    let (name, capabilities, uid, gid) = if validates {
        let capabilities = json!({ "drop": ["ALL"] });
        let identity = plan.identity;
        (
            VALIDATION_CONTAINER,
            capabilities,
            identity.uid,
            identity.gid,
        )
    } else {
        let capabilities = json!({ "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] });
        (INIT_CONTAINER, capabilities, 0, 0)
    };
    let mut container = json!({
        "name": name,
        "command": [PROGRAM],
        "args": arguments,
        "securityContext": {
            "allowPrivilegeEscalation": made.privileged,
            "capabilities": capabilities,
            "privileged": made.privileged,
            "readOnlyRootFilesystem": true,
            "runAsGroup": gid,
            "runAsNonRoot": uid != 0,
            "runAsUser": uid,
            "seccompProfile": made.seccomp_profile,
        },
    });
    let environment: Vec<Value> = environment::metadata(plan).collect();
    if !environment.is_empty() {
        container["env"] = environment.into();
    }
    resources::write(&mut container, plan);
    container
}

/// Istio's arguments, which `fairlead-init` takes.
fn arguments(plan: &Plan<'_>) -> Vec<String> {
    let redirect = Redirect::of(plan);
    let fixed = UNCAPTURED_INBOUND
        .into_iter()
        .filter(|port| *port != STATUS);
    let mut uncaptured: Vec<Ports> = fixed.chain(plan.status_port).map(Ports::from).collect();
    for ports in redirect.exclude_inbound_ports {
        if !uncaptured.contains(ports) {
            uncaptured.push(*ports);
        }
    }
    // Whose packets pass, and whose group's.
    let user = plan.identity.redirected_user();
    let group = plan.identity.redirected_group();
    let mut arguments: Vec<(&str, String)> = vec![
        ("-p", OUTBOUND.to_string()),
        ("-z", INBOUND.to_string()),
        ("-u", user.to_string()),
    ];
    // Without it, the group has the number of the user.
    if group != user {
        arguments.push(("-g", group.to_string()));
    }
    arguments.extend([
        ("-m", plan.mode.as_str().to_owned()),
        ("-i", redirect.include_outbound_ip_ranges.to_string()),
        ("-x", join(redirect.exclude_outbound_ip_ranges)),
        ("-b", redirect.include_inbound_ports.to_string()),
        ("-d", join(&uncaptured)),
    ]);
    let included = match redirect.include_outbound_ports {
        // The flag knows no word for them.
        Selection::All => Ports {
            first: 1,
            last: u16::MAX,
        }
        .to_string(),
        Selection::Only(ports) => join(ports),
    };
    for (flag, list) in [
        ("-q", included),
        ("-o", join(redirect.exclude_outbound_ports)),
        ("-c", join(redirect.exclude_interfaces)),
        ("-k", join(redirect.reroute_virtual_interfaces)),
    ] {
        if !list.is_empty() {
            arguments.push((flag, list));
        }
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
