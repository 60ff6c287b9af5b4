//! What admission adds to the creation of a pod.
//!
//! Pods are created at a fixed rate, whatever the answers do: an answer's time counts from when its
//! request was due.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::admit;
use crate::{
    kubernetes::{Bench, Kind, pod, within},
    summary::Summary,
    table::{Limit, Row, Statistic, Table},
};

const PER_SECOND: u32 = 50;
const SECONDS: u32 = 20;

/// Opens the connections of all sides, and counts for nothing.
const WARM_UP_SECONDS: u32 = 2;

/// What is compared: its share of the samples, its column, the limit in milliseconds, and what
/// Istio's adds where the limit was set.
const COMPARED: [(f64, Statistic, &str, f64, f64); 2] = [
    (0.5, Statistic::Median, "at the median", 1.7, 5.0),
    (0.99, Statistic::P99, "at p99", 4.0, 13.0),
];

pub(super) async fn measure(bench: &Bench, table: &mut Table) -> anyhow::Result<()> {
    let mut seconds = Kind::ALL.map(|kind| (kind, Vec::new()));
    for second in 0..WARM_UP_SECONDS + SECONDS {
        for (kind, latencies) in &mut seconds {
            let answers = one_second(bench, *kind).await?;
            if second >= WARM_UP_SECONDS {
                latencies.push(answers);
            }
        }
    }
    let [plain, ours, unconditional, peer] = seconds.map(|(_, seconds)| seconds);
    let all = [&plain, &ours, &unconditional, &peer]
        .map(|seconds| Summary::of(seconds.iter().flatten().copied()));
    let names = [
        "not injected",
        "injected",
        "injected, no conditions",
        "injected by Istio",
    ];
    for (name, summary) in names.iter().zip(&all) {
        table.row(Row::summary(format!("{name}, {PER_SECOND}/s, ms"), summary));
    }
    let compared = [
        ("added", &ours),
        ("added, no conditions,", &unconditional),
        ("Istio adds", &peer),
    ];
    for (name, seconds) in compared {
        let median = |second: &Vec<f64>| Summary::of(second.iter().copied()).median();
        let pairs = seconds.iter().zip(&plain);
        let added = pairs.filter_map(|(with, without)| Some(median(with)? - median(without)?));
        table.row(Row::samples(format!("{name} in one second, ms"), added));
    }
    for (share, column, at, limit, reference) in COMPARED {
        let [plain, ours, unconditional, peer] =
            all.each_ref().map(|summary| summary.quantile(share));
        let added = |with: Option<f64>| Some(with? - plain?);
        let peer = added(peer);
        table.row(Row::single(format!("Istio adds {at}, ms"), column, peer));
        // As much slower as the machine makes Istio's, ours may be, too.
        let of_peer = (limit / reference * 100.0).round() / 100.0;
        for (ours, how) in [(ours, ""), (unconditional, ", no conditions")] {
            let ours = added(ours);
            table.row(
                Row::single(format!("added {at}{how}, ms"), column, ours)
                    .limit(column, Limit::AtMost(limit)),
            );
            let portion = ours.zip(peer).map(|(ours, peer)| ours / peer);
            table.row(
                Row::single(format!("of what Istio adds {at}{how}"), column, portion)
                    .limit(column, Limit::AtMost(of_peer)),
            );
        }
    }
    table.note(
        "Where the limits of the time were set, Istio added 5.0 ms at the median and 13 ms at p99. \
         \"No conditions\" is with injection.matchConditions=[], as Istio's entries are.",
    );
    Ok(())
}

/// Milliseconds from when each request was due until its answer was read.
async fn one_second(bench: &Bench, kind: Kind) -> anyhow::Result<Vec<f64>> {
    let pods = bench.pods(kind);
    let pod = pod("bench")?;
    let start = Instant::now();
    let mut requests = JoinSet::new();
    for number in 0..PER_SECOND {
        let due = start + Duration::from_secs(1) * number / PER_SECOND;
        sleep_until(due).await;
        let (pods, pod) = (pods.clone(), pod.clone());
        requests.spawn(async move {
            admit(&pods, &pod, kind).await?;
            Ok(due.elapsed().as_secs_f64() * 1e3)
        });
    }
    let answers = within(requests.join_all(), "the answers of one second").await?;
    answers.into_iter().collect()
}
