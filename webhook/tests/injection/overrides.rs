//! A pod's own `istio-proxy` and `istio-init`: field by field, what its author wrote is stronger.

use fairlead_webhook::inject::{Place, inject};
use serde_json::{Value, json};

use crate::{
    NAMESPACE,
    container::{container, names, variable},
    defaults, injected, settings,
};

const OVERRIDES: &str = "proxy.istio.io/overrides";

fn with(containers: &Value, init_containers: &Value) -> Value {
    json!({
        "metadata": { "name": "a" },
        "spec": { "containers": containers, "initContainers": init_containers },
    })
}

fn own_proxy() -> Value {
    json!({
        "name": "istio-proxy",
        "image": "auto",
        "env": [
            { "name": "EXTRA", "value": "1" },
            { "name": "ISTIO_META_CLUSTER_ID", "value": "mine" },
            { "name": "POD_NAME", "value": "fixed" },
        ],
        "ports": [{ "containerPort": 9999 }],
        "resources": { "limits": { "cpu": "0.5" } },
        "readinessProbe": { "periodSeconds": 2 },
        "livenessProbe": { "tcpSocket": { "port": 15021 } },
        "lifecycle": { "preStop": { "exec": { "command": ["sleep", "3"] } } },
        "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }],
        "securityContext": { "runAsUser": 2000, "readOnlyRootFilesystem": false },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

#[test]
fn each_field_of_the_authors_is_stronger() {
    for native in [true, false] {
        let pod = injected(
            &with(&json!([own_proxy(), { "name": "app" }]), &json!([])),
            native,
        );
        let proxy = container(&pod, "istio-proxy");
        assert_eq!(proxy["image"], "fairlead/proxy:0.1.0");
        assert_eq!(variable(proxy, "EXTRA"), Some("1"));
        assert_eq!(variable(proxy, "ISTIO_META_CLUSTER_ID"), Some("mine"));
        assert_eq!(variable(proxy, "POD_NAME"), Some("fixed"));
        assert_eq!(variable(proxy, "ISTIO_META_MESH_ID"), Some("cluster.local"));
        let ports = proxy["ports"].as_array().unwrap();
        let ports: Vec<u64> = ports
            .iter()
            .map(|p| p["containerPort"].as_u64().unwrap())
            .collect();
        assert_eq!(ports, [15090, 9999]);
        assert_eq!(
            proxy["resources"]["limits"],
            json!({ "cpu": "0.5", "memory": "512Mi" })
        );
        assert_eq!(proxy["readinessProbe"]["periodSeconds"], 2);
        assert_eq!(proxy["readinessProbe"]["httpGet"]["port"], 15021);
        assert_eq!(
            proxy["livenessProbe"],
            json!({ "tcpSocket": { "port": 15021 } })
        );
        assert_eq!(proxy["lifecycle"].get("postStart").is_some(), native);
        assert!(proxy["lifecycle"].get("preStop").is_some());
        let mounts = proxy["volumeMounts"].as_array().unwrap();
        let paths: Vec<&str> = mounts
            .iter()
            .map(|m| m["mountPath"].as_str().unwrap())
            .collect();
        assert_eq!(paths, ["/etc/istio/pod", "/tmp"]);
        let context = &proxy["securityContext"];
        assert_eq!(context["runAsUser"], 2000);
        assert_eq!(context["readOnlyRootFilesystem"], false);
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
        assert_eq!(proxy["terminationMessagePolicy"], "FallbackToLogsOnError");

        let kept = pod["metadata"]["annotations"][OVERRIDES].as_str().unwrap();
        let kept: Value = serde_json::from_str(kept).unwrap();
        assert_eq!(kept, json!({ "containers": [own_proxy()] }));
    }
}

#[test]
fn the_container_goes_where_it_belongs() {
    let app = json!({ "name": "app" });
    let migrate = json!({ "name": "migrate" });
    let own = json!({ "name": "istio-proxy", "image": "auto" });
    let own_init =
        json!({ "name": "istio-init", "image": "auto", "resources": { "limits": { "cpu": 1 } } });
    let front = ["istio-init", "istio-proxy", "migrate"];
    for (native, containers, init_containers, expected) in [
        (
            true,
            json!([own, app]),
            json!([migrate]),
            (&front[..], &["app"][..]),
        ),
        (
            true,
            json!([app]),
            json!([migrate, own]),
            (&front[..], &["app"]),
        ),
        (
            true,
            json!([app]),
            json!([migrate, own_init]),
            (&front[..], &["app"]),
        ),
        (
            false,
            json!([own, app]),
            json!([migrate]),
            (&["migrate", "istio-init"], &["app", "istio-proxy"]),
        ),
        (
            false,
            json!([app]),
            json!([own_init, migrate]),
            (&["migrate", "istio-init"], &["app", "istio-proxy"]),
        ),
        // Who writes a restartable init container wants one.
        (
            false,
            json!([app]),
            json!([migrate, own]),
            (&front, &["app"]),
        ),
        // A pod without any other container cannot do without this one.
        (
            true,
            json!([own]),
            json!([migrate]),
            (&["migrate", "istio-init"], &["istio-proxy"]),
        ),
    ] {
        let pod = injected(&with(&containers, &init_containers), native);
        let found = (names(&pod, "initContainers"), names(&pod, "containers"));
        assert_eq!(found, (expected.0.to_vec(), expected.1.to_vec()));
        let restarts = container(&pod, "istio-proxy")
            .get("restartPolicy")
            .is_some();
        assert_eq!(restarts, found.0.contains(&"istio-proxy"));
    }
}

#[test]
fn an_image_of_the_authors_own_stays() {
    for (image, policy, expected) in [
        ("auto", "Always", ("fairlead/proxy:0.1.0", "IfNotPresent")),
        ("auto", "Never", ("fairlead/proxy:0.1.0", "Never")),
        ("mine:2", "Always", ("mine:2", "Always")),
    ] {
        let own = json!({ "name": "istio-proxy", "image": image, "imagePullPolicy": policy });
        let pod = injected(&with(&json!([{ "name": "app" }, own]), &json!([])), true);
        let proxy = container(&pod, "istio-proxy");
        assert_eq!(proxy["image"], expected.0);
        assert_eq!(proxy["imagePullPolicy"], expected.1);
    }
}

#[test]
fn an_init_container_of_the_authors_own_is_the_redirect() {
    let own = json!({
        "name": "istio-init",
        "image": "auto",
        "resources": { "requests": { "cpu": "10m" } },
        "securityContext": { "readOnlyRootFilesystem": false },
    });
    let pod = injected(&with(&json!([{ "name": "app" }]), &json!([own])), true);
    let init = container(&pod, "istio-init");
    assert_eq!(init["image"], "fairlead/proxy:0.1.0");
    assert_eq!(init["resources"]["requests"]["cpu"], "10m");
    assert_eq!(init["securityContext"]["readOnlyRootFilesystem"], false);
    assert_eq!(init["securityContext"]["runAsUser"], 0);
    assert_eq!(init["command"], json!(["/usr/local/bin/fairlead-init"]));
}

/// The pod as the API server shows it: the application's defaults are in the override, too.
#[test]
fn a_stored_pod_is_followed_as_well() {
    let stored = defaults::as_stored(&with(
        &json!([{ "name": "app" }, { "name": "istio-proxy", "image": "auto", "imagePullPolicy": "Always" }]),
        &json!([]),
    ));
    for native in [true, false] {
        let pod = injected(&stored, native);
        assert_eq!(
            container(&pod, "istio-proxy")["image"],
            "fairlead/proxy:0.1.0"
        );
    }
}

#[test]
fn the_annotation_stands_for_the_containers() {
    let kept = json!({ "containers": [{ "name": "istio-proxy", "env": [{ "name": "A", "value": "1" }] }] });
    let mut pod = with(&json!([{ "name": "app" }]), &json!([]));
    pod["metadata"]["annotations"] = json!({ OVERRIDES: kept.to_string() });
    let pod = injected(&pod, true);
    assert_eq!(variable(container(&pod, "istio-proxy"), "A"), Some("1"));
}

#[test]
fn an_author_who_is_not_understood_is_told() {
    let app = json!({ "name": "app" });
    let taken = json!({ "name": "istio-proxy", "env": [{ "name": "ISTIO_KUBE_APP_PROBERS", "value": "{}" }] });
    for (pod, part) in [
        (
            with(&json!([app, { "name": "istio-init" }]), &json!([])),
            "belongs into spec.initContainers",
        ),
        (
            with(&json!([app, taken]), &json!([])),
            "sets ISTIO_KUBE_APP_PROBERS",
        ),
        (
            with(
                &json!([app]),
                &json!([{ "name": "istio-validation", "image": "auto" }]),
            ),
            "none of this name is injected",
        ),
    ] {
        check_refused(&pod, part);
    }
    for text in ["{", "[]x", r#"{"containers":[1]}"#, r#"{"containers":{}}"#] {
        let mut pod = with(&json!([app]), &json!([]));
        pod["metadata"]["annotations"] = json!({ OVERRIDES: text });
        check_refused(
            &pod,
            "'proxy.istio.io/overrides' is not the injector's JSON",
        );
    }
}

#[track_caller]
fn check_refused(pod: &Value, part: &str) {
    let refusal = inject(pod, &Place::named(NAMESPACE, true), &settings()).unwrap_err();
    assert_eq!(refusal.0.len(), 1, "{refusal}");
    assert!(refusal.to_string().contains(part), "{part} in {refusal}");
}
