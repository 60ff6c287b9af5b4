//! What one subject does in a round.

use std::time::Duration;

use anyhow::{Context, ensure};

use super::{
    bed::{Bed, Path},
    comparison::{Comparison, Quantity},
    subject::Subject,
};
use crate::{
    proxy::traffic::{self, Server, echo, echo_once, sink},
    summary::Summary,
    table::Limit,
};

/// How much of each is done in a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    stream: Duration,
    round_trips: Duration,
    /// Of each client.
    connections: usize,
    /// With mutual TLS, of the one client.
    handshakes: usize,
}

impl Plan {
    pub(super) const THOROUGH: Self = Self {
        stream: Duration::from_secs(2),
        round_trips: Duration::from_secs(1),
        connections: 750,
        handshakes: 750,
    };
    pub(super) const QUICK: Self = Self {
        stream: Duration::from_millis(500),
        round_trips: Duration::from_millis(300),
        connections: 200,
        handshakes: 200,
    };
}

/// At once, each opening one connection after the other.
const CLIENTS: usize = 4;
/// One, because a client keeps one session: a second connection at the same time would not resume.
const TLS_CLIENTS: usize = 1;

const KEPT_CONNECTIONS: usize = 1_000;

/// Indices of ports. A closed connection holds its port for a minute, so each round has its own.
const SINK: u16 = 0;
const FIRST_ECHO: u16 = 1;
const FIRST_KEPT: u16 = 100;

const IDLE_LIMIT: Limit = Limit::AtMost(0.2);
const IDLE_LIMIT_MEGABYTES: Limit = Limit::AtMost(12.0);
const LOADED_LIMIT: Limit = Limit::AtMost(0.27);

/// Of Envoy's with a full handshake.
const RESUMED_LIMIT: Limit = Limit::AtMost(0.35);

/// A handshake that was meant to be full or resumed may be the other one this often: the first of a
/// round has nothing to resume.
const TOLERATED_SHARE: f64 = 0.05;

/// A subject and its bed.
#[derive(Debug)]
pub(super) struct Lane {
    bed: Bed,
    paths: Vec<Path>,
    /// At the ends of the streams.
    _sinks: [Server; 2],
}

impl Lane {
    pub(super) fn new(bed: Bed, with_tls: bool) -> anyhow::Result<Self> {
        let paths = [
            Path::OneHop,
            Path::TwoSidecars,
            Path::MutualTls,
            Path::MutualTlsFull,
        ];
        let sinks = [
            bed.serve(false, SINK, 1, sink)?,
            bed.serve(true, SINK, 1, sink)?,
        ];
        Ok(Self {
            bed,
            paths: paths
                .into_iter()
                .filter(|path| with_tls || !path.has_tls())
                .collect(),
            _sinks: sinks,
        })
    }

    pub(super) fn subject(&self) -> Subject {
        self.bed.subject()
    }

    /// What the sidecars have agreed on, without which the figures of mutual TLS say little.
    pub(super) fn describe_tls(&self) -> anyhow::Result<Option<String>> {
        if !self.paths.iter().any(|path| path.has_tls()) {
            return Ok(None);
        }
        let mut agreed = Vec::new();
        for kind in ["versions", "ciphers", "curves", "sigalgs"] {
            let prefix = format!("cluster.mutual_tls_full.ssl.{kind}.");
            agreed.extend(self.bed.client_statistics_below(&prefix)?);
        }
        let agreed = agreed.join(", ");
        Ok(Some(format!("mTLS of {}: {agreed}.", self.subject())))
    }

    /// Before any traffic.
    pub(super) fn idle(&self, comparison: &mut Comparison) -> anyhow::Result<()> {
        let quantity = Quantity::new("memory idle, MB")
            .ratio(Some(IDLE_LIMIT))
            .own(Some(IDLE_LIMIT_MEGABYTES));
        for megabytes in self.bed.resident_megabytes()? {
            comparison.add(quantity.clone(), self.subject(), megabytes);
        }
        Ok(())
    }

