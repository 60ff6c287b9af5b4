use std::time::Duration;

use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::sleep};

use super::*;
use crate::{
    fake_api::{Fake, Mood},
    inject::Place,
    settings::tests::settings,
};

const PATH: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";

struct Running {
    fake: Fake,
    events: Events,
    registry: Arc<Registry>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn start(selection: Selection) -> Running {
    let fake = Fake::new();
    let (metrics, registry) = Metrics::new();
    let (events, publish) = Events::new(fake.client(), "webhook-0", selection, "default", metrics);
    let task = tokio::spawn(publish);
    Running {
        fake,
        events,
        registry,
        task,
    }
}

impl Running {
    /// Reviews a pod of an owner.
    fn review(&self, owner: &str, level: &str, dry_run: bool) {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "5f", "kind": { "kind": "Pod" }, "namespace": "shop", "dryRun": dry_run,
                "object": {
                    "metadata": {
                        "generateName": "cart-",
                        "annotations": { "sidecar.istio.io/logLevel": level },
                        "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet",
                            "name": owner, "uid": owner, "controller": true }],
                    },
                    "spec": { "containers": [{ "name": "app" }] },
                },
            },
        });
        let request = review::Request::parse(review.to_string().as_bytes()).unwrap();
        let answer = request.answer(&settings(), &Place::named("shop", true));
        self.events.reviewed(&request, &answer);
    }

    fn published(&self) -> Vec<Value> {
        self.fake.below(PATH)
    }

    fn count(&self, result: &str) -> u64 {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        let wanted = format!("result=\"{result}\"");
        let mut lines = page.lines();
        let line =
            lines.find(|l| l.starts_with("fairlead_webhook_events_total") && l.contains(&wanted));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(600);
        while !condition(self) {
            assert!(Instant::now() < end, "{what}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_pods_of_an_owner_are_one_event_with_a_count() {
    let running = start(Selection::All);
    for _ in 0..50 {
        running.review("cart-5d", "info", false);
    }
    running
        .until("the Event", |r| r.published().len() == 1)
        .await;
    sleep(Duration::from_secs(301)).await;
    running.review("cart-5d", "info", false);
    running
        .until("the count", |r| !r.published()[0]["series"].is_null())
        .await;
    let event = &running.published()[0];
    assert_eq!(event["series"]["count"], 51);
    assert_eq!(event["type"], "Normal");
    assert_eq!(event["reason"], "Injected");
    assert_eq!(event["action"], "InjectSidecar");
    assert_eq!(event["reportingController"], "fairlead-webhook");
    assert_eq!(event["reportingInstance"], "webhook-0");
    assert_eq!(
        event["regarding"],
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "cart-5d",
            "namespace": "shop", "uid": "cart-5d",
        })
    );
    assert_eq!(running.count("published"), 2);
}

#[tokio::test(start_paused = true)]
async fn which_pods_are_told_of_is_chosen() {
    for (selection, reasons) in [
        (Selection::All, &["Injected", "InjectionRefused"][..]),
        (Selection::Failures, &["InjectionRefused"]),
        (Selection::Off, &[]),
    ] {
        let running = start(selection);
        running.review("good", "info", false);
        running.review("wrong", "loud", false);
        running.review("rehearsed", "info", true);
        running.review("rehearsed", "loud", true);
        running
            .until("the Events", |r| r.published().len() == reasons.len())
            .await;
        sleep(Duration::from_secs(1)).await;
        let mut found: Vec<_> = running
            .published()
            .iter()
            .map(|event| event["reason"].as_str().unwrap().to_owned())
            .collect();
        found.sort();
        assert_eq!(found, reasons);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_slowed_down_and_what_is_too_much_is_dropped_and_counted() {
    let running = start(Selection::All);
    let begin = Instant::now();
    for number in 0..1000 {
        running.review(&format!("owner-{number}"), "info", false);
    }
    // What came first, all at once: the queue alone, since nothing else has run yet.
    running
        .until("the drops", |r| r.count("dropped") == 1000 - QUEUE as u64)
        .await;
    running
        .until("the Events", |r| r.published().len() == QUEUE)
        .await;
    let least = (QUEUE as u32 - BURST) / PER_SECOND;
    assert!(
        begin.elapsed() >= Duration::from_secs(least.into()),
        "{:?}",
        begin.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_does_not_answer_holds_nobody_up() {
    let running = start(Selection::All);
    running.fake.set_mood(Mood::Silent);
    let begin = Instant::now();
    for number in 0..100 {
        running.review(&format!("owner-{number}"), "info", false);
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    running
        .until("the failure", |r| r.count("failed") > 0)
        .await;
    running.fake.set_mood(Mood::Well);
    running
        .until("the others", |r| r.count("published") > 0)
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_gone_is_made_anew_and_one_that_is_there_counted_up() {
    let running = start(Selection::All);
    running.review("cart-5d", "info", false);
    running
        .until("the Event", |r| r.published().len() == 1)
        .await;
    let name = running.published()[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    running.fake.put(&format!("{PATH}/{name}"), None);
    sleep(Duration::from_secs(301)).await;
    running.review("cart-5d", "info", false);
    running.until("another", |r| r.published().len() == 1).await;
    assert_eq!(running.published()[0]["metadata"]["name"], name);

    // A process of the same name starts anew.
    let (events, publish) = Events::new(
        running.fake.client(),
        "webhook-0",
        Selection::All,
        "default",
        Metrics::new().0,
    );
    let task = tokio::spawn(publish);
    let again = Running {
        fake: running.fake.clone(),
        events,
        registry: Arc::clone(&running.registry),
        task,
    };
    again.review("cart-5d", "info", false);
    again
        .until("the count", |r| r.published()[0]["series"]["count"] == 2)
        .await;
}
