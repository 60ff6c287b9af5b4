use serde_json::json;

use super::*;

/// Injects a pod of the file's kind, and notes what is missing.
#[track_caller]
fn injected(pod: &Value, settings: &str) -> Value {
    let settings = Settings::parse(settings).unwrap();
    let mut injected = inject(pod, &Place::named("shop", true), &settings)
        .unwrap()
        .pod;
    record(&mut injected, pod);
    injected
}

#[track_caller]
fn check(pod: &Value, settings: &str, recorded: bool) {
    let injected = injected(pod, settings);
    let found = annotation(&injected, RECORD);
    assert_eq!(found.is_some(), recorded, "{found:?}");
    assert_eq!(restore(&injected).unwrap().as_ref(), Some(pod));
}

fn pod() -> Value {
    json!({ "metadata": { "name": "a" }, "spec": { "containers": [{ "name": "app" }] } })
}

#[test]
fn an_ordinary_pod_takes_no_note() {
    check(&pod(), "image: a", false);
    let mut labelled = pod();
    labelled["metadata"]["labels"] = json!({ "app": "cart", "version": "v2" });
    check(&labelled, "{image: a, imagePullSecrets: [mesh]}", false);
    check(
        &labelled,
        "{image: a, network: net-1, cni: {enabled: true}}",
        false,
    );
}

#[test]
fn what_the_pod_had_itself_comes_back() {
    let spec = json!({ "containers": [{ "name": "app" }] });
    for (pod, settings) in [
        (
            json!({ "metadata": { "name": "a", "labels": {} }, "spec": spec }),
            "image: a",
        ),
        (
            json!({ "metadata": { "name": "a", "annotations": null }, "spec": spec }),
            "image: a",
        ),
        (json!({ "metadata": {}, "spec": spec }), "image: a"),
        (
            json!({ "metadata": { "labels": { CANONICAL_NAME_LABEL: "mine" } }, "spec": spec }),
            "image: a",
        ),
        (
            json!({ "metadata": { "annotations": { DEFAULT_CONTAINER: "app" } }, "spec": spec }),
            "image: a",
        ),
        (
            json!({ "metadata": { "annotations": { REVISION: "mine" } }, "spec": spec }),
            "image: a",
        ),
        (
            json!({ "spec": {
                "containers": [{ "name": "app" }],
                "initContainers": [],
                "volumes": null,
                "imagePullSecrets": [{ "name": "mesh" }, { "name": "own" }],
            }}),
            "{image: a, imagePullSecrets: [mesh]}",
        ),
    ] {
        check(&pod, settings, true);
    }
}

#[test]
fn a_pod_that_was_not_injected_is_none() {
    assert_eq!(restore(&pod()).unwrap(), None);
    for odd in [json!(null), json!([]), json!({ "metadata": 1 })] {
        assert_eq!(restore(&odd).unwrap(), None);
    }
}

#[test]
fn what_the_webhook_injected_keeps_labels_of_its_own() {
    let settings = Settings::parse("image: a").unwrap();
    let mut own = pod();
    own["metadata"]["labels"] = json!({ "app": "cart", CANONICAL_NAME_LABEL: "basket" });
    let injected = inject(&own, &Place::named("shop", true), &settings)
        .unwrap()
        .pod;
    assert_eq!(restore(&injected).unwrap(), Some(own));
}

#[test]
fn what_the_webhook_redirected_asks_the_application_again() {
    let settings = Settings::parse("image: a").unwrap();
    for native in [true, false] {
        let own = json!({
            "metadata": { "name": "a", "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": "9102",
                "prometheus.io/path": "/internal",
            }},
            "spec": { "containers": [
                {
                    "name": "one",
                    "startupProbe": { "tcpSocket": { "port": 80 }, "failureThreshold": 3 },
                    "readinessProbe": { "httpGet": {
                        "path": "/ready?a=b", "port": 8080, "scheme": "HTTPS",
                        "httpHeaders": [{ "name": "a", "value": "b" }],
                    }},
                    "livenessProbe": { "grpc": { "port": 9000, "service": "$(live)" } },
                    "lifecycle": {
                        "preStop": { "httpGet": { "port": 8080 } },
                        "postStart": { "exec": { "command": ["true"] } },
                    },
                },
                { "name": "two", "livenessProbe": { "grpc": { "port": 9000 } } },
            ]},
        });
        let injected = inject(&own, &Place::named("shop", native), &settings)
            .unwrap()
            .pod;
        assert_ne!(
            injected["spec"]["containers"][0],
            own["spec"]["containers"][0]
        );
        assert_eq!(restore(&injected).unwrap(), Some(own));
    }
}

#[test]
fn what_was_edited_since_is_told() {
    let edited = |key: &str, text: &str| {
        let mut pod = injected(&pod(), "image: a");
        pod["metadata"]["annotations"][key] = json!(text);
        restore(&pod).unwrap_err().to_string()
    };
    assert!(edited(STATUS, "{").contains("not the injector's JSON"));
    assert!(edited(RECORD, "{}").contains("not a JSON Patch"));
    let removal = r#"[{"op":"remove","path":"/spec/none"}]"#;
    assert!(edited(RECORD, removal).contains("no longer fits"));
}
