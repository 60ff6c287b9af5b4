//! Pods are created while replicas of the webhook end, gracefully and not.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    ops::ControlFlow,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use fairlead_tests::kube::workloads::CLIENT;
use fairlead_tests::kube::{
    RELEASE_NAMESPACE, TestNamespace, at_rate, container_process, kubectl, kubectl_with, object,
    until, webhook_pods,
};
use serde_json::Value;

const PODS: u32 = 300;
const PODS_A_SECOND: u32 = 10;
const BETWEEN_ENDS: Duration = Duration::from_secs(5);

/// One outage at a time: they share the webhook.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
#[ignore = "needs root"]
fn no_admission_fails_while_replicas_end_gracefully() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = create_pods_while("test-graceful", |pod| {
        kubectl(&format!(
            "delete pod {} --namespace={RELEASE_NAMESPACE} --wait=false",
            name(pod)
        ));
    });
    println!("graceful: {outcome:?}");
    assert_eq!((outcome.injected, outcome.created), (PODS, PODS));
    assert_eq!(outcome.failed_calls, 0);
}

#[test]
#[ignore = "needs root"]
fn no_pod_is_left_uninjected_when_replicas_are_killed() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let outcome = create_pods_while("test-killed", |pod| {
        let process = container_process(pod, container(pod)).to_string();
        assert!(
            Command::new("kill")
                .args(["-KILL", &process])
                .status()
                .unwrap()
                .success()
        );
        kubectl(&format!(
            "delete pod {} --namespace={RELEASE_NAMESPACE} --wait=false --grace-period=0 --force",
            name(pod)
        ));
    });
    println!("killed: {outcome:?}");
    assert_eq!((outcome.injected, outcome.created), (PODS, PODS));
}

#[derive(Debug)]
struct Outcome {
    created: u32,
    injected: u32,
    /// Calls of the webhook that the API server counts as failed.
    failed_calls: u64,
    /// Replicas that were ended meanwhile.
    #[expect(dead_code, reason = "printed")]
    ended: u32,
}

/// Grows a Deployment at a fixed rate and ends the oldest ready replica of the webhook every few seconds.
fn create_pods_while(namespace: &'static str, end: impl Fn(&Value) + Sync) -> Outcome {
    let namespace = TestNamespace::new(namespace, "istio-injection=enabled");
    until("two ready replicas", || {
        (webhook_pods().len() >= 2).then_some(())
    });
    // The pods need not run: admission is what is tried, and two cores are soon busy with containers.
    let nowhere = CLIENT
        .replace("spec:\n  selector", "spec:\n  replicas: 0\n  selector")
        .replace(
            "      containers:",
            "      nodeSelector: {no-such: node}\n      containers:",
        );
    kubectl_with(
        &format!("apply --namespace={} --filename=-", namespace.name()),
        &nowhere,
    );

    let failed_before = failed_calls();
    let done = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        let ending = scope.spawn(|| {
            let mut ended = 0;
            at_rate(BETWEEN_ENDS, u32::MAX, |_| {
                if done.load(Ordering::Relaxed) {
                    return ControlFlow::Break(());
                }
                if let Some(oldest) = webhook_pods().first() {
                    end(oldest);
                    ended += 1;
                }
                ControlFlow::Continue(())
            });
            ended
        });
        let steps = PODS / PODS_A_SECOND;
        at_rate(Duration::from_secs(1), steps, |step| {
            let replicas = (step + 1) * PODS_A_SECOND;
            kubectl(&format!(
                "scale deployment client --namespace={} --replicas={replicas}",
                namespace.name()
            ));
            ControlFlow::Continue(())
        });
        until("all pods", || {
            (pods(&namespace).len() >= PODS as usize).then_some(())
        });
        done.store(true, Ordering::Relaxed);
        ending.join().unwrap()
    });
    let pods = pods(&namespace);
    let injected = pods.iter().filter(|pod| is_injected(pod)).count();
    for refusal in refusals(&namespace) {
        println!("{}: {refusal}", namespace.name());
    }
    Outcome {
        created: u32::try_from(pods.len()).unwrap(),
        injected: u32::try_from(injected).unwrap(),
        failed_calls: failed_calls() - failed_before,
        ended,
    }
}

fn pods(namespace: &TestNamespace) -> Vec<Value> {
    let pods = object(&format!("pods --namespace={}", namespace.name()));
    pods["items"].as_array().cloned().unwrap_or_default()
}

/// What the ReplicaSet was told where a pod was not admitted.
fn refusals(namespace: &TestNamespace) -> Vec<String> {
    let events = object(&format!(
        "events --namespace={} --field-selector=reason=FailedCreate",
        namespace.name()
    ));
    let items = events["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|e| e["message"].to_string()).collect()
}

fn is_injected(pod: &Value) -> bool {
    let containers = pod["spec"]["initContainers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    containers
        .iter()
        .any(|container| container["name"] == "istio-proxy")
}

/// Calls of our webhook that brought no answer, as the API server counts them.
fn failed_calls() -> u64 {
    let metrics = kubectl("get --raw /metrics");
    let failed = |line: &&str| {
        line.starts_with("apiserver_admission_webhook_rejection_count{")
            && line.contains("sidecar-injector.istio.io")
            && line.contains("error_type=\"calling_webhook_error\"")
    };
    let number = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
    metrics
        .lines()
        .filter(failed)
        .filter_map(number)
        .sum::<f64>() as u64
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap()
}

fn container(pod: &Value) -> &str {
    pod["spec"]["containers"][0]["name"].as_str().unwrap()
}
