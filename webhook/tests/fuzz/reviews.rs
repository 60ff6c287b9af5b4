//! The bytes of a review.

use std::{env, fs, path::Path};

use fairlead_webhook::{
    inject::{Place, inject},
    review::{Request, Verdict},
};
use json_patch::Patch;
use k8s_openapi::ByteString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{NAMESPACE, check_patch, fuzz, random::Random, settings};

/// Beginnings and ends of everything, and what has a meaning to the webhook.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":{\"a\":",
    "null",
    "true",
    "\"\"",
    "0",
    "-1",
    "65536",
    "1337",
    "18446744073709551616",
    "1e999",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\"name\":\"istio-proxy\",",
    "\"name\":\"istio-init\",",
    "\"name\":\"istio-podinfo\",",
    "\"hostNetwork\":true,",
    "\"restartPolicy\":\"Always\",",
    "\"annotations\":{\"sidecar.istio.io/status\":\"{}\"},",
    "\"initContainers\":[{}],",
    "\"containers\":[null],",
    "\"port\":\"http\",",
    "\"exec\":{},",
    "\"httpGet\":{\"port\":80},",
];

#[test]
fn every_mutated_review_has_an_answer() {
    let reviews = reviews();
    let settings = settings();
    let make = |random: &mut Random| {
        let original = random.one_of(&reviews).clone();
        Body(random.mutation(&original, PIECES))
    };
    fuzz(4_000, make, |Body(body)| {
        let request = match Request::parse(body) {
            Ok(request) => request,
            Err(error) => return assert!(!error.to_string().is_empty()),
        };
        let place = Place {
            namespace: request.namespace(),
            ..Place::named(NAMESPACE, true)
        };
        let answer = request.answer(&settings, &place);
        let response = request.respond(&answer).unwrap();
        let response: Value = serde_json::from_slice(&response).unwrap();
        let response = &response["response"];
        match &answer.verdict {
            Verdict::Injected(patch) => {
                assert_eq!(response["allowed"], true);
                let pod = pod(body);
                let injected = inject(&pod, &place, &settings).unwrap().pod;
                check_patch(&pod, &injected);
                // Without a container's name, say, the second may be refused where the first is not.
                drop(inject(&injected, &place, &settings));
                if !patch.0.is_empty() {
                    let sent: ByteString =
                        serde_json::from_value(response["patch"].clone()).unwrap();
                    let sent: Patch = serde_json::from_slice(&sent.0).unwrap();
                    assert_eq!(&sent, patch);
                }
            }
            Verdict::Skipped(_) => {
                assert_eq!(response["allowed"], true);
                assert_eq!(response.get("patch"), None);
            }
            Verdict::Refused(refusal) => {
                assert_eq!(response["allowed"], false);
                assert_eq!(response["status"]["message"], refusal.to_string());
            }
        }
    });
}

/// Shown as text, which it mostly is.
struct Body(Vec<u8>);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Reads no more of the body than the webhook does: the rest may be no text at all.
fn pod(body: &[u8]) -> Value {
    #[derive(Deserialize)]
    struct Review {
        request: Request,
    }
    #[derive(Deserialize)]
    struct Request {
        object: Value,
    }
    serde_json::from_slice::<Review>(body)
        .unwrap()
        .request
        .object
}

/// Of the pods in the golden files, before and after their injection.
fn reviews() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    // The order of a directory is another on each machine.
    files.sort();
    let review = |file| {
        let pod: Value = serde_norway::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "5f0c",
                "kind": { "group": "", "version": "v1", "kind": "Pod" },
                "resource": { "group": "", "version": "v1", "resource": "pods" },
                "namespace": NAMESPACE,
                "operation": "CREATE",
                "userInfo": { "username": "alice" },
                "object": pod,
            },
        });
        review.to_string().into_bytes()
    };
    files.iter().map(review).collect()
}
