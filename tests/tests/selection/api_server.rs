//! The matrix on a real API server: each cell is a pod that is created by server-side dry run.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use fairlead_tests::kube::{
    TestNamespace, chart, helm, install, install_arguments, kubectl, object, try_helm, try_kubectl,
    until,
};
use serde_json::{Deserializer, Value, json};

use crate::matrix::{
    By::{self, Canary, Default, Nobody},
    MATRIX, PODS, UNLABELLED_AUTO, labels,
};

/// What is installed belongs to the whole cluster.
pub(crate) static ALONE: Mutex<()> = Mutex::new(());

/// The second installation's release, its revision, and what its namespace is called after.
const SECOND: &str = "canary";
const SECOND_NAMESPACE: &str = "fairlead-canary";

/// The installation of revision `canary` in its own namespace; uninstalled on drop.
pub(crate) struct SecondRevision;

impl SecondRevision {
    /// Returns it with what Helm said.
    pub(crate) fn install() -> (Self, String) {
        // What a killed run left is of an older build.
        drop(Self);
        (Self, Self::upgrade(r#"revisionTags=["prod"]"#))
    }

    pub(crate) fn upgrade(tags: &str) -> String {
        let (chart, revision) = (chart(), format!("revision={SECOND}"));
        helm(&[
            "upgrade",
            "--install",
            SECOND,
            &chart,
            "--namespace",
            SECOND_NAMESPACE,
            "--create-namespace",
            "--wait",
            "--timeout=120s",
            "--set",
            &revision,
            "--set-json",
            tags,
            "--set",
            "webhook.replicas=1",
        ])
    }

    /// How many reviews its one replica has answered.
    fn reviews() -> u64 {
        let pods = object(&format!("pods --namespace={SECOND_NAMESPACE}"));
        let pod = pods["items"][0]["metadata"]["name"].as_str().unwrap();
        let path = format!("/api/v1/namespaces/{SECOND_NAMESPACE}/pods/{pod}:15014/proxy/metrics");
        let metrics = kubectl(&format!("get --raw {path}"));
        let count = metrics
            .lines()
            .find_map(|line| line.strip_prefix("sidecar_injection_requests_total{"));
        let (_, count) = count.unwrap().split_once("} ").unwrap();
        count.trim().parse().unwrap()
    }
}

impl Drop for SecondRevision {
    fn drop(&mut self) {
        // A failure to clean up must not hide the test's own.
        let namespace = ["--namespace", SECOND_NAMESPACE];
        drop(try_helm(
            &[&["uninstall", SECOND, "--wait"], &namespace[..]].concat(),
        ));
        drop(try_kubectl(
            &format!("delete namespace {SECOND_NAMESPACE} --ignore-not-found --wait"),
            None,
        ));
    }
}

/// Upgrades the first installation with one value more.
fn upgrade_first(value: &str) {
    let mut arguments = install_arguments();
    arguments.extend(["--set", value].map(ToOwned::to_owned));
    helm(&arguments);
}

/// Gives the first installation its usual values again.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        // As above.
        drop(try_helm(&install_arguments()));
    }
}

fn pod(name: &str, labels_of_pod: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": labels(labels_of_pod) },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    })
}

/// What the API server would create; or the first refusal, or warning.
fn try_created(namespace: &TestNamespace, pods: &[Value]) -> Result<Vec<Value>, String> {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": pods });
    let arguments = format!(
        "create --namespace={} --dry-run=server --warnings-as-errors --output=json --filename=-",
        namespace.name()
    );
    let printed = try_kubectl(&arguments, Some(&list.to_string()))?;
    let mut created = Vec::new();
    // One document for each pod, or a list of them.
    for document in Deserializer::from_str(&printed).into_iter::<Value>() {
        let document = document.unwrap();
        match document["items"].as_array() {
            Some(items) => created.extend(items.iter().cloned()),
            None => created.push(document),
        }
    }
    Ok(created)
}

#[track_caller]
fn created(namespace: &TestNamespace, pods: &[Value]) -> Vec<Value> {
    try_created(namespace, pods).unwrap_or_else(|error| panic!("{}: {error}", namespace.name()))
}

