//! What the webhook knows of a real cluster, and what it tells there: edits of the mesh's configuration,
//! annotations of namespaces, and Events.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::{Mutex, PoisonError};

use fairlead_tests::kube::workloads::CLIENT;
use fairlead_tests::kube::{
    RELEASE_NAMESPACE, TestNamespace, install, kubectl, kubectl_with, object, until, webhook_pods,
};
use serde_json::{Value, json};

const INJECTED: &str = "istio-injection=enabled";

/// The mesh belongs to every test.
static ALONE: Mutex<()> = Mutex::new(());

/// The ConfigMap `istio`; as it was again on drop.
struct Mesh(Value);

impl Mesh {
    fn open() -> Self {
        install();
        let mut map = object(&format!("configmap istio --namespace={RELEASE_NAMESPACE}"));
        // Whatever has changed meanwhile, this is to be written.
        map["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("resourceVersion");
        Self(map)
    }

    fn edit(&self, mesh: &str) {
        let mut map = self.0.clone();
        map["data"]["mesh"] = json!(mesh);
        kubectl_with("replace --filename=-", &map.to_string());
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        // A failure to clean up must not hide the test's own.
        drop(fairlead_tests::kube::try_kubectl(
            "replace --filename=-",
            Some(&self.0.to_string()),
        ));
    }
}

/// The pod that the API server would create.
#[track_caller]
fn created(namespace: &TestNamespace) -> Value {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "one" },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    });
    let arguments = format!(
        "create --namespace={} --dry-run=server --output=json --filename=-",
        namespace.name()
    );
    serde_json::from_str(&kubectl_with(&arguments, &pod.to_string())).unwrap()
}

fn status_port(pod: &Value) -> &Value {
    &pod["metadata"]["annotations"]["prometheus.io/port"]
}

/// A field of the proxy's configuration.
fn configured(pod: &Value, field: &str) -> Value {
    let containers = pod["spec"]["initContainers"].as_array().unwrap();
    let proxy = containers
        .iter()
        .find(|c| c["name"] == "istio-proxy")
        .unwrap();
    let mut variables = proxy["env"].as_array().unwrap().iter();
    let config = variables.find(|v| v["name"] == "PROXY_CONFIG").unwrap();
    let config: Value = serde_json::from_str(config["value"].as_str().unwrap()).unwrap();
    config[field].clone()
}

/// The Events of a reason, oldest first.
#[track_caller]
fn events(namespace: &str, reason: &str) -> Vec<Value> {
    let events = object(&format!(
        "events.events.k8s.io --namespace={namespace} --field-selector=reason={reason} \
         --sort-by=.metadata.creationTimestamp"
    ));
    events["items"].as_array().unwrap().clone()
}

/// A plain page of each replica.
#[track_caller]
fn pages(path: &str) -> Vec<String> {
    let pods = webhook_pods();
    let names = pods
        .iter()
        .map(|pod| pod["metadata"]["name"].as_str().unwrap());
    names
        .map(|name| {
            kubectl(&format!(
                "get --raw /api/v1/namespaces/{RELEASE_NAMESPACE}/pods/{name}:15014/proxy/{path}"
            ))
        })
        .collect()
}

/// Which containers of the webhook run, and how often each was started.
fn replicas() -> Vec<(Value, Value)> {
    webhook_pods()
        .iter()
        .map(|pod| {
            let restarts = pod["status"]["containerStatuses"][0]["restartCount"].clone();
            (pod["metadata"]["uid"].clone(), restarts)
        })
        .collect()
}

/// Until every replica has read what was edited; a dry run alone asks just one of them.
#[track_caller]
fn until_accepted(namespace: &TestNamespace, port: &str) {
    let mut in_a_row = 0;
    until(&format!("status port {port}"), || {
        let matches = status_port(&created(namespace)) == port;
        in_a_row = if matches { in_a_row + 1 } else { 0 };
        (in_a_row >= 5).then_some(())
    });
}

#[test]
#[ignore = "needs root"]
fn an_edit_of_the_mesh_counts_without_a_restart_and_a_bad_one_leaves_the_last_good_one() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mesh = Mesh::open();
    let namespace = TestNamespace::new("mesh-edit", INJECTED);
    let before = replicas();
    assert_eq!(status_port(&created(&namespace)), "15020");
    mesh.edit("defaultConfig: {statusPort: 15120}");
    until_accepted(&namespace, "15120");

    mesh.edit("defaultConfig: {statusPort: many}");
    let event = until("the Event", || {
        events(RELEASE_NAMESPACE, "MeshConfigRejected").pop()
    });
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["regarding"]["kind"], "ConfigMap");
    assert_eq!(event["regarding"]["name"], "istio");
    let note = event["note"].as_str().unwrap();
    assert!(
        note.contains("defaultConfig.statusPort is \"many\""),
        "{note}"
    );
    let told = |pages: Vec<String>, part: &str| pages.iter().all(|page| page.contains(part));
    until("the line of /readyz on every replica", || {
        told(pages("readyz?verbose"), "what was in use stays").then_some(())
    });
    assert!(told(
        pages("metrics"),
        "fairlead_webhook_mesh_config_accepted{revision=\"default\"} 0"
    ));
    assert_eq!(status_port(&created(&namespace)), "15120");

    mesh.edit("defaultConfig: {statusPort: 15220}");
    until_accepted(&namespace, "15220");
    until("the repair", || {
        let page = "fairlead_webhook_mesh_config_accepted{revision=\"default\"} 1";
        told(pages("metrics"), page).then_some(())
    });
    assert_eq!(replicas(), before, "the webhook was started anew");
    drop(mesh);
    until_accepted(&namespace, "15020");
}

