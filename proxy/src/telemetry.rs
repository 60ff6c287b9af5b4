//! What a sidecar counts besides Envoy's statistics: Istio's metrics of TCP connections.
//!
//! A label is given its value where this side knows it. The peer is not asked who it is, so its
//! labels are `unknown`, as Istio says of peers outside of the mesh. Series are per flag, never per
//! peer, so their number is bounded.

use std::sync::Arc;

use crate::{
    config::Node,
    direction::Direction,
    ending::{Ending, ResponseFlag},
    stats::{
        Counter, Given, Kind, PerWorker, Scope, Store, Worker, sets::filter::TcpProxyStatistics,
    },
};

const UNKNOWN: &str = "unknown";

/// The connections of a sidecar.
#[derive(Debug)]
pub struct Telemetry(Box<[Connections]>);

/// What one worker has seen.
#[derive(Debug, Default)]
struct Connections {
    inbound: Flagged,
    outbound: Flagged,
}

/// The connections of one direction.
#[derive(Debug, Default)]
pub struct Flagged {
    /// Those that were opened, or failed before that, by the flag they had then.
    pub opened: FlagCounters,
    /// Those that ended.
    pub closed: FlagCounters,
}

/// A count for each response flag, and one for none.
#[derive(Debug, Default)]
pub struct FlagCounters([Counter; ResponseFlag::ALL.len() + 1]);

impl FlagCounters {
    /// Counts one connection.
    pub fn count(&self, flag: Option<ResponseFlag>) {
        self.of(flag).increment();
    }

    fn of(&self, flag: Option<ResponseFlag>) -> &Counter {
        &self.0[flag.map_or(0, |flag| flag as usize + 1)]
    }
}

impl Telemetry {
    /// Of so many workers, which have not seen anything yet.
    pub fn new(workers: usize) -> Self {
        Self((0..workers).map(|_| Connections::default()).collect())
    }

    /// What a worker counts of one direction; no other thread may.
    pub fn of(&self, worker: Worker, direction: Direction) -> &Flagged {
        self.0[worker.index()].of(direction)
    }

    fn sum(&self, direction: Direction, value: impl Fn(&Flagged) -> u64) -> u64 {
        self.0
            .iter()
            .map(|worker| value(worker.of(direction)))
            .sum()
    }
}

