//! The counters of all workers, added up under Envoy's and Istio's names.

use std::sync::Arc;

use crate::{
    access_log,
    config::Node,
    direction::{BLACK_HOLE_CLUSTER, Direction},
    ending::ResponseFlag,
    lifecycle::{Lifecycle, State},
    statistics::{DirectionStatistics, Statistics},
};

mod istio;

/// Counts up, or up and down.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Counts up.
    Counter,
    /// Up and down.
    Gauge,
}

/// One value, with its name in both forms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Metric {
    /// Envoy's name, in which the labels are part of the path.
    pub name: String,
    /// The name for Prometheus.
    pub family: String,
    /// The labels for Prometheus.
    pub labels: Vec<(&'static str, String)>,
    /// How it counts.
    pub kind: Kind,
    /// The value.
    pub value: u64,
    /// Whether anything happened that it counts.
    pub used: bool,
}

/// Where the values come from.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The counters of each worker.
    pub workers: Vec<Arc<Statistics>>,
    /// The ports of the listeners.
    pub listeners: [(Direction, u16); 2],
    /// Who this proxy is.
    pub node: Node,
    /// The access log's counts.
    pub access_log: access_log::Counts,
    /// The state of the process.
    pub lifecycle: Lifecycle,
}

impl Sources {
    /// All values, by name.
    pub fn collect(&self) -> Vec<Metric> {
        let mut metrics = Vec::new();
        self.server(&mut metrics);
        for (direction, port) in self.listeners {
            let address = format!("0.0.0.0_{port}");
            self.listener(direction, &address, &mut metrics);
            self.listener_workers(direction, &address, &mut metrics);
            self.cluster(direction, &mut metrics);
            istio::connections(self, direction, &mut metrics);
        }
        metrics.push(cluster_metric(
            BLACK_HOLE_CLUSTER,
            "upstream_cx_none_healthy",
            Kind::Counter,
            Direction::ALL
                .iter()
                .map(|direction| self.sum(*direction, |side| side.black_holed.value()))
                .sum(),
        ));
        metrics.push(cluster_metric(
            BLACK_HOLE_CLUSTER,
            "membership_total",
            Kind::Gauge,
            0,
        ));
        metrics.push(istio::build());
        metrics.sort_by(|one, other| one.name.cmp(&other.name));
        metrics
    }

    fn sum(&self, direction: Direction, value: impl Fn(&DirectionStatistics) -> u64) -> u64 {
        self.workers
            .iter()
            .map(|worker| value(worker.of(direction)))
            .sum()
    }

    fn server(&self, metrics: &mut Vec<Metric>) {
        let state = self.lifecycle.state();
        let uptime = self.lifecycle.started().elapsed().as_secs();
        let workers = self.workers.len() as u64;
        let gauge = |name: &str, value| Metric {
            name: name.to_owned(),
            family: format!("envoy_{}", name.replace('.', "_")),
            labels: Vec::new(),
            kind: Kind::Gauge,
            value,
            used: true,
        };
        metrics.extend([
            gauge("server.live", u64::from(state == State::Live)),
            gauge("server.state", state.number()),
            gauge("server.uptime", uptime),
            gauge("server.concurrency", workers),
            gauge(
                "server.total_connections",
                self.workers.iter().map(|worker| worker.active()).sum(),
            ),
            gauge(
                "listener_manager.workers_started",
                u64::from(state != State::PreInitializing),
            ),
            gauge(
                "listener_manager.total_listeners_active",
                self.listeners.len() as u64,
            ),
        ]);
        for (name, family, value) in [
            (
                "access_log.lines_written",
                "fairlead_access_log_lines_written_total",
                self.access_log.written(),
            ),
            (
                "access_log.lines_dropped",
                "fairlead_access_log_lines_dropped_total",
                self.access_log.dropped(),
            ),
        ] {
            metrics.push(Metric {
                name: format!("fairlead.{name}"),
                family: family.to_owned(),
                labels: Vec::new(),
                kind: Kind::Counter,
                value,
                used: value > 0,
            });
        }
    }

