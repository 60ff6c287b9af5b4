//! `/stats` and `/stats/prometheus`

use std::fmt::Write;

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use regex::{Regex, RegexBuilder};
use serde_json::{Value, json};

use super::{Parameters, json};
use crate::{
    application,
    metrics::{Kind, Metric, Sources},
};

/// The content type of Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a filter's automaton may take; a larger one is a mistake.
const FILTER_SIZE: usize = 1024 * 1024;

/// `/stats`, in the form that `format` names.
pub(super) fn answer(sources: &Sources, parameters: &Parameters) -> Response {
    match parameters.get("format").map(String::as_str) {
        None | Some("text") => {
            respond(sources, parameters, |metrics| text(metrics).into_response())
        }
        Some("json") => respond(sources, parameters, |metrics| json(&as_json(metrics))),
        Some("prometheus") => prometheus(sources, parameters),
        Some(other) => (
            StatusCode::BAD_REQUEST,
            format!("usage: /stats?format=(text|json|prometheus): there is no format {other}\n"),
        )
            .into_response(),
    }
}

/// `/stats/prometheus`
pub fn prometheus(sources: &Sources, parameters: &Parameters) -> Response {
    prometheus_with(sources, parameters, "")
}

/// As [`prometheus`], and then lines of others.
pub fn prometheus_with(sources: &Sources, parameters: &Parameters, more: &str) -> Response {
    respond(sources, parameters, |metrics| {
        let mut page = exposition(metrics);
        application::metrics::join(&mut page, more);
        ([(header::CONTENT_TYPE, PROMETHEUS)], page).into_response()
    })
}

fn respond(
    sources: &Sources,
    parameters: &Parameters,
    form: impl FnOnce(&[Metric]) -> Response,
) -> Response {
    let filter = match parameters.get("filter").map(|text| compile(text)) {
        None => None,
        Some(Ok(filter)) => Some(filter),
        Some(Err(error)) => {
            let words = format!("Invalid regex: {error}\n");
            return (StatusCode::BAD_REQUEST, words).into_response();
        }
    };
    let mut metrics = sources.collect();
    metrics.retain(|metric| {
        (metric.used || !parameters.contains_key("usedonly"))
            && filter
                .as_ref()
                .is_none_or(|filter| filter.is_match(&metric.name))
    });
    form(&metrics)
}

fn compile(filter: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(filter).size_limit(FILTER_SIZE).build()
}

fn text(metrics: &[Metric]) -> String {
    let mut text = String::new();
    for Metric { name, value, .. } in metrics {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name}: {value}");
    }
    text
}

fn as_json(metrics: &[Metric]) -> Value {
    let stats: Vec<Value> = metrics
        .iter()
        .map(|metric| json!({ "name": metric.name, "value": metric.value }))
        .collect();
    json!({ "stats": stats })
}

/// Prometheus' text format, one block for each family.
fn exposition(metrics: &[Metric]) -> String {
    let mut metrics: Vec<&Metric> = metrics.iter().collect();
    metrics.sort_by(|one, other| (&one.family, &one.labels).cmp(&(&other.family, &other.labels)));
    let mut text = String::new();
    let mut family = "";
    for metric in metrics {
        if metric.family != family {
            family = &metric.family;
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            let _ = writeln!(text, "# TYPE {family} {kind}");
        }
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
            .collect();
        let _ = writeln!(text, "{family}{{{}}} {}", labels.join(","), metric.value);
    }
    text
}

fn escape(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(cluster: &str, kind: Kind, value: u64) -> Metric {
        Metric {
            name: format!("cluster.{cluster}.upstream_cx_total"),
            family: "envoy_cluster_upstream_cx_total".to_owned(),
            labels: vec![("cluster_name", cluster.to_owned())],
            kind,
            value,
            used: true,
        }
    }

    #[test]
    fn text_is_a_name_and_a_value_a_line() {
        let metrics = [metric("A", Kind::Counter, 1), metric("B", Kind::Counter, 2)];
        assert_eq!(
            text(&metrics),
            "cluster.A.upstream_cx_total: 1\ncluster.B.upstream_cx_total: 2\n"
        );
    }

    #[test]
    fn a_family_is_declared_once_and_labels_are_escaped() {
        let metrics = [
            metric("b\"\\\n", Kind::Counter, 2),
            Metric {
                family: "envoy_server_live".to_owned(),
                labels: vec![],
                ..metric("", Kind::Gauge, 1)
            },
            metric("A", Kind::Counter, 1),
        ];
        assert_eq!(
            exposition(&metrics),
            "# TYPE envoy_cluster_upstream_cx_total counter\n\
             envoy_cluster_upstream_cx_total{cluster_name=\"A\"} 1\n\
             envoy_cluster_upstream_cx_total{cluster_name=\"b\\\"\\\\\\n\"} 2\n\
             # TYPE envoy_server_live gauge\n\
             envoy_server_live{} 1\n"
        );
    }
}
