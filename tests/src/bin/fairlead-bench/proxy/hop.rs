//! The sidecar by itself: memory, throughput of one stream, and what one hop adds to a short connection.
//!
//! Two pairs of namespaces: one without any redirect, one whose pod has the real rules and the real
//! proxy. The runs take turns, so that what else the machine does falls on all alike.

mod bed;

use std::{fs, time::Duration};

use anyhow::Context;

use self::bed::{Bed, Path};
use super::{
    CONGESTION_CONTROL, UNPACED,
    traffic::{self, Server, echo, echo_once, sink},
};
use crate::{
    options::Options,
    rig,
    summary::Summary,
    table::{Limit, Row, Statistic, Table},
};

const ROUNDS: u16 = 7;
const QUICK_ROUNDS: u16 = 2;
const STREAM_DURATION: Duration = Duration::from_secs(2);
const IDLE_CONNECTIONS: usize = 100;
/// With the machine's own congestion control.
const PACED_ROUNDS: u16 = 3;

/// One after the other, for the latency.
const SEQUENTIAL: usize = 300;
/// By several clients at once, for the rate.
const CLIENTS: usize = 4;
const CONCURRENT: usize = 500;

const MEMORY_LIMIT_MEGABYTES: f64 = 12.0;
const THROUGHPUT_LIMIT: f64 = 0.85;

const SINK_PORT: u16 = 7001;
const IDLE_PORT: u16 = 7007;

/// The first round's. A closed connection holds its ephemeral port for a minute, in the pod even
/// twice: the application's and the proxy's. Each round has a port of its own to connect to, so that
/// none finds them taken.
const ECHO_PORT: u16 = 7100;

pub(crate) fn measure(options: &Options) -> anyhow::Result<Table> {
    let bed = Bed::new()?;
    bed.use_congestion_control(UNPACED)?;
    let servers = start_servers(&bed)?;
    let mut table = Table::new(format!(
        "proxy: one sidecar between two network namespaces, plaintext TCP, two workers, {UNPACED}"
    ));
    memory(&bed, &mut table)?;
    let mut samples = Path::ALL.map(Samples::of);
    for round in 0..options.rounds(ROUNDS, QUICK_ROUNDS) {
        for sample in &mut samples {
            sample.stream(&bed)?;
            sample.connections(&bed, ECHO_PORT + round)?;
        }
    }
    throughput(&samples, &mut table);
    connections(&samples, &mut table);
    throughput_as_the_machine_paces(&bed, &mut table)?;
    table.row(Row::single(
        "memory after all of this, MB",
        Statistic::Median,
        Some(bed.resident_megabytes()),
    ));
    drop(servers);
    Ok(table)
}

/// Servers at the end of each path, until they are dropped.
fn start_servers(bed: &Bed) -> anyhow::Result<Vec<Server>> {
    let mut servers = Vec::new();
    for path in Path::ALL {
        servers.push(bed.serve(path, SINK_PORT, 1, sink)?);
        servers.push(bed.serve(path, IDLE_PORT, IDLE_CONNECTIONS, echo)?);
    }
    Ok(servers)
}

/// Before any traffic, so that it is the memory of an idle sidecar.
fn memory(bed: &Bed, table: &mut Table) -> anyhow::Result<()> {
    let mut row = |label: String| {
        let value = Some(bed.resident_megabytes());
        let limit = Limit::AtMost(MEMORY_LIMIT_MEGABYTES);
        table.row(Row::single(label, Statistic::Median, value).limit(Statistic::Median, limit));
    };
    row("memory without a connection, MB".to_owned());
    let idle = (0..IDLE_CONNECTIONS)
        .map(|_| {
            bed.on_client(Path::Outbound, || {
                echo_once(bed.address(Path::Outbound, IDLE_PORT))
            })
        })
        .collect::<Result<Vec<_>, _>>()
        .context("open the idle connections")?;
    row(format!(
        "memory with {IDLE_CONNECTIONS} idle connections, MB"
    ));
    drop(idle);
    Ok(())
}

/// What was seen of one path, one element a round.
struct Samples {
    path: Path,
    gigabytes_per_second: Vec<f64>,
    /// Of the proxy alone.
    proxy_seconds_per_gigabyte: Vec<f64>,
    /// Of client, proxy, server and whatever else ran.
    machine_seconds_per_gigabyte: Vec<f64>,
    latency_microseconds: Vec<f64>,
    connections_per_second: Vec<f64>,
}

impl Samples {
    fn of(path: Path) -> Self {
        Self {
            path,
            gigabytes_per_second: Vec::new(),
            proxy_seconds_per_gigabyte: Vec::new(),
            machine_seconds_per_gigabyte: Vec::new(),
            latency_microseconds: Vec::new(),
            connections_per_second: Vec::new(),
        }
    }

