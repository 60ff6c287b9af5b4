//! The proxy's environment: what it reads, and nothing else.

use fairlead_api::names::{NETWORK_LABEL, env};
use serde_json::{Value, json};

use super::{Plan, resources};
use crate::pod;

/// All variables. An empty value is left out: the API server drops it anyway.
pub(super) fn of(plan: &Plan<'_>) -> Vec<Value> {
    let settings = plan.settings;
    let from = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let meta = |name: &str| format!("{}{name}", env::META_PREFIX);
    let mut environment = vec![
        from(env::POD_NAME, "metadata.name"),
        from(env::POD_NAMESPACE, "metadata.namespace"),
        from(env::INSTANCE_IP, "status.podIP"),
        from(env::SERVICE_ACCOUNT, "spec.serviceAccountName"),
    ];
    // Without a limit this would be the node's CPUs, which are not the proxy's to take.
    if resources::of(plan).1.contains_key("cpu") {
        environment.push(json!({
            "name": env::CPU_LIMIT,
            "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } },
        }));
    }
    let proxy_config = serde_json::to_string(&plan.proxy.proxy_config())
        .expect("the proxy's configuration has a JSON form");
    let values = [
        (env::PROXY_CONFIG.to_owned(), proxy_config),
        (meta("APP_CONTAINERS"), plan.app_containers.join(",")),
        (meta("CLUSTER_ID"), settings.cluster_id.clone()),
        (
            env::INTERCEPTION_MODE.to_owned(),
            plan.mode.as_str().to_owned(),
        ),
        (meta("MESH_ID"), settings.mesh_id.clone()),
        (meta("NETWORK"), network(plan).to_owned()),
        (meta("OWNER"), plan.workload.owner()),
        (meta("WORKLOAD_NAME"), plan.workload.name.clone()),
        (env::PROMETHEUS_ANNOTATIONS.to_owned(), plan.metrics.text()),
        (env::APP_PROBERS.to_owned(), plan.probes.text()),
    ];
    for (name, value) in values {
        if !value.is_empty() {
            environment.push(json!({ "name": name, "value": value }));
        }
    }
    environment.push(from(&meta("NODE_NAME"), "spec.nodeName"));
    // Kubernetes stops a plain container together with the application, which may still make calls.
    if !plan.native {
        let name = env::EXIT_ON_ZERO_ACTIVE_CONNECTIONS;
        environment.push(json!({ "name": name, "value": "false" }));
    }
    for variable in metadata(plan) {
        match environment
            .iter_mut()
            .find(|known| pod::name(known) == pod::name(&variable))
        {
            Some(known) => *known = variable,
            None => environment.push(variable),
        }
    }
    environment
}

/// The network that the pod's address belongs to; empty if there is only one.
pub(super) fn network<'a>(plan: &Plan<'a>) -> &'a str {
    let label = pod::at(plan.pod, &["metadata", "labels", NETWORK_LABEL]);
    label
        .and_then(Value::as_str)
        .unwrap_or(&plan.settings.network)
}

/// The variables of `proxyMetadata`, which the init container gets, too.
pub(super) fn metadata(plan: &Plan<'_>) -> impl Iterator<Item = Value> {
    let pairs = plan.proxy.proxy_metadata.iter();
    pairs.map(|(name, value)| json!({ "name": name, "value": value }))
}
