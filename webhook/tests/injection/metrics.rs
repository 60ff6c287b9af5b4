//! The application's metrics, and the annotations by which Prometheus finds the pod.

use fairlead_api::mesh_config::MeshConfig;
use fairlead_webhook::inject::{Place, inject};
use serde_json::{Value, json};

use crate::{NAMESPACE, check_golden, containers, injected, settings};

#[test]
fn a_pod_with_metrics_of_its_own() {
    check_golden("metrics", true);
}

fn pod(annotations: &Value) -> Value {
    json!({
        "metadata": { "name": "a", "annotations": annotations },
        "spec": { "containers": [{ "name": "web" }] },
    })
}

/// The pages that the proxy is told of, as JSON.
fn pages(pod: &Value) -> Option<Value> {
    let [_, proxy] = containers(pod);
    let mut variables = proxy["env"].as_array().unwrap().iter();
    let variable = variables.find(|v| v["name"] == "ISTIO_PROMETHEUS_ANNOTATIONS")?;
    Some(serde_json::from_str(variable["value"].as_str().unwrap()).unwrap())
}

/// Port, path and scrape, as Prometheus sees them.
fn seen(pod: &Value) -> [&Value; 3] {
    let annotations = &pod["metadata"]["annotations"];
    ["port", "path", "scrape"].map(|key| &annotations[format!("prometheus.io/{key}")])
}

#[track_caller]
fn check(annotations: &Value, expected: Option<&Value>, seen_port: &str) {
    let injected = injected(&pod(annotations), true);
    assert_eq!(pages(&injected).as_ref(), expected);
    assert_eq!(seen(&injected), [seen_port, "/stats/prometheus", "true"]);
}

#[test]
fn prometheus_finds_the_proxy_and_the_proxy_the_application() {
    check(&json!({}), None, "15020");
    check(
        &json!({ "prometheus.io/scrape": "true" }),
        Some(&json!({ "scrape": "true", "port": "80", "path": "/metrics" })),
        "15020",
    );
    check(
        &json!({
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "15020",
            "status.sidecar.istio.io/port": "16020",
        }),
        Some(&json!({ "scrape": "true", "port": "15020", "path": "/metrics" })),
        "16020",
    );
}

#[test]
fn what_is_not_to_be_merged_stays() {
    for annotations in [
        json!({ "prometheus.io/scrape": "false", "prometheus.io/port": "x" }),
        json!({ "prometheus.istio.io/merge-metrics": "false", "prometheus.io/port": "15090" }),
        json!({ "status.sidecar.istio.io/port": "0", "prometheus.io/port": "15020" }),
        json!({ "prometheus.io/port": "15020", "prometheus.io/path": "/stats/prometheus" }),
    ] {
        let injected = injected(&pod(&annotations), true);
        assert_eq!(pages(&injected), None);
        for (key, value) in annotations.as_object().unwrap() {
            assert_eq!(injected["metadata"]["annotations"][key], *value);
        }
        let found = injected["metadata"]["annotations"].as_object().unwrap();
        let added = found.keys().filter(|key| key.starts_with("prometheus"));
        let given = annotations.as_object().unwrap().keys();
        assert_eq!(
            added.count(),
            given.filter(|key| key.starts_with("prometheus")).count()
        );
    }
}

#[test]
fn the_annotation_is_stronger_than_the_mesh() {
    for (mesh, wish, merges) in [
        (true, None, true),
        (false, None, false),
        (false, Some("true"), true),
        (true, Some("false"), false),
    ] {
        let mesh = MeshConfig {
            enable_prometheus_merge: mesh,
            ..MeshConfig::default()
        };
        let place = Place {
            mesh: &mesh,
            ..Place::named(NAMESPACE, true)
        };
        let mut annotations = json!({});
        if let Some(wish) = wish {
            annotations["prometheus.istio.io/merge-metrics"] = json!(wish);
        }
        let injected = inject(&pod(&annotations), &place, &settings()).unwrap().pod;
        assert_eq!(!seen(&injected)[0].is_null(), merges, "{mesh:?} {wish:?}");
    }
}

#[test]
fn a_changed_annotation_or_status_port_is_followed() {
    let first = injected(
        &pod(&json!({ "prometheus.io/scrape": "true", "prometheus.io/port": "8080" })),
        true,
    );
    let mut moved = first.clone();
    moved["metadata"]["annotations"]["status.sidecar.istio.io/port"] = json!("16020");
    let moved = injected(&moved, true);
    assert_eq!(pages(&moved), pages(&first));
    assert_eq!(*seen(&moved)[0], "16020");

    let mut changed = moved;
    changed["metadata"]["annotations"]["prometheus.io/port"] = json!("9090");
    changed["metadata"]["annotations"]["prometheus.io/path"] = json!("/new");
    let changed = injected(&changed, true);
    let expected = json!({ "scrape": "true", "port": "9090", "path": "/new" });
    assert_eq!(pages(&changed), Some(expected));
    assert_eq!(*seen(&changed)[0], "16020");
}

#[test]
fn every_fault_is_told_at_once() {
    let pod = pod(&json!({
        "prometheus.io/port": "15090",
        "prometheus.io/scheme": "ftp",
        "prometheus.istio.io/scrape-targets": "15020:/x",
        "sidecar.istio.io/logLevel": "loud",
    }));
    let refusal = inject(&pod, &Place::named(NAMESPACE, true), &settings())
        .unwrap_err()
        .to_string();
    for words in [
        "'15090' for annotation 'prometheus.io/port'",
        "http or https is accepted",
        "15020 is the proxy's status port",
        "'loud'",
    ] {
        assert!(refusal.contains(words), "{words} is not in {refusal}");
    }
    let pod = self::pod(&json!({
        "prometheus.istio.io/merge-metrics": "true",
        "status.sidecar.istio.io/port": "0",
    }));
    let refusal = inject(&pod, &Place::named(NAMESPACE, true), &settings())
        .unwrap_err()
        .to_string();
    let words =
        "annotation 'prometheus.istio.io/merge-metrics' is true, which needs the status port";
    assert!(refusal.contains(words), "{refusal}");
}
