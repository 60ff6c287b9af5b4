//! `/clusters`

use std::{fmt::Write, sync::Arc};

use axum::{http::StatusCode, response::Response};
use fairlead_xds::{
    envoy::{
        admin::v3::{
            ClusterStatus, Clusters, HostHealthStatus, HostStatus, SimpleMetric, simple_metric,
        },
        config::{
            cluster::v3::{CircuitBreakers, circuit_breakers::Thresholds},
            core::v3::{HealthStatus as AssignedHealth, Locality, RoutingPriority},
        },
    },
    google::protobuf::UInt32Value,
};
use regex::RegexBuilder;

use super::{Served, address};
use crate::{
    admin::handler::{Parameters, is_json, message, refuse, text},
    cluster::{
        circuit_breaker::Limits,
        discovery::Discovery,
        endpoint::{Endpoint, HealthFlag},
        metadata::Value,
        running::Cluster,
    },
};

/// What a filter's automaton may take; a larger one is a mistake.
const FILTER_SIZE: usize = 1024 * 1024;

pub(super) fn answer(served: &Served, parameters: &Parameters) -> Response {
    let filter = match parameters.get("filter") {
        None => None,
        Some(filter) => match RegexBuilder::new(filter).size_limit(FILTER_SIZE).build() {
            Ok(filter) => Some(filter),
            Err(_) => return refuse(StatusCode::BAD_REQUEST, "Invalid re2 regex\n"),
        },
    };
    let clusters = served.plane.clusters.load();
    let mut clusters: Vec<&Arc<Cluster>> = clusters.values().collect();
    clusters.retain(|cluster| {
        let name = &cluster.config.name;
        filter.as_ref().is_none_or(|filter| filter.is_match(name))
    });
    clusters.sort_by(|one, other| one.config.name.cmp(&other.config.name));
    if is_json(parameters) {
        return message(&Clusters {
            cluster_statuses: clusters
                .into_iter()
                .map(|cluster| status(cluster))
                .collect(),
        });
    }
    let mut page = String::new();
    for cluster in clusters {
        write(&mut page, cluster);
    }
    text(page)
}

/// What a host counts, as Envoy calls it. A connection of layer 4 is one request.
fn counts(endpoint: &Endpoint) -> [(&'static str, u64); 9] {
    let state = endpoint.state();
    let active = state.active().into();
    let failed = state.connect_failures();
    [
        ("cx_connect_fail", failed),
        ("cx_total", state.connections()),
        ("rq_error", 0),
        ("rq_success", 0),
        ("rq_timeout", 0),
        ("rq_total", state.connections().saturating_sub(failed)),
        ("cx_active", active),
        ("rq_active", active),
        ("rq_pending_active", 0),
    ]
}

fn is_gauge(name: &str) -> bool {
    name.ends_with("_active")
}

fn service_name(cluster: &Cluster) -> Option<&str> {
    match &cluster.config.discovery {
        Discovery::File { name, .. } if *name != cluster.config.name => Some(name),
        _ => None,
    }
}

fn status(cluster: &Cluster) -> ClusterStatus {
    let config = &cluster.config;
    let limits = &config.circuit_breakers;
    ClusterStatus {
        name: config.name.to_string(),
        host_statuses: cluster
            .endpoints()
            .endpoints()
            .map(|endpoint| host(endpoint))
            .collect(),
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![
                thresholds(RoutingPriority::Default, &limits.default),
                thresholds(RoutingPriority::High, &limits.high),
            ],
            ..CircuitBreakers::default()
        }),
        observability_name: config.stat_name.to_string(),
        eds_service_name: service_name(cluster).unwrap_or_default().to_owned(),
        ..ClusterStatus::default()
    }
}

fn thresholds(priority: RoutingPriority, limits: &Limits) -> Thresholds {
    Thresholds {
        priority: priority.into(),
        max_connections: number(limits.max_connections),
        max_pending_requests: number(limits.max_pending_requests),
        max_requests: number(limits.max_requests),
        max_retries: number(limits.max_retries),
        ..Thresholds::default()
    }
}

fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

