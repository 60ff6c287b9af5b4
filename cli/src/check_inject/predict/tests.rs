use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};
use serde_json::json;

use super::*;
use crate::check_inject::{
    facts::ServiceName,
    kit::{namespace, pod, rendered, world},
};

/// A configuration of entries that are asked about every pod, unless they say otherwise.
fn configuration(name: &str, labels: &Value, entries: &Value) -> MutatingWebhookConfiguration {
    let mut webhooks = Vec::new();
    for entry in entries.as_array().unwrap() {
        let mut webhook = json!({
            "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": { "service": { "name": name, "namespace": "mesh" } },
            "rules": [{
                "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["pods"],
            }],
        });
        for (key, value) in entry.as_object().unwrap() {
            webhook[key] = value.clone();
        }
        webhooks.push(webhook);
    }
    serde_json::from_value(json!({
        "metadata": { "name": name, "labels": labels }, "webhooks": webhooks,
    }))
    .unwrap()
}

/// An outcome, short.
fn short(outcome: &Outcome) -> String {
    let revision = |by: &Installation| by.revision.clone().unwrap_or_else(|| by.to_string());
    match outcome {
        Outcome::Injected { by } => revision(by),
        Outcome::Skipped { .. } => "skipped".to_owned(),
        Outcome::NotAsked { .. } => "-".to_owned(),
        Outcome::OtherMesh { by } => by.to_string(),
        Outcome::Unanswered { .. } => "nobody".to_owned(),
        Outcome::Refused { .. } => "refused".to_owned(),
        Outcome::Unreachable { created, .. } => format!("unreachable, created: {created}"),
        Outcome::Conflict { between } => {
            let all: Vec<String> = between.iter().map(ToString::to_string).collect();
            format!("conflict: {}", all.join(" & "))
        }
        Outcome::Unknown { .. } => "unknown".to_owned(),
    }
}

#[track_caller]
fn check(world: &World, of_namespace: &str, of_pod: &str, expected: &str) {
    let prediction = predict(world, &namespace(of_namespace), &pod(of_pod));
    assert_eq!(
        short(&prediction.outcome),
        expected,
        "namespace {of_namespace:?}, pod {of_pod:?}: {:?}",
        prediction.outcome
    );
}

const PODS: [&str; 6] = [
    "",
    "sidecar.istio.io/inject=true",
    "sidecar.istio.io/inject=false",
    "istio.io/rev=canary",
    "istio.io/rev=prod",
    "istio.io/rev=nobody",
];

#[test]
fn each_cell_of_the_matrix_is_told() {
    let two = world(vec![rendered("default"), rendered("canary")]);
    for (labels, expected) in [
        ("", ["-", "default", "-", "canary", "canary", "nobody"]),
        (
            "istio-injection=enabled",
            ["default", "default", "-", "default", "default", "default"],
        ),
        ("istio-injection=disabled", ["-"; 6]),
        ("istio-injection=yes", ["-"; 6]),
        (
            "istio.io/rev=canary",
            ["canary", "canary", "-", "canary", "canary", "canary"],
        ),
        (
            "istio.io/rev=prod",
            ["canary", "canary", "-", "canary", "canary", "canary"],
        ),
        (
            "istio.io/rev=default",
            ["default", "default", "-", "default", "default", "default"],
        ),
        (
            "istio.io/rev=nobody",
            ["nobody", "nobody", "-", "nobody", "nobody", "nobody"],
        ),
        (
            "istio-injection=enabled istio.io/rev=canary",
            ["default", "default", "-", "default", "default", "default"],
        ),
        ("istio-injection=disabled istio.io/rev=canary", ["-"; 6]),
    ] {
        for (of_pod, expected) in PODS.iter().zip(expected) {
            check(&two, labels, of_pod, expected);
        }
    }
}

#[test]
fn with_the_auto_entry_a_namespace_needs_no_label() {
    let two = world(vec![rendered("auto"), rendered("canary")]);
    let expected = ["default", "default", "-", "canary", "canary", "nobody"];
    for (of_pod, expected) in PODS.iter().zip(expected) {
        check(&two, "", of_pod, expected);
    }
    check(&two, "istio-injection=disabled", "", "-");
}

#[test]
fn a_revision_may_be_the_only_one() {
    let canary = world(vec![rendered("canary")]);
    check(&canary, "istio-injection=enabled", "", "nobody");
    check(&canary, "", "sidecar.istio.io/inject=true", "nobody");
    check(&canary, "", "", "-");
    check(&canary, "istio.io/rev=canary", "", "canary");
    let as_default = world(vec![rendered("canary-as-default")]);
    check(&as_default, "istio-injection=enabled", "", "canary");
    check(&as_default, "", "", "canary");
}

#[test]
fn excluded_namespaces_are_told_by_their_name() {
    let world = world(vec![rendered("default")]);
    let system = Namespace::named("kube-system");
    let outcome = predict(&world, &system, &pod("sidecar.istio.io/inject=true")).outcome;
    let Outcome::NotAsked { why } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(why.contains("kube-system are never injected"), "{why}");
}