/// Who injected a pod, judged by its containers and its annotation.
#[track_caller]
fn injected_by(pod: &Value) -> By {
    let names = |field: &str| -> Vec<String> {
        let containers = pod["spec"][field].as_array().into_iter().flatten();
        containers
            .map(|container| container["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (init, plain) = (names("initContainers"), names("containers"));
    let revision = pod["metadata"]["annotations"]["istio.io/rev"].as_str();
    let by = match revision {
        None => Nobody,
        Some("default") => Default,
        Some(SECOND) => Canary,
        Some(other) => panic!("injected by revision {other}"),
    };
    let expected: &[&str] = match by {
        Nobody => &[],
        Default | Canary => &["istio-init", "istio-proxy"],
    };
    assert_eq!(
        (init, plain),
        (
            expected.iter().map(|name| (*name).to_owned()).collect(),
            vec!["app".to_owned()]
        )
    );
    by
}

/// A pod of each column; who injects them.
#[track_caller]
fn row(namespace: &TestNamespace) -> Vec<By> {
    let columns = PODS.iter().enumerate();
    let pods: Vec<_> = columns
        .map(|(index, labels)| pod(&format!("pod-{index}"), labels))
        .collect();
    created(namespace, &pods).iter().map(injected_by).collect()
}

/// Waits until this is who injects a pod without labels; the API server learns of a changed
/// configuration a moment after it is written, and of its caBundle a moment later.
#[track_caller]
fn until_injected_by(namespace: &TestNamespace, expected: By) {
    until(&format!("injection by {expected:?}"), || {
        let created = try_created(namespace, &[pod("pod", "")]).ok()?;
        (injected_by(&created[0]) == expected).then_some(())
    });
}

#[test]
#[ignore = "needs root"]
fn each_cell_of_the_matrix_is_as_the_selectors_say() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let (second, notes) = SecondRevision::install();
    assert!(
        notes.contains("kubectl label namespace NAMESPACE istio.io/rev=canary\n"),
        "{notes}"
    );
    assert!(
        notes.contains("istio.io/rev=canary or istio.io/rev=prod"),
        "{notes}"
    );
    for expected in MATRIX {
        let namespace = TestNamespace::new(expected.name, expected.labels);
        assert_eq!(row(&namespace), expected.expected, "{}", expected.labels);
    }

    let namespace = TestNamespace::new("select-conditions", "istio.io/rev=canary");
    assert_that_hopeless_pods_are_not_asked_about(&namespace);
    drop(second);

    // The first installation is as it was, and nobody answers to the second's name any more.
    until_injected_by(&namespace, Nobody);
    assert_eq!(row(&namespace), [Nobody; PODS.len()]);
    let namespace = TestNamespace::new("select-after", "istio-injection=enabled");
    assert_eq!(row(&namespace), MATRIX[1].expected);
}

/// The conditions of the entries keep the API server from asking.
#[track_caller]
fn assert_that_hopeless_pods_are_not_asked_about(namespace: &TestNamespace) {
    let mut host = pod("host", "");
    host["spec"]["hostNetwork"] = json!(true);
    let mut windows = pod("windows", "");
    windows["spec"]["os"] = json!({ "name": "windows" });
    let before = SecondRevision::reviews();
    for pod in created(namespace, &[host, windows]) {
        assert_eq!(injected_by(&pod), Nobody);
    }
    assert_eq!(SecondRevision::reviews(), before);
    let mut off_host = pod("off-host", "");
    off_host["spec"]["hostNetwork"] = json!(false);
    off_host["spec"]["os"] = json!({ "name": "linux" });
    assert_eq!(injected_by(&created(namespace, &[off_host])[0]), Canary);
    assert_eq!(SecondRevision::reviews(), before + 1);
}

#[test]
#[ignore = "needs root"]
fn a_tag_moves_from_one_revision_to_another_without_a_gap() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let _second = SecondRevision::install();
    let namespace = TestNamespace::new("select-moved", "istio.io/rev=prod");
    assert_eq!(row(&namespace), MATRIX[4].expected);

    let _restored = Restored;
    let by = thread::scope(|scope| {
        // Both are asked in between, one after the other; the pod gets one sidecar.
        let moving = scope.spawn(|| {
            upgrade_first("revisionTags={prod}");
            SecondRevision::upgrade("revisionTags=[]");
            until_injected_by(&namespace, Default);
        });
        let mut by = Vec::new();
        while !moving.is_finished() {
            by.push(injected_by(&created(&namespace, &[pod("pod", "")])[0]));
        }
        moving.join().unwrap();
        by
    });
    println!("{} pods created while the tag moved", by.len());
    assert!(!by.is_empty() && !by.contains(&Nobody), "{by:?}");
    let expected = MATRIX[4]
        .expected
        .map(|by| if by == Canary { Default } else { by });
    assert_eq!(row(&namespace), expected);
}

#[test]
#[ignore = "needs root"]
fn namespaces_without_a_label_are_injected_if_the_values_say_so() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let namespace = TestNamespace::new("select-auto", "");
    until_injected_by(&namespace, Nobody);
    let restored = Restored;
    upgrade_first("injection.enableNamespacesByDefault=true");
    until_injected_by(&namespace, Default);
    let alone = |by: By| if by == Canary { Nobody } else { by };
    assert_eq!(row(&namespace), UNLABELLED_AUTO.map(alone));
    drop(restored);
    until_injected_by(&namespace, Nobody);
    assert_eq!(row(&namespace), MATRIX[0].expected.map(alone));
}

#[test]
#[ignore = "needs root"]
fn kubectl_shows_that_a_value_decides_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let namespace = TestNamespace::new("select-warned", "istio-injection=enabled");
    let labelled = pod("labelled", "sidecar.istio.io/inject=yes");
    let mut annotated = pod("annotated", "");
    annotated["metadata"]["annotations"] = json!({ "sidecar.istio.io/inject": "no" });
    for (pod, kind, value) in [(labelled, "label", "yes"), (annotated, "annotation", "no")] {
        let expected = format!(
            "Warning: {kind} sidecar.istio.io/inject: '{value}' decides nothing; write \"true\" or \"false\""
        );
        let warned = try_created(&namespace, &[pod]).unwrap_err();
        assert!(warned.contains(&expected), "{warned}");
    }
}
