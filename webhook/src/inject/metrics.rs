//! The pod's Prometheus annotations → the status port, where the proxy merges the application's
//! metrics with its own.

use fairlead_api::{
    annotations::{
        self,
        prometheus::{self, PATH, PORT, Prometheus, SCHEME, SCRAPE},
    },
    app_metrics::{AppMetrics, MERGED_PATH},
    names::{PROXY_CONTAINER, env},
    ports,
};
use serde_json::Value;

use super::{Status, variable};
use crate::pod;

/// What becomes of a pod's metrics.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Where Prometheus is to ask; none leaves the annotations as they are.
    status_port: Option<u16>,
    app: AppMetrics,
    /// Whether a scheme is annotated, which was the application's.
    has_scheme: bool,
}

impl Metrics {
    /// Reads the annotations.
    ///
    /// # Errors
    /// All of their faults.
    pub(super) fn of(
        pod: &Value,
        previous: &Status,
        status_port: u16,
    ) -> Result<Self, annotations::Faults> {
        let given = pod::annotations(pod);
        let earlier = earlier_status_port(pod, previous);
        let known: Vec<u16> = earlier.into_iter().chain([status_port]).collect();
        let (app, at) = match prometheus::parse(&given, &known)? {
            Prometheus::Off => return Ok(Self::default()),
            Prometheus::Pages(pages) => (pages, None),
            Prometheus::AtStatusPort(port) => (earlier_pages(pod, previous), Some(port)),
        };
        Ok(Self {
            // Whoever wrote the right port already, an earlier injection or the pod's author, knows
            // the proxy.
            status_port: Some(status_port).filter(|port| at != Some(*port)),
            app,
            has_scheme: given.contains_key(SCHEME),
        })
    }

    /// What the proxy reads; empty if the application has no metrics.
    pub(super) fn text(&self) -> String {
        if self.app.targets.is_empty() {
            return String::new();
        }
        self.app.text()
    }

    /// What Prometheus reads.
    pub(super) fn annotations(&self) -> Vec<(&'static str, String)> {
        let Some(port) = self.status_port else {
            return Vec::new();
        };
        let mut annotations = vec![
            (PATH, MERGED_PATH.to_owned()),
            (PORT, port.to_string()),
            (SCRAPE, "true".to_owned()),
        ];
        if self.has_scheme {
            annotations.push((SCHEME, "http".to_owned()));
        }
        annotations
    }
}

fn earlier_pages(pod: &Value, previous: &Status) -> AppMetrics {
    let text = variable(pod, previous, env::PROMETHEUS_ANNOTATIONS);
    text.and_then(|text| AppMetrics::parse(text).ok())
        .unwrap_or_default()
}

/// The status port of an earlier injection, which the annotations of then name.
fn earlier_status_port(pod: &Value, previous: &Status) -> Option<u16> {
    let list = previous.place(pod, PROXY_CONTAINER)?;
    let mut containers = pod::list(pod, list).iter();
    let proxy = containers.find(|c| pod::name(c) == PROXY_CONTAINER)?;
    let arguments = proxy.get("args").and_then(Value::as_array);
    let mut words = arguments.into_iter().flatten().filter_map(Value::as_str);
    let moved = words
        .find(|word| *word == "--status-port")
        .and_then(|_| words.next()?.parse().ok());
    Some(moved.unwrap_or(ports::STATUS))
}