    fn listener(&self, direction: Direction, address: &str, metrics: &mut Vec<Metric>) {
        let total = self.sum(direction, |side| side.accepted.value());
        let ended = self.sum(direction, |side| side.ended.value());
        let failed = self.sum(direction, |side| side.accept_failed.value());
        for (name, kind, value) in [
            ("downstream_cx_total", Kind::Counter, total),
            ("downstream_cx_destroy", Kind::Counter, ended),
            (
                "downstream_cx_active",
                Kind::Gauge,
                self.sum(direction, DirectionStatistics::active),
            ),
            ("downstream_cx_accept_failed", Kind::Counter, failed),
        ] {
            metrics.push(Metric {
                name: format!("listener.{address}.{name}"),
                family: format!("envoy_listener_{name}"),
                labels: vec![("listener_address", address.to_owned())],
                kind,
                value,
                used: value > 0 || kind == Kind::Gauge && total > 0,
            });
        }
    }

    /// How the connections are spread over the workers.
    fn listener_workers(&self, direction: Direction, address: &str, metrics: &mut Vec<Metric>) {
        for (number, worker) in self.workers.iter().enumerate() {
            let side = worker.of(direction);
            for (name, kind, value) in [
                ("downstream_cx_total", Kind::Counter, side.accepted.value()),
                ("downstream_cx_active", Kind::Gauge, side.active()),
            ] {
                metrics.push(Metric {
                    name: format!("listener.{address}.worker_{number}.{name}"),
                    family: format!("envoy_listener_worker_{name}"),
                    labels: vec![
                        ("worker_id", format!("worker_{number}")),
                        ("listener_address", address.to_owned()),
                    ],
                    kind,
                    value,
                    used: side.accepted.value() > 0,
                });
            }
        }
    }

    fn cluster(&self, direction: Direction, metrics: &mut Vec<Metric>) {
        let sum = |value: fn(&DirectionStatistics) -> u64| self.sum(direction, value);
        // Read in this order the difference is never negative.
        let ended = sum(|side| side.cluster.ended.value());
        let begun = sum(|side| side.cluster.begun.value());
        let failed = sum(|side| side.cluster.connect_failed.value());
        let timed_out = sum(|side| side.cluster.connect_timed_out.value());
        let received = sum(|side| side.cluster.received_bytes.value());
        let sent = sum(|side| side.cluster.sent_bytes.value());
        for (name, kind, value) in [
            ("upstream_cx_total", Kind::Counter, begun),
            ("upstream_cx_destroy", Kind::Counter, ended),
            (
                "upstream_cx_active",
                Kind::Gauge,
                begun.saturating_sub(ended),
            ),
            ("upstream_cx_connect_fail", Kind::Counter, failed),
            ("upstream_cx_connect_timeout", Kind::Counter, timed_out),
            ("upstream_cx_rx_bytes_total", Kind::Counter, received),
            ("upstream_cx_tx_bytes_total", Kind::Counter, sent),
        ] {
            let mut metric = cluster_metric(direction.cluster(), name, kind, value);
            metric.used |= begun > 0 && kind == Kind::Gauge;
            metrics.push(metric);
        }
    }
}

fn cluster_metric(cluster: &str, name: &str, kind: Kind, value: u64) -> Metric {
    Metric {
        name: format!("cluster.{cluster}.{name}"),
        family: format!("envoy_cluster_{name}"),
        labels: vec![("cluster_name", cluster.to_owned())],
        kind,
        value,
        used: value > 0,
    }
}

/// Each flag a connection may end with, and none.
fn flags() -> impl Iterator<Item = Option<ResponseFlag>> {
    std::iter::once(None).chain(ResponseFlag::ALL.into_iter().map(Some))
}
