//! Whole pods: what is injected into them, and that it is injected once.
//!
//! `golden/NAME.yaml` is a pod as the API server hands it over, `golden/NAME.injected.yaml` what
//! becomes of it. `UPDATE_GOLDEN=1 cargo test -p fairlead-webhook` rewrites the latter.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "injection/cni.rs"]
mod cni;
#[path = "injection/container.rs"]
mod container;
#[path = "injection/copies.rs"]
mod copies;
#[path = "injection/defaults.rs"]
mod defaults;
#[path = "injection/identity.rs"]
mod identity;
#[path = "injection/layers.rs"]
mod layers;
#[path = "injection/metrics.rs"]
mod metrics;
#[path = "injection/overrides.rs"]
mod overrides;
#[path = "injection/probes.rs"]
mod probes;
#[path = "injection/templates.rs"]
mod templates;

use std::{fs, path::PathBuf};

use fairlead_webhook::{
    inject::{Place, inject},
    patch::additions,
    settings::{NativeSidecar, Settings},
};
use json_patch::{Patch, PatchOperation};
use serde_json::{Value, json};

const NAMESPACE: &str = "shop";

fn settings() -> Settings {
    let text = "
        image: fairlead/proxy:0.1.0
        imagePullPolicy: IfNotPresent
        imagePullSecrets: [mesh-registry]
        resources:
          requests: { cpu: 0.05, memory: 40Mi }
          limits: { cpu: 2, memory: 512Mi }
        traffic: { excludeOutboundPorts: '22' }
        ";
    Settings::parse(text).unwrap()
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn read(name: &str) -> Value {
    let path = golden(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_norway::from_str(&text).unwrap()
}

/// Injects, and checks what holds for every pod: the patch adds only and gives the same pod, and a
/// second injection finds nothing to do, before and after the API server has set its defaults.
#[track_caller]
fn injected(pod: &Value, native: bool) -> Value {
    injected_at(pod, &Place::named(NAMESPACE, native), &settings())
}

/// As above, with other settings or in another place.
#[track_caller]
fn injected_at(pod: &Value, place: &Place<'_>, settings: &Settings) -> Value {
    let injected = inject(pod, place, settings).unwrap().pod;

    let Patch(operations) = additions(pod, &injected);
    assert!(
        operations
            .iter()
            .all(|op| matches!(op, PatchOperation::Add(_)))
    );
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &operations).unwrap();
    assert_eq!(patched, injected, "the patch gives another pod");

    for found in [injected.clone(), defaults::as_stored(&injected)] {
        for native in [place.native, !place.native] {
            let again = Place { native, ..*place };
            let again = inject(&found, &again, settings).unwrap().pod;
            let Patch(operations) = additions(&found, &again);
            assert!(
                operations.is_empty(),
                "a second injection changes {operations:#?}"
            );
            assert_eq!(again, found, "a second injection takes something away");
        }
    }
    injected
}

#[track_caller]
fn check_golden(name: &str, native: bool) {
    let injected = injected(&read(&format!("{name}.yaml")), native);
    let file = format!("{name}.injected.yaml");
    let text = serde_norway::to_string(&injected).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden(&file), text).unwrap();
        return;
    }
    let expected = fs::read_to_string(golden(&file)).unwrap();
    assert_eq!(
        text, expected,
        "{file} differs; UPDATE_GOLDEN=1 rewrites it"
    );
}

#[test]
fn a_pod_of_a_deployment() {
    check_golden("deployment", NativeSidecar::Auto.resolve(35));
}

#[test]
fn a_pod_on_an_api_server_without_native_sidecars() {
    check_golden("plain", NativeSidecar::Auto.resolve(28));
}

#[test]
fn a_pod_with_every_annotation() {
    check_golden("annotated", true);
}

#[test]
fn a_pod_with_a_transparent_proxy() {
    check_golden("tproxy", true);
}

#[test]
fn a_pods_interception_mode_is_stronger_than_the_meshs() {
    for (mesh, pod, expected) in [
        ("REDIRECT", None, "REDIRECT"),
        ("REDIRECT", Some("TPROXY"), "TPROXY"),
        ("TPROXY", None, "TPROXY"),
        ("TPROXY", Some("REDIRECT"), "REDIRECT"),
    ] {
        let settings = Settings::parse(&format!("{{image: a, interceptionMode: {mesh}}}")).unwrap();
        let injected = inject(&with_mode(pod), &Place::named(NAMESPACE, true), &settings).unwrap();
        let [init, proxy] = containers(&injected.pod);
        let arguments = init["args"].as_array().unwrap();
        let mode = arguments.iter().position(|argument| argument == "-m");
        assert_eq!(arguments[mode.unwrap() + 1], expected);
        let variable = json!({ "name": "ISTIO_META_INTERCEPTION_MODE", "value": expected });
        assert!(proxy["env"].as_array().unwrap().contains(&variable));
        let user = if expected == "TPROXY" { 0 } else { 1337 };
        assert_eq!(proxy["securityContext"]["runAsUser"], user);
    }
}

