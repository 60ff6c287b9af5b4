//! The proxy's container and its volume.

use std::collections::BTreeMap;

use fairlead_api::{
    names::{POD_INFO_PATH, POD_INFO_VOLUME, PROXY_CONTAINER, PROXY_ID, env},
    ports,
    values::{InterceptionMode, Quantity},
};
use serde_json::{Value, json};

use super::Plan;

const PROGRAM: &str = "/usr/local/bin/fairlead-proxy";

/// The container as it is wanted.
pub(super) fn container(plan: &Plan<'_>) -> Value {
    let level = plan.wishes.log_level.unwrap_or(plan.settings.log_level);
    let domain = format!(
        "$({}).svc.{}",
        env::POD_NAMESPACE,
        plan.settings.cluster_domain
    );
    let level = level.to_string();
    let mut arguments = vec!["sidecar", "--domain", &domain, "--proxyLogLevel", &level];
    let status_port = plan.status_port.map(|port| port.to_string());
    match &status_port {
        None => arguments.push("--no-status-port"),
        Some(port) if plan.status_port != Some(ports::STATUS) => {
            arguments.extend(["--status-port", port]);
        }
        Some(_) => {}
    }
    let mut container = json!({
        "name": PROXY_CONTAINER,
        "command": [PROGRAM],
        "args": arguments,
        "env": environment(plan),
        "ports": [{
            "containerPort": ports::PROXY_METRICS,
            "name": "http-envoy-prom",
            "protocol": "TCP",
        }],
        "securityContext": security_context(plan.interception_mode()),
        "volumeMounts": [{ "mountPath": POD_INFO_PATH, "name": POD_INFO_VOLUME }],
    });
    // As in Istio, a pod without status port is not asked how its proxy is.
    let is_asked = plan.status_port.is_some();
    if is_asked {
        container["readinessProbe"] = probe(15, 4);
    }
    if plan.native {
        container["restartPolicy"] = json!("Always");
        // The application starts when this has ended. A startup probe would do, too, but the kubelet
        // asks it only after it has seen the container run, a second later.
        container["lifecycle"] =
            json!({ "postStart": { "exec": { "command": [PROGRAM, "wait"] } } });
    } else if is_asked {
        // Asks often, so that the pod is ready soon; gives up after ten minutes, as Istio's does.
        container["startupProbe"] = probe(1, 600);
    }
    image_and_resources(&mut container, plan);
    container
}

fn security_context(mode: InterceptionMode) -> Value {
    let (capabilities, user) = match mode {
        InterceptionMode::Redirect | InterceptionMode::None => {
            (json!({ "drop": ["ALL"] }), PROXY_ID)
        }
        // A transparent socket takes NET_ADMIN, which Kubernetes gives to no user but root. The
        // redirect then knows the proxy by its group.
        InterceptionMode::Tproxy => (json!({ "add": ["NET_ADMIN"], "drop": ["ALL"] }), 0),
    };
    json!({
        "allowPrivilegeEscalation": false,
        "capabilities": capabilities,
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "runAsGroup": PROXY_ID,
        "runAsNonRoot": user != 0,
        "runAsUser": user,
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// The volume in which the proxy reads the pod's labels and annotations.
pub(super) fn volume() -> Value {
    let item = |path: &str| json!({ "path": path, "fieldRef": field(&format!("metadata.{path}")) });
    json!({
        "name": POD_INFO_VOLUME,
        "downwardAPI": { "items": [item("labels"), item("annotations")] },
    })
}

/// What both containers have in common.
pub(super) fn image_and_resources(container: &mut Value, plan: &Plan<'_>) {
    let image = plan.wishes.image.as_ref().unwrap_or(&plan.settings.image);
    container["image"] = json!(image.as_str());
    if let Some(policy) = plan.settings.image_pull_policy {
        container["imagePullPolicy"] = json!(policy.as_str());
    }
    let (requests, limits) = resources(plan);
    let texts = |quantities: &BTreeMap<&str, &Quantity>| -> Value {
        quantities
            .iter()
            .map(|(name, quantity)| (*name, quantity.as_str()))
            .collect()
    };
    for (field, quantities) in [("requests", requests), ("limits", limits)] {
        if !quantities.is_empty() {
            container["resources"][field] = texts(&quantities);
        }
    }
}

type Quantities<'a> = BTreeMap<&'a str, &'a Quantity>;

/// Requests and limits: the mesh's, or those of the pod's annotations, never a mix.
fn resources<'a>(plan: &Plan<'a>) -> (Quantities<'a>, Quantities<'a>) {
    if plan.wishes.sets_resources() {
        let own = |cpu: &'a Option<Quantity>, memory: &'a Option<Quantity>| {
            let pairs = [("cpu", cpu), ("memory", memory)].into_iter();
            pairs
                .filter_map(|(name, quantity)| Some((name, quantity.as_ref()?)))
                .collect()
        };
        let wishes = plan.wishes;
        return (
            own(&wishes.cpu_request, &wishes.memory_request),
            own(&wishes.cpu_limit, &wishes.memory_limit),
        );
    }
    let mesh = |quantities: &'a BTreeMap<String, Quantity>| {
        quantities
            .iter()
            .map(|(name, quantity)| (name.as_str(), quantity))
            .collect()
    };
    let resources = &plan.settings.resources;
    (mesh(&resources.requests), mesh(&resources.limits))
}

/// What the proxy reads. An empty value is left out: the API server drops it anyway.
fn environment(plan: &Plan<'_>) -> Vec<Value> {
    let settings = plan.settings;
    let from =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": field(path) } });
    let meta = |name: &str| format!("{}{name}", env::META_PREFIX);
    let mut environment = vec![
        from(env::POD_NAME, "metadata.name"),
        from(env::POD_NAMESPACE, "metadata.namespace"),
        from(env::INSTANCE_IP, "status.podIP"),
        from(env::SERVICE_ACCOUNT, "spec.serviceAccountName"),
    ];
    // Without a limit this would be the node's CPUs, which are not the proxy's to take.
    if resources(plan).1.contains_key("cpu") {
        environment.push(json!({
            "name": env::CPU_LIMIT,
            "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } },
        }));
    }
    let proxy_config = serde_json::to_string(&settings.proxy_config)
        .expect("the proxy's configuration has a JSON form");
    let values = [
        (env::PROXY_CONFIG.to_owned(), proxy_config),
        (meta("APP_CONTAINERS"), plan.app_containers.join(",")),
        (meta("CLUSTER_ID"), settings.cluster_id.clone()),
        (
            env::INTERCEPTION_MODE.to_owned(),
            plan.interception_mode().as_str().to_owned(),
        ),
        (meta("MESH_ID"), settings.mesh_id.clone()),
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
    environment
}

fn probe(period_seconds: u32, failure_threshold: u32) -> Value {
    json!({
        "httpGet": { "path": "/healthz/ready", "port": ports::HEALTH },
        "periodSeconds": period_seconds,
        "timeoutSeconds": 3,
        "failureThreshold": failure_threshold,
    })
}

fn field(path: &str) -> Value {
    json!({ "fieldPath": path })
}
