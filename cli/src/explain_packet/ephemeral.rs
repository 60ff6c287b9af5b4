//! The run by an ephemeral container, which has the capabilities that the sidecar lacks.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use fairlead_api::names::PROXY_CONTAINER;
use k8s_openapi::api::core::v1::{Container, ContainerState, Pod};
use kube::{
    Api,
    api::{LogParams, Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::Outcome;

/// The image is on the node, as the sidecar runs from it.
const DEADLINE: Duration = Duration::from_secs(60);

/// The sidecar, be it a native one or a plain container.
pub(super) fn sidecar(pod: &Pod) -> Option<&Container> {
    let spec = pod.spec.as_ref()?;
    let init = spec.init_containers.iter().flatten();
    init.chain(&spec.containers)
        .find(|container| container.name == PROXY_CONTAINER)
}

/// Adds a container that runs the command, and waits for its end. Returns its name, too.
///
/// # Errors
/// The API server refuses, or the container does not end.
pub(super) async fn run(
    pods: &Api<Pod>,
    pod: &Pod,
    command: &[String],
) -> anyhow::Result<(String, Outcome)> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let container = name(pod);
    let patch = patch(pod, &container, command)
        .with_context(|| format!("pod {pod_name} has no container {PROXY_CONTAINER}"))?;
    pods.patch_ephemeral_containers(
        pod_name,
        &PatchParams::default(),
        &Patch::Strategic(&patch),
    )
    .await
    .with_context(|| {
        format!(
            "add the ephemeral container {container} with NET_ADMIN and NET_RAW to pod {pod_name} \
             (this needs patch on pods/ephemeralcontainers, and a Pod Security level that admits it)"
        )
    })?;

    let ended = |pod: Option<&Pod>| {
        pod.is_none_or(|pod| !matches!(progress(pod, &container), Progress::Waiting))
    };
    let pod = timeout(DEADLINE, await_condition(pods.clone(), pod_name, ended))
        .await
        .map_err(|_| {
            anyhow!(
                "the ephemeral container {container} did not end within {} s: kubectl describe pod \
                 {pod_name} says why",
                DEADLINE.as_secs()
            )
        })?
        .with_context(|| format!("watch pod {pod_name}"))?;
    let succeeded = match pod.as_ref().map(|pod| progress(pod, &container)) {
        Some(Progress::Ended { succeeded }) => succeeded,
        Some(Progress::Stuck(why)) => {
            bail!("the ephemeral container {container} does not start: {why}")
        }
        Some(Progress::Waiting) | None => bail!("pod {pod_name} was deleted"),
    };
    let parameters = LogParams {
        container: Some(container.clone()),
        ..LogParams::default()
    };
    let log = pods
        .logs(pod_name, &parameters)
        .await
        .with_context(|| format!("read the log of {container} (this needs get on pods/log)"))?;
    let outcome = Outcome {
        succeeded,
        // A log has both in one.
        stdout: log,
        stderr: String::new(),
    };
    Ok((container, outcome))
}

/// A name that the pod has not yet; ephemeral containers stay in the list of a pod.
fn name(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let existing = spec.and_then(|spec| spec.ephemeral_containers.as_deref());
    let number = existing.map_or(0, <[_]>::len) + 1;
    format!("fairlead-explain-{number}")
}

/// The change of the pod's ephemeral containers; none where there is no sidecar.
fn patch(pod: &Pod, name: &str, command: &[String]) -> Option<Value> {
    let sidecar = sidecar(pod)?;
    let mut container = json!({
        "name": name,
        "image": sidecar.image,
        "command": command,
        // The kernel shows rules to root with the first one; legacy iptables reads them by a socket
        // that takes the second.
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
    if let Some(policy) = &sidecar.image_pull_policy {
        container["imagePullPolicy"] = json!(policy);
    }
    Some(json!({ "spec": { "ephemeralContainers": [container] } }))
}

/// How far a container has come.
#[derive(Debug, Eq, PartialEq)]
enum Progress {
    Waiting,
    Ended {
        succeeded: bool,
    },
    /// It will not start.
    Stuck(String),
}

fn progress(pod: &Pod, container: &str) -> Progress {
    let status = pod.status.as_ref();
    let statuses = status.and_then(|status| status.ephemeral_container_statuses.as_deref());
    let status = statuses
        .unwrap_or_default()
        .iter()
        .find(|status| status.name == container);
    match status.and_then(|status| status.state.as_ref()) {
        Some(ContainerState {
            terminated: Some(terminated),
            ..
        }) => Progress::Ended {
            succeeded: terminated.exit_code == 0,
        },
        Some(ContainerState {
            waiting: Some(waiting),
            ..
        }) => match waiting.reason.as_deref() {
            None | Some("ContainerCreating" | "PodInitializing") => Progress::Waiting,
            Some(reason) => Progress::Stuck(match &waiting.message {
                Some(message) => format!("{reason}: {message}"),
                None => reason.to_owned(),
            }),
        },
        _ => Progress::Waiting,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::{Progress, name, patch, progress};

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    fn with_status(state: &Value) -> Pod {
        pod(json!({ "status": { "ephemeralContainerStatuses": [
            { "name": "other", "image": "", "imageID": "", "ready": false, "restartCount": 0,
              "state": { "terminated": { "exitCode": 1 } } },
            { "name": "mine", "image": "", "imageID": "", "ready": false, "restartCount": 0,
              "state": state },
        ] } }))
    }

    #[test]
    fn the_container_has_the_sidecars_image_and_what_it_takes() {
        let sidecar =
            json!({ "name": "istio-proxy", "image": "a/b:1", "imagePullPolicy": "Never" });
        let command = ["/bin/x".to_owned(), "--y=z".to_owned()];
        for spec in [
            json!({ "containers": [{ "name": "app" }], "initContainers": [sidecar] }),
            json!({ "containers": [{ "name": "app" }, sidecar] }),
        ] {
            let patch = patch(&pod(json!({ "spec": spec })), "mine", &command).unwrap();
            let container = &patch["spec"]["ephemeralContainers"][0];
            assert_eq!(container["name"], "mine");
            assert_eq!(container["image"], "a/b:1");
            assert_eq!(container["imagePullPolicy"], "Never");
            assert_eq!(container["command"], json!(command));
            let security = &container["securityContext"];
            assert_eq!(
                security["capabilities"],
                json!({ "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] })
            );
            assert_eq!(security["runAsUser"], 0);
            assert_eq!(security["runAsNonRoot"], false);
        }
        let without = pod(json!({ "spec": { "containers": [{ "name": "app" }] } }));
        assert_eq!(patch(&without, "mine", &command), None);
    }

    #[test]
    fn each_run_has_a_name_of_its_own() {
        let none = pod(json!({ "spec": { "containers": [] } }));
        assert_eq!(name(&none), "fairlead-explain-1");
        let one = json!({ "containers": [], "ephemeralContainers": [{ "name": "debugger" }] });
        assert_eq!(name(&pod(json!({ "spec": one }))), "fairlead-explain-2");
    }

    #[test]
    fn the_end_is_seen_and_what_never_starts_too() {
        for (state, expected) in [
            (json!({}), Progress::Waiting),
            (json!({ "running": {} }), Progress::Waiting),
            (
                json!({ "waiting": { "reason": "ContainerCreating" } }),
                Progress::Waiting,
            ),
            (
                json!({ "waiting": { "reason": "ErrImagePull", "message": "no such" } }),
                Progress::Stuck("ErrImagePull: no such".to_owned()),
            ),
            (
                json!({ "terminated": { "exitCode": 0 } }),
                Progress::Ended { succeeded: true },
            ),
            (
                json!({ "terminated": { "exitCode": 1 } }),
                Progress::Ended { succeeded: false },
            ),
        ] {
            assert_eq!(progress(&with_status(&state), "mine"), expected, "{state}");
        }
        assert_eq!(progress(&pod(json!({})), "mine"), Progress::Waiting);
    }
}
