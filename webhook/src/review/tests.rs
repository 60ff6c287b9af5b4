use serde_json::json;

use super::*;
use crate::settings::tests::settings;

fn review(object: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "5f0c",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "shop",
            "operation": "CREATE",
            "userInfo": { "username": "alice" },
            "object": object,
            "fromTheFuture": {},
        },
    })
}

fn answer(object: &Value) -> Value {
    let request = Request::parse(review(object).to_string().as_bytes()).unwrap();
    let answer = request.answer(&settings(), &Place::named(request.namespace(), true));
    serde_json::from_slice(&request.respond(&answer).unwrap()).unwrap()
}

#[test]
fn an_injected_pod_is_answered_with_its_patch() {
    let pod = json!({ "metadata": { "name": "a" }, "spec": { "containers": [{ "name": "app" }] } });
    let review = answer(&pod);
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(review["kind"], "AdmissionReview");
    let response = &review["response"];
    assert_eq!(response["uid"], "5f0c");
    assert_eq!(response["allowed"], true);
    assert_eq!(response["patchType"], "JSONPatch");
    let patch: ByteString = serde_json::from_value(response["patch"].clone()).unwrap();
    let Patch(operations) = serde_json::from_slice(&patch.0).unwrap();
    let mut patched = pod;
    json_patch::patch(&mut patched, &operations).unwrap();
    assert_eq!(patched["spec"]["initContainers"][1]["name"], "istio-proxy");
    assert_eq!(response.get("warnings"), None);
}

#[test]
fn a_skipped_pod_is_allowed_without_patch() {
    let pod = json!({ "spec": { "hostNetwork": true } });
    let expected = json!({ "uid": "5f0c", "allowed": true });
    assert_eq!(answer(&pod)["response"], expected);
}

#[test]
fn a_refused_pod_gets_every_reason_on_a_line_of_its_own() {
    let pod = json!({
        "metadata": { "annotations": {
            "sidecar.istio.io/logLevel": "loud",
            "sidecar.istio.io/rewriteAppHTTPProbers": "yes",
            "traffic.sidecar.istio.io/excludeInboundPorts": "70000",
        }},
        "spec": { "containers": [{ "name": "app" }] },
    });
    let response = &answer(&pod)["response"];
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 400);
    let expected = [
        "the sidecar cannot be injected:",
        "  invalid value '70000' for annotation 'traffic.sidecar.istio.io/excludeInboundPorts': \
         '70000' is wrong: a comma list of ports from 1 to 65535 and ranges such as 8000-8010 \
         without spaces is accepted",
        "  invalid value 'loud' for annotation 'sidecar.istio.io/logLevel': one of trace, debug, \
         info, warning, error, critical, off is accepted",
        "  invalid value 'yes' for annotation 'sidecar.istio.io/rewriteAppHTTPProbers': true or \
         false is accepted",
    ];
    let message = response["status"]["message"].as_str().unwrap();
    assert_eq!(message, expected.join("\n"));
}

#[test]
fn a_single_reason_stands_in_the_line() {
    let pod = json!({
        "metadata": { "annotations": { "sidecar.istio.io/logLevel": "loud" } },
        "spec": { "containers": [{ "name": "app" }] },
    });
    let response = &answer(&pod)["response"];
    let message = response["status"]["message"].as_str().unwrap();
    let start = "the sidecar cannot be injected: invalid value 'loud'";
    assert!(message.starts_with(start), "{message}");
}

#[test]
fn warnings_reach_whoever_creates_the_pod() {
    let pod = json!({
        "metadata": { "labels": { "sidecar.istio.io/inject": "yes" } },
        "spec": { "containers": [{ "name": "app", "ports": [{ "containerPort": 15021 }] }] },
    });
    let review = answer(&pod);
    let warnings = review["response"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    // The API server cuts longer ones.
    assert!(
        warnings
            .iter()
            .all(|warning| warning.as_str().unwrap().len() < 120)
    );
}

#[test]
fn the_namespace_is_the_requests_even_if_the_pod_names_none() {
    let mut asked = review(&json!({ "spec": {} }));
    let parse = |review: &Value| {
        Request::parse(review.to_string().as_bytes())
            .unwrap()
            .namespace
    };
    assert_eq!(parse(&asked), "shop");
    asked["request"]["namespace"] = Value::Null;
    assert_eq!(parse(&asked), "");
    asked["request"]["object"]["metadata"] = json!({ "namespace": "own" });
    assert_eq!(parse(&asked), "own");
}

#[track_caller]
fn check_malformed(body: &[u8], part: &str) {
    let error = Request::parse(body).unwrap_err().to_string();
    assert!(error.contains(part), "{part} in {error}");
}

#[test]
fn what_is_not_a_review_of_a_pod_is_told() {
    check_malformed(b"", "empty");
    check_malformed(b"{", "EOF");
    check_malformed(b"[]", "not an AdmissionReview");
    check_malformed(b"null", "not an AdmissionReview");
    check_malformed(b"{}", "is expected");
    check_malformed(b"\xff\xfe", "not an AdmissionReview");
    let mut deep = b"[".repeat(100_000);
    check_malformed(&deep, "not an AdmissionReview");
    deep.splice(0..0, *b"{\"request\":{\"object\":");
    check_malformed(&deep, "recursion limit");

    for (path, value, part) in [
        ("/apiVersion", json!("admission.k8s.io/v1beta1"), "v1beta1"),
        ("/kind", json!("Pod"), "\"Pod\""),
        ("/request", Value::Null, "no request"),
        ("/request/uid", json!(""), "no uid"),
        ("/request/uid", json!(7), "not an AdmissionReview"),
        ("/request/kind/kind", json!("Deployment"), "only pods"),
        ("/request/kind", Value::Null, "only pods"),
        ("/request/object", Value::Null, "no object"),
        ("/request/object", json!([]), "no object"),
        ("/request/object", json!("pod"), "no object"),
    ] {
        let mut malformed = review(&json!({ "spec": {} }));
        *malformed.pointer_mut(path).unwrap() = value;
        check_malformed(malformed.to_string().as_bytes(), part);
    }
}
