//! What the mesh, the namespace and the pod say of the proxy.

use std::collections::BTreeMap;

use fairlead_api::mesh_config::MeshConfig;
use fairlead_webhook::inject::{Injected, Place, Refusal, inject};
use serde_json::{Value, json};

use crate::{NAMESPACE, settings};

const KEY: &str = "proxy.istio.io/config";

/// Injects a pod into a mesh and a namespace; each text is a part of the configuration.
fn layered(mesh: &str, namespace: &str, pod: &str) -> Result<Injected, Refusal> {
    let mesh = MeshConfig::parse(mesh).unwrap().value;
    let texts = |text: &str| -> BTreeMap<String, String> {
        let texts = (!text.is_empty()).then(|| (KEY.to_owned(), text.to_owned()));
        texts.into_iter().collect()
    };
    let place = Place {
        annotations: &texts(namespace),
        mesh: &mesh,
        ..Place::named(NAMESPACE, false)
    };
    let pod = json!({
        "metadata": { "name": "one", "annotations": texts(pod) },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    });
    inject(&pod, &place, &settings())
}

/// The init program's container and the proxy's, wherever they are.
fn containers(pod: &Value) -> [&Value; 2] {
    ["istio-init", "istio-proxy"].map(|name| {
        let lists = ["initContainers", "containers"].map(|field| &pod["spec"][field]);
        let mut all = lists.into_iter().filter_map(Value::as_array).flatten();
        all.find(|container| container["name"] == name).unwrap()
    })
}

fn variable(container: &Value, name: &str) -> Option<String> {
    let mut variables = container["env"].as_array()?.iter();
    let variable = variables.find(|variable| variable["name"] == name)?;
    Some(variable["value"].as_str().unwrap().to_owned())
}

#[test]
fn the_pod_is_stronger_than_its_namespace_and_that_than_the_mesh() {
    for (mesh, namespace, pod, concurrency) in [
        ("", "", "", Value::Null),
        ("defaultConfig: {concurrency: 1}", "", "", json!(1)),
        (
            "defaultConfig: {concurrency: 1}",
            "concurrency: 2",
            "",
            json!(2),
        ),
        (
            "defaultConfig: {concurrency: 1}",
            "concurrency: 2",
            r#"{"concurrency": 3}"#,
            json!(3),
        ),
        (
            "defaultConfig: {concurrency: 1}",
            "accessLog: all",
            "connectTimeout: 1s",
            json!(1),
        ),
    ] {
        let injected = layered(mesh, namespace, pod).unwrap();
        let [_, proxy] = containers(&injected.pod);
        let config = variable(proxy, "PROXY_CONFIG").unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(
            config["concurrency"], concurrency,
            "{mesh} {namespace} {pod}"
        );
    }
}

#[test]
fn metadata_of_every_layer_is_environment_of_both_containers() {
    let injected = layered(
        "defaultConfig: {proxyMetadata: {A: mesh, B: mesh}}",
        "proxyMetadata: {B: namespace, C: namespace}",
        "proxyMetadata: {C: pod, EXIT_ON_ZERO_ACTIVE_CONNECTIONS: 'true'}",
    );
    let pod = injected.unwrap().pod;
    for container in containers(&pod) {
        for (name, value) in [
            ("A", "mesh"),
            ("B", "namespace"),
            ("C", "pod"),
            ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "true"),
        ] {
            assert_eq!(variable(container, name).as_deref(), Some(value));
        }
        let names = container["env"].as_array().unwrap().iter();
        let mut names: Vec<_> = names.map(|variable| variable["name"].as_str()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a variable is there twice");
    }
}

#[test]
fn the_status_port_of_the_mesh_is_everywhere_unless_the_pod_moves_it() {
    for (annotation, expected) in [(None, "15120"), (Some("15220"), "15220")] {
        let mesh = MeshConfig::parse("defaultConfig: {statusPort: 15120}")
            .unwrap()
            .value;
        let mut pod = json!({
            "metadata": { "name": "one", "annotations": {} },
            "spec": { "containers": [{
                "name": "app", "image": "app",
                "livenessProbe": { "httpGet": { "port": 80 } },
            }] },
        });
        if let Some(port) = annotation {
            pod["metadata"]["annotations"]["status.sidecar.istio.io/port"] = json!(port);
        }
        let place = Place {
            mesh: &mesh,
            ..Place::named(NAMESPACE, true)
        };
        let injected = inject(&pod, &place, &settings()).unwrap().pod;
        let [init, proxy] = containers(&injected);
        let argument = |container: &Value, flag: &str| {
            let arguments = container["args"].as_array().unwrap();
            let at = arguments.iter().position(|argument| argument == flag);
            arguments[at.unwrap() + 1].as_str().unwrap().to_owned()
        };
        assert_eq!(argument(proxy, "--status-port"), expected);
        assert!(argument(init, "-d").split(',').any(|port| port == expected));
        let annotations = &injected["metadata"]["annotations"];
        assert_eq!(annotations["prometheus.io/port"], expected);
        let probe = &injected["spec"]["containers"][0]["livenessProbe"]["httpGet"]["port"];
        assert_eq!(probe.to_string(), expected);
        assert_eq!(
            inject(&injected, &place, &settings()).unwrap().pod,
            injected
        );
    }
}

#[test]
fn a_fault_refuses_the_pod_and_says_whose_annotation_it_is() {
    let refusal = layered("", "concurrency: x", "statusPort: y").unwrap_err();
    let text = refusal.to_string();
    for part in [
        "'concurrency: x' for annotation 'proxy.istio.io/config' of namespace shop",
        "concurrency is \"x\"",
        "'statusPort: y' for annotation 'proxy.istio.io/config': statusPort is \"y\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn an_unknown_field_is_warned_of_and_injected_all_the_same() {
    let injected = layered("", "tracing: {}", "concurency: 2").unwrap();
    assert_eq!(
        injected.warnings,
        [
            "annotation proxy.istio.io/config of namespace shop: tracing has no effect in this mesh",
            "annotation proxy.istio.io/config: concurency is not known; is concurrency meant?",
        ]
    );
}
