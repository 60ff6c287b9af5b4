use std::time::Duration;

use fairlead_runtime::readiness::Readiness;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::*;
use crate::fake_api::{Fake, Mood};

fn node(name: &str, version: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "status": { "nodeInfo": { "kubeletVersion": version }, "images": [{ "names": ["a"] }] },
    })
}

fn path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_for_its_node_or_for_the_oldest() {
    let fake = Fake::new();
    fake.put(&path("old"), Some(node("old", "v1.28.4-gke.100")));
    fake.put(&path("new"), Some(node("new", "v1.33.0")));
    let readiness = Readiness::default();
    let nodes = Nodes::default();
    assert_eq!(nodes.minor(None), None);
    let gate = readiness.gate("nodes");
    let task = tokio::spawn(nodes.clone().follow(fake.client(), gate));
    until("the first list", || readiness.is_ready()).await;
    assert_eq!(nodes.minor(None), Some(28));
    assert_eq!(nodes.minor(Some("new")), Some(33));
    assert_eq!(nodes.minor(Some("old")), Some(28));
    assert_eq!(nodes.minor(Some("unheard-of")), Some(28));

    fake.put(&path("old"), Some(node("old", "v1.30.1")));
    until("the upgrade", || nodes.minor(None) == Some(30)).await;
    fake.put(&path("odd"), Some(node("odd", "unknown")));
    until("the odd one", || nodes.minor(None).is_none()).await;
    assert_eq!(nodes.minor(Some("odd")), None);
    assert_eq!(nodes.minor(Some("new")), Some(33));
    fake.put(&path("odd"), None);
    fake.put(&path("old"), None);
    until("the end of the others", || nodes.minor(None) == Some(33)).await;
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_show_its_nodes_does_not_keep_the_process_unready() {
    let fake = Fake::new();
    fake.set_mood(Mood::Down);
    let readiness = Readiness::default();
    let nodes = Nodes::default();
    let gate = readiness.gate("nodes");
    let task = tokio::spawn(nodes.clone().follow(fake.client(), gate));
    until("the note", || readiness.is_ready()).await;
    let line = &readiness.lines()[0].1;
    assert!(line.contains("watch nodes: "), "{line}");
    assert_eq!(nodes.minor(None), None);

    fake.put(&path("one"), Some(node("one", "v1.33.0")));
    fake.set_mood(Mood::Well);
    until("the list", || nodes.minor(None) == Some(33)).await;
    assert_eq!(readiness.lines()[0].1, "[+] nodes");
    fake.set_mood(Mood::Down);
    sleep(Duration::from_secs(600)).await;
    assert_eq!(
        nodes.minor(None),
        Some(33),
        "what was known goes on counting"
    );
    assert_eq!(readiness.lines()[0].1, "[+] nodes");
    task.abort();
}

#[test]
fn versions_of_all_vendors_have_a_minor() {
    for (version, expected) in [
        ("v1.29.3", Some(29)),
        ("v1.29.3-gke.100", Some(29)),
        ("v1.31+", Some(31)),
        ("1.30", Some(30)),
        ("29+", Some(29)),
        ("29", Some(29)),
        ("v2.0.0", None),
        ("unknown", None),
        ("", None),
    ] {
        assert_eq!(minor(version), expected, "{version}");
    }
}