#[test]
#[ignore = "needs root"]
fn the_annotation_of_a_namespace_is_the_default_of_its_pods() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let namespace = TestNamespace::new("mesh-namespace", INJECTED);
    assert_eq!(configured(&created(&namespace), "concurrency"), Value::Null);
    let name = namespace.name();
    kubectl(&format!(
        "annotate namespace {name} proxy.istio.io/config={{\"concurrency\":3}}"
    ));
    until("the annotation", || {
        (configured(&created(&namespace), "concurrency") == 3).then_some(())
    });
}

#[test]
#[ignore = "needs root"]
fn the_first_pod_of_a_new_namespace_has_its_defaults_already() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // It removes what was there, and itself at the end.
    let namespace = TestNamespace::new("mesh-new", "");
    kubectl("delete namespace mesh-new --wait");
    for _ in 0..5 {
        let made = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {
                "name": "mesh-new",
                "labels": { "istio-injection": "enabled" },
                "annotations": { "proxy.istio.io/config": "concurrency: 3" },
            },
        });
        kubectl_with("create --filename=-", &made.to_string());
        // The service account's controller is as quick as kubectl.
        until("the default service account", || {
            let get = "get serviceaccount default --namespace=mesh-new";
            fairlead_tests::kube::try_kubectl(get, None).ok()
        });
        assert_eq!(configured(&created(&namespace), "concurrency"), 3);
        kubectl("delete namespace mesh-new --wait");
    }
}

#[test]
#[ignore = "needs root"]
fn the_replica_set_is_told_what_became_of_its_pods() {
    let namespace = TestNamespace::new("mesh-events", INJECTED);
    let refused = CLIENT.replace("client", "refused").replace(
        "    spec:\n",
        "      annotations: {sidecar.istio.io/logLevel: loud, proxy.istio.io/config: 'concurrency: x'}\n    spec:\n",
    );
    let skipped = CLIENT.replace("client", "skipped").replace(
        "    spec:\n",
        "      annotations: {sidecar.istio.io/inject: \"false\"}\n    spec:\n",
    );
    let arguments = format!("apply --namespace={} --filename=-", namespace.name());
    kubectl_with(&arguments, &format!("{CLIENT}---{refused}---{skipped}"));
    for (app, reason, kind, parts) in [
        ("client", "Injected", "Normal", &["revision default"][..]),
        (
            "refused",
            "InjectionRefused",
            "Warning",
            &["'loud'", "concurrency is \"x\""],
        ),
        (
            "skipped",
            "InjectionSkipped",
            "Normal",
            &["sidecar.istio.io/inject is false"],
        ),
    ] {
        let event = until(&format!("the Event of {app}"), || {
            let found = events(namespace.name(), reason);
            let of_app = |event: &Value| {
                let name = event["regarding"]["name"].as_str().unwrap_or_default();
                event["regarding"]["kind"] == "ReplicaSet" && name.starts_with(app)
            };
            found.into_iter().find(of_app)
        });
        assert_eq!(event["type"], kind);
        assert_eq!(event["reportingController"], "fairlead-webhook");
        let note = event["note"].as_str().unwrap();
        for part in parts {
            assert!(note.contains(part), "{part} in {note}");
        }
        let replica_set = event["regarding"]["name"].as_str().unwrap();
        let described = kubectl(&format!(
            "describe replicaset {replica_set} --namespace={}",
            namespace.name()
        ));
        assert!(described.contains(reason), "{described}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_dry_run_leaves_no_event_and_a_pod_of_nobody_one_in_its_namespace() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let namespace = TestNamespace::new("mesh-dry-run", INJECTED);
    created(&namespace);
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "two" },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    });
    let arguments = format!("create --namespace={} --filename=-", namespace.name());
    kubectl_with(&arguments, &pod.to_string());
    until("the Event", || {
        (!events(namespace.name(), "Injected").is_empty()).then_some(())
    });
    let found = events(namespace.name(), "Injected");
    let notes: Vec<&str> = found
        .iter()
        .filter_map(|event| event["note"].as_str())
        .collect();
    assert_eq!(
        notes,
        ["pod two: the sidecar of revision default was injected"]
    );
    assert_eq!(found[0]["regarding"]["kind"], "Namespace");
}
