//! What annotations and the mesh say of the two containers, and where these stand.

use fairlead_api::{mesh_config::MeshConfig, proxy_config::Layer};
use fairlead_webhook::{
    inject::{Place, inject},
    settings::Settings,
};
use serde_json::{Value, json};

use crate::{NAMESPACE, injected, injected_at, settings};

/// A pod with annotations, an application and an init container.
pub(crate) fn annotated(annotations: &Value) -> Value {
    json!({
        "metadata": { "name": "a", "annotations": annotations },
        "spec": {
            "containers": [{ "name": "app" }],
            "initContainers": [{ "name": "migrate" }],
        },
    })
}

/// A container by name, in either list.
#[track_caller]
pub(crate) fn container<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let lists = ["initContainers", "containers"].iter();
    let mut all = lists.flat_map(|list| pod["spec"][list].as_array().into_iter().flatten());
    all.find(|container| container["name"] == name)
        .unwrap_or_else(|| panic!("no {name} in {pod:#}"))
}

pub(crate) fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    let elements = pod["spec"][list].as_array().into_iter().flatten();
    elements.map(|e| e["name"].as_str().unwrap()).collect()
}

/// The value after a flag.
pub(crate) fn argument<'a>(container: &'a Value, flag: &str) -> Option<&'a str> {
    let mut words = container["args"].as_array()?.iter();
    words.find(|word| *word == flag)?;
    words.next()?.as_str()
}

pub(crate) fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let mut variables = container["env"].as_array()?.iter();
    variables.find(|v| v["name"] == name)?["value"].as_str()
}

#[test]
fn interfaces_come_to_the_redirect() {
    let pod = injected(
        &annotated(&json!({
            "traffic.sidecar.istio.io/excludeInterfaces": "eth1,net0",
            "istio.io/reroute-virtual-interfaces": "net1",
        })),
        true,
    );
    let init = container(&pod, "istio-init");
    assert_eq!(argument(init, "-c"), Some("eth1,net0"));
    assert_eq!(argument(init, "-k"), Some("net1"));
    let pod = injected(&annotated(&json!({})), true);
    let init = container(&pod, "istio-init");
    assert_eq!((argument(init, "-c"), argument(init, "-k")), (None, None));
}

#[test]
fn readiness_is_the_meshs_unless_the_pod_says() {
    let mesh = "{image: a, readinessProbe: {initialDelaySeconds: 1, periodSeconds: 2, failureThreshold: 3}}";
    let own = json!({
        "readiness.status.sidecar.istio.io/initialDelaySeconds": "7",
        "readiness.status.sidecar.istio.io/periodSeconds": "8",
        "readiness.status.sidecar.istio.io/failureThreshold": "9",
    });
    for (mesh, annotations, expected) in [
        ("image: a", &json!({}), [None, Some(15), Some(4)]),
        (mesh, &json!({}), [Some(1), Some(2), Some(3)]),
        (mesh, &own, [Some(7), Some(8), Some(9)]),
    ] {
        let settings = Settings::parse(mesh).unwrap();
        let place = Place::named(NAMESPACE, true);
        let pod = injected_at(&annotated(annotations), &place, &settings);
        let probe = &container(&pod, "istio-proxy")["readinessProbe"];
        let found = ["initialDelaySeconds", "periodSeconds", "failureThreshold"]
            .map(|field| probe[field].as_u64());
        assert_eq!(found, expected);
    }
}

#[test]
fn a_pod_chooses_whether_its_proxy_is_native() {
    for (native, annotation, expected) in [
        (true, None, true),
        (false, None, false),
        (true, Some("false"), false),
        (false, Some("true"), true),
    ] {
        let mut annotations = json!({});
        if let Some(value) = annotation {
            annotations["sidecar.istio.io/nativeSidecar"] = json!(value);
        }
        let pod = injected(&annotated(&annotations), native);
        let found = names(&pod, "initContainers").contains(&"istio-proxy");
        assert_eq!(found, expected, "{native} {annotation:?}");
    }
}

#[test]
fn containers_stand_in_the_order_that_they_need() {
    let held = MeshConfig {
        default_config: Layer {
            hold_application_until_proxy_starts: Some(true),
            ..Layer::default()
        },
        ..MeshConfig::default()
    };
    let plain = MeshConfig::default();
    for (cni, native, mesh, init, others) in [
        (
            false,
            true,
            &plain,
            vec!["istio-init", "istio-proxy", "migrate"],
            vec!["app"],
        ),
        (
            false,
            true,
            &held,
            vec!["istio-init", "istio-proxy", "migrate"],
            vec!["app"],
        ),
        (
            false,
            false,
            &plain,
            vec!["migrate", "istio-init"],
            vec!["app", "istio-proxy"],
        ),
        (
            false,
            false,
            &held,
            vec!["migrate", "istio-init"],
            vec!["istio-proxy", "app"],
        ),
        (
            true,
            true,
            &plain,
            vec!["istio-validation", "istio-proxy", "migrate"],
            vec!["app"],
        ),
        (
            true,
            false,
            &plain,
            vec!["istio-validation", "migrate"],
            vec!["app", "istio-proxy"],
        ),
    ] {
        let settings = Settings::parse(&format!("{{image: a, cni: {{enabled: {cni}}}}}")).unwrap();
        let place = Place {
            mesh,
            ..Place::named(NAMESPACE, native)
        };
        let pod = injected_at(&annotated(&json!({})), &place, &settings);
        assert_eq!(names(&pod, "initContainers"), init);
        assert_eq!(names(&pod, "containers"), others);
        let waits = native || mesh == &held;
        let proxy = container(&pod, "istio-proxy");
        let command = &proxy["lifecycle"]["postStart"]["exec"]["command"];
        let expected = json!(["/usr/local/bin/fairlead-proxy", "wait"]);
        assert_eq!(*command == expected, waits);
        assert_eq!(proxy.get("startupProbe").is_none(), native);
    }
}