fn host(endpoint: &Endpoint) -> HostStatus {
    let stats = counts(endpoint).map(|(name, value)| SimpleMetric {
        r#type: if is_gauge(name) {
            simple_metric::Type::Gauge.into()
        } else {
            simple_metric::Type::Counter.into()
        },
        value,
        name: name.to_owned(),
    });
    let state = endpoint.state();
    let status = AssignedHealth::from_str_name(health(endpoint)).unwrap_or_default();
    HostStatus {
        address: Some(address(endpoint.address)),
        stats: stats.into(),
        health_status: Some(HostHealthStatus {
            failed_active_health_check: state.has(HealthFlag::FailedActiveHc),
            failed_outlier_check: state.has(HealthFlag::FailedOutlierCheck),
            failed_active_degraded_check: state.has(HealthFlag::DegradedActiveHc),
            pending_active_hc: state.has(HealthFlag::PendingActiveHc),
            excluded_via_immediate_hc_fail: state.has(HealthFlag::ExcludedViaImmediateHcFail),
            active_hc_timeout: state.has(HealthFlag::ActiveHcTimeout),
            eds_health_status: status.into(),
            ..HostHealthStatus::default()
        }),
        weight: endpoint.attributes.weight,
        hostname: endpoint.attributes.hostname.to_string(),
        priority: endpoint.priority,
        locality: Some(Locality {
            region: endpoint.locality.region.to_string(),
            zone: endpoint.locality.zone.to_string(),
            sub_zone: endpoint.locality.sub_zone.to_string(),
        }),
        ..HostStatus::default()
    }
}

/// Of what is assigned alone, as Envoy tells it; nothing said is healthy.
fn health(endpoint: &Endpoint) -> &'static str {
    match endpoint.attributes.health_status.name() {
        "UNKNOWN" => "HEALTHY",
        "TIMEOUT" => "UNHEALTHY",
        name => name,
    }
}

// Writing to a string does not fail. Success rates are not kept beyond the interval that they are of,
// and -1 is Envoy's for none.
fn write(page: &mut String, cluster: &Cluster) {
    let config = &cluster.config;
    let name = &config.name;
    let _ = writeln!(page, "{name}::observability_name::{}", config.stat_name);
    if config.outlier.is_some() {
        for origin in ["", "local_origin_"] {
            for what in ["average", "ejection_threshold"] {
                let _ = writeln!(page, "{name}::outlier::{origin}success_rate_{what}::-1");
            }
        }
    }
    let limits = &config.circuit_breakers;
    for (priority, limits) in [("default", &limits.default), ("high", &limits.high)] {
        for (what, limit) in [
            ("connections", limits.max_connections),
            ("pending_requests", limits.max_pending_requests),
            ("requests", limits.max_requests),
            ("retries", limits.max_retries),
        ] {
            let _ = writeln!(page, "{name}::{priority}_priority::max_{what}::{limit}");
        }
    }
    let _ = writeln!(page, "{name}::added_via_api::false");
    if let Some(service) = service_name(cluster) {
        let _ = writeln!(page, "{name}::eds_service_name::{service}");
    }
    for endpoint in cluster.endpoints().endpoints() {
        let at = format!("{name}::{}", endpoint.address);
        let mut counts = counts(endpoint);
        counts.sort_unstable();
        for (what, value) in counts {
            let _ = writeln!(page, "{at}::{what}::{value}");
        }
        let flags: String = endpoint.health_flags().collect();
        let flags = if flags.is_empty() { "healthy" } else { &flags };
        let attributes = &endpoint.attributes;
        let locality = &endpoint.locality;
        let _ = writeln!(page, "{at}::hostname::{}", attributes.hostname);
        let _ = writeln!(page, "{at}::health_flags::{flags}");
        let _ = writeln!(page, "{at}::weight::{}", attributes.weight);
        let _ = writeln!(page, "{at}::region::{}", locality.region);
        let _ = writeln!(page, "{at}::zone::{}", locality.zone);
        let _ = writeln!(page, "{at}::sub_zone::{}", locality.sub_zone);
        let canary = matches!(attributes.metadata.get("canary"), Some(Value::Bool(true)));
        let _ = writeln!(page, "{at}::canary::{canary}");
        let _ = writeln!(page, "{at}::priority::{}", endpoint.priority);
        let _ = writeln!(page, "{at}::success_rate::-1");
        let _ = writeln!(page, "{at}::local_origin_success_rate::-1");
    }
}