    /// Throughput of one stream.
    fn stream(&mut self, bed: &Bed) -> anyhow::Result<()> {
        let address = bed.address(self.path, SINK_PORT);
        let (proxy, machine) = (bed.cpu_seconds()?, rig::cpu_seconds()?);
        let transfer = bed
            .on_client(self.path, || traffic::stream(address, STREAM_DURATION))
            .with_context(|| format!("one stream, {}", self.path))?;
        let gigabytes = transfer.bytes as f64 / 1e9;
        self.gigabytes_per_second
            .push(gigabytes / transfer.elapsed.as_secs_f64());
        self.proxy_seconds_per_gigabyte
            .push((bed.cpu_seconds()? - proxy) / gigabytes);
        self.machine_seconds_per_gigabyte
            .push((rig::cpu_seconds()? - machine) / gigabytes);
        Ok(())
    }

    /// Latency and rate of short connections.
    fn connections(&mut self, bed: &Bed, port: u16) -> anyhow::Result<()> {
        let _server = bed.serve(self.path, port, 2 * CLIENTS, echo)?;
        let address = bed.address(self.path, port);
        let latencies = bed
            .on_client(self.path, || traffic::latencies(address, SEQUENTIAL))
            .with_context(|| format!("connections one by one, {}", self.path))?;
        self.latency_microseconds
            .extend(latencies.iter().map(|latency| latency.as_secs_f64() * 1e6));
        let elapsed = bed
            .on_client(self.path, || traffic::crowd(address, CLIENTS, CONCURRENT))
            .with_context(|| format!("{CLIENTS} clients at once, {}", self.path))?;
        self.connections_per_second
            .push((CLIENTS * CONCURRENT) as f64 / elapsed.as_secs_f64());
        Ok(())
    }
}

fn throughput(samples: &[Samples; Path::ALL.len()], table: &mut Table) {
    for sample in samples {
        let label = format!("one stream {}, GB/s", sample.path);
        table.row(Row::samples(label, sample.gigabytes_per_second.clone()));
    }
    let [direct, hops @ ..] = samples;
    for hop in hops {
        // Each run against the direct one just before it.
        let ratios = hop
            .gigabytes_per_second
            .iter()
            .zip(&direct.gigabytes_per_second);
        table.row(
            Row::samples(
                format!("one stream {} / direct", hop.path),
                ratios.map(|(hop, direct)| hop / direct),
            )
            .limit(Statistic::Median, Limit::AtLeast(THROUGHPUT_LIMIT)),
        );
    }
    for sample in samples {
        let label = format!("CPU of the machine {}, s/GB", sample.path);
        let seconds = sample.machine_seconds_per_gigabyte.clone();
        table.row(Row::samples(label, seconds));
    }
    for hop in hops {
        let label = format!("CPU of the proxy {}, s/GB", hop.path);
        table.row(Row::samples(label, hop.proxy_seconds_per_gigabyte.clone()));
    }
}

/// As machines are set up that pace each stream by a timer: the timers of a second one cost more
/// than the hop itself. For comparison, without a limit.
fn throughput_as_the_machine_paces(bed: &Bed, table: &mut Table) -> anyhow::Result<()> {
    let name = fs::read_to_string(CONGESTION_CONTROL)
        .with_context(|| format!("read {CONGESTION_CONTROL}"))?;
    let name = name.trim();
    if name == UNPACED {
        return Ok(());
    }
    bed.use_congestion_control(name)?;
    let mut samples = Path::ALL.map(Samples::of);
    for _ in 0..PACED_ROUNDS {
        for sample in &mut samples {
            sample.stream(bed)?;
        }
    }
    for sample in samples {
        let label = format!("one stream {}, {name}, GB/s", sample.path);
        table.row(Row::samples(label, sample.gigabytes_per_second));
    }
    Ok(())
}

fn connections(samples: &[Samples; Path::ALL.len()], table: &mut Table) {
    let [direct, ..] = samples;
    let direct = Summary::of(direct.latency_microseconds.clone());
    for sample in samples {
        let latency = Summary::of(sample.latency_microseconds.clone());
        let label = format!("connect and echo a byte {}, µs", sample.path);
        table.row(Row::summary(label, &latency));
        if sample.path != Path::Direct {
            let added = latency
                .median()
                .zip(direct.median())
                .map(|(hop, direct)| hop - direct);
            let label = format!("  added by the hop {}, µs", sample.path);
            table.row(Row::single(label, Statistic::Median, added));
        }
    }
    for sample in samples {
        let label = format!("such connections {}, {CLIENTS} clients, 1/s", sample.path);
        table.row(Row::samples(label, sample.connections_per_second.clone()));
    }
}
