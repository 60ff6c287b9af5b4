//! What Helm makes of the chart for several values: the golden files, and what they must say.

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use fairlead_tests::kube::{RELEASE_NAMESPACE, chart, try_helm};
use fairlead_webhook::settings::{Policy, Resources, Settings};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::core::Selector;
use serde::Deserialize;
use serde_json::{Value, json};

/// The installation without a revision.
pub(crate) const DEFAULT: &str = "default";
/// The same, with `enableNamespacesByDefault`.
pub(crate) const AUTO: &str = "auto";
/// The installation of revision `canary`, with the tag `prod`.
pub(crate) const CANARY: &str = "canary";
/// The same with the tag `default`, and every other value that the entries depend on.
pub(crate) const CANARY_AS_DEFAULT: &str = "canary-as-default";

const FILES: [(&str, &[&str]); 4] = [
    (DEFAULT, &[]),
    (AUTO, &["injection.enableNamespacesByDefault=true"]),
    (CANARY, &["revision=canary", "revisionTags={prod}"]),
    (
        CANARY_AS_DEFAULT,
        &[
            "revision=canary",
            "revisionTags={default,prod}",
            "injection.enableNamespacesByDefault=true",
            "injection.excludedNamespaces={legacy,kube-system}",
            "injection.failurePolicy=Ignore",
            "injection.matchConditions[0].name=not-on-host-network",
            "injection.matchConditions[0].expression=\
             !(has(object.spec.hostNetwork) && object.spec.hostNetwork)",
            "injection.reinvocationPolicy=IfNeeded",
            "injection.timeoutSeconds=3",
        ],
    ),
];

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/selection/golden")
        .join(format!("{file}.yaml"))
}

/// A rendered MutatingWebhookConfiguration.
pub(crate) fn golden(file: &str) -> MutatingWebhookConfiguration {
    let text = fs::read_to_string(path(file)).unwrap();
    serde_norway::from_str(&text).unwrap()
}

fn render(values: &[&str], more: &[&str]) -> Result<String, String> {
    let chart = chart();
    let mut arguments = vec![
        "template",
        "fairlead",
        &chart,
        "--namespace",
        RELEASE_NAMESPACE,
    ];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    arguments.extend(more);
    try_helm(&arguments)
}

/// Each entry's name with its selectors, without what excludes namespaces by name.
fn selectors(file: &str) -> Value {
    let configuration = golden(file);
    let entries = configuration.webhooks.iter().flatten().map(|entry| {
        let mut namespace = entry.namespace_selector.clone().unwrap();
        let by_name = |key: &str| key == "kubernetes.io/metadata.name";
        namespace
            .match_expressions
            .as_mut()
            .unwrap()
            .retain(|requirement| !by_name(&requirement.key));
        let name = entry.name.strip_suffix(".sidecar-injector.istio.io");
        json!([name.unwrap(), namespace, entry.object_selector])
    });
    entries.collect()
}

/// A selector of these requirements: `key`, `!key`, `key=a,b` or `key!=a,b`.
fn selector(requirements: &[&str]) -> Value {
    let requirement = |text: &&str| {
        let (key, operator, values) = match (text.split_once("!="), text.split_once('=')) {
            (Some((key, values)), _) => (key, "NotIn", Some(values)),
            (None, Some((key, values))) => (key, "In", Some(values)),
            (None, None) => (text.trim_start_matches('!'), "DoesNotExist", None),
        };
        let mut requirement = json!({ "key": key, "operator": operator });
        if let Some(values) = values {
            requirement["values"] = values.split(',').collect();
        }
        requirement
    };
    json!({ "matchExpressions": requirements.iter().map(requirement).collect::<Value>() })
}

fn entry(name: &str, namespace: &[&str], object: &[&str]) -> Value {
    json!([name, selector(namespace), selector(object)])
}

#[test]
fn the_entries_have_istios_selectors() {
    const NO_LABEL: &str = "!istio-injection";
    const NO_REVISION: &str = "!istio.io/rev";
    const NOT_OPTED_OUT: &str = "sidecar.istio.io/inject!=false";
    let of_revision = |revision: &str| {
        vec![
            entry("rev.namespace", &[revision, NO_LABEL], &[NOT_OPTED_OUT]),
            entry(
                "rev.object",
                &[NO_REVISION, NO_LABEL],
                &[NOT_OPTED_OUT, revision],
            ),
        ]
    };
    let of_default = [
        entry("namespace", &["istio-injection=enabled"], &[NOT_OPTED_OUT]),
        entry(
            "object",
            &[NO_LABEL, NO_REVISION],
            &["sidecar.istio.io/inject=true", NO_REVISION],
        ),
    ];
    let auto = entry(
        "auto",
        &[NO_LABEL, NO_REVISION],
        &["!sidecar.istio.io/inject", NO_REVISION],
    );
    for (file, revision, is_default, has_auto) in [
        (DEFAULT, "istio.io/rev=default", true, false),
        (AUTO, "istio.io/rev=default", true, true),
        (CANARY, "istio.io/rev=canary,prod", false, false),
        (
            CANARY_AS_DEFAULT,
            "istio.io/rev=canary,default,prod",
            true,
            true,
        ),
    ] {
        let mut expected = of_revision(revision);
        if is_default {
            expected.extend_from_slice(&of_default);
        }
        expected.extend(has_auto.then(|| auto.clone()));
        assert_eq!(selectors(file), Value::Array(expected), "{file}");
    }
}

