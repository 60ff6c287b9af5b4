//! How many pods a second the machine takes at most.
//!
//! Each client creates its next pod when the one before is answered. The API server and the clients
//! take their part of the processors, so a webhook that cost nothing would reach the rate of pods
//! that are not injected.

use std::time::Duration;

use tokio::{task::JoinSet, time::Instant};

use super::{RATE_LIMIT, admit, replicas::Replicas};
use crate::{
    kubernetes::{Bench, Kind, pod, within},
    summary::Summary,
    table::{Limit, Row, Statistic, Table},
};

/// Enough to keep two processors busy, and not so many that they only wait for each other.
const CLIENTS: usize = 16;
const ROUNDS: usize = 5;
const DURATION: Duration = Duration::from_secs(3);

pub(super) async fn measure(
    bench: &Bench,
    [ours, peer]: [&Replicas; 2],
    table: &mut Table,
) -> anyhow::Result<()> {
    let mut sides = [
        ("not injected", Kind::Plain, None),
        ("injected", Kind::Injected, Some(ours)),
        ("injected, no conditions", Kind::Unconditional, Some(ours)),
        ("injected by Istio", Kind::ByIstio, Some(peer)),
    ]
    .map(|(name, kind, webhook)| Side {
        name,
        kind,
        webhook,
        rates: Vec::new(),
        pods: 0,
        cpu_seconds: 0.0,
    });
    for _ in 0..ROUNDS {
        for side in &mut sides {
            side.round(bench).await?;
        }
    }
    for side in &sides {
        let name = format!("pods/s at saturation, {}", side.name);
        table.row(Row::samples(name, side.rates.iter().copied()));
    }
    let [_, ours, unconditional, peer] = sides
        .each_ref()
        .map(|side| Summary::of(side.rates.iter().copied()).median());
    for (ours, how) in [(ours, ""), (unconditional, ", no conditions")] {
        let ratio = ours.zip(peer).map(|(ours, peer)| ours / peer);
        table.row(
            Row::single(format!("ours to Istio's{how}"), Statistic::Median, ratio)
                .limit(Statistic::Median, Limit::AtLeast(RATE_LIMIT)),
        );
    }
    for side in sides.iter().filter(|side| side.webhook.is_some()) {
        let each = side.cpu_seconds * 1e3 / side.pods as f64;
        let name = format!("CPU of the webhook for a pod {}, ms", side.name);
        table.row(Row::single(name, Statistic::Median, Some(each)));
    }
    Ok(())
}

struct Side<'a> {
    name: &'a str,
    kind: Kind,
    webhook: Option<&'a Replicas>,
    rates: Vec<f64>,
    pods: usize,
    cpu_seconds: f64,
}

impl Side<'_> {
    async fn round(&mut self, bench: &Bench) -> anyhow::Result<()> {
        let used = || self.webhook.map_or(Ok(0.0), Replicas::cpu_seconds);
        let before = used()?;
        let (pods, took) = closed_loop(bench, self.kind).await?;
        let after = used()?;
        self.cpu_seconds += after - before;
        self.pods += pods;
        self.rates.push(pods as f64 / took.as_secs_f64());
        Ok(())
    }
}

async fn closed_loop(bench: &Bench, kind: Kind) -> anyhow::Result<(usize, Duration)> {
    let start = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (pods, pod) = (bench.pods(kind), pod("bench")?);
        clients.spawn(async move {
            let mut admitted = 0;
            while start.elapsed() < DURATION {
                admit(&pods, &pod, kind).await?;
                admitted += 1;
            }
            anyhow::Ok(admitted)
        });
    }
    let admitted = within(clients.join_all(), "the answers at saturation").await?;
    let counts = admitted
        .into_iter()
        .collect::<anyhow::Result<Vec<usize>>>()?;
    Ok((counts.iter().sum(), start.elapsed()))
}
