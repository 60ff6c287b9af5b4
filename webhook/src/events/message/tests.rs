use serde_json::json;

use super::*;
use crate::{inject::Place, settings::tests::settings};

fn told(pod: &Value) -> Vec<(Option<String>, &'static str, String)> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "5f", "kind": { "kind": "Pod" }, "namespace": "shop", "object": pod,
        },
    });
    let request = Request::parse(review.to_string().as_bytes()).unwrap();
    let answer = request.answer(&settings(), &Place::named("shop", true));
    let messages = of(&request, &answer, "canary").into_iter();
    messages
        .map(|message| {
            assert_eq!(message.regarding.namespace.as_deref(), Some("shop"));
            (
                message.regarding.kind,
                message.reason.as_str(),
                message.note,
            )
        })
        .collect()
}

fn owned(annotations: &Value, spec: &Value) -> Value {
    json!({
        "metadata": {
            "generateName": "cart-5d-",
            "annotations": annotations,
            "ownerReferences": [
                { "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "0" },
                { "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d", "uid": "7a",
                  "controller": true },
            ],
        },
        "spec": spec,
    })
}

fn app() -> Value {
    json!({ "containers": [{ "name": "app" }] })
}

#[test]
fn the_owner_is_told() {
    let replica_set = Some("ReplicaSet".to_owned());
    for (annotations, spec, reason, note) in [
        (
            json!({}),
            app(),
            "Injected",
            "the sidecar of revision canary was injected",
        ),
        (
            json!({}),
            json!({ "hostNetwork": true }),
            "InjectionSkipped",
            "no sidecar was injected: the pod uses the host's network",
        ),
    ] {
        let expected = vec![(replica_set.clone(), reason, note.to_owned())];
        assert_eq!(told(&owned(&annotations, &spec)), expected);
    }
}

#[test]
fn a_refusal_is_told_with_every_fault() {
    let annotations = json!({
        "sidecar.istio.io/logLevel": "loud",
        "proxy.istio.io/config": "concurrency: x",
    });
    let told = told(&owned(&annotations, &app()));
    assert_eq!(told.len(), 1);
    let (kind, reason, note) = &told[0];
    assert_eq!(
        (kind.as_deref(), *reason),
        (Some("ReplicaSet"), "InjectionRefused")
    );
    assert!(!note.contains('\n'), "{note}");
    for part in [
        "the pod was refused: ",
        "'loud'",
        "; ",
        "concurrency is \"x\"",
    ] {
        assert!(note.contains(part), "{part} in {note}");
    }
}

#[test]
fn warnings_are_told_apart() {
    let told = told(&owned(
        &json!({ "proxy.istio.io/config": "concurency: 1" }),
        &app(),
    ));
    assert_eq!(told[0].1, "Injected");
    assert_eq!(told[1].1, "InjectionWarning");
    assert!(told[1].2.contains("is concurrency meant?"), "{}", told[1].2);
}

#[test]
fn a_pod_of_nobody_is_told_of_in_its_namespace() {
    let pod = json!({ "metadata": { "name": "one" }, "spec": app() });
    let note = "pod one: the sidecar of revision canary was injected".to_owned();
    assert_eq!(
        told(&pod),
        [(Some("Namespace".to_owned()), "Injected", note)]
    );
}

#[test]
fn a_long_note_is_cut() {
    let regarding = namespace("shop");
    let message = Message::new(regarding, Reason::InjectionRefused, "ä".repeat(1000));
    assert_eq!(message.note.len(), 1023);
    assert!(message.note.ends_with("ä…"));
}
