//! What is in the cluster is what the chart says, whatever the webhook itself has written meanwhile.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use fairlead_tests::kube::{
    RELEASE, RELEASE_NAMESPACE, brought, helm, install, install_arguments, kubectl, until,
    webhook_pods,
};

const SECRET: &str = "drift-tls";

#[test]
#[ignore = "needs root"]
fn two_upgrades_leave_no_difference_to_the_manifest() {
    install();
    check("own certificate", &[]);
    brought::put_secret(SECRET);
    let value = format!("webhook.certificate.secretName={SECRET}");
    check("brought certificate", &[&value]);
    check("own certificate again", &[]);
    kubectl(&format!(
        "delete secret {SECRET} --namespace={RELEASE_NAMESPACE}"
    ));
}

/// Upgrades twice and compares, as `helm get manifest | kubectl diff --filename=-` does.
#[track_caller]
fn check(what: &str, values: &[&str]) {
    let mut arguments = install_arguments();
    for value in values {
        arguments.extend(["--set".to_owned(), (*value).to_owned()]);
    }
    helm(&arguments);
    helm(&arguments);
    // The readiness of each says that the caBundle has been written.
    until("two ready replicas", || {
        (webhook_pods().len() >= 2).then_some(())
    });
    let manifest = helm(&["get", "manifest", RELEASE, "--namespace", RELEASE_NAMESPACE]);
    let mut diff = Command::new("kubectl")
        .args(["diff", "--filename=-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let mut stdin = diff.stdin.take().expect("it is piped");
    stdin
        .write_all(manifest.as_bytes())
        .expect("kubectl reads the manifest");
    drop(stdin);
    let diff = diff.wait_with_output().expect("kubectl ends");
    let difference = String::from_utf8_lossy(&diff.stdout);
    assert_eq!(difference, "", "{what}");
    assert!(diff.status.success(), "{what}: {}", diff.status);
    println!("{what}: two upgrades and no difference");
}
