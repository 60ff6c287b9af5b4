//! What the chart makes of a file of values: the settings, and the mesh's configuration.

use anyhow::{Context, bail};
use fairlead_api::{document::Document, mesh_config::MeshConfig, nearest::nearest};
use fairlead_webhook::settings::Settings;
use serde_json::{Map, Value};

use super::DEFAULTS;
use crate::manifest::Manifest;

/// Where a value goes in the webhook's configuration, as the chart's template puts it there.
const PLACES: [(&str, &str); 27] = [
    ("injection.policy", "policy"),
    ("injection.neverInjectSelector", "neverInjectSelector"),
    ("injection.alwaysInjectSelector", "alwaysInjectSelector"),
    ("injection.events", "events"),
    ("injection.nativeSidecar", "nativeSidecar"),
    ("injection.nativeNftables", "nativeNftables"),
    ("injection.rewriteAppHTTPProbe", "rewriteAppHTTPProbe"),
    ("injection.templates", "templates"),
    ("injection.defaultTemplates", "defaultTemplates"),
    ("revision", "revision"),
    ("imagePullPolicy", "imagePullPolicy"),
    ("proxy.imagePullSecrets", "imagePullSecrets"),
    ("proxy.interceptionMode", "interceptionMode"),
    ("proxy.logLevel", "logLevel"),
    ("proxy.resources", "resources"),
    ("proxy.privileged", "privileged"),
    ("proxy.seccompProfile", "seccompProfile"),
    ("proxy.lifecycle", "lifecycle"),
    ("proxy.startupProbe", "startupProbe"),
    ("proxy.readinessProbe", "readinessProbe"),
    ("proxy.traffic", "traffic"),
    ("cni", "cni"),
    ("platform", "platform"),
    ("network", "network"),
    ("clusterDomain", "clusterDomain"),
    ("clusterId", "clusterId"),
    ("meshId", "meshId"),
];
const IMAGE: &str = "image.proxy";
const MESH: &str = "meshConfig";
/// The chart's other values, which say nothing of what is injected.
const OTHERS: [&str; 15] = [
    "global",
    "image.proxy.repository",
    "image.proxy.tag",
    "image.webhook",
    "imagePullSecrets",
    "injection.enableNamespacesByDefault",
    "injection.excludedNamespaces",
    "injection.failurePolicy",
    "injection.matchConditions",
    "injection.reinvocationPolicy",
    "injection.timeoutSeconds",
    MESH,
    "revisionTags",
    "test",
    "webhook",
];

/// The settings, and the mesh's configuration if the values say anything of it.
///
/// # Errors
/// It is no file of values, or a value is not accepted.
pub(super) fn read(text: &str) -> anyhow::Result<(Settings, Option<Document<MeshConfig>>)> {
    let values = object(text)?;
    let unknown = unknown(&values);
    if !unknown.is_empty() {
        bail!(unknown.join("; "));
    }
    let mut config = object(DEFAULTS).context("the chart's defaults")?;
    for (path, key) in PLACES {
        let Some(value) = at(&values, path) else {
            continue;
        };
        // What Helm takes away, the chart leaves to the webhook.
        if value.is_null() {
            config.remove(key);
        } else {
            lay(
                config.entry(key).or_insert(Value::Null),
                as_rendered(key, value),
            );
        }
    }
    if let Some(Value::Object(image)) = at(&values, IMAGE) {
        let default = config.get("image").and_then(Value::as_str);
        let (repository, tag) = default
            .and_then(|image| image.rsplit_once(':'))
            .unwrap_or_default();
        let given = |field: &str| image.get(field).and_then(Value::as_str);
        let repository = given("repository").unwrap_or(repository);
        let tag = given("tag").filter(|tag| !tag.is_empty()).unwrap_or(tag);
        config.insert("image".to_owned(), format!("{repository}:{tag}").into());
    }
    // Left out when it is empty, as the chart does.
    if config.get("meshId").is_some_and(|id| id == "") {
        config.remove("meshId");
    }
    let settings = Settings::parse(&Value::Object(config).to_string())?;
    let mesh = match at(&values, MESH) {
        Some(mesh) if !mesh.is_null() => Some(MeshConfig::parse(&mesh.to_string()).context(MESH)?),
        _ => None,
    };
    Ok((settings, mesh))
}

fn object(text: &str) -> anyhow::Result<Map<String, Value>> {
    let mut documents = match Manifest::parse(text) {
        Ok(manifest) => manifest.documents,
        Err(errors) => {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            bail!(errors.join("; "))
        }
    };
    let document = documents.pop().map(|document| document.value);
    match document {
        _ if !documents.is_empty() => bail!("there are several documents; values are one"),
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => bail!("it holds no values"),
    }
}

fn at<'a>(values: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut fields = path.split('.');
    let top = values.get(fields.next()?)?;
    let value = fields.try_fold(top, |value, field| value.get(field))?;
    Some(value)
}

/// What the chart refuses as it is, each with what may be meant.
fn unknown(values: &Map<String, Value>) -> Vec<String> {
    let known: Vec<&str> = PLACES.iter().map(|(path, _)| *path).chain(OTHERS).collect();
    let mut faults = Vec::new();
    find_unknown(values, "", &known, &mut faults);
    faults
}

