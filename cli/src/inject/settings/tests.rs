use std::{convert::Infallible, path::Path};

use fairlead_api::mesh_config::MeshConfig;
use hyper::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::manifest::Manifest;

fn chart(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/fairlead");
    fs::read_to_string(root.join(file)).unwrap()
}

fn yaml(text: &str) -> Value {
    Manifest::parse(text).unwrap().documents.remove(0).value
}

/// The chart's template, with each value in its place: just what it uses of Helm.
fn rendered() -> Value {
    let values = yaml(&chart("values.yaml"));
    let app_version = yaml(&chart("Chart.yaml"))["appVersion"].clone();
    let template = chart("templates/configmap.yaml");
    let (_, text) = template.split_once("config.yaml: |\n").unwrap();
    let mut config = serde_json::Map::new();
    let mut block: Option<String> = None;
    for line in text.lines() {
        let path = line
            .split(".Values.")
            .nth(1)
            .map(|rest| rest.split([' ', '}', ')']).next().unwrap().to_owned());
        let value = |path: &str| {
            let pointer = format!("/{}", path.replace('.', "/"));
            values
                .pointer(&pointer)
                .unwrap_or_else(|| panic!("{path}"))
                .clone()
        };
        if let Some(path) = path.as_ref().filter(|_| line.contains("{{- with")) {
            // Left out when it is empty, as the defaults are.
            assert!(matches!(value(path).as_str(), Some("")), "{line}");
            continue;
        }
        let Some((key, rest)) = line.trim().split_once(": ") else {
            if let Some(key) = line.trim().strip_suffix(':') {
                block = Some(key.to_owned());
            } else if let (Some(path), Some(key)) = (&path, block.take()) {
                config.insert(key, value(path));
            }
            continue;
        };
        let Some(path) = path else {
            assert!(rest.contains("{{ ."), "{line}");
            continue;
        };
        let mut found = value(&path);
        if line.contains("fairlead.image") {
            let repository = found["repository"].as_str().unwrap();
            found = format!("{repository}:{}", app_version.as_str().unwrap()).into();
        }
        config.insert(key.to_owned(), found);
    }
    Value::Object(config)
}

#[test]
fn the_defaults_are_those_of_the_chart() {
    let meaning = |text: &str| format!("{:#?}", Settings::parse(text).unwrap());
    let chart = rendered();
    for key in yaml(DEFAULTS).as_object().unwrap().keys() {
        assert!(chart.get(key).is_some(), "the chart has no {key}");
    }
    let expected = meaning(&chart.to_string());
    assert_eq!(
        meaning(DEFAULTS),
        expected,
        "change cli/src/inject/defaults.yaml"
    );
}

#[test]
fn the_charts_mesh_is_the_default_one() {
    let values = yaml(&chart("values.yaml"));
    let mesh = MeshConfig::parse(&values["meshConfig"].to_string()).unwrap();
    let default = MeshConfig::default();
    assert_eq!(mesh.warnings, [""; 0]);
    assert_eq!(
        mesh.value.default_config.proxy_config(),
        default.default_config.proxy_config()
    );
    assert_eq!(
        mesh.value.enable_prometheus_merge,
        default.enable_prometheus_merge
    );
}

fn source(arguments: &[&str]) -> Source {
    use clap::Parser;
    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        source: Source,
    }
    Command::parse_from([&["fairlead"], arguments].concat()).source
}

async fn offline(arguments: &[&str]) -> anyhow::Result<Found> {
    let no_client = async || Err(std::io::Error::other("no cluster here"));
    load(&source(arguments), no_client).await
}

#[tokio::test]
async fn without_a_cluster_the_sidecar_is_native_unless_told() {
    for (arguments, native) in [
        (vec!["--defaults"], true),
        (vec!["--defaults", "--native", "auto"], true),
        (vec!["--defaults", "--native", "false"], false),
    ] {
        assert_eq!(offline(&arguments).await.unwrap().native, native);
    }
}

#[tokio::test]
async fn the_defaults_take_any_revision() {
    let found = offline(&["--defaults", "--revision", "canary"])
        .await
        .unwrap();
    assert_eq!(found.settings.revision, "canary");
    let found = offline(&["--defaults"]).await.unwrap();
    assert_eq!(found.settings.revision, "default");
}

#[tokio::test]
async fn the_cluster_is_asked_unless_told_otherwise() {
    let error = format!("{:#}", offline(&[]).await.unwrap_err());
    assert!(error.contains("--defaults"), "{error}");
    assert!(error.contains("no cluster here"), "{error}");
}

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/";

/// An API server that knows these objects, by path.
async fn with_cluster(arguments: &[&str], objects: Vec<(String, Value)>) -> anyhow::Result<Found> {
    let answer = service_fn(move |request: Request<Body>| {
        let path = request.uri().path();
        let found = objects.iter().find(|(known, _)| known == path);
        let missing = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
            "reason": "NotFound", "message": format!("{path} not found"),
        });
        let (code, body) = found.map_or((404, &missing), |(_, object)| (200, object));
        let body = Body::from(body.to_string().into_bytes());
        let response = Response::builder().status(code).body(body).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let client = Client::new(answer, "shop");
    load(&source(arguments), async || Ok::<_, Infallible>(client)).await
}

