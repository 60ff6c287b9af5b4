//! Pods that have the spec of an injected pod but not its annotations: `kubectl debug --copy-to` makes
//! such ones.

use serde_json::{Value, json};

use crate::{
    container::{argument, container, names, variable},
    defaults::as_stored,
    injected, read,
};

/// What kubectl makes of an injected pod.
fn copy(pod: &Value) -> Value {
    let mut spec = as_stored(pod)["spec"].clone();
    let tool = json!({ "name": "debugger", "image": "tool" });
    spec["containers"].as_array_mut().unwrap().push(tool);
    json!({ "metadata": { "name": "copy" }, "spec": spec })
}

#[test]
fn a_copy_of_an_injected_pod_gets_what_every_pod_gets() {
    for (name, native) in [
        ("deployment", true),
        ("deployment", false),
        ("probes", true),
        ("metrics", true),
        ("annotated", true),
        ("plain", false),
        ("tproxy", true),
    ] {
        let original = injected(&read(&format!("{name}.yaml")), native);
        let copied = injected(&copy(&original), native);
        for list in ["initContainers", "containers"] {
            let mut expected = names(&original, list);
            if list == "containers" {
                expected.push("debugger");
            }
            assert_eq!(names(&copied, list), expected, "{list} of {name}");
        }
        let annotations = copied.pointer("/metadata/annotations").unwrap();
        assert!(
            annotations.get("proxy.istio.io/overrides").is_none(),
            "{name}"
        );
        let probes = |pod| variable(container(pod, "istio-proxy"), "ISTIO_KUBE_APP_PROBERS");
        assert_eq!(probes(&copied), probes(&original), "{name}");
    }
}

#[test]
fn what_the_lost_annotations_asked_for_is_lost_in_both_containers() {
    let original = injected(&read("tproxy.yaml"), true);
    let copied = injected(&copy(&original), true);
    let (init, proxy) = (
        container(&copied, "istio-init"),
        container(&copied, "istio-proxy"),
    );
    assert_eq!(argument(init, "-m"), Some("REDIRECT"));
    let mode = variable(proxy, "ISTIO_META_INTERCEPTION_MODE");
    assert_eq!(mode, Some("REDIRECT"));
    let context = &proxy["securityContext"];
    assert_eq!(context["runAsUser"], 1337);
    assert_eq!(context["capabilities"]["add"], json!([]));
}
