//! Parts of the proxy's configuration, laid one over the other.
//!
//! From below: the code's defaults, the mesh's `defaultConfig`, the annotation
//! `proxy.istio.io/config` of the pod's namespace, and that of the pod.

use std::{collections::BTreeMap, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{AccessLog, AccessLogEncoding, ProxyConfig, duration};
use crate::{
    document::{self, Document, Fields, boolean, text},
    names::env,
    ports,
    values::{InterceptionMode, ValueError, parse_status_port},
};

/// What one place says of the proxy; absent leaves it to the layer below.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// [`ProxyConfig::concurrency`]
    pub concurrency: Option<u16>,
    /// [`ProxyConfig::access_log`]
    pub access_log: Option<AccessLog>,
    /// [`ProxyConfig::access_log_encoding`]
    pub access_log_encoding: Option<AccessLogEncoding>,
    /// [`ProxyConfig::termination_drain_duration`]
    pub termination_drain_duration: Option<Duration>,
    /// [`ProxyConfig::connect_timeout`]
    pub connect_timeout: Option<Duration>,
    /// Where the proxy answers the kubelet and Prometheus; 0: nowhere.
    pub status_port: Option<u16>,
    /// How inbound connections come to the proxy.
    pub interception_mode: Option<InterceptionMode>,
    /// Whether the application starts when the proxy is ready, also where the proxy is a plain
    /// container.
    pub hold_application_until_proxy_starts: Option<bool>,
    /// Further environment of the proxy and of the init program.
    pub proxy_metadata: BTreeMap<String, String>,
}

/// Istio's fields that nothing here reads.
const WITHOUT_EFFECT: [&str; 37] = [
    "availabilityZone",
    "binaryPath",
    "caCertificatesPem",
    "configPath",
    "controlPlaneAuthPolicy",
    "customConfigFile",
    "discoveryAddress",
    "discoveryRefreshDelay",
    "drainDuration",
    "envoyAccessLogService",
    "envoyMetricsService",
    "envoyMetricsServiceAddress",
    "extraStatTags",
    "fileFlushInterval",
    "fileFlushMinSizeKb",
    "gatewayTopology",
    "image",
    "meshId",
    "parentShutdownDuration",
    "privateKeyProvider",
    "proxyAdminPort",
    "proxyBootstrapTemplatePath",
    "proxyHeaders",
    "proxyStatsMatcher",
    "readinessProbe",
    "runtimeValues",
    "sds",
    "serviceCluster",
    "statNameLength",
    "statsCompression",
    "statsdUdpAddress",
    "tracing",
    "tracingServiceName",
    "zipkinAddress",
    "envoyStatsFlushInterval",
    "proxyInboundListenPort",
    "proxyListenPort",
];

/// Metadata that asks the init program for what the proxy cannot serve.
const UNSERVED: [&str; 2] = ["ISTIO_META_DNS_CAPTURE", "ISTIO_META_DNS_AUTO_ALLOCATE"];

/// More threads than any machine has use for; a larger number is a mistake.
const MAX_CONCURRENCY: u64 = 512;

impl Layer {
    /// Reads the annotation `proxy.istio.io/config`.
    ///
    /// # Errors
    /// Its form, or every value that is not accepted.
    pub fn parse(text: &str) -> Result<Document<Self>, ValueError> {
        document::read(text, Self::from_fields)
    }

    pub(crate) fn from_fields(fields: &mut Fields<'_>) -> Self {
        let layer = Self {
            concurrency: fields.take("concurrency", concurrency),
            access_log: fields.take("accessLog", choice),
            access_log_encoding: fields.take("accessLogEncoding", choice),
            termination_drain_duration: fields
                .take("terminationDrainDuration", text(duration::parse)),
            connect_timeout: fields.take("connectTimeout", positive_duration),
            status_port: fields.take("statusPort", |value| parse_status_port(&value.to_string())),
            interception_mode: fields.take("interceptionMode", text(str::parse)),
            hold_application_until_proxy_starts: fields
                .take("holdApplicationUntilProxyStarts", boolean),
            proxy_metadata: fields.nested("proxyMetadata", metadata).unwrap_or_default(),
        };
        fields.without_effect(&WITHOUT_EFFECT);
        layer
    }

