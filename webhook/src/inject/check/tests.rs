use fairlead_api::{
    annotations::{EXCLUDE_INBOUND_PORTS, LOG_LEVEL, PROXY_CPU},
    names::STATUS,
};
use serde_json::json;

use super::*;
use crate::settings::tests::settings;

#[track_caller]
fn check_refused(pod: &Value, parts: &[&str]) {
    let Err(refusal) = check(pod, &settings(), &Place::named("shop", true)) else {
        panic!("accepted {pod}");
    };
    assert_eq!(refusal.0.len(), parts.len(), "{refusal}");
    for part in parts {
        assert!(refusal.to_string().contains(part), "{part} in {refusal}");
    }
}

#[track_caller]
fn check_accepted(pod: &Value, warnings: usize) {
    match check(pod, &settings(), &Place::named("shop", true)) {
        Ok(checked) => assert_eq!(checked.warnings.len(), warnings, "{:?}", checked.warnings),
        Err(refusal) => panic!("{refusal}"),
    }
}

fn pod(spec: &Value) -> Value {
    json!({ "metadata": {}, "spec": spec })
}

fn pod_with_status(status: &Value, spec: &Value) -> Value {
    json!({ "metadata": { "annotations": { STATUS: status.to_string() } }, "spec": spec })
}

#[test]
fn an_ordinary_pod_is_accepted() {
    check_accepted(&pod(&json!({ "containers": [{ "name": "app" }] })), 0);
}

#[test]
fn every_kind_of_fault_is_told_at_once() {
    let pod = json!({
        "metadata": { "annotations": {
            EXCLUDE_INBOUND_PORTS: "70000",
            PROXY_CPU: "lots",
            LOG_LEVEL: "loud",
        }},
        "spec": {
            "containers": [
                { "name": "app", "securityContext": { "runAsUser": 1337 } },
                { "name": "istio-init" },
            ],
            "volumes": [{ "name": "istio-podinfo" }],
        },
    });
    check_refused(
        &pod,
        &[
            "'70000'",
            "istio-init' belongs into spec.initContainers",
            "'istio-podinfo' in spec.volumes",
            "runAsUser 1337",
        ],
    );
    let text = check(&pod, &settings(), &Place::named("shop", true))
        .err()
        .map(|refusal| refusal.to_string())
        .unwrap();
    for annotation in [PROXY_CPU, LOG_LEVEL] {
        assert!(text.contains(annotation), "{annotation} in {text}");
    }
}

#[test]
fn names_that_the_status_lists_are_from_an_earlier_injection() {
    let status = json!({
        "initContainers": ["istio-init"],
        "containers": ["istio-proxy"],
        "volumes": ["istio-podinfo"],
        "imagePullSecrets": null,
    });
    let spec = json!({
        "initContainers": [{ "name": "istio-init" }],
        "containers": [{
            "name": "istio-proxy",
            "ports": [{ "containerPort": 15090 }],
            "securityContext": { "runAsUser": 1337 },
        }],
        "volumes": [{ "name": "istio-podinfo" }],
    });
    check_accepted(&pod_with_status(&status, &spec), 0);
    check_refused(&pod_with_status(&json!({}), &spec), &["istio-podinfo"]);
}

#[test]
fn a_status_that_is_not_ours_is_told() {
    let pod = json!({ "metadata": { "annotations": { STATUS: "injected" } }, "spec": {} });
    check_refused(&pod, &["remove it"]);
}

#[test]
fn the_proxys_ids_are_refused_wherever_they_are_set() {
    let containers = json!([{ "name": "app" }]);
    for (context, spec) in [
        (
            "runAsUser",
            json!({ "containers": [{ "name": "app", "securityContext": { "runAsUser": 1337 } }] }),
        ),
        (
            "runAsGroup",
            json!({ "containers": [{ "name": "app", "securityContext": { "runAsGroup": 1337 } }] }),
        ),
        (
            "runAsUser",
            json!({ "containers": containers, "securityContext": { "runAsUser": 1337 } }),
        ),
        (
            "runAsUser",
            json!({
                "containers": containers,
                "initContainers": [{ "name": "log", "restartPolicy": "Always", "securityContext": { "runAsUser": 1337 } }],
            }),
        ),
    ] {
        check_refused(&pod(&spec), &[&format!("has {context} 1337")]);
    }
}

#[test]
fn the_proxys_ids_are_accepted_where_they_do_no_harm() {
    for spec in [
        json!({
            "securityContext": { "runAsUser": 1337 },
            "containers": [{ "name": "app", "securityContext": { "runAsUser": 1000 } }],
        }),
        json!({
            "containers": [{ "name": "app" }],
            "initContainers": [{ "name": "fetch", "securityContext": { "runAsUser": 1337 } }],
        }),
    ] {
        check_accepted(&pod(&spec), 0);
    }
}

#[test]
fn ports_of_the_sidecar_are_warned_of() {
    let ports =
        json!([{ "containerPort": 15090 }, { "containerPort": 8080 }, { "containerPort": 15001 }]);
    check_accepted(
        &pod(&json!({ "containers": [{ "name": "app", "ports": ports }] })),
        2,
    );
}

#[test]
fn a_pod_of_odd_shape_is_told_where() {
    for (odd, part) in [
        (json!({}), "/spec is not an object"),
        (json!({ "spec": [] }), "/spec is not an object"),
        (
            json!({ "spec": {}, "metadata": 1 }),
            "/metadata is not an object",
        ),
        (
            json!({ "spec": {}, "metadata": { "labels": "x" } }),
            "/metadata/labels is not an object",
        ),
        (
            json!({ "spec": { "containers": {} } }),
            "/spec/containers is not a list",
        ),
        (
            json!({ "spec": { "volumes": "x" } }),
            "/spec/volumes is not a list",
        ),
    ] {
        check_refused(&odd, &[part]);
    }
}

#[test]
fn the_namespaces_annotations_are_the_defaults_of_the_pods() {
    let annotations = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    };
    let of_namespace = annotations(&[(LOG_LEVEL, "loud"), ("sidecar.istio.io/proxycpu", "1")]);
    let place = Place {
        annotations: &of_namespace,
        ..Place::named("shop", true)
    };
    let mut pod = pod(&json!({ "containers": [{ "name": "app" }] }));
    let refusal = check(&pod, &settings(), &place).err().unwrap().to_string();
    assert!(
        refusal.contains("'sidecar.istio.io/logLevel' of namespace shop"),
        "{refusal}"
    );
    pod["metadata"]["annotations"] = json!({ LOG_LEVEL: "debug", "istio.io/colour": "red" });
    let settings = settings();
    let Ok(checked) = check(&pod, &settings, &place) else {
        panic!("refused {pod}");
    };
    assert_eq!(
        checked.warnings,
        [
            "annotation 'istio.io/colour' is not known and has no effect",
            "annotation 'sidecar.istio.io/proxycpu' of namespace shop is not known; is \
             sidecar.istio.io/proxyCPU meant?",
        ]
    );
}