#[test]
fn a_changed_interception_mode_is_followed_and_leaves_no_capability() {
    let inject = |pod: &Value| {
        inject(pod, &Place::named(NAMESPACE, true), &settings())
            .unwrap()
            .pod
    };
    let mode = |pod: &mut Value, mode: &str| {
        pod["metadata"]["annotations"]["sidecar.istio.io/interceptionMode"] = json!(mode);
    };
    let redirect = inject(&with_mode(Some("REDIRECT")));
    let tproxy = inject(&with_mode(Some("TPROXY")));

    let mut changed = redirect.clone();
    mode(&mut changed, "TPROXY");
    assert_eq!(inject(&changed), tproxy);

    let mut changed = tproxy;
    mode(&mut changed, "REDIRECT");
    let again = inject(&changed);
    let Patch(operations) = additions(&changed, &again);
    json_patch::patch(&mut changed, &operations).unwrap();
    assert_eq!(changed, again, "the patch gives another pod");
    let [_, proxy] = containers(&again);
    let [_, expected] = containers(&redirect);
    let mut context = proxy["securityContext"].clone();
    assert_eq!(context["capabilities"]["add"], json!([]));
    // As the API server stores it.
    context["capabilities"]
        .as_object_mut()
        .unwrap()
        .remove("add");
    assert_eq!(context, expected["securityContext"]);
    assert_eq!(inject(&again), again);
}

#[test]
fn native_nftables_are_the_meshs_choice() {
    let init = |settings: &str| {
        let settings = Settings::parse(settings).unwrap();
        let injected = inject(&with_mode(None), &Place::named(NAMESPACE, true), &settings).unwrap();
        let [init, _] = containers(&injected.pod);
        init["args"].clone()
    };
    let has = |arguments: Value| {
        let arguments = arguments.as_array().unwrap();
        arguments.contains(&json!("--native-nftables"))
    };
    assert!(has(init("{image: a, nativeNftables: true}")));
    assert!(!has(init("{image: a, nativeNftables: false}")));
    assert!(!has(init("{image: a}")));
}

/// A pod, and its annotation.
fn with_mode(mode: Option<&str>) -> Value {
    let mut pod = json!({
        "metadata": { "name": "a" },
        "spec": { "containers": [{ "name": "app" }] },
    });
    if let Some(mode) = mode {
        pod["metadata"]["annotations"] = json!({ "sidecar.istio.io/interceptionMode": mode });
    }
    pod
}

/// What was injected: the redirect and the proxy.
#[track_caller]
fn containers(pod: &Value) -> [Value; 2] {
    let containers = pod["spec"]["initContainers"].as_array().unwrap();
    containers.clone().try_into().unwrap()
}

#[test]
fn a_pod_with_more_of_everything() {
    check_golden("busy", true);
}

#[test]
fn a_pod_of_a_scheduled_job() {
    check_golden("job", true);
}

#[test]
fn a_bare_pod_gets_what_it_lacks() {
    let pod = json!({ "spec": { "containers": [{ "name": "app" }] } });
    let injected = injected(&pod, true);
    let names = |field: &str| -> Vec<&str> {
        let list = injected["spec"][field].as_array().unwrap().iter();
        list.map(|element| element["name"].as_str().unwrap())
            .collect()
    };
    assert_eq!(names("initContainers"), ["istio-init", "istio-proxy"]);
    assert_eq!(names("containers"), ["app"]);
    assert_eq!(names("volumes"), ["istio-podinfo"]);
}

#[test]
fn nulls_count_as_absent() {
    let pod = json!({
        "metadata": { "name": "a", "labels": null, "annotations": null, "creationTimestamp": null },
        "spec": { "containers": [{ "name": "app" }], "initContainers": null, "volumes": null },
    });
    let injected = injected(&pod, true);
    assert_eq!(injected["metadata"]["creationTimestamp"], Value::Null);
    assert_eq!(
        injected["spec"]["initContainers"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn fields_newer_than_this_program_stay() {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "a", "fromTheFuture": { "a": [1] } },
        "spec": {
            "containers": [{ "name": "app", "fromTheFuture": true }],
            "fromTheFuture": [{ "name": "x" }],
        },
        "status": { "fromTheFuture": 1.5 },
    });
    let injected = injected(&pod, true);
    assert_eq!(
        injected["metadata"]["fromTheFuture"],
        pod["metadata"]["fromTheFuture"]
    );
    assert_eq!(injected["spec"]["containers"], pod["spec"]["containers"]);
    assert_eq!(
        injected["spec"]["fromTheFuture"],
        pod["spec"]["fromTheFuture"]
    );
    assert_eq!(injected["status"], pod["status"]);
}

#[test]
fn what_other_webhooks_gave_our_containers_stays() {
    let pod = json!({ "spec": { "containers": [{ "name": "app" }] } });
    let mut found = inject(&pod, &Place::named(NAMESPACE, true), &settings())
        .unwrap()
        .pod;
    let proxy = &mut found["spec"]["initContainers"][1];
    proxy["env"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({ "name": "TRACING", "value": "on" }));
    proxy["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "x", "mountPath": "/x" }));
    let containers = found["spec"]["initContainers"].as_array_mut().unwrap();
    containers.insert(0, json!({ "name": "vault" }));
    let again = inject(&found, &Place::named(NAMESPACE, true), &settings())
        .unwrap()
        .pod;
    assert_eq!(again, found);
}

#[test]
fn a_second_injection_repairs_what_was_changed() {
    let pod = json!({ "spec": { "containers": [{ "name": "app" }] } });
    let whole = inject(&pod, &Place::named(NAMESPACE, true), &settings())
        .unwrap()
        .pod;
    let mut broken = whole.clone();
    broken["spec"]["initContainers"][1]["image"] = json!("other");
    broken["spec"]["initContainers"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    broken["spec"]["volumes"] = json!([]);
    let again = inject(&broken, &Place::named(NAMESPACE, true), &settings())
        .unwrap()
        .pod;
    assert_eq!(again, whole);
}
