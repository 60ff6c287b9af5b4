//! Outlier detection at work: endpoints that fail are ejected, and taken back.

use std::{sync::Arc, time::Instant};

use tokio::{select, sync::mpsc, time::interval};
use tracing::info;

use crate::{
    cluster::{
        outlier::{Detector, Event},
        running::{Cluster, Finding},
    },
    stats::{Scope, Set as _, Shared, sets::cluster::OutlierDetectionStatistics},
};

type OutlierStatistics = Arc<Scope<Shared<OutlierDetectionStatistics>>>;

/// Ejects endpoints that fail, and takes them back.
pub(super) async fn detect(
    cluster: Arc<Cluster>,
    mut detector: Detector,
    mut findings: mpsc::UnboundedReceiver<Finding>,
    counted: OutlierStatistics,
) {
    let mut sweeps = interval(detector.interval());
    let mut random = fastrand::Rng::new();
    loop {
        let events = select! {
            finding = findings.recv() => {
                let Some(finding) = finding else {
                    return;
                };
                detector.update(&cluster.endpoints());
                match finding {
                    Finding::Failing(endpoint, kind) => {
                        detector.failing(&endpoint, kind, Instant::now(), &mut random)
                    }
                    Finding::Checked(endpoint) => detector.checked(&endpoint).into_iter().collect(),
                }
            }
            _ = sweeps.tick() => {
                detector.update(&cluster.endpoints());
                detector.sweep(Instant::now(), &mut random)
            }
        };
        count(&cluster, &detector, &events, &counted);
    }
}

fn count(cluster: &Cluster, detector: &Detector, events: &[Event], counted: &OutlierStatistics) {
    for event in events {
        for name in event.counters() {
            counted.set().increment(name);
        }
        info!(
            cluster = &*cluster.config.name,
            "outlier detection: {event:?}"
        );
    }
    if !events.is_empty() {
        cluster.census();
        cluster.endpoint_failed();
    }
    let active = u64::from(detector.ejections_active());
    counted.set().ejections_active.set(active);
}