    /// This layer over a lower one: what it says is stronger, field by field, and in the metadata
    /// name by name.
    #[must_use]
    pub fn over(&self, lower: &Self) -> Self {
        let mut proxy_metadata = lower.proxy_metadata.clone();
        proxy_metadata.extend(self.proxy_metadata.clone());
        Self {
            concurrency: self.concurrency.or(lower.concurrency),
            access_log: self.access_log.or(lower.access_log),
            access_log_encoding: self.access_log_encoding.or(lower.access_log_encoding),
            termination_drain_duration: self
                .termination_drain_duration
                .or(lower.termination_drain_duration),
            connect_timeout: self.connect_timeout.or(lower.connect_timeout),
            status_port: self.status_port.or(lower.status_port),
            interception_mode: self.interception_mode.or(lower.interception_mode),
            hold_application_until_proxy_starts: self
                .hold_application_until_proxy_starts
                .or(lower.hold_application_until_proxy_starts),
            proxy_metadata,
        }
    }

    /// What the proxy reads, with the code's defaults below.
    pub fn proxy_config(&self) -> ProxyConfig {
        let defaults = ProxyConfig::default();
        ProxyConfig {
            concurrency: self.concurrency.or(defaults.concurrency),
            access_log: self.access_log.unwrap_or(defaults.access_log),
            access_log_encoding: self
                .access_log_encoding
                .unwrap_or(defaults.access_log_encoding),
            termination_drain_duration: self
                .termination_drain_duration
                .unwrap_or(defaults.termination_drain_duration),
            connect_timeout: self.connect_timeout.unwrap_or(defaults.connect_timeout),
        }
    }

    /// Where the proxy answers the kubelet and Prometheus; 0: nowhere.
    pub fn status_port_or_default(&self) -> u16 {
        self.status_port.unwrap_or(ports::STATUS)
    }
}

fn concurrency(value: &Value) -> Result<u16, ValueError> {
    let threads = value.as_u64().filter(|threads| *threads <= MAX_CONCURRENCY);
    threads
        .and_then(|threads| u16::try_from(threads).ok())
        .ok_or_else(|| {
            ValueError::new(format!(
                "a whole number from 0 to {MAX_CONCURRENCY} is accepted; 0 is the CPU limit rounded up"
            ))
        })
}

pub(crate) fn choice<T: DeserializeOwned>(value: &Value) -> Result<T, ValueError> {
    T::deserialize(value).map_err(|error| ValueError::new(error.to_string()))
}

pub(crate) fn positive_duration(value: &Value) -> Result<Duration, ValueError> {
    let duration = text(duration::parse)(value)?;
    if duration.is_zero() {
        return Err(ValueError::new("a duration of more than zero is accepted"));
    }
    Ok(duration)
}

fn metadata(fields: &mut Fields<'_>) -> BTreeMap<String, String> {
    let mut metadata = fields.each(variable);
    for name in UNSERVED {
        if metadata.remove(name).is_some() {
            fields.warn(name, "has no effect: the proxy of this mesh answers no DNS");
        }
    }
    metadata
}

fn variable(name: &str, value: &Value) -> Result<String, ValueError> {
    if !is_variable(name) {
        return Err(ValueError::new(
            "an environment variable's name is accepted: letters, digits, -, _ and .",
        ));
    }
    if env::OWNED.contains(&name) {
        return Err(ValueError::new(
            "the sidecar injector itself sets this variable; remove it",
        ));
    }
    let text = value.as_str().map(ToOwned::to_owned);
    text.ok_or_else(|| ValueError::new("a text is accepted; put it in quotes"))
}

/// As every version of Kubernetes takes them.
fn is_variable(name: &str) -> bool {
    let other = |byte: u8| byte.is_ascii_alphabetic() || b"-._".contains(&byte);
    name.bytes().next().is_some_and(other)
        && name
            .bytes()
            .all(|byte| other(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;
