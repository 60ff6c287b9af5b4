//! What a MutatingWebhookConfiguration trusts, and the patch that makes it so.
//!
//! A bundle grows at once and shrinks late: what the entries trust besides may be what another replica
//! still serves, so it is dropped only after a long quiet time.

use fairlead_api::names::WEBHOOK_SUFFIX;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::pem::{self, Certificate};

/// The entries that are ours.
fn entries(configuration: &MutatingWebhookConfiguration) -> impl Iterator<Item = &MutatingWebhook> {
    let all = configuration.webhooks.iter().flatten();
    all.filter(|entry| entry.name.ends_with(WEBHOOK_SUFFIX))
}

/// The bundle of each of our entries.
pub(super) fn present(configuration: &MutatingWebhookConfiguration) -> impl Iterator<Item = &str> {
    entries(configuration).map(|entry| {
        let bytes = entry.client_config.ca_bundle.as_ref();
        bytes.map_or("", |bytes| std::str::from_utf8(&bytes.0).unwrap_or(""))
    })
}

/// Whether there are entries of ours and each trusts every certificate of this bundle.
pub(super) fn is_trusted(configuration: &MutatingWebhookConfiguration, bundle: &str) -> bool {
    let wanted = pem::certificates(bundle);
    let mut present = present(configuration).peekable();
    present.peek().is_some()
        && present.all(|present| {
            let present = pem::certificates(present);
            wanted.iter().all(|one| contains(&present, one))
        })
}

/// Whether an entry of ours trusts anything besides this bundle.
pub(super) fn has_more(configuration: &MutatingWebhookConfiguration, bundle: &str) -> bool {
    let wanted = pem::certificates(bundle);
    present(configuration)
        .flat_map(pem::certificates)
        .any(|one| !contains(&wanted, &one))
}

/// This bundle and whatever else our entries trust that has not expired.
pub(super) fn grown(
    configuration: &MutatingWebhookConfiguration,
    bundle: &str,
    now: OffsetDateTime,
) -> String {
    let mut all = pem::certificates(bundle);
    for one in present(configuration).flat_map(pem::certificates) {
        if one.not_after > now && !contains(&all, &one) {
            all.push(one);
        }
    }
    pem::bundle(&all)
}

fn contains(certificates: &[Certificate], one: &Certificate) -> bool {
    certificates.iter().any(|other| other.der == one.der)
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
    use super::super::authority::Authority;
    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-01-01 00:00 UTC);

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

    fn authority(made: OffsetDateTime) -> String {
        Authority::generate(made).unwrap().bundle
    }

    const ONE: &str = "namespace.sidecar-injector.istio.io";
    const OTHER: &str = "object.sidecar-injector.istio.io";
    const FOREIGN: &str = "hook.example.com";

    #[test]
    fn every_entry_of_ours_must_trust_the_whole_bundle() {
        let (old, new) = (authority(NOW), authority(NOW));
        let both = format!("{new}{old}");
        let (old, new, both) = (old.as_str(), new.as_str(), both.as_str());
        for (wanted, entries, trusted, more) in [
            (new, vec![(ONE, Some(new)), (OTHER, Some(new))], true, false),
            (new, vec![(ONE, Some(new)), (FOREIGN, None)], true, false),
            (new, vec![(ONE, Some(both)), (OTHER, Some(new))], true, true),
            (both, vec![(ONE, Some(both))], true, false),
            (both, vec![(ONE, Some(new))], false, false),
            (new, vec![(ONE, Some(new)), (OTHER, None)], false, false),
            (new, vec![(ONE, Some(new)), (OTHER, Some(old))], false, true),
            (new, vec![(ONE, Some("garbage"))], false, false),
            (new, vec![(FOREIGN, Some(new))], false, false),
            (new, vec![], false, false),
        ] {
            let configuration = configuration(&entries);
            assert_eq!(is_trusted(&configuration, wanted), trusted, "{entries:?}");
            assert_eq!(has_more(&configuration, wanted), more, "{entries:?}");
        }
    }

    #[test]
    fn a_bundle_grows_by_what_is_wanted_and_loses_what_has_expired() {
        let (old, new) = (authority(NOW), authority(NOW));
        let expired = authority(NOW - time::Duration::days(4000));
        for (present, expected) in [
            (vec![None], new.clone()),
            (vec![Some(new.as_str())], new.clone()),
            (vec![Some(old.as_str())], format!("{new}{old}")),
            (
                vec![None, Some(old.as_str()), Some(&old)],
                format!("{new}{old}"),
            ),
            (vec![Some(expired.as_str())], new.clone()),
            (vec![Some("garbage")], new.clone()),
        ] {
            let entries: Vec<_> = present.iter().map(|bundle| (ONE, *bundle)).collect();
            assert_eq!(grown(&configuration(&entries), &new, NOW), expected);
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