/// An installation in a namespace, and the API server's version.
fn installation(namespace: &str, suffix: &str, config: &str) -> Vec<(String, Value)> {
    let configuration = json!({
        "metadata": { "name": format!("fairlead-sidecar-injector{suffix}") },
        "webhooks": [{
            "name": "x", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "service": {
                "namespace": namespace, "name": format!("fairlead-webhook{suffix}"),
            }},
        }],
    });
    let map = json!({ "metadata": {}, "data": { "config.yaml": config } });
    let version = json!({
        "major": "1", "minor": "28+", "gitVersion": "v1.28.0", "gitCommit": "", "gitTreeState": "",
        "buildDate": "", "goVersion": "", "compiler": "", "platform": "",
    });
    vec![
        (
            format!("{CONFIGURATIONS}fairlead-sidecar-injector{suffix}"),
            configuration,
        ),
        (
            format!("/api/v1/namespaces/{namespace}/configmaps/fairlead-webhook{suffix}"),
            map,
        ),
        ("/version".to_owned(), version),
    ]
}

#[tokio::test]
async fn the_installed_settings_are_found_by_the_webhook_configuration() {
    let mesh = installation("mesh", "", "image: example.org/a");
    let found = with_cluster(&[], mesh.clone()).await.unwrap();
    assert_eq!(found.settings.image.as_str(), "example.org/a");
    assert_eq!(found.namespace, "shop");
    assert!(!found.native, "the cluster is 1.28");
    let found = with_cluster(&["--native", "true"], mesh).await.unwrap();
    assert!(found.native);
}

#[tokio::test]
async fn each_revision_has_settings_of_its_own() {
    let mesh = installation(
        "mesh",
        "-canary",
        "{image: example.org/b, revision: canary}",
    );
    let found = with_cluster(&["--revision", "canary"], mesh.clone())
        .await
        .unwrap();
    assert_eq!(found.settings.revision, "canary");
    let named = ["--revision", "canary", "--mesh-namespace", "mesh"];
    let without_configuration = mesh[1..].to_vec();
    assert!(with_cluster(&named, without_configuration).await.is_ok());
    assert!(with_cluster(&[], mesh).await.is_err());
}

#[tokio::test]
async fn a_missing_or_odd_installation_is_told() {
    let mut without_key = installation("mesh", "", "");
    without_key[1].1 = json!({ "metadata": {}, "data": { "other": "" } });
    for (objects, parts) in [
        (
            vec![],
            [
                "MutatingWebhookConfiguration fairlead-sidecar-injector",
                "--mesh-namespace",
            ],
        ),
        (
            installation("mesh", "", "")[..1].to_vec(),
            ["ConfigMap fairlead-webhook in namespace mesh", "not found"],
        ),
        (without_key, ["has no key config.yaml", "namespace mesh"]),
        (
            installation("mesh", "", "imag: a"),
            ["of two versions", "imag"],
        ),
        (
            installation("mesh", "", "image: a")[..2].to_vec(),
            ["ask the API server for its version", "not found"],
        ),
    ] {
        let error = format!("{:#}", with_cluster(&[], objects).await.unwrap_err());
        for part in parts {
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}

fn mesh_of(found: &Found) -> Option<u16> {
    found.mesh.default_config.concurrency
}

#[tokio::test]
async fn the_mesh_is_that_of_the_installations_revision() {
    let with_mesh = |text: &str| {
        let config = "{image: a, revision: canary}";
        let mut objects = installation("mesh", "-canary", config);
        let path = "/api/v1/namespaces/mesh/configmaps/istio-canary".to_owned();
        objects.push((path, json!({ "metadata": {}, "data": { "mesh": text } })));
        objects
    };
    let arguments = ["--revision", "canary"];
    let objects = with_mesh("{defaultConfig: {concurrency: 3}, trustDomain: a}");
    let found = with_cluster(&arguments, objects).await.unwrap();
    assert_eq!(mesh_of(&found), Some(3));
    assert_eq!(found.warnings, ["trustDomain has no effect in this mesh"]);

    let none = installation("mesh", "-canary", "{image: a, revision: canary}");
    let found = with_cluster(&arguments, none).await.unwrap();
    assert_eq!(mesh_of(&found), None);

    let wrong = with_mesh("{defaultConfig: {concurrency: x}}");
    let error = format!("{:#}", with_cluster(&arguments, wrong).await.unwrap_err());
    for part in ["ConfigMap istio-canary", "--mesh-config", "concurrency is"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

#[tokio::test]
async fn the_oldest_node_decides_where_nodes_may_be_listed() {
    let node = |version: &str| {
        let info = json!({
            "kubeletVersion": version, "architecture": "", "bootID": "", "containerRuntimeVersion": "",
            "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "operatingSystem": "",
            "osImage": "", "systemUUID": "",
        });
        json!({ "metadata": { "name": version }, "status": { "nodeInfo": info } })
    };
    for (versions, native) in [
        (&["v1.33.0", "v1.29.1"][..], true),
        (&["v1.33.0", "v1.28.9"], false),
        (&[], false),
    ] {
        let mut objects = installation("mesh", "", "image: a");
        let items: Vec<Value> = versions.iter().map(|version| node(version)).collect();
        let list = json!({ "metadata": {}, "items": items });
        objects.push(("/api/v1/nodes".to_owned(), list));
        let found = with_cluster(&[], objects).await.unwrap();
        assert_eq!(
            found.native, native,
            "{versions:?}, and the API server is 1.28"
        );
    }
}
