use fairlead_runtime::readiness::Readiness;
use serde_json::{Value, json};
use tokio::{task::AbortHandle, time::sleep};

use super::*;
use crate::fake_api::{Fake, Mood};

const DEADLINE: Duration = Duration::from_secs(60);
const LOG: &str = "sidecar.istio.io/logLevel";

fn namespace(name: &str, level: &str) -> Value {
    json!({ "metadata": { "name": name, "annotations": {
        LOG: level,
        "openshift.io/sa.scc.uid-range": "1000/1",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "notistio.io/x": "y",
    }}})
}

fn path(name: &str) -> String {
    format!("/api/v1/namespaces/{name}")
}

struct Running {
    namespaces: Namespaces,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn start(fake: &Fake) -> Running {
    let readiness = Readiness::default();
    let namespaces = Namespaces::new(fake.client());
    let task = tokio::spawn(namespaces.clone().follow(readiness.gate("namespaces")));
    let running = Running {
        namespaces,
        task: task.abort_handle(),
    };
    until("the first list", || readiness.is_ready()).await;
    running
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn cached(namespaces: &Namespaces, name: &str) -> Option<String> {
    let known = namespaces.known.read().unwrap();
    known.get(name)?.get(LOG).cloned()
}

#[tokio::test(start_paused = true)]
async fn the_annotations_that_mean_something_are_kept_and_followed() {
    let fake = Fake::new();
    fake.put(&path("shop"), Some(namespace("shop", "debug")));
    let running = start(&fake).await;
    let found = running.namespaces.annotations("shop").await;
    let keys: Vec<_> = found.keys().map(String::as_str).collect();
    assert_eq!(keys, ["openshift.io/sa.scc.uid-range", LOG]);

    fake.put(&path("shop"), Some(namespace("shop", "info")));
    let level = |name: &str| cached(&running.namespaces, name);
    until("the edit", || level("shop").as_deref() == Some("info")).await;
    fake.put(&path("shop"), None);
    until("the deletion", || level("shop").is_none()).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_the_watch_has_not_told_of_is_asked_for_once() {
    let fake = Fake::new();
    fake.put(&path("new"), Some(namespace("new", "debug")));
    // It is not followed.
    let namespaces = Namespaces::new(fake.client());
    for _ in 0..3 {
        let found = namespaces.annotations("new").await;
        assert_eq!(found[LOG], "debug");
    }
    assert_eq!(fake.calls(), ["GET /api/v1/namespaces/new"]);
}

#[tokio::test(start_paused = true)]
async fn a_review_waits_no_longer_than_its_share() {
    let fake = Fake::new();
    fake.set_mood(Mood::Silent);
    let namespaces = Namespaces::new(fake.client());
    let start = Instant::now();
    for _ in 0..10 {
        assert!(namespaces.annotations("new").await.is_empty());
    }
    assert_eq!(start.elapsed(), LOOK, "only the first has waited");
    sleep(PAUSE).await;
    namespaces.annotations("new").await;
    assert_eq!(fake.calls().len(), 2, "it is asked again after a pause");
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_no_news_to_what_the_watch_has_told_meanwhile() {
    let fake = Fake::new();
    fake.put(&path("shop"), Some(namespace("shop", "debug")));
    let running = start(&fake).await;
    // As if it had been asked for before the watch told.
    fake.put(&path("shop"), Some(namespace("shop", "info")));
    until("the change", || {
        cached(&running.namespaces, "shop").as_deref() == Some("info")
    })
    .await;
    let older = Fake::new();
    older.put(&path("shop"), Some(namespace("shop", "debug")));
    let api = Api::all(older.client());
    let found = running.namespaces.ask(&api, "shop").await;
    assert_eq!(found.get(LOG).map(String::as_str), Some("info"));
    assert_eq!(cached(&running.namespaces, "shop").as_deref(), Some("info"));
}
