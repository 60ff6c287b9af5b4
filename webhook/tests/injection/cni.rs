//! Pods whose redirect a node agent programs.

use fairlead_webhook::{inject::Place, settings::Settings};
use serde_json::{Value, json};

use crate::{
    NAMESPACE,
    container::{annotated, argument, container, names},
    injected_at,
};

fn injected(annotations: &Value, more: &str) -> Value {
    let text = format!(
        "
        image: a
        traffic: {{ excludeInboundPorts: '22', excludeOutboundPorts: '3306' }}
        {more}
        "
    );
    let settings = Settings::parse(&text).unwrap();
    injected_at(
        &annotated(annotations),
        &Place::named(NAMESPACE, true),
        &settings,
    )
}

#[test]
fn the_redirect_is_proven_and_not_programmed() {
    let pod = injected(&json!({}), "cni: { enabled: true }");
    let expected = ["istio-validation", "istio-proxy", "migrate"];
    assert_eq!(names(&pod, "initContainers"), expected);
    let validation = container(&pod, "istio-validation");
    let arguments = validation["args"].as_array().unwrap();
    for flag in ["--run-validation", "--skip-rule-apply"] {
        assert!(arguments.contains(&json!(flag)), "{flag}");
    }
    let context = &validation["securityContext"];
    assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
    assert_eq!(context["runAsUser"], 1337);
    assert_eq!(context["runAsGroup"], 1337);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    let status = pod["metadata"]["annotations"]["sidecar.istio.io/status"].as_str();
    assert!(status.unwrap().contains("istio-validation"));
}

#[test]
fn the_agent_reads_what_is_resolved() {
    let pod = injected(
        &json!({
            "status.sidecar.istio.io/port": "16020",
            "traffic.sidecar.istio.io/excludeOutboundPorts": "25",
        }),
        "cni: { enabled: true }",
    );
    let annotations = &pod["metadata"]["annotations"];
    for (key, expected) in [
        ("sidecar.istio.io/interceptionMode", "REDIRECT"),
        ("traffic.sidecar.istio.io/includeInboundPorts", "*"),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "22,16020"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "*"),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "25"),
    ] {
        assert_eq!(annotations[key], expected, "{key}");
    }
    assert!(
        annotations
            .get("traffic.sidecar.istio.io/excludeInterfaces")
            .is_none()
    );
    let validation = container(&pod, "istio-validation");
    assert_eq!(argument(validation, "-d"), Some("15090,15021,16020,22"));
}

#[test]
fn multus_is_told_of_the_agents_network() {
    const KEY: &str = "k8s.v1.cni.cncf.io/networks";
    let multus = "cni: { enabled: true, provider: multus }";
    let pod = injected(&json!({}), multus);
    assert_eq!(pod["metadata"]["annotations"][KEY], "default/istio-cni");
    let pod = injected(&json!({ KEY: "macvlan" }), multus);
    let expected = "macvlan,default/istio-cni";
    assert_eq!(pod["metadata"]["annotations"][KEY], expected);
    let pod = injected(&json!({}), "cni: { enabled: true }");
    assert!(pod["metadata"]["annotations"].get(KEY).is_none());
}
