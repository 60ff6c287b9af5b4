//! The namespace × pod matrix, and the rendered selectors asked for each of its cells.

use std::collections::BTreeMap;

use fairlead_tests::kube::RELEASE_NAMESPACE;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::core::{Selector, SelectorExt};

use crate::rendered::{AUTO, CANARY, CANARY_AS_DEFAULT, DEFAULT, golden};

/// Who injects the pods of a cell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum By {
    /// No installation is asked.
    Nobody,
    /// The one without a revision.
    Default,
    /// The one of revision `canary`, which also has the tag `prod`.
    Canary,
}

use By::{Canary, Default, Nobody};

/// The labels of the pods, `key=value` separated by blanks: the matrix's columns.
pub(crate) const PODS: [&str; 8] = [
    "",
    "sidecar.istio.io/inject=true",
    "sidecar.istio.io/inject=false",
    "istio.io/rev=canary",
    "istio.io/rev=prod",
    "istio.io/rev=default",
    "sidecar.istio.io/inject=true istio.io/rev=canary",
    "sidecar.istio.io/inject=false istio.io/rev=canary",
];

/// The pods of a namespace.
pub(crate) struct Row {
    /// A name for the namespace.
    pub(crate) name: &'static str,
    /// Its labels, `key=value` separated by blanks.
    pub(crate) labels: &'static str,
    /// Who injects each of [`PODS`].
    pub(crate) expected: [By; PODS.len()],
}

/// Whatever the pod says, unless it opts out.
const fn all_but_opted_out(by: By) -> [By; PODS.len()] {
    [by, by, Nobody, by, by, by, by, Nobody]
}

/// What a namespace without labels leaves to its pods.
const UNLABELLED: [By; PODS.len()] = [
    Nobody, Default, Nobody, Canary, Canary, Default, Canary, Nobody,
];

/// Two installations side by side, one without a revision and one of revision `canary`.
pub(crate) const MATRIX: [Row; 9] = [
    Row {
        name: "select-none",
        labels: "",
        expected: UNLABELLED,
    },
    Row {
        name: "select-enabled",
        labels: "istio-injection=enabled",
        expected: all_but_opted_out(Default),
    },
    Row {
        name: "select-disabled",
        labels: "istio-injection=disabled",
        expected: [Nobody; PODS.len()],
    },
    Row {
        name: "select-rev",
        labels: "istio.io/rev=canary",
        expected: all_but_opted_out(Canary),
    },
    Row {
        name: "select-tag",
        labels: "istio.io/rev=prod",
        expected: all_but_opted_out(Canary),
    },
    Row {
        name: "select-rev-default",
        labels: "istio.io/rev=default",
        expected: all_but_opted_out(Default),
    },
    Row {
        name: "select-rev-unknown",
        labels: "istio.io/rev=nobody",
        expected: [Nobody; PODS.len()],
    },
    Row {
        name: "select-both",
        labels: "istio-injection=enabled istio.io/rev=canary",
        expected: all_but_opted_out(Default),
    },
    Row {
        name: "select-disabled-rev",
        labels: "istio-injection=disabled istio.io/rev=canary",
        expected: [Nobody; PODS.len()],
    },
];

/// With `enableNamespacesByDefault`, of a namespace without labels.
pub(crate) const UNLABELLED_AUTO: [By; PODS.len()] = [
    Default, Default, Nobody, Canary, Canary, Default, Canary, Nobody,
];

/// `key=value` separated by blanks.
pub(crate) fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split_whitespace();
    pairs
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The entries, as `configuration/entry`, that the API server asks about a pod.
fn asked(
    configurations: &[MutatingWebhookConfiguration],
    namespace: &BTreeMap<String, String>,
    pod: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut asked = Vec::new();
    for configuration in configurations {
        let name = configuration.metadata.name.as_deref().unwrap();
        for entry in configuration.webhooks.iter().flatten() {
            let selects = |selector: &Option<_>, labels| {
                Selector::try_from(selector.clone().unwrap())
                    .unwrap()
                    .matches(labels)
            };
            if selects(&entry.namespace_selector, namespace) && selects(&entry.object_selector, pod)
            {
                asked.push(format!("{name}/{}", entry.name));
            }
        }
    }
    asked
}

/// Asks for one row; each pod is asked for once or never.
#[track_caller]
fn check_row(files: &[&str], namespace: &str, name: &str, expected: &[By]) {
    let configurations: Vec<_> = files.iter().map(|file| golden(file)).collect();
    let mut namespace = labels(namespace);
    // The API server labels each namespace with its name.
    namespace.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    for (pod, expected) in PODS.iter().zip(expected) {
        let asked = asked(&configurations, &namespace, &labels(pod));
        let found: Vec<By> = asked
            .iter()
            .map(|entry| {
                if entry.starts_with("fairlead-sidecar-injector-canary/") {
                    Canary
                } else {
                    Default
                }
            })
            .collect();
        let expected = Vec::from_iter((*expected != Nobody).then_some(*expected));
        assert_eq!(found, expected, "{namespace:?} × {pod:?}: {asked:?}");
    }
}

#[test]
fn each_cell_leads_to_one_installation_or_none() {
    for row in MATRIX {
        check_row(&[DEFAULT, CANARY], row.labels, row.name, &row.expected);
    }
}

#[test]
fn namespaces_by_default_changes_only_pods_that_nothing_else_decides() {
    let files = [AUTO, CANARY];
    check_row(&files, "", "shop", &UNLABELLED_AUTO);
    for row in &MATRIX[1..] {
        check_row(&files, row.labels, row.name, &row.expected);
    }
}

#[test]
fn the_tag_default_makes_a_named_revision_the_default() {
    let canary = |by: &By| if *by == Nobody { Nobody } else { Canary };
    for row in &MATRIX[1..] {
        let expected = row.expected.each_ref().map(canary);
        check_row(&[CANARY_AS_DEFAULT], row.labels, row.name, &expected);
    }
    let expected = UNLABELLED_AUTO.each_ref().map(canary);
    check_row(&[CANARY_AS_DEFAULT], "", "shop", &expected);
}

#[test]
fn a_named_revision_alone_takes_what_names_it_and_nothing_else() {
    let canary = |by: &By| if *by == Canary { Canary } else { Nobody };
    for row in MATRIX {
        let expected = row.expected.each_ref().map(canary);
        check_row(&[CANARY], row.labels, row.name, &expected);
    }
}

#[test]
fn namespaces_of_kubernetes_and_of_the_release_are_never_asked_about() {
    for name in [
        "kube-system",
        "kube-public",
        "kube-node-lease",
        "local-path-storage",
        RELEASE_NAMESPACE,
    ] {
        for row in MATRIX {
            check_row(&[AUTO], row.labels, name, &[Nobody; PODS.len()]);
        }
    }
    check_row(
        &[CANARY_AS_DEFAULT],
        "istio-injection=enabled",
        "legacy",
        &[Nobody; PODS.len()],
    );
}
