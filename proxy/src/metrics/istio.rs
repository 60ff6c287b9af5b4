//! Istio's metrics of TCP connections.
//!
//! A label is given its value where this side knows it. The peer is not asked who it is, so its
//! labels are `unknown`, as Istio says of peers outside of the mesh. Series are per flag, never per
//! peer, so their number is bounded.

use super::{Kind, Metric, Sources, flags};
use crate::{config::Node, direction::Direction, ending::ResponseFlag};

const UNKNOWN: &str = "unknown";

/// The connections and bytes of one direction.
pub(super) fn connections(sources: &Sources, direction: Direction, metrics: &mut Vec<Metric>) {
    let sum = |value: &dyn Fn(&crate::statistics::DirectionStatistics) -> u64| {
        sources.sum(direction, value)
    };
    let mut add = |name: &'static str, flag: Option<ResponseFlag>, value: u64| {
        // A series begins with its first connection, as in Istio.
        if value > 0 {
            let labels = labels(&sources.node, direction, flag);
            metrics.push(metric(name, labels, Kind::Counter, value));
        }
    };
    for flag in flags() {
        let opened = sum(&|side| side.opened.of(flag).value());
        let closed = sum(&|side| side.closed.of(flag).value());
        add("istio_tcp_connections_opened_total", flag, opened);
        add("istio_tcp_connections_closed_total", flag, closed);
    }
    // Bytes are counted while they flow, when nothing has failed yet.
    let sent = sum(&|side| side.cluster.received_bytes.value());
    let received = sum(&|side| side.cluster.sent_bytes.value());
    add("istio_tcp_sent_bytes_total", None, sent);
    add("istio_tcp_received_bytes_total", None, received);
}

/// The version of the proxy.
pub(super) fn build() -> Metric {
    let labels = vec![
        ("component", "proxy".to_owned()),
        ("tag", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    metric("istio_build", labels, Kind::Gauge, 1)
}

fn metric(
    name: &'static str,
    labels: Vec<(&'static str, String)>,
    kind: Kind,
    value: u64,
) -> Metric {
    // The form that Envoy gives to a statistic made of tags.
    let mut path = format!("istiocustom.{name}");
    for (label, value) in &labels {
        path.push_str(&format!(".{label}.{value}"));
    }
    Metric {
        name: path,
        family: name.to_owned(),
        labels,
        kind,
        value,
        used: true,
    }
}

/// Istio's labels in Istio's order.
fn labels(
    node: &Node,
    direction: Direction,
    flag: Option<ResponseFlag>,
) -> Vec<(&'static str, String)> {
    let unknown = Workload::unknown();
    let own = Workload::of(node);
    let (reporter, source, destination, security) = match direction {
        // What arrives at the passthrough is plain text; what leaves is not ours to know.
        Direction::Inbound => ("destination", unknown, own, "none"),
        Direction::Outbound => ("source", own, unknown, UNKNOWN),
    };
    let flags = flag.map_or("-", ResponseFlag::as_str);
    let labels = [
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
        ("response_flags", flags),
        ("connection_security_policy", security),
    ];
    labels
        .into_iter()
        .map(|(label, value)| (label, value.to_owned()))
        .collect()
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
