//! What is laid over a pod: the built-in templates, and the mesh's overlays.

use fairlead_webhook::{
    inject::{Place, inject},
    settings::Settings,
};
use serde_json::{Value, json};

use crate::{
    NAMESPACE,
    container::{container, names, variable},
    injected_at,
};

const SETTINGS: &str = "
    image: fairlead/proxy:0.1.0
    templates:
      audit:
        metadata:
          labels: { audited: 'yes' }
          annotations: { sidecar.istio.io/logLevel: debug }
        spec:
          priorityClassName: high
          tolerations: [{ key: audit, operator: Exists }]
          containers:
          - name: auditor
            image: auditor:1
            ports: [{ name: http, containerPort: 7070 }]
            readinessProbe: { httpGet: { path: /ready, port: http } }
            resources: { limits: { cpu: 0.5 } }
          - name: istio-proxy
            env: [{ name: AUDIT, value: 'on' }]
            resources: { limits: { memory: 1024Mi } }
          - name: istio-init
            resources: { limits: { memory: 64Mi } }
          volumes:
          - { name: audit, projected: { sources: [{ serviceAccountToken: { path: token } }] } }
          imagePullSecrets: [{ name: audit-registry }]
      quiet:
        spec:
          containers:
          - name: istio-proxy
            env: [{ name: AUDIT, value: 'off' }]
    ";

fn pod(templates: Option<&str>) -> Value {
    let mut pod = json!({
        "metadata": { "name": "a" },
        "spec": { "containers": [{ "name": "app" }] },
    });
    if let Some(names) = templates {
        pod["metadata"]["annotations"] = json!({ "inject.istio.io/templates": names });
    }
    pod
}

fn injected(pod: &Value, native: bool) -> Value {
    let settings = Settings::parse(SETTINGS).unwrap();
    injected_at(pod, &Place::named(NAMESPACE, native), &settings)
}

#[test]
fn an_overlay_is_laid_over_the_pod() {
    for native in [true, false] {
        let pod = injected(&pod(Some("sidecar, audit")), native);
        assert_eq!(pod["metadata"]["labels"]["audited"], "yes");
        assert_eq!(pod["spec"]["priorityClassName"], "high");
        assert_eq!(names(&pod, "volumes"), ["audit", "istio-podinfo"]);
        assert_eq!(names(&pod, "imagePullSecrets"), ["audit-registry"]);
        let proxy = container(&pod, "istio-proxy");
        assert_eq!(variable(proxy, "AUDIT"), Some("on"));
        assert_eq!(variable(proxy, "ISTIO_META_APP_CONTAINERS"), Some("app"));
        assert_eq!(proxy["resources"]["limits"]["memory"], "1024Mi");
        assert!(proxy["args"].as_array().unwrap().contains(&json!("debug")));
        let init = container(&pod, "istio-init");
        assert_eq!(init["resources"]["limits"]["memory"], "64Mi");
        // The kubelet asks its container through the proxy, as it asks the application.
        let probe = &container(&pod, "auditor")["readinessProbe"]["httpGet"];
        assert_eq!(probe["path"], "/app-health/auditor/readyz");
        let status = pod["metadata"]["annotations"]["sidecar.istio.io/status"].as_str();
        for name in ["auditor", "audit-registry", "\"audit\""] {
            assert!(status.unwrap().contains(name), "{name} in {status:?}");
        }
    }
}

#[test]
fn what_the_pod_has_itself_is_not_listed() {
    let mut own = pod(Some("sidecar,audit"));
    own["spec"]["containers"][0]["name"] = json!("auditor");
    let pod = injected(&own, true);
    let status = pod["metadata"]["annotations"]["sidecar.istio.io/status"].as_str();
    assert!(!status.unwrap().contains("auditor"), "{status:?}");
    let proxy = container(&pod, "istio-proxy");
    assert_eq!(
        variable(proxy, "ISTIO_META_APP_CONTAINERS"),
        Some("auditor")
    );
}