#[test]
fn two_revisions_that_answer_to_one_label_are_a_conflict() {
    let both = world(vec![rendered("default"), rendered("canary-as-default")]);
    let conflict = "conflict: Fairlead, revision default & Fairlead, revision canary";
    check(&both, "istio-injection=enabled", "", conflict);
    check(&both, "istio.io/rev=default", "", conflict);
    check(&both, "istio.io/rev=canary", "", "canary");
    check(&both, "istio-injection=disabled", "", "-");
    // Both are asked, and both let it pass.
    let mut opted_out = pod("");
    opted_out["metadata"]["annotations"] = json!({ "sidecar.istio.io/inject": "false" });
    let outcome = predict(&both, &namespace("istio-injection=enabled"), &opted_out).outcome;
    assert_eq!(short(&outcome), "skipped");
}

/// Istio's entries of one revision, or of a tag of it, that are asked about namespaces.
fn istio(name: &str, revision: &str, keys: &[(&str, &str)]) -> MutatingWebhookConfiguration {
    let entries: Vec<Value> = keys
        .iter()
        .map(|(key, value)| {
            json!({
                "name": "namespace.sidecar-injector.istio.io",
                "clientConfig": { "service": { "name": "istiod", "namespace": "istio-system" } },
                "namespaceSelector": { "matchLabels": { *key: value } },
            })
        })
        .collect();
    configuration(name, &json!({ "istio.io/rev": revision }), &json!(entries))
}

#[test]
fn istio_beside_us_is_told_apart() {
    let beside = world(vec![
        rendered("canary"),
        istio(
            "istio-sidecar-injector",
            "default",
            &[("istio-injection", "enabled")],
        ),
    ]);
    check(
        &beside,
        "istio-injection=enabled",
        "",
        "Istio, revision default",
    );
    check(&beside, "istio.io/rev=canary", "", "canary");
    check(&beside, "", "", "-");

    let instead = world(vec![
        rendered("default"),
        istio(
            "istio-sidecar-injector",
            "default",
            &[("istio-injection", "enabled")],
        ),
    ]);
    check(
        &instead,
        "istio-injection=enabled",
        "",
        "conflict: Fairlead, revision default & Istio, revision default",
    );
    check(
        &instead,
        "istio-injection=enabled",
        "sidecar.istio.io/inject=false",
        "-",
    );
}

#[test]
fn an_installation_that_is_asked_twice_is_no_conflict() {
    let enabled = ("istio-injection", "enabled");
    let alone = world(vec![
        rendered("canary"),
        istio("istio-revision-tag-default", "default", &[enabled]),
        istio("istio-sidecar-injector", "default", &[enabled]),
    ]);
    check(
        &alone,
        "istio-injection=enabled",
        "",
        "Istio, revision default",
    );
}

#[test]
fn another_mesh_is_a_conflict_only_where_it_injects() {
    let linkerd = configuration(
        "linkerd-proxy-injector-webhook-config",
        &json!({}),
        &json!([{ "name": "linkerd-proxy-injector.linkerd.io" }]),
    );
    let consul = configuration(
        "consul-connect-injector",
        &json!({}),
        &json!([{ "name": "consul-connect-injector.consul.hashicorp.com" }]),
    );
    let both = world(vec![rendered("default"), linkerd]);
    check(&both, "istio-injection=enabled", "", "default");
    check(&both, "", "", "-");
    let mut meshed = namespace("istio-injection=enabled");
    let annotation = ("linkerd.io/inject".to_owned(), "enabled".to_owned());
    meshed.annotations.insert(annotation.0, annotation.1);
    let outcome = predict(&both, &meshed, &pod("")).outcome;
    assert_eq!(
        short(&outcome),
        "conflict: Fairlead, revision default & Linkerd"
    );
    meshed.labels.remove("istio-injection");
    assert_eq!(short(&predict(&both, &meshed, &pod("")).outcome), "Linkerd");

    let unsure = world(vec![rendered("default"), consul]);
    let prediction = predict(&unsure, &namespace("istio-injection=enabled"), &pod(""));
    assert_eq!(short(&prediction.outcome), "default");
    assert!(prediction.problems[0].starts_with("Consul is asked, too, and may inject"));
}

#[test]
fn a_condition_that_is_not_the_charts_makes_the_answer_uncertain() {
    let mut own = rendered("default");
    for webhook in own.webhooks.iter_mut().flatten() {
        let condition = &mut webhook.match_conditions.as_mut().unwrap()[1];
        condition.expression = "object.metadata.name != 'x'".to_owned();
    }
    let unsure = world(vec![own]);
    let outcome = predict(&unsure, &namespace("istio-injection=enabled"), &pod("")).outcome;
    let Outcome::Unknown { why } = outcome else {
        panic!("{outcome:?}");
    };
    assert!(
        why.starts_with("whether namespace.sidecar-injector.istio.io is asked: "),
        "{why}"
    );
    // Where the selectors decide already, nothing is uncertain.
    check(&unsure, "istio-injection=disabled", "", "-");
}

