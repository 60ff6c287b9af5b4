//! The chart's life: refused values, upgrade, drift, uninstall. Runs last, for it removes the installation.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use fairlead_tests::kube::{
    RELEASE, RELEASE_NAMESPACE, chart, helm, install, install_arguments, kubectl, object, try_helm,
    try_kubectl, until, webhook_pods,
};
use serde_json::Value;

const CONFIGURATION: &str = "mutatingwebhookconfiguration fairlead-sidecar-injector";

#[test]
#[ignore = "needs root"]
fn wrong_values_are_refused_by_the_schema() {
    let chart = chart();
    for (value, word) in [
        ("webhook.replicas=none", "replicas"),
        ("proxy.logLevel=loud", "logLevel"),
        ("proxy.interceptionMode=none", "interceptionMode"),
        ("proxy.lifecycle.preStart.sleep.seconds=1", "preStart"),
        ("proxy.readinessProbe.periodSeconds=0", "periodSeconds"),
        ("proxy.seccompProfile.type=None", "seccompProfile"),
        ("injection.templates.sidecar.spec.priority=1", "sidecar"),
        ("injection.templates.more.status.phase=x", "status"),
        ("cni.provider=cilium", "provider"),
        ("platform=gke", "platform"),
        ("injection.nativeNftables=auto", "nativeNftables"),
        ("meshConfig.defaultConfig.accessLog=some", "accessLog"),
        ("noSuchValue=1", "noSuchValue"),
    ] {
        let arguments = [
            "install",
            "refused",
            &chart,
            "--namespace",
            "refused",
            "--set",
            value,
        ];
        let error = try_helm(&arguments).unwrap_err();
        assert!(
            error.contains("values don't meet the specifications"),
            "{error}"
        );
        assert!(error.contains(word), "{error}");
    }
}

#[test]
#[ignore = "needs root"]
fn upgrade_churns_nothing_drift_is_repaired_and_uninstall_leaves_nothing() {
    install();
    // Replicas of an earlier test may be ending.
    until("two replicas and no more", || {
        let pods = object(&format!("pods --namespace={RELEASE_NAMESPACE}"));
        (pods["items"].as_array()?.len() == 2 && webhook_pods().len() == 2).then_some(())
    });
    let before = fingerprint();
    helm(&install_arguments());
    assert_eq!(
        fingerprint(),
        before,
        "an upgrade with the same values changed something"
    );

    let bundles = ca_bundles();
    assert!(!bundles.is_empty() && bundles.iter().all(|bundle| !bundle.is_empty()));
    let patch = r#"[{"op":"remove","path":"/webhooks/0/clientConfig/caBundle"}]"#;
    kubectl(&format!(
        "patch {CONFIGURATION} --type=json --patch={patch}"
    ));
    until("the repair of the CA bundle", || {
        (ca_bundles() == bundles).then_some(())
    });

    helm(&[
        "uninstall",
        RELEASE,
        "--namespace",
        RELEASE_NAMESPACE,
        "--wait",
    ]);
    let kinds = "all,mutatingwebhookconfigurations,clusterroles,clusterrolebindings,roles,\
                 rolebindings,secrets,poddisruptionbudgets";
    let left = until("the end of the webhook's pods", || {
        let left = try_kubectl(&format!("get {kinds} --all-namespaces --no-headers"), None).ok()?;
        let ours = left
            .lines()
            .filter(|line| line.to_lowercase().contains("fairlead"));
        let ours: Vec<_> = ours.collect();
        (!ours.iter().any(|line| line.contains("pod/"))).then(|| ours.join("\n"))
    });
    assert_eq!(left, "");
    kubectl(&format!("delete namespace {RELEASE_NAMESPACE}"));
}

/// What an upgrade must leave alone: the certificate, the bundle, and the pods.
fn fingerprint() -> Value {
    let secrets = object(&format!("secrets --namespace={RELEASE_NAMESPACE}"));
    let own = |secret: &&Value| secret["type"] != "helm.sh/release.v1";
    let data: Vec<_> = secrets["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(own)
        .cloned()
        .collect();
    let pods = object(&format!("pods --namespace={RELEASE_NAMESPACE}"));
    let pods: Vec<_> = pods["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| pod["metadata"]["uid"].clone())
        .collect();
    serde_json::json!({
        "secrets": data.iter().map(|secret| secret["data"].clone()).collect::<Vec<_>>(),
        "bundles": ca_bundles(),
        "generation": object(CONFIGURATION)["metadata"]["generation"],
        "pods": pods,
    })
}

fn ca_bundles() -> Vec<String> {
    let configuration = object(CONFIGURATION);
    let entries = configuration["webhooks"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let bundle = |entry: &Value| {
        entry["clientConfig"]["caBundle"]
            .as_str()
            .unwrap_or("")
            .to_owned()
    };
    entries.iter().map(bundle).collect()
}
