//! What is measured of one way in one round.

use anyhow::{Context, ensure};

use super::{CLIENTS, Plan, SINK};
use crate::{
    proxy::{
        beside::{
            bed::{Bed, Path},
            comparison::{Comparison, Quantity},
        },
        traffic,
    },
    summary::Summary,
    table::Limit,
};

/// One, because a client keeps one session: a second connection at the same time would not resume.
const TLS_CLIENTS: usize = 1;

/// Of Envoy's with a full handshake.
const RESUMED_LIMIT: Limit = Limit::AtMost(0.35);

/// A handshake that was meant to be full or resumed may be the other one this often: the first of a
/// round has nothing to resume.
const TOLERATED_SHARE: f64 = 0.05;

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Stream,
    RoundTrips,
    Connections,
}

impl Step {
    pub(super) fn take(self, round: &mut Round<'_>, index: u16, plan: &Plan) -> anyhow::Result<()> {
        match self {
            Self::Stream => round.stream(plan),
            Self::RoundTrips => round.round_trips(index, plan),
            Self::Connections => round.connections(index, plan),
        }
    }
}

/// One way in one round.
pub(super) struct Round<'a> {
    pub(super) bed: &'a Bed,
    pub(super) path: Path,
    pub(super) comparison: &'a mut Comparison,
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
            Path::Direct | Path::MutualTlsFull => (None, None),
        };
        self.add("one stream, Gbit/s", throughput, gigabits_per_second);
        self.add_cost("CPU of a stream, s/GB", cost, cpu / gigabytes);
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
        self.add_cost("CPU of a round trip, µs", None, cpu * 1e6 / count);
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
            Path::Direct | Path::TwoSidecars | Path::MutualTls => None,
        };
        self.add("new connections, 1/s", None, count / elapsed.as_secs_f64());
        self.add_cost(CONNECTION_CPU, cost, cpu * 1e6 / count);
        Ok(())
    }

    /// Runs a client, and returns what the sidecars on the path used meanwhile, in seconds.
    fn costing<T: Send>(
        &self,
        client: impl FnOnce() -> std::io::Result<T> + Send,
    ) -> anyhow::Result<(T, f64)> {
        let before = self.bed.cpu_seconds(self.path)?;
        let done = self.bed.on_client(self.path, client)??;
        Ok((done, self.bed.cpu_seconds(self.path)? - before))
    }

    fn add(&mut self, label: &str, limit: Option<Limit>, value: f64) {
        let quantity = Quantity::new(label_of(self.path, label)).ratio(limit);
        self.comparison.add(quantity, self.bed.subject(), value);
    }

    /// As [`add`](Self::add), of what sidecars use: nothing where there are none.
    fn add_cost(&mut self, label: &str, limit: Option<Limit>, value: f64) {
        if self.path != Path::Direct {
            self.add(label, limit, value);
        }
    }

    /// Of the client's sidecar, so far; none without TLS.
    fn handshakes(&self) -> anyhow::Result<Option<Handshakes>> {
        let cluster = match self.path {
            Path::Direct | Path::OneHop | Path::TwoSidecars => return Ok(None),
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
pub(in crate::proxy::beside) fn compare_handshakes(comparison: &mut Comparison) {
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
