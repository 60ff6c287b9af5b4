//! `fairlead check-inject` says what the API server then does.

use std::{
    process::{Command, Output},
    sync::PoisonError,
};

use fairlead_tests::{
    binary,
    kube::{TestNamespace, install, kubectl, object, until, workloads::CLIENT},
};
use serde_json::Value;

use crate::{
    api_server::{ALONE, SecondRevision},
    matrix::{
        By::{self, Canary, Default, Nobody},
        MATRIX, PODS,
    },
};

fn fairlead(arguments: &str) -> Output {
    Command::new(binary("fairlead"))
        .arg("check-inject")
        .args(arguments.split_whitespace())
        .output()
        .unwrap()
}

/// What is printed, whatever the exit code is.
#[track_caller]
fn said(arguments: &str, succeeds: bool) -> String {
    let output = fairlead(arguments);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.success(), succeeds, "{arguments}: {said}");
    said
}

/// Who injects, by the report about one pod.
#[track_caller]
fn by(report: &Value) -> By {
    match report["outcome"].as_str().unwrap() {
        "injected" if report["by"]["revision"] == "default" => Default,
        "injected" if report["by"]["revision"] == "canary" => Canary,
        "notAsked" | "unanswered" => Nobody,
        _ => panic!("{report}"),
    }
}

#[test]
#[ignore = "needs root"]
fn each_cell_of_the_matrix_is_foretold() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let _second = SecondRevision::install();
    for row in MATRIX {
        let namespace = TestNamespace::new(row.name, row.labels);
        let output = fairlead(&format!("ns/{} --output json", namespace.name()));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut told = 0;
        for report in answer["reports"].as_array().unwrap() {
            let subject = report["subject"].as_str().unwrap();
            let labels = subject.strip_prefix("a pod with the label ").unwrap_or("");
            let column = PODS.iter().position(|pod| *pod == labels).unwrap();
            assert_eq!(by(report), row.expected[column], "{}: {report}", row.labels);
            told += 1;
        }
        assert_eq!(told, 6, "{answer}");
    }
}

#[test]
#[ignore = "needs root"]
fn running_pods_are_renewed_by_what_is_advised() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let namespace = TestNamespace::new("check-renewed", "");
    namespace.deploy(CLIENT);
    let told = said("deploy/client -n check-renewed", true);
    assert!(told.contains("left alone: neither the namespace"), "{told}");
    let label = "label namespace check-renewed istio-injection=enabled";
    assert!(
        told.contains(&format!("for a sidecar: kubectl {label}\n")),
        "{told}"
    );

    kubectl(label);
    let restart = "--namespace check-renewed rollout restart deployment/client";
    let pod = object("pods --namespace=check-renewed")["items"][0].clone();
    let pod = pod["metadata"]["name"].as_str().unwrap();
    for subject in ["deploy/client", pod, "-l app=client"] {
        let told = said(&format!("{subject} -n check-renewed"), true);
        assert!(
            told.contains(": injected by Fairlead, revision default\n"),
            "{told}"
        );
        assert!(told.contains(&format!("{pod} has no sidecar")), "{told}");
        assert!(
            told.contains(&format!("to renew: kubectl {restart}\n")),
            "{told}"
        );
    }

    kubectl(restart);
    let told = until("the pod with its sidecar", || {
        let told = said("deploy/client -n check-renewed", true);
        (!told.contains("to renew")).then_some(told)
    });
    assert!(
        told.contains("has a sidecar of revision default\n"),
        "{told}"
    );
    let told = said("pod/none -n check-renewed", false);
    assert!(
        told.contains("Pod none in namespace check-renewed"),
        "{told}"
    );
    assert!(told.contains("\"none\" not found"), "{told}");
}

#[test]
#[ignore = "needs root"]
fn two_default_revisions_are_a_conflict() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let namespace = TestNamespace::new("check-conflict", "istio-injection=enabled");
    let _second = SecondRevision::install();
    let subject = format!("ns/{}", namespace.name());
    said(&subject, true);
    SecondRevision::upgrade(r#"revisionTags=["default"]"#);
    let told = said(&subject, false);
    let conflict =
        "conflict: injected by Fairlead, revision default and by Fairlead, revision canary";
    assert!(told.contains(conflict), "{told}");
}
