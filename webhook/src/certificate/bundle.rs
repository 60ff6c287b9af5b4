//! What a MutatingWebhookConfiguration trusts, and the patch that makes it so.

use fairlead_api::names::WEBHOOK_SUFFIX;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use serde_json::{Value, json};

/// The entries that are ours.
fn entries(configuration: &MutatingWebhookConfiguration) -> impl Iterator<Item = &MutatingWebhook> {
    let all = configuration.webhooks.iter().flatten();
    all.filter(|entry| entry.name.ends_with(WEBHOOK_SUFFIX))
}

/// Whether there are entries of ours and each trusts exactly this bundle.
pub(super) fn is_trusted(configuration: &MutatingWebhookConfiguration, bundle: &str) -> bool {
    let mut entries = entries(configuration).peekable();
    let trusts = |entry: &MutatingWebhook| {
        let present = entry.client_config.ca_bundle.as_ref();
        present.is_some_and(|present| present.0 == bundle.as_bytes())
    };
    entries.peek().is_some() && entries.all(trusts)
}

/// The server-side apply that sets the bundle of each entry and owns nothing else.
pub(super) fn apply(configuration: &MutatingWebhookConfiguration, bundle: &str) -> Value {
    let bundle = k8s_openapi::ByteString(bundle.as_bytes().to_vec());
    let entry = |entry: &MutatingWebhook| json!({ "name": entry.name, "clientConfig": { "caBundle": bundle } });
    let webhooks: Vec<Value> = entries(configuration).map(entry).collect();
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": configuration.metadata.name },
        "webhooks": webhooks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(entries: &[(&str, Option<&str>)]) -> MutatingWebhookConfiguration {
        let entry = |(name, bundle): &(&str, Option<&str>)| {
            let bundle = bundle.map(|text| k8s_openapi::ByteString(text.as_bytes().to_vec()));
            json!({
                "name": name,
                "clientConfig": { "caBundle": bundle },
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
            })
        };
        let webhooks: Vec<Value> = entries.iter().map(entry).collect();
        let object = json!({ "metadata": { "name": "injector" }, "webhooks": webhooks });
        serde_json::from_value(object).unwrap()
    }

    const ONE: &str = "namespace.sidecar-injector.istio.io";
    const OTHER: &str = "object.sidecar-injector.istio.io";
    const FOREIGN: &str = "hook.example.com";

    #[test]
    fn every_entry_of_ours_must_trust_the_bundle() {
        for (entries, trusted) in [
            (vec![(ONE, Some("pem")), (OTHER, Some("pem"))], true),
            (vec![(ONE, Some("pem")), (FOREIGN, None)], true),
            (vec![(ONE, Some("pem")), (OTHER, None)], false),
            (vec![(ONE, Some("pem")), (OTHER, Some("old"))], false),
            (vec![(FOREIGN, Some("pem"))], false),
            (vec![], false),
        ] {
            let configuration = configuration(&entries);
            assert_eq!(is_trusted(&configuration, "pem"), trusted, "{entries:?}");
        }
    }

    #[test]
    fn the_apply_names_our_entries_and_one_field() {
        let configuration = configuration(&[(ONE, None), (FOREIGN, None)]);
        let expected = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": { "name": "injector" },
            "webhooks": [{ "name": ONE, "clientConfig": { "caBundle": "cGVt" } }],
        });
        assert_eq!(apply(&configuration, "pem"), expected);
    }
}