#[test]
fn without_interception_there_is_no_redirect() {
    for native in [true, false] {
        let annotations = json!({ "sidecar.istio.io/interceptionMode": "NONE" });
        let pod = injected(&annotated(&annotations), native);
        assert!(!names(&pod, "initContainers").contains(&"istio-init"));
        let status = pod["metadata"]["annotations"]["sidecar.istio.io/status"].as_str();
        assert!(!status.unwrap().contains("istio-init"));
        let proxy = container(&pod, "istio-proxy");
        assert_eq!(
            variable(proxy, "ISTIO_META_INTERCEPTION_MODE"),
            Some("NONE")
        );
    }
}

#[test]
fn a_redirect_that_is_no_longer_wanted_goes() {
    let mut pod = injected(&annotated(&json!({})), true);
    pod["metadata"]["annotations"]["sidecar.istio.io/interceptionMode"] = json!("NONE");
    let again = injected(&pod, true);
    assert_eq!(names(&again, "initContainers"), ["istio-proxy", "migrate"]);
}

#[test]
fn the_mesh_says_how_containers_are_made() {
    let settings = Settings::parse(
        "
        image: a
        privileged: true
        seccompProfile: { type: Localhost, localhostProfile: mesh.json }
        lifecycle: { preStop: { exec: { command: [sleep, '5'] } } }
        startupProbe: { failureThreshold: 30 }
        network: net-1
        ",
    )
    .unwrap();
    let pod = injected_at(
        &annotated(&json!({})),
        &Place::named(NAMESPACE, true),
        &settings,
    );
    for name in ["istio-init", "istio-proxy"] {
        let context = &container(&pod, name)["securityContext"];
        assert_eq!(context["privileged"], true);
        assert_eq!(context["allowPrivilegeEscalation"], true);
        let profile = json!({ "type": "Localhost", "localhostProfile": "mesh.json" });
        assert_eq!(context["seccompProfile"], profile);
    }
    let proxy = container(&pod, "istio-proxy");
    let hooks = json!({ "preStop": { "exec": { "command": ["sleep", "5"] } } });
    assert_eq!(proxy["lifecycle"], hooks);
    // Without a hook that waits, the kubelet asks before it starts the application.
    assert_eq!(proxy["startupProbe"]["failureThreshold"], 30);
    assert_eq!(variable(proxy, "ISTIO_META_NETWORK"), Some("net-1"));
    assert_eq!(
        pod["metadata"]["labels"]["topology.istio.io/network"],
        "net-1"
    );
}

#[test]
fn a_pods_own_network_is_stronger() {
    let settings = Settings::parse("{image: a, network: net-1}").unwrap();
    let mut pod = annotated(&json!({}));
    pod["metadata"]["labels"] = json!({ "topology.istio.io/network": "net-2" });
    let pod = injected_at(&pod, &Place::named(NAMESPACE, true), &settings);
    let proxy = container(&pod, "istio-proxy");
    assert_eq!(variable(proxy, "ISTIO_META_NETWORK"), Some("net-2"));
    assert_eq!(
        pod["metadata"]["labels"]["topology.istio.io/network"],
        "net-2"
    );
}

#[test]
fn volumes_of_an_annotation_are_the_proxys() {
    let pod = injected(
        &annotated(&json!({
            "sidecar.istio.io/userVolume": r#"{"certs":{"secret":{"secretName":"s"}},"tmp":{"emptyDir":{}}}"#,
            "sidecar.istio.io/userVolumeMount": r#"{"certs":{"mountPath":"/certs","readOnly":true}}"#,
        })),
        false,
    );
    assert_eq!(names(&pod, "volumes"), ["istio-podinfo", "certs", "tmp"]);
    let mounts = container(&pod, "istio-proxy")["volumeMounts"]
        .as_array()
        .unwrap();
    let expected = json!({ "name": "certs", "mountPath": "/certs", "readOnly": true });
    assert!(mounts.contains(&expected), "{mounts:?}");
    assert!(container(&pod, "app").get("volumeMounts").is_none());
}

#[test]
fn a_mount_of_an_annotation_is_the_last_word_on_its_path() {
    let pod = injected(
        &annotated(&json!({
            "sidecar.istio.io/userVolume": r#"{"info":{"emptyDir":{}}}"#,
            "sidecar.istio.io/userVolumeMount": r#"{"info":{"mountPath":"/etc/istio/pod"}}"#,
        })),
        true,
    );
    let expected = json!({ "name": "info", "mountPath": "/etc/istio/pod" });
    assert_eq!(
        container(&pod, "istio-proxy")["volumeMounts"],
        json!([expected])
    );
}

#[test]
fn a_volume_of_an_annotation_does_not_replace_another() {
    for (name, part) in [
        ("tmp", "'tmp', which is in spec.volumes"),
        ("istio-podinfo", "the mesh's own"),
    ] {
        let volume = format!(r#"{{"{name}":{{"emptyDir":{{}}}}}}"#);
        let mut pod = annotated(&json!({ "sidecar.istio.io/userVolume": volume }));
        pod["spec"]["volumes"] = json!([{ "name": "tmp", "emptyDir": { "medium": "Memory" } }]);
        let refusal = inject(&pod, &Place::named(NAMESPACE, true), &settings()).unwrap_err();
        assert_eq!(refusal.0.len(), 1, "{refusal}");
        assert!(refusal.to_string().contains(part), "{part} in {refusal}");
    }
}
