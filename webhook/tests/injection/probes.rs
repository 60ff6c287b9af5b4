//! The application's probes and hooks, and the status port that answers them.

use std::collections::BTreeSet;

use fairlead_webhook::{
    inject::{Place, inject},
    settings::Settings,
};
use serde_json::{Value, json};

use crate::{NAMESPACE, check_golden, containers, injected, read, settings};

#[test]
fn a_pod_with_every_kind_of_probe() {
    check_golden("probes", true);
}

#[test]
fn a_pod_with_a_status_port_of_its_own() {
    check_golden("status_port", true);
}

#[test]
fn a_pod_without_status_port() {
    check_golden("no_status_port", false);
}

/// Pods with each combination of handlers, by the bits of a number.
fn pods() -> impl Iterator<Item = Value> {
    let handlers = [
        json!({ "httpGet": { "path": "/a", "port": "http" } }),
        json!({ "httpGet": { "port": 80, "scheme": "HTTPS", "httpHeaders": [{ "name": "A", "value": "b" }] } }),
        json!({ "tcpSocket": { "port": "http" } }),
        json!({ "grpc": { "port": 9000 } }),
        json!({ "exec": { "command": ["true"] } }),
        json!({ "httpGet": { "port": 80, "host": "elsewhere.example" } }),
        Value::Null,
    ];
    (0..7_usize.pow(3)).map(move |number| {
        let pick = |place: u32| handlers[number / 7_usize.pow(place) % 7].clone();
        let container = |name: &str| {
            json!({
                "name": name,
                "restartPolicy": "Always",
                "ports": [{ "name": "http", "containerPort": 8080 }],
                "startupProbe": pick(0),
                "readinessProbe": pick(1),
                "livenessProbe": pick(2),
                "lifecycle": { "postStart": pick(1), "preStop": pick(0) },
            })
        };
        json!({
            "metadata": { "name": "a" },
            "spec": { "containers": [container("web"), container("api")], "initContainers": [container("cache")] },
        })
    })
}

/// Every path that the kubelet asks of the status port.
fn asked(value: &Value, paths: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            if object.get("port") == Some(&json!(15020)) {
                paths.insert(object["path"].as_str().unwrap().to_owned());
            }
            object.values().for_each(|member| asked(member, paths));
        }
        Value::Array(list) => list.iter().for_each(|element| asked(element, paths)),
        _ => {}
    }
}

fn known(pod: &Value) -> BTreeSet<String> {
    let mut all = ["initContainers", "containers"]
        .iter()
        .flat_map(|field| pod["spec"][field].as_array().into_iter().flatten());
    let proxy = all.rfind(|container| container["name"] == "istio-proxy");
    let variables = proxy.unwrap()["env"].as_array().unwrap();
    let variable = variables
        .iter()
        .find(|v| v["name"] == "ISTIO_KUBE_APP_PROBERS");
    let Some(variable) = variable else {
        return BTreeSet::new();
    };
    let map: Value = serde_json::from_str(variable["value"].as_str().unwrap()).unwrap();
    map.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_proxy_knows_every_path_that_the_kubelet_asks() {
    for pod in pods() {
        for native in [true, false] {
            let injected = injected(&pod, native);
            let mut paths = BTreeSet::new();
            asked(&injected["spec"], &mut paths);
            assert_eq!(paths, known(&injected), "{pod}");
        }
    }
}

#[test]
fn a_changed_probe_or_status_port_is_followed() {
    let first = injected(&read("probes.yaml"), true);
    let mut changed = first.clone();
    changed["metadata"]["annotations"]["status.sidecar.istio.io/port"] = json!("16020");
    let web = &mut changed["spec"]["containers"][0];
    web["livenessProbe"] = json!({ "httpGet": { "path": "/new", "port": 81 } });
    let again = injected(&changed, true);
    let web = &again["spec"]["containers"][0];
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert_eq!(web[probe]["httpGet"]["port"], 16020);
    }
    assert_eq!(known(&again), known(&first));
    let text = again.to_string();
    assert!(
        text.contains(r#"livez\":{\"httpGet\":{\"port\":81"#),
        "{text}"
    );
    assert!(
        text.contains(r#"readyz\":{\"httpGet\":{\"port\":8443"#),
        "{text}"
    );
}

#[test]
fn the_annotation_is_stronger_than_the_mesh() {
    let probe = json!({ "httpGet": { "path": "/live", "port": 80 } });
    for (mesh, pod, rewrites) in [
        (true, None, true),
        (true, Some("false"), false),
        (false, None, false),
        (false, Some("true"), true),
    ] {
        let text = format!("{{image: a, rewriteAppHTTPProbe: {mesh}}}");
        let settings = Settings::parse(&text).unwrap();
        let mut value = json!({
            "metadata": { "name": "a" },
            "spec": { "containers": [{ "name": "web", "livenessProbe": probe }] },
        });
        if let Some(text) = pod {
            value["metadata"]["annotations"] =
                json!({ "sidecar.istio.io/rewriteAppHTTPProbers": text });
        }
        let injected = inject(&value, &Place::named(NAMESPACE, true), &settings)
            .unwrap()
            .pod;
        let found = &injected["spec"]["containers"][0]["livenessProbe"];
        assert_eq!(*found != probe, rewrites, "{mesh} {pod:?}");
    }
}

#[test]
fn rewriting_without_a_status_port_is_refused_where_it_is_asked_for() {
    let pod = json!({
        "metadata": { "name": "a", "annotations": {
            "sidecar.istio.io/rewriteAppHTTPProbers": "true",
            "status.sidecar.istio.io/port": "0",
        }},
        "spec": { "containers": [{ "name": "web" }] },
    });
    let refusal = inject(&pod, &Place::named(NAMESPACE, true), &settings()).unwrap_err();
    let words =
        "annotation 'sidecar.istio.io/rewriteAppHTTPProbers' is true, which needs the status port";
    assert!(refusal.to_string().contains(words), "{refusal}");
}

#[test]
fn the_redirect_and_the_proxy_agree_on_the_status_port() {
    for (port, uncaptured, argument) in [
        (None, "15090,15021,15020", None),
        (Some("15020"), "15090,15021,15020", None),
        (
            Some("16020"),
            "15090,15021,16020",
            Some("--status-port 16020"),
        ),
        (Some("0"), "15090,15021", Some("--no-status-port")),
    ] {
        let mut pod = json!({
            "metadata": { "name": "a" },
            "spec": { "containers": [{ "name": "web" }] },
        });
        if let Some(port) = port {
            pod["metadata"]["annotations"] = json!({ "status.sidecar.istio.io/port": port });
        }
        let [init, proxy] = containers(&injected(&pod, true));
        let text = |container: &Value| {
            let words = container["args"].as_array().unwrap().iter();
            let words: Vec<&str> = words.map(|word| word.as_str().unwrap()).collect();
            words.join(" ")
        };
        assert!(
            text(&init).ends_with(&format!("-d {uncaptured} -o 22")),
            "{}",
            text(&init)
        );
        let found = text(&proxy);
        let found = found.split_once(" --proxyLogLevel info").unwrap().1.trim();
        assert_eq!(found, argument.unwrap_or(""));
    }
}