#[test]
fn every_entry_is_bounded_and_leaves_hopeless_pods_to_the_api_server() {
    let hopeless = &["not-on-host-network", "not-for-windows"][..];
    let service = "fairlead-webhook";
    let canary = "fairlead-webhook-canary";
    for (file, service, policy, conditions, reinvocation, timeout) in [
        (DEFAULT, service, "Fail", hopeless, "Never", 5),
        (AUTO, service, "Fail", hopeless, "Never", 5),
        (CANARY, canary, "Fail", hopeless, "Never", 5),
        (
            CANARY_AS_DEFAULT,
            canary,
            "Ignore",
            &["not-on-host-network"],
            "IfNeeded",
            3,
        ),
    ] {
        for entry in golden(file).webhooks.iter().flatten() {
            let entry = serde_json::to_value(entry).unwrap();
            let expected = json!({
                "rules": [{
                    "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                    "resources": ["pods"], "scope": "Namespaced",
                }],
                "clientConfig": { "service": {
                    "name": service, "namespace": RELEASE_NAMESPACE, "path": "/inject", "port": 443,
                }},
                "failurePolicy": policy,
                "reinvocationPolicy": reinvocation,
                "timeoutSeconds": timeout,
                "matchPolicy": "Equivalent",
                "sideEffects": "NoneOnDryRun",
                "admissionReviewVersions": ["v1"],
            });
            for (field, value) in expected.as_object().unwrap() {
                assert_eq!(&entry[field], value, "{file} {}: {field}", entry["name"]);
            }
            let found = entry["matchConditions"].as_array().unwrap();
            let names: Vec<_> = found.iter().map(|found| &found["name"]).collect();
            assert_eq!(names, conditions, "{file} {}", entry["name"]);
        }
    }
}

#[test]
#[ignore = "needs helm"]
fn the_golden_files_are_what_helm_renders() {
    let template = ["--show-only", "templates/mutatingwebhookconfiguration.yaml"];
    for (file, values) in FILES {
        let rendered = render(values, &template).unwrap();
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(path(file), &rendered).unwrap();
        }
        let known = fs::read_to_string(path(file)).unwrap();
        assert_eq!(rendered, known, "{file}; UPDATE_GOLDEN=1 rewrites it");
    }
}

#[test]
#[ignore = "needs helm"]
fn an_installation_may_leave_every_pod_to_the_webhook() {
    let none = ["--set-json", "injection.matchConditions=[]"];
    let rendered = render(&[], &none).unwrap();
    assert!(rendered.contains("objectSelector") && !rendered.contains("matchConditions"));
}

#[test]
#[ignore = "needs helm"]
fn revisions_share_no_object() {
    // Even in one namespace, and with the objects of `helm test`.
    let names = |values: &[&str]| -> BTreeSet<String> {
        let rendered = render(values, &[]).unwrap();
        let documents = serde_norway::Deserializer::from_str(&rendered);
        let objects = documents.map(|document| Value::deserialize(document).unwrap());
        objects
            .filter(|object| !object.is_null())
            .map(|object| {
                let metadata = &object["metadata"];
                format!(
                    "{} {}/{}",
                    object["kind"], metadata["namespace"], metadata["name"]
                )
            })
            .collect()
    };
    let default = names(&[]);
    let canary = names(&["revision=canary"]);
    assert_eq!(default.len(), canary.len());
    let shared: Vec<_> = default.intersection(&canary).collect();
    assert!(shared.is_empty(), "{shared:?}");
}