#[test]
fn later_overlays_are_stronger_and_the_author_is_the_strongest() {
    let audit = |pod: &Value| variable(container(pod, "istio-proxy"), "AUDIT").map(str::to_owned);
    for (names, expected) in [
        ("sidecar,audit,quiet", "off"),
        ("quiet,audit,sidecar", "on"),
    ] {
        assert_eq!(
            audit(&injected(&pod(Some(names)), true)).as_deref(),
            Some(expected)
        );
    }
    let mut own = pod(Some("sidecar,audit"));
    let proxy = json!({ "name": "istio-proxy", "image": "auto", "env": [{ "name": "AUDIT", "value": "mine" }] });
    own["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(proxy);
    assert_eq!(audit(&injected(&own, true)).as_deref(), Some("mine"));
}

#[test]
fn the_mesh_has_default_templates() {
    let text = format!("{SETTINGS}\n    defaultTemplates: [sidecar, quiet]\n");
    let settings = Settings::parse(&text).unwrap();
    let place = Place::named(NAMESPACE, true);
    for (names, expected) in [(None, Some("off")), (Some("sidecar"), None)] {
        let pod = injected_at(&pod(names), &place, &settings);
        assert_eq!(variable(container(&pod, "istio-proxy"), "AUDIT"), expected);
    }
}

#[test]
fn overlays_alone_bring_no_proxy() {
    let pod = injected(&pod(Some("audit")), true);
    assert_eq!(names(&pod, "initContainers"), [""; 0]);
    assert_eq!(
        names(&pod, "containers"),
        ["app", "auditor", "istio-proxy", "istio-init"]
    );
    assert_eq!(
        container(&pod, "auditor")["readinessProbe"]["httpGet"]["path"],
        "/ready"
    );
    assert!(
        pod["metadata"]["annotations"]
            .get("prometheus.io/port")
            .is_none()
    );
}

#[test]
fn a_gateway_is_a_proxy_alone() {
    let pod = json!({
        "metadata": {
            "generateName": "gateway-",
            "labels": { "app": "gateway" },
            "annotations": { "inject.istio.io/templates": "gateway" },
        },
        "spec": { "containers": [{
            "name": "istio-proxy",
            "image": "auto",
            "ports": [{ "containerPort": 8080, "name": "http" }],
        }]},
    });
    for native in [true, false] {
        let pod = injected(&pod, native);
        assert_eq!(names(&pod, "initContainers"), [""; 0]);
        assert_eq!(names(&pod, "containers"), ["istio-proxy"]);
        let proxy = container(&pod, "istio-proxy");
        assert_eq!(proxy["image"], "fairlead/proxy:0.1.0");
        assert_eq!(proxy["args"][0], "sidecar");
        assert_eq!(
            variable(proxy, "ISTIO_META_INTERCEPTION_MODE"),
            Some("NONE")
        );
        assert!(proxy.get("startupProbe").is_none());
        assert_eq!(proxy["readinessProbe"]["httpGet"]["port"], 15021);
        assert!(proxy.get("lifecycle").is_none());
        assert_eq!(proxy["securityContext"]["runAsUser"], 1337);
        let sysctl = json!({ "name": "net.ipv4.ip_unprivileged_port_start", "value": "0" });
        assert_eq!(pod["spec"]["securityContext"]["sysctls"], json!([sysctl]));
        assert!(
            pod["metadata"]["labels"]
                .get("security.istio.io/tlsMode")
                .is_none()
        );
    }
}

#[test]
fn a_template_that_is_not_there_is_refused_with_those_that_are() {
    let settings = Settings::parse(SETTINGS).unwrap();
    for (names, part) in [
        (
            "sidecar,grpc-agent",
            "'grpc-agent'; there are sidecar, gateway, audit, quiet",
        ),
        ("sidecar,gateway", "both sidecar and gateway"),
    ] {
        let place = Place::named(NAMESPACE, true);
        let refusal = inject(&pod(Some(names)), &place, &settings).unwrap_err();
        assert!(refusal.to_string().contains(part), "{part} in {refusal}");
    }
}
