//! The webhook beside Istio's: what each adds to the admission of a pod, how many pods it takes to
//! keep the machine busy, and its memory.
//!
//! Namespaces that neither injects, that ours does, with and without match conditions, and that
//! Istio's does take turns, so that what else the machine does falls on all alike.

mod criterion;
mod direct;
mod latency;
mod replicas;
mod saturation;
mod unconditional;

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::PostParams};

use self::{direct::Hook, replicas::Replicas};
use crate::{
    kubernetes::{Bench, Kind},
    table::{Limit, Row, Statistic, Table},
};

/// The chart's MutatingWebhookConfiguration.
const CONFIGURATION: &str = "fairlead-sidecar-injector";

const MEMORY_LIMIT_MEGABYTES: f64 = 20.0;

/// How many reviews the memory must stand.
const SOAK_REVIEWS: usize = 100_000;
/// The allocator's own variation; a leak of ten bytes for each review shows.
const GROWTH_LIMIT_MEGABYTES: f64 = 1.0;

/// Enough of them for the rate.
const PEER_REVIEWS: usize = 2_000;

const RATE_LIMIT: f64 = 3.0;

pub(crate) async fn measure(bench: Bench) -> anyhow::Result<Table> {
    let ours = Replicas::find(&bench.client, "fairlead-webhook").await?;
    let peer = Replicas::find(&bench.client, "pilot-discovery").await?;
    let mut table = Table::new("webhook: pods created by server-side dry run, and reviews posted");
    criterion::read(&mut table)?;
    table.row(Row::samples(
        "memory of a replica before, MB",
        ours.memory()?,
    ));
    unconditional::create(&bench).await?;
    let admission = admission(&bench, [&ours, &peer], &mut table).await;
    unconditional::delete(&bench.client).await?;
    admission?;
    reviews(&bench, [&ours, &peer], &mut table).await?;
    table.row(Row::samples("memory of Istio's, MB", peer.memory()?));
    table.note(format!("Istio's is {}.", peer.image));
    Ok(table)
}

/// What the API server does with the webhooks.
async fn admission(
    bench: &Bench,
    replicas: [&Replicas; 2],
    table: &mut Table,
) -> anyhow::Result<()> {
    latency::measure(bench, table).await?;
    saturation::measure(bench, replicas, table).await
}

/// Posts reviews as the API server would, without it: what remains is the webhook's own.
async fn reviews(
    bench: &Bench,
    [ours, peer]: [&Replicas; 2],
    table: &mut Table,
) -> anyhow::Result<()> {
    let hook = Hook::find(&bench.client, "istio-sidecar-injector-istio").await?;
    hook.post(Kind::ByIstio, PEER_REVIEWS / 10).await?;
    let before = peer.cpu_seconds()?;
    let took = hook.post(Kind::ByIstio, PEER_REVIEWS).await?;
    let peer_rate = PEER_REVIEWS as f64 / took.as_secs_f64();
    let peer_cost = (peer.cpu_seconds()? - before) * 1e3 / PEER_REVIEWS as f64;

    let hook = Hook::find(&bench.client, CONFIGURATION).await?;
    let memory = || Ok::<_, anyhow::Error>(ours.memory()?.into_iter().fold(0.0, f64::max));
    let start = memory()?;
    let before = ours.cpu_seconds()?;
    let first = hook.post(Kind::Injected, SOAK_REVIEWS / 2).await?;
    let half = memory()?;
    let second = hook.post(Kind::Injected, SOAK_REVIEWS / 2).await?;
    let cost = (ours.cpu_seconds()? - before) * 1e3 / SOAK_REVIEWS as f64;
    let rate = SOAK_REVIEWS as f64 / (first + second).as_secs_f64();
    let end = memory()?;

    let of = |label: String, value: f64| Row::single(label, Statistic::Median, Some(value));
    table.row(of("reviews/s, Istio's".to_owned(), peer_rate));
    table.row(of("reviews/s, ours".to_owned(), rate));
    table.row(
        of("ours to Istio's".to_owned(), rate / peer_rate)
            .limit(Statistic::Median, Limit::AtLeast(RATE_LIMIT)),
    );
    table.row(of("CPU of a review, Istio's, ms".to_owned(), peer_cost));
    table.row(of("CPU of a review, ours, ms".to_owned(), cost));
    let memory = Limit::AtMost(MEMORY_LIMIT_MEGABYTES);
    table.row(of("memory before the soak, MB".to_owned(), start).limit(Statistic::Median, memory));
    table.row(
        of(format!("after {} reviews, MB", SOAK_REVIEWS / 2), half)
            .limit(Statistic::Median, memory),
    );
    table
        .row(of(format!("after {SOAK_REVIEWS} reviews, MB"), end).limit(Statistic::Median, memory));
    table.row(
        of("growth in the second half, MB".to_owned(), end - half)
            .limit(Statistic::Median, Limit::AtMost(GROWTH_LIMIT_MEGABYTES)),
    );
    Ok(())
}

/// Creates a pod by a server-side dry run, and looks whether it is of its kind.
async fn admit(pods: &Api<Pod>, pod: &Pod, kind: Kind) -> anyhow::Result<()> {
    let parameters = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let admitted = pods.create(&parameters, pod).await.context("dry run")?;
    kind.ensure(&admitted)
}