fn find_unknown(values: &Map<String, Value>, of: &str, known: &[&str], faults: &mut Vec<String>) {
    for (field, value) in values {
        let path = format!("{of}{field}");
        if known.contains(&path.as_str()) {
            continue;
        }
        let section = format!("{path}.");
        let is_section = known.iter().any(|known| known.starts_with(&section));
        match value {
            Value::Object(inner) if is_section => find_unknown(inner, &section, known, faults),
            _ if is_section => {}
            _ => {
                let same_section = known.iter().filter_map(|known| {
                    let rest = known.strip_prefix(of)?;
                    rest.split('.').next()
                });
                let meant = nearest(field, same_section)
                    .map_or(String::new(), |meant| format!("; is {of}{meant} meant?"));
                faults.push(format!("the chart has no value {path}{meant}"));
            }
        }
    }
}

/// The chart writes this as a text, whatever it is in the values.
fn as_rendered(key: &str, value: &Value) -> Value {
    match value {
        Value::Bool(switch) if key == "nativeSidecar" => switch.to_string().into(),
        other => other.clone(),
    }
}

/// As Helm merges values: maps field by field, everything else as a whole.
fn lay(below: &mut Value, value: Value) {
    match (below, value) {
        (Value::Object(below), Value::Object(value)) => {
            for (field, value) in value {
                if value.is_null() {
                    below.remove(&field);
                } else {
                    lay(below.entry(field).or_insert(Value::Null), value);
                }
            }
        }
        (below, value) => *below = value,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn chart(file: &str) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/fairlead");
        std::fs::read_to_string(root.join(file)).unwrap()
    }

    fn meaning(settings: &Settings) -> String {
        format!("{settings:#?}")
    }

    #[test]
    fn the_charts_own_values_are_the_defaults() {
        let defaults = Settings::parse(DEFAULTS).unwrap();
        for values in [chart("values.yaml"), "{}".to_owned(), String::new()] {
            let (settings, mesh) = read(&values).unwrap();
            assert_eq!(meaning(&settings), meaning(&defaults));
            let mesh = mesh.unwrap_or_default();
            assert_eq!(
                mesh.value.default_config.proxy_config(),
                MeshConfig::default().default_config.proxy_config()
            );
        }
    }

    #[test]
    fn each_value_of_the_template_has_its_place() {
        let template = chart("templates/configmap.yaml");
        let (_, config) = template.split_once("config.yaml: |\n").unwrap();
        for rest in config.split(".Values.").skip(1) {
            let path = rest.split([' ', ')', '}']).next().unwrap();
            let known = path == IMAGE || PLACES.iter().any(|(known, _)| *known == path);
            assert!(known, "{path} has no place in PLACES");
        }
    }

    #[test]
    fn values_are_laid_over_the_defaults() {
        let (settings, mesh) = read(
            "
            image: { proxy: { repository: example.org/proxy } }
            injection: { nativeSidecar: true, policy: disabled }
            proxy: { resources: { limits: { cpu: null, memory: 1Gi } } }
            meshConfig: { defaultConfig: { concurrency: 3 } }
            webhook: { replicas: 5 }
            ",
        )
        .unwrap();
        assert_eq!(settings.image.as_str(), "example.org/proxy:0.1.0");
        assert_eq!(
            settings.native_sidecar,
            crate::inject::settings::NativeSidecar::True
        );
        assert!(!settings.resources.limits.contains_key("cpu"));
        assert_eq!(settings.resources.limits["memory"].as_str(), "1Gi");
        assert_eq!(settings.resources.requests["cpu"].as_str(), "50m");
        assert_eq!(mesh.unwrap().value.default_config.concurrency, Some(3));
    }

    #[test]
    fn what_is_taken_away_is_left_to_the_webhook() {
        let (settings, _) = read("proxy: { resources: null, logLevel: }").unwrap();
        assert!(settings.resources.limits.is_empty() && settings.resources.requests.is_empty());
        assert_eq!(settings.log_level.to_string(), "info");
    }

    #[test]
    fn what_is_not_accepted_is_told() {
        for (values, part) in [
            ("proxy: { logLevel: loud }", "loud"),
            (
                "meshConfig: { defaultConfig: { concurrency: x } }",
                "concurrency is \"x\"",
            ),
            (
                "proxy: { loglevel: debug }",
                "the chart has no value proxy.loglevel; is proxy.logLevel meant?",
            ),
            (
                "injecton: {}",
                "the chart has no value injecton; is injection meant?",
            ),
            (
                "sidecarInjectorWebhook: {}",
                "the chart has no value sidecarInjectorWebhook",
            ),
            ("image: { proxy: { tags: a } }", "is image.proxy.tag meant?"),
            ("- a", "it holds no values"),
            ("a: 1\n---\nb: 2", "several documents"),
        ] {
            let error = format!("{:#}", read(values).unwrap_err());
            assert!(error.contains(part), "{part} in {error}");
        }
    }
}
