//! The proxy's container and its volume.

use fairlead_api::{
    names::{POD_INFO_PATH, POD_INFO_VOLUME, PROXY_CONTAINER, env},
    ports,
    values::InterceptionMode,
};
use serde_json::{Value, json};

use super::{Plan, environment, merge, resources, templates::Base};

/// What the container runs.
pub(super) const PROGRAM: &str = "/usr/local/bin/fairlead-proxy";

/// The container as it is wanted, before its author has a word.
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
        "env": environment::of(plan),
        "ports": [{
            "containerPort": ports::PROXY_METRICS,
            "name": "http-envoy-prom",
            "protocol": "TCP",
        }],
        "securityContext": security_context(plan),
        "volumeMounts": [{ "mountPath": POD_INFO_PATH, "name": POD_INFO_VOLUME }],
    });
    if let Some(mounts) = &plan.wishes.user_volume_mounts {
        merge::lay(&mut container, &json!({ "volumeMounts": mounts }));
    }
    probes_and_hooks(&mut container, plan);
    resources::write(&mut container, plan);
    container
}

fn probes_and_hooks(container: &mut Value, plan: &Plan<'_>) {
    let made = &plan.settings.container;
    let wait = json!({ "postStart": { "exec": { "command": [PROGRAM, "wait"] } } });
    // The application starts when this has ended. A startup probe would do for a native sidecar, too,
    // but the kubelet asks it only after it has seen the container run, a second later.
    let holds = made.lifecycle.is_none() && (plan.native || plan.holds_application());
    if let Some(hooks) = &made.lifecycle {
        container["lifecycle"] = hooks.clone();
    } else if holds {
        container["lifecycle"] = wait;
    }
    // As in Istio, a pod without status port is not asked how its proxy is.
    if plan.status_port.is_none() {
        return;
    }
    let (mesh, wishes) = (made.readiness, plan.wishes);
    let mut readiness = probe(
        wishes
            .readiness_period_seconds
            .unwrap_or(mesh.period_seconds),
        wishes
            .readiness_failure_threshold
            .unwrap_or(mesh.failure_threshold),
    );
    let delay = wishes.readiness_initial_delay_seconds;
    let delay = delay.unwrap_or(mesh.initial_delay_seconds);
    if delay > 0 {
        readiness["initialDelaySeconds"] = json!(delay);
    }
    container["readinessProbe"] = readiness;
    let waits = plan.native && holds;
    if let Some(threshold) = made.startup_failure_threshold
        && plan.base == Base::Sidecar
        && !waits
    {
        // Asks often, so that the pod is ready soon.
        container["startupProbe"] = probe(1, threshold);
    }
}

fn security_context(plan: &Plan<'_>) -> Value {
    let added = capabilities(plan);
    let capabilities = if added.is_empty() {
        json!({ "drop": ["ALL"] })
    } else {
        json!({ "add": added, "drop": ["ALL"] })
    };
    let made = &plan.settings.container;
    json!({
        "allowPrivilegeEscalation": made.privileged,
        "capabilities": capabilities,
        "privileged": made.privileged,
        "readOnlyRootFilesystem": true,
        "runAsGroup": plan.identity.gid,
        "runAsNonRoot": plan.identity.uid != 0,
        "runAsUser": plan.identity.uid,
        "seccompProfile": made.seccomp_profile,
    })
}

/// What the proxy cannot do without.
fn capabilities(plan: &Plan<'_>) -> Vec<&'static str> {
    let mut needed = Vec::new();
    // For a transparent socket.
    if plan.mode == InterceptionMode::Tproxy {
        needed.push("NET_ADMIN");
    }
    if plan.wishes.cap_net_bind_service == Some(true) {
        needed.push("NET_BIND_SERVICE");
    }
    needed
}

/// After overlays and the pod's author have had their word: as whom the proxy runs is decided, and
/// it can do what it has to.
pub(super) fn settle(container: &mut Value, plan: &Plan<'_>) {
    if container
        .get("securityContext")
        .is_none_or(|c| !c.is_object())
    {
        container["securityContext"] = json!({});
    }
    let context = &mut container["securityContext"];
    context["runAsUser"] = json!(plan.identity.uid);
    context["runAsGroup"] = json!(plan.identity.gid);
    if plan.identity.uid == 0 {
        context["runAsNonRoot"] = json!(false);
    }
    let added = context.pointer_mut("/capabilities/add");
    if let Some(added) = added.and_then(Value::as_array_mut) {
        for needed in capabilities(plan) {
            if !added.iter().any(|capability| capability == needed) {
                added.push(json!(needed));
            }
        }
    }
    // Which list it is in was decided, too.
    if let Some(fields) = container.as_object_mut() {
        fields.remove("restartPolicy");
        if plan.native {
            fields.insert("restartPolicy".to_owned(), json!("Always"));
        }
    }
}

/// The volume in which the proxy reads the pod's labels and annotations.
pub(super) fn volume() -> Value {
    let item = |path: &str| json!({ "path": path, "fieldRef": { "fieldPath": format!("metadata.{path}") } });
    json!({
        "name": POD_INFO_VOLUME,
        "downwardAPI": { "items": [item("labels"), item("annotations")] },
    })
}

fn probe(period_seconds: u32, failure_threshold: u32) -> Value {
    json!({
        "httpGet": { "path": "/healthz/ready", "port": ports::HEALTH },
        "periodSeconds": period_seconds,
        "timeoutSeconds": 3,
        "failureThreshold": failure_threshold,
    })
}