    pub(super) fn round(
        &self,
        round: u16,
        plan: &Plan,
        comparison: &mut Comparison,
    ) -> anyhow::Result<()> {
        let index = FIRST_ECHO + round;
        let _servers = [
            self.bed.serve(false, index, 2 * CLIENTS, echo)?,
            self.bed.serve(true, index, 2 * CLIENTS, echo)?,
        ];
        for &path in &self.paths {
            let mut round = Round {
                bed: &self.bed,
                path,
                comparison,
            };
            // With another handshake the stream would be the same.
            let each: &[Step] = if path == Path::MutualTlsFull {
                &[Step::Connections]
            } else {
                &[Step::Stream, Step::RoundTrips, Step::Connections]
            };
            for step in each {
                step.take(&mut round, index, plan)
                    .with_context(|| format!("{path}, {step:?}"))?;
            }
        }
        self.loaded(FIRST_KEPT + round, comparison)
            .with_context(|| format!("{KEPT_CONNECTIONS} open connections"))
    }

    /// With connections that are open and have carried something.
    fn loaded(&self, index: u16, comparison: &mut Comparison) -> anyhow::Result<()> {
        let _keeper = self.bed.keep(index)?;
        let address = self.bed.address(Path::TwoSidecars, index);
        let open = || -> std::io::Result<Vec<_>> {
            (0..KEPT_CONNECTIONS).map(|_| echo_once(address)).collect()
        };
        let kept = self.bed.on_client(open)??;
        let quantity = Quantity::new(format!("memory with {KEPT_CONNECTIONS} connections, MB"))
            .ratio(Some(LOADED_LIMIT));
        for megabytes in self.bed.resident_megabytes()? {
            comparison.add(quantity.clone(), self.subject(), megabytes);
        }
        drop(kept);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Stream,
    RoundTrips,
    Connections,
}

impl Step {
    fn take(self, round: &mut Round<'_>, index: u16, plan: &Plan) -> anyhow::Result<()> {
        match self {
            Self::Stream => round.stream(plan),
            Self::RoundTrips => round.round_trips(index, plan),
            Self::Connections => round.connections(index, plan),
        }
    }
}

/// One way in one round.
struct Round<'a> {
    bed: &'a Bed,
    path: Path,
    comparison: &'a mut Comparison,
}

