//! What the tests of several files start from: the chart's own configurations, namespaces and pods.

use std::{collections::BTreeMap, fs, path::Path};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use serde_json::{Value, json};

use super::{
    facts::{Facts, Known, Namespace},
    world::{World, own_services},
};
use crate::inject::settings;

/// What Helm makes of the chart, kept for the tests on a real API server.
pub(super) fn rendered(file: &str) -> MutatingWebhookConfiguration {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/tests/selection/golden")
        .join(format!("{file}.yaml"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_norway::from_str(&text).unwrap()
}

pub(super) fn known() -> Known {
    Known::new(settings::defaults().unwrap(), settings::NEWEST, Ok(None))
}

/// These configurations, each with the chart's default settings.
pub(super) fn world(configurations: Vec<MutatingWebhookConfiguration>) -> World {
    let services = own_services(&configurations);
    World::new(Facts {
        configurations,
        settings: services
            .into_iter()
            .map(|service| (service, Ok(known())))
            .collect(),
        ready: BTreeMap::new(),
    })
}

/// `key=value` separated by blanks.
pub(super) fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split_whitespace();
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap();
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

pub(super) fn namespace(text: &str) -> Namespace {
    let mut namespace = Namespace::named("shop");
    namespace.labels.extend(labels(text));
    namespace
}

pub(super) fn pod(text: &str) -> Value {
    json!({
        "metadata": { "name": "cart", "labels": labels(text) },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    })
}
