//! `fairlead check-inject` on whole clusters that are files.
//!
//! `check_inject/clusters` holds what `kubectl get -o yaml` would print of each; the chart's own
//! configurations come from the tests of the selection. `check_inject/golden` holds what is said
//! of them. `UPDATE_GOLDEN=1 cargo test -p fairlead-cli` rewrites it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::{Value, json};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/check_inject")
}

/// What the chart renders, or a file of ours.
fn file(name: &str) -> String {
    let own = directory().join("clusters").join(name);
    let rendered = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/tests/selection/golden");
    let path = if own.exists() {
        own
    } else {
        rendered.join(name)
    };
    path.to_str().unwrap().to_owned()
}

/// Runs it on files, with what else is on the command line.
fn fairlead(files: &[&str], arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead"));
    command
        .arg("check-inject")
        .args(arguments.split_whitespace());
    for name in files {
        command.args(["--from", &file(name)]);
    }
    command
        // There is no cluster here.
        .env("KUBECONFIG", "/none")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

#[track_caller]
fn check(golden: &str, files: &[&str], arguments: &str, code: i32) {
    let output = fairlead(files, arguments);
    let found = format!(
        "$ fairlead check-inject {arguments}{}{}exit code {code}\n",
        if arguments.is_empty() { "" } else { " " },
        files
            .iter()
            .map(|file| format!("--from {file} "))
            .collect::<String>()
            .trim_end()
            .to_owned()
            + "\n"
            + &printed(&output)
    );
    assert_eq!(output.status.code(), Some(code), "{found}");
    let path = directory().join("golden").join(format!("{golden}.txt"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(
        found, expected,
        "{golden} differs; UPDATE_GOLDEN=1 rewrites it"
    );
}

#[test]
fn a_pod_that_is_injected_is_told_with_the_entry() {
    let files = ["default.yaml", "shop.yaml"];
    check("injected", &files, "deploy/cart -n shop", 0);
    check("stale", &files, "pod cart-7d9c4-x2x4q -n shop", 0);
    check("summary", &files, "", 1);
}

#[test]
fn a_pod_that_is_left_alone_is_told_with_the_label_to_change() {
    let files = ["default.yaml", "shop.yaml"];
    check("not_asked", &files, "sts/db -n legacy", 0);
    check("opted_out", &files, "ds/agent -n shop", 0);
    check("host_network", &files, "pod/node-exporter -n shop", 0);
    check("disabled", &files, "job.batch/import -n off", 0);
    check("unanswered", &files, "cronjob/report -n old", 1);
}

#[test]
fn a_pod_that_is_refused_is_told_with_every_fault() {
    check(
        "refused",
        &["default.yaml", "shop.yaml"],
        "deploy/typo -n shop",
        1,
    );
}

#[test]
fn who_else_takes_the_pod_is_named() {
    let revisions = ["default.yaml", "canary-as-default.yaml", "shop.yaml"];
    check("two_revisions", &revisions, "deploy/cart -n shop", 1);
    let meshes = ["canary.yaml", "meshes.yaml", "shop.yaml"];
    check("istio", &meshes, "deploy/cart -n shop", 0);
    let meshes = ["default.yaml", "meshes.yaml", "shop.yaml"];
    check("two_meshes", &meshes, "deploy/cart -n shop", 1);
}

#[test]
fn a_namespace_is_told_for_each_label_of_a_pod() {
    let files = ["default.yaml", "canary.yaml", "shop.yaml"];
    check("namespace", &files, "ns/shop", 0);
    check("namespace_without_labels", &files, "namespace legacy", 0);
    check(
        "namespace_of_the_system",
        &["default.yaml"],
        "ns/kube-system",
        0,
    );
    check("namespace_unknown", &["default.yaml"], "-n elsewhere", 0);
}

#[test]
fn programs_get_json() {
    let files = ["default.yaml", "shop.yaml"];
    check("json", &files, "deploy/cart -n shop --output json", 0);
    let output = fairlead(&files, "-o json");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["ok"], false);
    let reports = document["reports"].as_array().unwrap();
    let of = |subject: &str| {
        let found = reports.iter().find(|report| report["subject"] == subject);
        found.unwrap().clone()
    };
    assert_eq!(of("Deployment/cart")["outcome"], "injected");
    assert_eq!(
        of("Deployment/cart")["by"],
        json!({ "mesh": "Fairlead", "revision": "default" })
    );
    assert_eq!(of("Deployment/typo")["outcome"], "refused");
    assert_eq!(of("StatefulSet/db")["outcome"], "notAsked");
    assert_eq!(
        of("Pod/cart-7d9c4-x2x4q")["now"]["pods"][0]["current"],
        false
    );
}

#[test]
fn what_cannot_be_asked_is_told() {
    for (files, arguments, words) in [
        (
            &["default.yaml"][..],
            "svc/cart",
            "\"svc\" is no kind that pods come from",
        ),
        (
            &["default.yaml"],
            "deploy/",
            "\"deploy\" has no name after it",
        ),
        (
            &["default.yaml", "shop.yaml"],
            "deploy/nothing -n shop",
            "the files have no Deployment/nothing in namespace shop",
        ),
        (&["broken.yaml"], "", "broken.yaml: document 2, line 4"),
        (&["missing.yaml"], "", "missing.yaml"),
        (&[], "deploy/cart", "--from FILE reads them from a file"),
        (
            &[],
            "deploy/cart --kubeconfig /none",
            "read the kubeconfig /none",
        ),
        (&[], "deploy/cart -l app=cart", "cannot be used with"),
    ] {
        let output = fairlead(files, arguments);
        let said = printed(&output);
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(words), "{words} in {said}");
    }
}