impl Round<'_> {
    fn stream(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let address = self.bed.address(self.path, SINK);
        let (transfer, cpu) = self.costing(|| traffic::stream(address, plan.stream))?;
        let gigabytes = transfer.bytes as f64 / 1e9;
        let gigabits_per_second = gigabytes * 8.0 / transfer.elapsed.as_secs_f64();
        let (throughput, cost) = match self.path {
            Path::OneHop => (None, Some(Limit::AtMost(0.2))),
            Path::TwoSidecars => (Some(Limit::AtLeast(2.0)), None),
            Path::MutualTls => (Some(Limit::AtLeast(1.2)), None),
            Path::MutualTlsFull => (None, None),
        };
        self.add("one stream, Gbit/s", throughput, gigabits_per_second);
        self.add("CPU of a stream, s/GB", cost, cpu / gigabytes);
        Ok(())
    }

    fn round_trips(&mut self, index: u16, plan: &Plan) -> anyhow::Result<()> {
        let address = self.bed.address(self.path, index);
        let (trips, cpu) = self.costing(|| traffic::round_trips(address, plan.round_trips))?;
        let count = trips.len() as f64;
        let microseconds = Summary::of(trips.iter().map(|trip| trip.as_secs_f64() * 1e6));
        for (label, share) in [
            ("round trip of 64 bytes, median, µs", 0.5),
            ("round trip of 64 bytes, p99, µs", 0.99),
        ] {
            let value = microseconds
                .quantile(share)
                .context("not one message came back")?;
            self.add(label, None, value);
        }
        self.add("CPU of a round trip, µs", None, cpu * 1e6 / count);
        Ok(())
    }

    fn connections(&mut self, index: u16, plan: &Plan) -> anyhow::Result<()> {
        let address = self.bed.address(self.path, index);
        let (clients, each) = if self.path.has_tls() {
            (TLS_CLIENTS, plan.handshakes)
        } else {
            (CLIENTS, plan.connections)
        };
        let count = (clients * each) as f64;
        let before = self.handshakes()?;
        let (elapsed, cpu) = self.costing(|| traffic::crowd(address, clients, each))?;
        if let (Some(before), Some(after)) = (before, self.handshakes()?) {
            self.check_resumption(after.since(before))?;
        }
        let cost = match self.path {
            Path::OneHop => Some(Limit::AtMost(0.45)),
            Path::MutualTlsFull => Some(Limit::AtMost(0.65)),
            Path::TwoSidecars | Path::MutualTls => None,
        };
        self.add("new connections, 1/s", None, count / elapsed.as_secs_f64());
        self.add(CONNECTION_CPU, cost, cpu * 1e6 / count);
        Ok(())
    }

    /// Runs a client, and returns what the sidecars on the path used meanwhile, in seconds.
    fn costing<T: Send>(
        &self,
        client: impl FnOnce() -> std::io::Result<T> + Send,
    ) -> anyhow::Result<(T, f64)> {
        let before = self.bed.cpu_seconds(self.path)?;
        let done = self.bed.on_client(client)??;
        Ok((done, self.bed.cpu_seconds(self.path)? - before))
    }

    fn add(&mut self, label: &str, limit: Option<Limit>, value: f64) {
        let quantity = Quantity::new(label_of(self.path, label)).ratio(limit);
        self.comparison.add(quantity, self.bed.subject(), value);
    }

    /// Of the client's sidecar, so far; none without TLS.
    fn handshakes(&self) -> anyhow::Result<Option<Handshakes>> {
        let cluster = match self.path {
            Path::OneHop | Path::TwoSidecars => return Ok(None),
            Path::MutualTls => "mutual_tls",
            Path::MutualTlsFull => "mutual_tls_full",
        };
        let count = |name| {
            self.bed
                .client_statistic(&format!("cluster.{cluster}.ssl.{name}"))
        };
        Ok(Some(Handshakes {
            all: count("handshake")?,
            resumed: count("session_reused")?,
        }))
    }

    /// Else the figure would be that of another handshake.
    fn check_resumption(&self, seen: Handshakes) -> anyhow::Result<()> {
        let Handshakes { all, resumed } = seen;
        let meant = match self.path {
            Path::MutualTls => resumed,
            _ => all.saturating_sub(resumed),
        };
        let other = all.saturating_sub(meant) as f64;
        ensure!(
            all > 0 && other <= all as f64 * TOLERATED_SHARE,
            "{resumed} of {all} handshakes resumed a session, which is not what `{}` is to measure",
            self.path
        );
        Ok(())
    }
}

const CONNECTION_CPU: &str = "CPU of a new connection, µs";

/// Asks what a resumed handshake costs beside Envoy's full one.
pub(super) fn compare_handshakes(comparison: &mut Comparison) {
    comparison.cross(
        "mTLS: CPU of a new connection, resumed / Envoy's full",
        &label_of(Path::MutualTls, CONNECTION_CPU),
        &label_of(Path::MutualTlsFull, CONNECTION_CPU),
        RESUMED_LIMIT,
    );
}

fn label_of(path: Path, label: &str) -> String {
    format!("{path}: {label}")
}

/// Counted by a sidecar as a client.
#[derive(Clone, Copy, Debug)]
struct Handshakes {
    all: u64,
    resumed: u64,
}

impl Handshakes {
    fn since(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            resumed: self.resumed.saturating_sub(before.resumed),
        }
    }
}
