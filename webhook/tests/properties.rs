//! What holds for the injection of every pod, on pods that are made up.
//!
//! `PROPTEST_CASES=100000 cargo test -p fairlead-webhook --test properties` looks longer.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "injection/defaults.rs"]
mod defaults;
#[path = "properties/kept.rs"]
mod kept;
#[path = "properties/meshes.rs"]
mod meshes;
#[path = "properties/pods.rs"]
mod pods;

use fairlead_webhook::{
    inject::{Place, inject},
    patch::additions,
    review::Request,
    settings::Settings,
};
use json_patch::{Patch, PatchOperation};
use k8s_openapi::ByteString;
use proptest::prelude::*;
use serde_json::{Value, json};

const NAMESPACE: &str = "shop";

fn settings() -> Settings {
    let text = "
        image: fairlead/proxy:0.1.0
        imagePullSecrets: [mesh-registry]
        resources:
          requests: { cpu: 50m, memory: 40Mi }
          limits: { cpu: '2', memory: 512Mi }
        ";
    Settings::parse(text).unwrap()
}

fn injected(pod: &Value, native: bool) -> Value {
    let injected = inject(pod, &Place::named(NAMESPACE, native), &settings());
    injected.unwrap_or_else(|refusal| panic!("{refusal}")).pod
}

/// What the API server makes of the pod.
fn patched(pod: &Value, patch: &[PatchOperation]) -> Value {
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, patch).unwrap();
    patched
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn injection_adds_only(pod in pods::pod(), native: bool) {
        let injected = injected(&pod, native);
        prop_assert_eq!(kept::lost(&pod, &injected), Vec::<String>::new());
        let Patch(operations) = additions(&pod, &injected);
        let adds = |op: &PatchOperation| matches!(op, PatchOperation::Add(_));
        prop_assert!(operations.iter().all(adds), "{operations:#?}");
    }

    #[test]
    fn the_patch_gives_the_injected_pod(pod in pods::pod(), native: bool) {
        let injected = injected(&pod, native);
        let Patch(operations) = additions(&pod, &injected);
        prop_assert_eq!(patched(&pod, &operations), injected);
    }

    #[test]
    fn a_second_injection_finds_nothing_to_do(pod in pods::pod(), native: bool) {
        let once = injected(&pod, native);
        for found in [once.clone(), defaults::as_stored(&once)] {
            // The first injection decided for the pod, whatever the API server's version is now.
            for native in [native, !native] {
                prop_assert_eq!(&injected(&found, native), &found);
            }
        }
    }

    #[test]
    fn the_answer_to_a_review_carries_that_patch(pod in pods::pod(), native: bool) {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "1",
                "kind": { "group": "", "version": "v1", "kind": "Pod" },
                "namespace": NAMESPACE,
                "object": pod,
            },
        });
        let request = Request::parse(review.to_string().as_bytes()).unwrap();
        let place = Place::named(NAMESPACE, native);
        let answer = request.respond(&request.answer(&settings(), &place)).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        prop_assert_eq!(&answer["response"]["allowed"], true);
        let patch: ByteString = serde_json::from_value(answer["response"]["patch"].clone()).unwrap();
        let Patch(operations) = serde_json::from_slice(&patch.0).unwrap();
        prop_assert_eq!(patched(&pod, &operations), injected(&pod, native));
    }

    #[test]
    fn any_json_in_the_place_of_a_pod_is_injected_or_refused_with_words(
        pod in pods::malformed(),
        native: bool,
    ) {
        match inject(&pod, &Place::named(NAMESPACE, native), &settings()) {
            Ok(injected) => {
                let Patch(operations) = additions(&pod, &injected.pod);
                prop_assert_eq!(patched(&pod, &operations), injected.pod);
            }
            Err(refusal) => prop_assert!(!refusal.to_string().is_empty()),
        }
    }
}