#[test]
#[ignore = "needs helm"]
fn values_that_contradict_each_other_are_refused_with_what_to_do() {
    for (values, words) in [
        (
            &["revision=default"][..],
            "leave it empty for the default revision",
        ),
        (&["revisionTags={default}"], "remove it"),
        (
            &["revision=canary", "revisionTags={canary}"],
            "revisionTags: canary is what this revision is called already",
        ),
        (&["revisionTags={prod,prod}"], "items at 0 and 1 are equal"),
        (&["revisionTags={Prod}"], "/revisionTags/0"),
        (&["revision=a.b"], "/revision"),
        (
            &["injection.reinvocationPolicy=Always"],
            "/injection/reinvocationPolicy",
        ),
        (
            &["injection.failurePolicy=Retry"],
            "/injection/failurePolicy",
        ),
        (
            &["injection.matchConditions[0].expression=true"],
            "/injection/matchConditions/0",
        ),
        (
            &["injection.timeoutSeconds=31"],
            "/injection/timeoutSeconds",
        ),
        (
            &["injection.enableNamespacesByDefault=yes"],
            "/injection/enableNamespacesByDefault",
        ),
        (
            &["injection.neverInjectSelector[0].matchLabel.a=b"],
            "/injection/neverInjectSelector/0",
        ),
        (
            &["injection.defaultTemplates={sidecar,audit}"],
            "audit is neither sidecar, gateway nor one of injection.templates",
        ),
        (
            &["webhook.drainSeconds=25"],
            "terminationGracePeriodSeconds: 30 is not more than",
        ),
        (&["proxy.logLevel=null"], "missing property 'logLevel'"),
        (&["injection=null"], "missing property 'injection'"),
        (
            &[
                "injection.alwaysInjectSelector[0].matchExpressions[0].key=a",
                "injection.alwaysInjectSelector[0].matchExpressions[0].operator=Near",
            ],
            "/injection/alwaysInjectSelector/0/matchExpressions/0/operator",
        ),
    ] {
        let refusal = render(values, &[]).unwrap_err();
        assert!(refusal.contains(words), "{words} in {refusal}");
    }
}

#[test]
#[ignore = "needs helm"]
fn the_selectors_of_the_values_reach_the_webhook() {
    let rendered = render(
        &[
            "injection.policy=disabled",
            "injection.neverInjectSelector[0].matchLabels.app=job",
            "injection.alwaysInjectSelector[0].matchExpressions[0].key=team",
            "injection.alwaysInjectSelector[0].matchExpressions[0].operator=Exists",
        ],
        &["--show-only", "templates/configmap.yaml"],
    )
    .unwrap();
    let configuration: Value = serde_norway::from_str(&rendered).unwrap();
    let file = configuration["data"]["config.yaml"].as_str().unwrap();
    let settings = Settings::parse(file).unwrap();
    assert_eq!(settings.policy, Policy::Disabled);
    let words = |selectors: &[Selector]| -> Vec<String> {
        selectors.iter().map(ToString::to_string).collect()
    };
    assert_eq!(words(&settings.never_inject), ["app=job"]);
    assert_eq!(words(&settings.always_inject), ["team"]);
}

#[test]
#[ignore = "needs helm"]
fn what_the_values_take_away_is_empty_for_the_webhook() {
    for value in [
        "cni",
        "injection.alwaysInjectSelector",
        "injection.excludedNamespaces",
        "injection.matchConditions",
        "injection.neverInjectSelector",
        "injection.templates",
        "network",
        "platform",
        "proxy.imagePullSecrets",
        "proxy.lifecycle",
        "proxy.readinessProbe",
        "proxy.resources",
        "proxy.resources.limits",
        "proxy.startupProbe",
        "proxy.traffic",
        "revisionTags",
    ] {
        let rendered = render(&[&format!("{value}=null")], &[]).unwrap();
        let file = serde_norway::Deserializer::from_str(&rendered)
            .map(|document| Value::deserialize(document).unwrap())
            .find_map(|object| Some(object["data"]["config.yaml"].as_str()?.to_owned()));
        let settings = Settings::parse(&file.unwrap());
        assert!(settings.is_ok(), "{value}: {}", settings.unwrap_err());
        if value == "proxy.resources" {
            assert_eq!(settings.unwrap().resources, Resources::default());
        }
    }
}

/// Helm compares with the last release that succeeded: a variable that one has which did not would stay
/// in the Deployment, and with it the Secret that it waits for.
#[test]
#[ignore = "needs helm"]
fn the_webhooks_variables_are_always_the_same_ones() {
    let variables = |values: &[&str]| {
        let shown = ["--show-only", "templates/deployment.yaml"];
        let rendered: Value = serde_norway::from_str(&render(values, &shown).unwrap()).unwrap();
        let list = rendered.pointer("/spec/template/spec/containers/0/env");
        let names = list.unwrap().as_array().unwrap().iter();
        names.map(|v| v["name"].clone()).collect::<Vec<_>>()
    };
    let brought = variables(&["webhook.certificate.secretName=injector-tls"]);
    assert!(!brought.is_empty());
    assert_eq!(variables(&[]), brought);
}