#[test]
fn the_conditions_of_the_chart_are_all_known() {
    for file in ["default", "auto", "canary", "canary-as-default"] {
        let all = rendered(file).webhooks.unwrap();
        let conditions = all
            .iter()
            .flat_map(|entry| entry.match_conditions.iter().flatten());
        for condition in conditions {
            let entry = MutatingWebhook {
                match_conditions: Some(vec![condition.clone()]),
                ..MutatingWebhook::default()
            };
            let found = entry::asked(&entry, &namespace(""), &pod(""));
            assert_eq!(found, Match::Asked, "{}", condition.expression);
        }
    }
}

#[test]
fn the_webhook_decides_after_the_selectors() {
    let world = world(vec![rendered("default")]);
    let enabled = namespace("istio-injection=enabled");
    let mut refused = pod("");
    refused["metadata"]["annotations"] = json!({
        "sidecar.istio.io/proxyCPU": "lots", "sidecar.istio.io/logLevel": "loud",
    });
    let outcome = predict(&world, &enabled, &refused).outcome;
    let Outcome::Refused { faults, .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(faults.len(), 2, "{faults:?}");

    let mut odd = pod("sidecar.istio.io/inject=maybe");
    let prediction = predict(&world, &enabled, &odd);
    assert_eq!(short(&prediction.outcome), "default");
    assert!(prediction.warnings[0].contains("'maybe' decides nothing"));

    odd["spec"]["hostNetwork"] = json!(true);
    let outcome = predict(&world, &enabled, &odd).outcome;
    let why = "the pod uses the host's network".to_owned();
    assert_eq!(outcome, Outcome::NotAsked { why });
}

/// The chart's configuration as an API server has it.
fn live(policy: &str, bundle: &str) -> MutatingWebhookConfiguration {
    let mut configuration = rendered("default");
    configuration.metadata.uid = Some("1".to_owned());
    for webhook in configuration.webhooks.iter_mut().flatten() {
        webhook.failure_policy = Some(policy.to_owned());
        let bundle = bundle.as_bytes().to_vec();
        webhook.client_config.ca_bundle = Some(k8s_openapi::ByteString(bundle));
    }
    configuration
}

#[test]
fn a_webhook_that_cannot_be_called_is_told_with_the_effect() {
    let ready = |count: usize| {
        let service = ServiceName {
            namespace: "fairlead-system".to_owned(),
            name: "fairlead-webhook".to_owned(),
        };
        BTreeMap::from([(service, Ok(count))])
    };
    for (policy, bundle, count, expected) in [
        ("Fail", "CA", 2, "default"),
        ("Fail", "CA", 0, "unreachable, created: false"),
        ("Ignore", "CA", 0, "unreachable, created: true"),
        ("Fail", "", 2, "unreachable, created: false"),
        ("Ignore", "", 2, "unreachable, created: true"),
    ] {
        let mut world = world(vec![live(policy, bundle)]);
        world.ready = ready(count);
        check(&world, "istio-injection=enabled", "", expected);
        check(&world, "", "", "-");
    }
    // What was only rendered has no bundle yet, and nobody has counted.
    check(
        &world(vec![rendered("default")]),
        "istio-injection=enabled",
        "",
        "default",
    );
}

#[test]
fn a_foreign_webhook_that_cannot_be_called_is_a_problem() {
    let entry = json!([{ "name": "policy.example.com", "failurePolicy": "Fail" }]);
    let foreign = configuration("policy", &json!({}), &entry);
    let mut world = world(vec![rendered("default"), foreign]);
    let service = ServiceName {
        namespace: "mesh".to_owned(),
        name: "policy".to_owned(),
    };
    world.ready.insert(service, Ok(0));
    let prediction = predict(&world, &namespace(""), &pod(""));
    assert_eq!(
        prediction.problems,
        [
            "Service policy in namespace mesh has no ready endpoint, so the API server cannot ask \
             policy.example.com: no such pod can be created (failurePolicy Fail)"
        ]
    );
}

#[test]
fn settings_that_cannot_be_read_leave_it_open() {
    let mut world = world(vec![rendered("default")]);
    for settings in world.settings.values_mut() {
        *settings = Err("its settings cannot be read: forbidden".to_owned());
    }
    let outcome = predict(&world, &namespace("istio-injection=enabled"), &pod("")).outcome;
    let why = "Fairlead, revision default is asked, but its settings cannot be read: forbidden";
    assert_eq!(
        outcome,
        Outcome::Unknown {
            why: why.to_owned()
        }
    );
    check(&world, "", "", "-");
}

#[test]
fn without_an_installation_there_is_nobody_to_ask() {
    check(&world(vec![]), "istio-injection=enabled", "", "nobody");
    check(&world(vec![]), "", "", "nobody");
}
