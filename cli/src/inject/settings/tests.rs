use std::path::Path;

use serde_json::Value;

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
