//! The webhook: what it adds to the admission of a pod, and its memory.
//!
//! Pods are created with a server-side dry run at a fixed rate, whatever the answers do: an answer's
//! time counts from when its request was due. One second each, a namespace that is injected and one
//! that is not take turns.

use std::{fs, time::Duration};

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    kubernetes::{Bench, Kind, is_injected, pod, within},
    memory,
    summary::Summary,
    table::{Limit, Row, Statistic, Table},
};

const PER_SECOND: u32 = 50;
const SECONDS: u32 = 20;

/// Opens the connections of both sides, and counts for nothing.
const WARM_UP_SECONDS: u32 = 2;

const ADDED_LIMIT_MILLISECONDS: f64 = 4.0;
const MEMORY_LIMIT_MEGABYTES: f64 = 20.0;

const PROGRAM: &str = "fairlead-webhook";

pub(crate) async fn measure(bench: Bench) -> anyhow::Result<Table> {
    let idle = replicas(&bench).await?;
    let mut samples = Kind::ALL.map(|kind| (kind, Vec::new()));
    for second in 0..WARM_UP_SECONDS + SECONDS {
        for (kind, latencies) in &mut samples {
            let answers = one_second(&bench, *kind).await?;
            if second >= WARM_UP_SECONDS {
                latencies.extend(answers);
            }
        }
    }
    let [plain, injected] = samples.map(|(_, latencies)| Summary::of(latencies));
    let difference = |share| Some(injected.quantile(share)? - plain.quantile(share)?);
    let mut table = Table::new(format!(
        "webhook: pods created by server-side dry run, {PER_SECOND}/s, open loop"
    ));
    table.row(Row::summary("not injected, ms", &plain));
    table.row(Row::summary("injected, ms", &injected));
    table.row(Row::single(
        "added at the median, ms",
        Statistic::Median,
        difference(0.5),
    ));
    table.row(
        Row::single("added at p99, ms", Statistic::P99, difference(0.99))
            .limit(Statistic::P99, Limit::AtMost(ADDED_LIMIT_MILLISECONDS)),
    );
    let loaded = replicas(&bench).await?;
    for (when, replicas) in [("before", idle), ("after", loaded)] {
        table.row(
            Row::samples(format!("memory of a replica {when}, MB"), replicas)
                .limit(Statistic::Max, Limit::AtMost(MEMORY_LIMIT_MEGABYTES)),
        );
    }
    Ok(table)
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
        requests.spawn(admit(pods.clone(), pod.clone(), kind, due));
    }
    let answers = within(requests.join_all(), "the answers of one second").await?;
    answers.into_iter().collect()
}

async fn admit(pods: Api<Pod>, pod: Pod, kind: Kind, due: Instant) -> anyhow::Result<f64> {
    let parameters = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let admitted = pods.create(&parameters, &pod).await.context("dry run")?;
    let elapsed = due.elapsed();
    ensure!(
        is_injected(&admitted) == (kind == Kind::Injected),
        "a pod that should be {kind:?} is not: is the chart installed?"
    );
    Ok(elapsed.as_secs_f64() * 1e3)
}

/// Resident memory of each replica, in megabytes. The node is this machine, so that its processes
/// are among ours.
async fn replicas(bench: &Bench) -> anyhow::Result<Vec<f64>> {
    let pods: Api<Pod> = Api::all(bench.client.clone());
    let pods = pods
        .list(&ListParams::default())
        .await
        .context("list pods")?;
    let containers: Vec<&str> = pods
        .iter()
        .filter_map(|pod| pod.status.as_ref())
        .flat_map(|status| status.container_statuses.iter().flatten())
        .filter_map(|container| container.container_id.as_deref()?.split_once("://"))
        .map(|(_, id)| id)
        .collect();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let process = entry.context("read /proc")?.path();
        // Most processes are something else, and some end meanwhile.
        let read = |file| fs::read_to_string(process.join(file)).unwrap_or_default();
        let is_webhook = read("cmdline")
            .split('\0')
            .next()
            .is_some_and(|program| program.rsplit('/').next() == Some(PROGRAM));
        if !is_webhook {
            continue;
        }
        let groups = read("cgroup");
        if containers.iter().any(|id| groups.contains(id)) {
            found.extend(memory::megabytes(&read("status"), "VmRSS"));
        }
    }
    ensure!(
        !found.is_empty(),
        "the cluster runs no {PROGRAM} on this machine: is the chart installed?"
    );
    Ok(found)
}
