use std::time::Duration;

use fairlead_runtime::readiness::Readiness;
use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::*;
use crate::{
    events::Selection,
    fake_api::{Fake, Mood},
};

const PATH: &str = "/api/v1/namespaces/mesh/configmaps/istio";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/mesh/events";

/// A follower at work.
struct Running {
    fake: Fake,
    mesh: Mesh,
    readiness: Readiness,
    metrics: Metrics,
    registry: Arc<prometheus_client::registry::Registry>,
    _tasks: JoinSet<()>,
}

impl Running {
    fn start(fake: Fake) -> Self {
        let (metrics, registry) = Metrics::new();
        let readiness = Readiness::default();
        let (events, publish) = Events::new(
            fake.client(),
            "webhook-0",
            Selection::Off,
            "default",
            metrics.clone(),
        );
        let mesh = Mesh::default();
        let follower = Follower {
            maps: Api::namespaced(fake.client(), "mesh"),
            name: "istio".to_owned(),
            mesh: mesh.clone(),
            gate: readiness.gate("mesh configuration"),
            metrics: metrics.clone(),
            events,
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(publish);
        tasks.spawn(follower.run());
        Self {
            fake,
            mesh,
            readiness,
            metrics,
            registry,
            _tasks: tasks,
        }
    }

    fn concurrency(&self) -> Option<Option<u16>> {
        let mesh = self.mesh.current()?;
        Some(mesh.default_config.concurrency)
    }

    fn line(&self) -> String {
        self.readiness.lines()[0].1.clone()
    }

    fn metric(&self, name: &str) -> String {
        let mut page = String::new();
        prometheus_client::encoding::text::encode(&mut page, &self.registry).unwrap();
        let mut lines = page.lines();
        lines
            .find(|line| line.starts_with(name))
            .unwrap_or_default()
            .to_owned()
    }
}

/// Waits for a condition on the paused clock, which runs on when nothing else does.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn map(mesh: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "istio", "namespace": "mesh", "uid": "5f" },
        "data": { "mesh": mesh },
    })
}

#[tokio::test(start_paused = true)]
async fn an_edit_counts_at_once_and_a_bad_one_leaves_the_last_good_one() {
    let fake = Fake::new();
    fake.put(PATH, Some(map("defaultConfig: {concurrency: 1}")));
    let running = Running::start(fake);
    until("the first read", || running.concurrency() == Some(Some(1))).await;
    assert!(running.readiness.is_ready());
    assert_eq!(running.line(), "[+] mesh configuration");

    running
        .fake
        .put(PATH, Some(map("defaultConfig: {concurrency: 2}")));
    until("the edit", || running.concurrency() == Some(Some(2))).await;

    running
        .fake
        .put(PATH, Some(map("defaultConfig: {concurrency: x}")));
    until("the Event", || running.fake.below(EVENTS).len() == 1).await;
    assert_eq!(running.concurrency(), Some(Some(2)));
    assert!(running.readiness.is_ready());
    let line = running.line();
    for part in [
        "[+] mesh configuration: ConfigMap istio in namespace mesh",
        "defaultConfig.concurrency is \"x\"",
        "what was in use stays",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    let event = &running.fake.below(EVENTS)[0];
    assert_eq!(event["type"], "Warning");
    assert_eq!(event["reason"], "MeshConfigRejected");
    assert_eq!(event["regarding"]["kind"], "ConfigMap");
    assert_eq!(event["regarding"]["uid"], "5f");
    let note = event["note"].as_str().unwrap();
    assert!(
        note.contains("defaultConfig.concurrency is \"x\""),
        "{note}"
    );
    let accepted = running.metric("fairlead_webhook_mesh_config_accepted");
    assert_eq!(
        accepted,
        "fairlead_webhook_mesh_config_accepted{revision=\"default\"} 0"
    );

    running
        .fake
        .put(PATH, Some(map("defaultConfig: {concurrency: 3}")));
    until("the repair", || running.concurrency() == Some(Some(3))).await;
    assert_eq!(running.line(), "[+] mesh configuration");
    assert_eq!(running.fake.below(EVENTS).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_config_map_the_defaults_hold_until_there_is_one() {
    let running = Running::start(Fake::new());
    until("the first look", || running.mesh.current().is_some()).await;
    assert_eq!(*running.mesh.current().unwrap(), MeshConfig::default());
    assert!(running.readiness.is_ready());
    assert!(
        running.line().contains("does not exist"),
        "{}",
        running.line()
    );
    running
        .fake
        .put(PATH, Some(map("enablePrometheusMerge: false")));
    let merges = || {
        running
            .mesh
            .current()
            .is_some_and(|mesh| mesh.enable_prometheus_merge)
    };
    until("the ConfigMap", || !merges()).await;
    running.fake.put(PATH, None);
    until("the note", || {
        running.line().contains("what was in use stays")
    })
    .await;
    assert!(!merges());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_known_before_the_first_look_and_all_stays_known_without_the_api_server() {
    let fake = Fake::new();
    fake.put(PATH, Some(map("defaultConfig: {concurrency: 1}")));
    fake.set_mood(Mood::Down);
    let running = Running::start(fake);
    until("a few attempts", || running.fake.calls().len() > 3).await;
    assert!(running.mesh.current().is_none() && !running.readiness.is_ready());
    let line = running.line();
    assert!(
        line.starts_with("[-] mesh configuration: watch ConfigMap istio: "),
        "{line}"
    );
    running.fake.set_mood(Mood::Well);
    until("the first read", || running.concurrency() == Some(Some(1))).await;
    running.fake.set_mood(Mood::Down);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(running.concurrency(), Some(Some(1)));
    assert!(running.readiness.is_ready());
    drop(running.metrics);
}

#[test]
fn what_is_found_is_accepted_missing_or_not_accepted() {
    let look = |value: Value| look(Some(&serde_json::from_value(value).unwrap()));
    assert_eq!(super::look(None), Finding::Missing);
    assert!(matches!(look(map("")), Finding::Accepted(_)));
    let without_key = json!({ "metadata": {}, "data": { "values": "" } });
    for (value, part) in [
        (without_key, "no key mesh"),
        (json!({ "metadata": {} }), "no key mesh"),
        (map("["), "mesh: not YAML"),
        (
            map("defaultConfig: {statusPort: x}"),
            "mesh: defaultConfig.statusPort",
        ),
    ] {
        match look(value) {
            Finding::Rejected(reason) => assert!(reason.contains(part), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}