impl Connections {
    fn of(&self, direction: Direction) -> &Flagged {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

/// All of it, under Istio's names.
pub struct Report {
    telemetry: Arc<Telemetry>,
    /// Of the proxy of each direction.
    bytes: [(Direction, Arc<Scope<PerWorker<TcpProxyStatistics>>>); 2],
    workers: usize,
    node: Node,
}

impl Report {
    /// Of this telemetry, by this proxy.
    pub fn new(telemetry: Arc<Telemetry>, store: &Store, node: Node) -> Self {
        let proxy = |direction: Direction| (direction, store.tcp_proxy(direction.cluster()));
        Self {
            workers: telemetry.0.len(),
            bytes: Direction::ALL.map(proxy),
            telemetry,
            node,
        }
    }

    /// The values now.
    pub fn statistics(&self) -> Vec<Given> {
        let mut statistics = vec![build()];
        for (direction, bytes) in &self.bytes {
            self.connections(*direction, bytes, &mut statistics);
        }
        statistics
    }

    fn connections(
        &self,
        direction: Direction,
        bytes: &PerWorker<TcpProxyStatistics>,
        statistics: &mut Vec<Given>,
    ) {
        let mut add = |name: &str, flag: Option<ResponseFlag>, value: u64| {
            // A series begins with its first connection, as in Istio.
            if value > 0 {
                let labels = labels(&self.node, direction, flag);
                statistics.push(given(name, labels, Kind::Counter, value));
            }
        };
        for flag in std::iter::once(None).chain(ResponseFlag::ALL.into_iter().map(Some)) {
            let sum = |counted: fn(&Flagged) -> &FlagCounters| {
                self.telemetry
                    .sum(direction, |side| counted(side).of(flag).value())
            };
            let (opened, closed) = (sum(|side| &side.opened), sum(|side| &side.closed));
            add("istio_tcp_connections_opened_total", flag, opened);
            add("istio_tcp_connections_closed_total", flag, closed);
        }
        let workers = || (0..self.workers).filter_map(|index| Worker::new(index, self.workers));
        let sum = |value: fn(&TcpProxyStatistics) -> &Counter| -> u64 {
            workers()
                .map(|worker| value(bytes.of(worker)).value())
                .sum()
        };
        // Bytes are counted while they flow, when nothing has failed yet.
        let sent = sum(|counted| &counted.downstream_cx_tx_bytes_total);
        let received = sum(|counted| &counted.downstream_cx_rx_bytes_total);
        add("istio_tcp_sent_bytes_total", None, sent);
        add("istio_tcp_received_bytes_total", None, received);
    }
}

/// The version of the proxy.
fn build() -> Given {
    let labels = [("component", "proxy"), ("tag", env!("CARGO_PKG_VERSION"))];
    given("istio_build", owned(labels), Kind::Gauge, 1)
}

fn given(name: &str, labels: Vec<(String, String)>, kind: Kind, value: u64) -> Given {
    // The form that Envoy gives to a statistic made of tags.
    let mut path = format!("istiocustom.{name}");
    for (label, value) in &labels {
        path.push_str(&format!(".{label}.{value}"));
    }
    Given {
        name: path,
        family: name.to_owned(),
        labels,
        kind,
        value,
        used: true,
    }
}

fn owned<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    labels
        .into_iter()
        .map(|(label, value)| (label.to_owned(), value.to_owned()))
        .collect()
}

/// Istio's labels in Istio's order.
fn labels(node: &Node, direction: Direction, flag: Option<ResponseFlag>) -> Vec<(String, String)> {
    let unknown = Workload::unknown();
    let own = Workload::of(node);
    let (reporter, source, destination, security) = match direction {
        // What arrives at the passthrough is plain text; what leaves is not ours to know.
        Direction::Inbound => ("destination", unknown, own, "none"),
        Direction::Outbound => ("source", own, unknown, UNKNOWN),
    };
    let flags = Ending::flags_with(flag).to_string();
    owned([
        ("reporter", reporter),
        ("source_workload", source.workload),
        ("source_canonical_service", source.canonical_service),
        ("source_canonical_revision", source.canonical_revision),
        ("source_workload_namespace", source.namespace),
        ("source_principal", UNKNOWN),
        ("source_app", source.app),
        ("source_version", source.version),
        ("source_cluster", source.cluster),
        ("destination_workload", destination.workload),
        ("destination_workload_namespace", destination.namespace),
        ("destination_principal", UNKNOWN),
        ("destination_app", destination.app),
        ("destination_version", destination.version),
        ("destination_service", UNKNOWN),
        (
            "destination_canonical_service",
            destination.canonical_service,
        ),
        (
            "destination_canonical_revision",
            destination.canonical_revision,
        ),
        ("destination_service_name", direction.cluster()),
        ("destination_service_namespace", destination.namespace),
        ("destination_cluster", destination.cluster),
        ("request_protocol", "tcp"),
        ("response_flags", &flags),
        ("connection_security_policy", security),
    ])
}

struct Workload<'a> {
    workload: &'a str,
    namespace: &'a str,
    canonical_service: &'a str,
    canonical_revision: &'a str,
    app: &'a str,
    version: &'a str,
    cluster: &'a str,
}

impl<'a> Workload<'a> {
    fn unknown() -> Self {
        Self {
            workload: UNKNOWN,
            namespace: UNKNOWN,
            canonical_service: UNKNOWN,
            canonical_revision: UNKNOWN,
            app: UNKNOWN,
            version: UNKNOWN,
            cluster: UNKNOWN,
        }
    }

    fn of(node: &'a Node) -> Self {
        Self {
            workload: node.workload(),
            namespace: &node.namespace,
            canonical_service: node.canonical_name(),
            canonical_revision: node.canonical_revision(),
            app: node.label("app").unwrap_or(UNKNOWN),
            version: node.label("version").unwrap_or(UNKNOWN),
            cluster: node
                .metadata
                .get("CLUSTER_ID")
                .map_or(UNKNOWN, String::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_has_its_own_count() {
        let counters = FlagCounters::default();
        counters.count(None);
        for (index, flag) in ResponseFlag::ALL.into_iter().enumerate() {
            for _ in 0..index {
                counters.count(Some(flag));
            }
        }
        assert_eq!(counters.of(None).value(), 1);
        for (index, flag) in ResponseFlag::ALL.into_iter().enumerate() {
            assert_eq!(counters.of(Some(flag)).value(), index as u64);
        }
    }
}
