//! What the webhook counts: Istio's injection metrics, and our own as `fairlead_*`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::review::Verdict;

/// Handles to every metric, cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Counter,
    success: Counter,
    failure: Counter,
    skip: Family<SkipLabels, Counter>,
    time: Histogram,
    rejected: Family<RejectionLabels, Counter>,
    leaf_expiry: Gauge<i64, AtomicI64>,
    authority_expiry: Gauge<i64, AtomicI64>,
    certificate_faulty: Gauge<i64, AtomicI64>,
    bundle_writes: Family<WriteLabels, Counter<u64, AtomicU64>>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct SkipLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RejectionLabels {
    code: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct WriteLabels {
    result: &'static str,
}

impl Metrics {
    /// Makes the metrics and the registry that shows them.
    pub fn new() -> (Self, Arc<Registry>) {
        let metrics = Self {
            requests: Counter::default(),
            success: Counter::default(),
            failure: Counter::default(),
            skip: Family::default(),
            // Istio's start at 0.1 s, which every one of our reviews would fall below.
            time: Histogram::new([
                0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
                5.0,
            ]),
            rejected: Family::default(),
            leaf_expiry: Gauge::default(),
            authority_expiry: Gauge::default(),
            certificate_faulty: Gauge::default(),
            bundle_writes: Family::default(),
        };
        let mut registry = Registry::default();
        registry.register(
            "sidecar_injection_requests",
            "Pods that were reviewed",
            metrics.requests.clone(),
        );
        registry.register(
            "sidecar_injection_success",
            "Pods that were injected",
            metrics.success.clone(),
        );
        registry.register(
            "sidecar_injection_failure",
            "Pods that were refused, and reviews that could not be read",
            metrics.failure.clone(),
        );
        registry.register(
            "sidecar_injection_skip",
            "Pods that were left alone, by reason",
            metrics.skip.clone(),
        );
        registry.register_with_unit(
            "sidecar_injection_time",
            "Time from the whole request to the response",
            Unit::Seconds,
            metrics.time.clone(),
        );
        registry.register(
            "fairlead_webhook_rejected",
            "Requests that were answered with an HTTP error, by status code",
            metrics.rejected.clone(),
        );
        registry.register(
            "fairlead_webhook_certificate_expiry_timestamp_seconds",
            "When the serving certificate expires, in Unix time",
            metrics.leaf_expiry.clone(),
        );
        registry.register(
            "fairlead_webhook_authority_expiry_timestamp_seconds",
            "When the authority's certificate expires, in Unix time",
            metrics.authority_expiry.clone(),
        );
        registry.register(
            "fairlead_webhook_certificate_faulty",
            "1 while something keeps the certificate from being kept; /readyz?verbose says what",
            metrics.certificate_faulty.clone(),
        );
        registry.register(
            "fairlead_webhook_ca_bundle_writes",
            "Writes of the caBundle into the MutatingWebhookConfiguration",
            metrics.bundle_writes.clone(),
        );
        (metrics, Arc::new(registry))
    }

    /// A review was answered.
    pub(crate) fn answered(&self, verdict: &Verdict, took: Duration) {
        self.requests.inc();
        match verdict {
            Verdict::Injected(_) => self.success.inc(),
            Verdict::Refused(_) => self.failure.inc(),
            Verdict::Skipped(reason) => {
                let reason = reason.as_str();
                self.skip.get_or_create(&SkipLabels { reason }).inc()
            }
        };
        self.time.observe(took.as_secs_f64());
    }

    /// A request was answered with an HTTP error.
    pub(crate) fn rejected(&self, code: u16) {
        self.requests.inc();
        self.failure.inc();
        self.rejected.get_or_create(&RejectionLabels { code }).inc();
    }

    /// A serving certificate came into use.
    pub(crate) fn leaf_expires(&self, unix_seconds: i64) {
        self.leaf_expiry.set(unix_seconds);
    }

    /// An authority came into use.
    pub(crate) fn authority_expires(&self, unix_seconds: i64) {
        self.authority_expiry.set(unix_seconds);
    }

    /// Whether something keeps the certificate from being kept.
    pub(crate) fn certificate_faulty(&self, faulty: bool) {
        self.certificate_faulty.set(faulty.into());
    }

    /// The caBundle was written, or could not be.
    pub(crate) fn bundle_written(&self, succeeded: bool) {
        let result = if succeeded { "success" } else { "failure" };
        self.bundle_writes
            .get_or_create(&WriteLabels { result })
            .inc();
    }
}
