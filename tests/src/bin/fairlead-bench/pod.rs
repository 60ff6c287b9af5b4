//! A pod from its creation until it is ready, by the clock of a client that watches.
//!
//! The kubelet looks at its containers once a second, so each step that one must end before the next
//! can begin costs up to a second. Pods are created at moments spread evenly over that second:
//! otherwise each would follow the end of the one before, always at the same moment.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams},
};
use tokio::time::{Instant, sleep};

use crate::{
    kubernetes::{Bench, Kind, PATIENCE, pod, within},
    table::{Limit, Row, Statistic, Table},
};

const ROUNDS: usize = 10;
/// How often the kubelet looks.
const KUBELET_PERIOD: Duration = Duration::from_secs(1);
const LIMIT_SECONDS: f64 = 3.0;

/// What the limit was set beside.
const PLAIN_REFERENCE_SECONDS: f64 = 1.0;

pub(crate) async fn measure(bench: Bench) -> anyhow::Result<Table> {
    let mut samples = [Kind::Plain, Kind::Injected].map(|kind| (kind, Vec::new()));
    // The first round counts for nothing: afterwards the node has unpacked the images.
    for round in 0..=ROUNDS {
        for (kind, seconds) in &mut samples {
            sleep(KUBELET_PERIOD.mul_f64(round as f64 / ROUNDS as f64)).await;
            let ready = seconds_until_ready(&bench, *kind, &format!("bench-{round}")).await?;
            if round > 0 {
                seconds.push(ready);
            }
        }
    }
    let [plain, injected] = samples.map(|(_, seconds)| seconds);
    let mut table = Table::new("pod: from creation to Ready, image present, in seconds");
    let added: Vec<f64> = injected
        .iter()
        .zip(&plain)
        .map(|(with, without)| with - without)
        .collect();
    table.row(Row::samples("plain", plain));
    table.row(
        Row::samples("injected", injected).limit(Statistic::Median, Limit::AtMost(LIMIT_SECONDS)),
    );
    table.row(Row::samples("added by the sidecar", added));
    table.note(format!(
        "The limit holds where a plain pod takes {PLAIN_REFERENCE_SECONDS:.1} s."
    ));
    Ok(table)
}

/// Creates a pod, waits, and removes it, so that the next one finds the node quiet.
async fn seconds_until_ready(bench: &Bench, kind: Kind, name: &str) -> anyhow::Result<f64> {
    let pods = bench.pods(kind);
    let watched = format!("metadata.name={name}");
    let now = pods
        .list_metadata(&ListParams::default().fields(&watched))
        .await?;
    let version = now.metadata.resource_version.unwrap_or_default();
    let timeout = u32::try_from(2 * PATIENCE.as_secs())?;
    let parameters = WatchParams::default().fields(&watched).timeout(timeout);
    let mut events = pods.watch(&parameters, &version).await?.boxed();

    let started = Instant::now();
    let created = pods
        .create(&PostParams::default(), &pod(name)?)
        .await
        .with_context(|| format!("create pod {name}, {kind:?}"))?;
    kind.ensure(&created)?;
    let ready = async {
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) if is_ready(&pod) => {
                    return Ok(started.elapsed().as_secs_f64());
                }
                WatchEvent::Error(status) => bail!("watch pod {name}: {}", status.message),
                _ => {}
            }
        }
        bail!("the watch of pod {name} ended")
    };
    let seconds = within(ready, &format!("pod {name}, {kind:?}, to be ready")).await??;
    remove(&pods, name, &mut events).await?;
    Ok(seconds)
}

async fn remove(
    pods: &Api<Pod>,
    name: &str,
    events: &mut (impl futures_util::Stream<Item = kube::Result<WatchEvent<Pod>>> + Unpin),
) -> anyhow::Result<()> {
    pods.delete(name, &DeleteParams::default()).await?;
    let gone = async {
        while let Some(event) = events.try_next().await? {
            if matches!(event, WatchEvent::Deleted(_)) {
                return Ok(());
            }
        }
        bail!("the watch of pod {name} ended")
    };
    within(gone, &format!("the end of pod {name}")).await?
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(conditions: &[(&str, &str)], expected: bool) {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, status)| json!({"type": kind, "status": status}))
            .collect();
        let pod = json!({"status": {"conditions": conditions}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(is_ready(&pod), expected);
    }

    #[test]
    fn only_the_ready_condition_makes_a_pod_ready() {
        check(&[], false);
        check(&[("Initialized", "True")], false);
        check(&[("Ready", "False")], false);
        check(&[("Initialized", "True"), ("Ready", "True")], true);
    }
}
