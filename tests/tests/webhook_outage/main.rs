//! Fifty pods a second are created while the webhook is restarted, upgraded, given other certificates and
//! killed, and while the API server is.
//!
//! Each of these goes on for `FAIRLEAD_OUTAGE_SECONDS`, 20 unless it is set.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod load;
mod replicas;

use std::{
    env,
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use fairlead_tests::kube::{
    RELEASE_NAMESPACE, TestNamespace, at_rate, brought, container_process, helm, install_arguments,
    kubectl, until, webhook_pods,
};
use serde_json::Value;

use self::{
    load::{Clock, Outcome, under_load},
    replicas::{AUTHORITY_EXPIRY, CERTIFICATES, Figures, annotate_secret, figures},
};

/// So far apart that what each of them costs can be told.
const BETWEEN_KILLS: Duration = Duration::from_secs(10);

/// One outage at a time: they share the webhook.
static ALONE: Mutex<()> = Mutex::new(());

/// Creates pods all the while, and prints what came of it.
fn outage(name: &str, namespace: &'static str, disturb: impl FnOnce(&Clock)) -> Outcome {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let namespace = TestNamespace::new(namespace, "istio-injection=enabled");
    two_replicas();
    let outcome = under_load(&namespace, disturb);
    println!("{name}: {outcome}");
    outcome
}

fn two_replicas() {
    until("two ready replicas", || {
        (webhook_pods().len() >= 2).then_some(())
    });
}

#[test]
#[ignore = "needs root"]
fn no_call_fails_while_replicas_end_one_by_one() {
    let outcome = outage("replicas deleted", "test-deleted", |clock| {
        while clock.goes_on() {
            let oldest = name(&webhook_pods()[0]);
            kubectl(&format!(
                "delete pod {oldest} --namespace={RELEASE_NAMESPACE} --wait=false"
            ));
            two_replicas();
        }
    });
    outcome.assert_nothing_failed();
}

#[test]
#[ignore = "needs root"]
fn no_call_fails_during_a_rolling_restart() {
    let outcome = outage("rolling restart", "test-restart", |clock| {
        while clock.goes_on() {
            rollout("restart");
            rollout("status --timeout=120s");
        }
    });
    outcome.assert_nothing_failed();
}

fn rollout(what: &str) {
    kubectl(&format!(
        "rollout {what} deployment/fairlead-webhook --namespace={RELEASE_NAMESPACE}"
    ));
}

#[test]
#[ignore = "needs root"]
fn no_call_fails_during_a_helm_upgrade() {
    let outcome = outage("helm upgrade", "test-upgrade", |clock| {
        for level in ["debug", "info"].iter().cycle() {
            upgrade(&[&format!("webhook.logLevel={level}")]);
            if !clock.goes_on() {
                break;
            }
        }
        upgrade(&[]);
    });
    outcome.assert_nothing_failed();
}

fn upgrade(values: &[&str]) {
    let mut arguments = install_arguments();
    for value in values {
        arguments.extend(["--set".to_owned(), (*value).to_owned()]);
    }
    helm(&arguments);
}

#[test]
#[ignore = "needs root"]
fn no_call_fails_when_leaves_are_rotated() {
    let outcome = outage("forced leaf rotation", "test-leaf", |clock| {
        for turn in 0.. {
            let before = figures(CERTIFICATES);
            annotate_secret("rotate-leaf", turn);
            until("other leaves", || differ(&before, &figures(CERTIFICATES)));
            if !clock.goes_on() {
                break;
            }
        }
    });
    outcome.assert_nothing_failed();
}

#[test]
#[ignore = "needs root"]
fn no_call_fails_when_the_authority_is_rotated() {
    let outcome = outage("forced CA rotation", "test-authority", |clock| {
        for turn in 0.. {
            let before = figures(AUTHORITY_EXPIRY);
            annotate_secret("rotate-authority", turn);
            until("another authority", || {
                differ(&before, &figures(AUTHORITY_EXPIRY))
            });
            clock.note("served by another authority");
            if !clock.goes_on() {
                break;
            }
        }
    });
    outcome.assert_nothing_failed();
}

#[test]
#[ignore = "needs root"]
fn no_call_fails_on_the_way_to_a_brought_certificate_and_back() {
    let outcome = outage("brought certificate", "test-brought", |clock| {
        let before = kubectl(&format!(
            "get secrets --namespace={RELEASE_NAMESPACE} --output=name"
        ));
        assert!(before.contains("fairlead-webhook-ca"));
        brought::put_secret("injector-tls");
        upgrade(&["webhook.certificate.secretName=injector-tls"]);
        clock.note("brought");
        let before = figures(CERTIFICATES);
        brought::put_secret("injector-tls");
        until("the next one is served", || {
            differ(&before, &figures(CERTIFICATES))
        });
        clock.note("brought anew, by another authority");
        upgrade(&[]);
        clock.note("own again");
        kubectl(&format!(
            "delete secret injector-tls --namespace={RELEASE_NAMESPACE}"
        ));
    });
    outcome.assert_nothing_failed();
}

#[test]
#[ignore = "needs root"]
fn no_pod_is_left_uninjected_when_replicas_are_killed() {
    let outcome = outage("replicas killed", "test-killed", |clock| {
        at_rate(BETWEEN_KILLS, u32::MAX, |turn| {
            two_replicas();
            let pods = webhook_pods();
            let pod = &pods[turn as usize % pods.len()];
            clock.note("kill");
            kill(container_process(pod, "webhook"));
            until("the kubelet has noticed", || {
                (webhook_pods().len() < 2).then_some(())
            });
            two_replicas();
            clock.note("both are ready again");
            clock.flow()
        });
    });
    outcome.assert_recovered();
}

fn kill(process: u32) {
    let process = process.to_string();
    let killed = Command::new("kill").args(["-KILL", &process]).status();
    assert!(killed.unwrap().success());
}

#[test]
#[ignore = "needs root"]
fn no_pod_is_left_uninjected_when_the_api_server_restarts() {
    let xtask = env::var("FAIRLEAD_XTASK").unwrap();
    let cluster = env::var("FAIRLEAD_CLUSTER").unwrap();
    let outcome = outage("API server restarted", "test-apiserver", |clock| {
        at_rate(BETWEEN_KILLS, u32::MAX, |_| {
            clock.note("kill");
            let restarted = Command::new(&xtask)
                .args(["cluster", "restart", "--name", &cluster, "kube-apiserver"])
                .status();
            assert!(restarted.unwrap().success());
            clock.note("the API server is back");
            two_replicas();
            clock.flow()
        });
    });
    outcome.assert_recovered();
}

/// Whether each replica shows another figure than before.
fn differ(before: &Figures, now: &Figures) -> Option<()> {
    let differs = |(name, figure)| before.get(name) != Some(figure);
    (now.len() >= 2 && now.iter().all(differs)).then_some(())
}

fn name(pod: &Value) -> String {
    pod["metadata"]["name"].as_str().unwrap().to_owned()
}
