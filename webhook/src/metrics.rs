//! What the webhook counts: Istio's injection metrics, and our own as `fairlead_*`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use fairlead_api::names::DEFAULT_REVISION;
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
    failure: Family<ReasonLabels, Counter>,
    skip: Family<ReasonLabels, Counter>,
    time: Histogram,
    rejected: Family<RejectionLabels, Counter>,
    leaves: Counter,
    leaf_expiry: Gauge<i64, AtomicI64>,
    authority_expiry: Gauge<i64, AtomicI64>,
    certificate_faulty: Gauge<i64, AtomicI64>,
    bundle_writes: Family<ResultLabels, Counter<u64, AtomicU64>>,
    mesh_accepted: Gauge<i64, AtomicI64>,
    mesh_reads: Family<ResultLabels, Counter<u64, AtomicU64>>,
    events: Family<ResultLabels, Counter<u64, AtomicU64>>,
}

/// What was found in the place of the mesh's configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MeshRead {
    /// A configuration that is in use now.
    Accepted,
    /// One that is not accepted.
    Rejected,
    /// Nothing.
    Missing,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RejectionLabels {
    code: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ResultLabels {
    result: &'static str,
}

impl Metrics {
    /// Makes the metrics of the default revision and the registry that shows them.
    pub fn new() -> (Self, Arc<Registry>) {
        Self::of_revision(DEFAULT_REVISION)
    }

    /// Makes the metrics and the registry that shows them, each with the label `revision`.
    pub fn of_revision(revision: &str) -> (Self, Arc<Registry>) {
        let metrics = Self {
            requests: Counter::default(),
            success: Counter::default(),
            failure: Family::default(),
            skip: Family::default(),
            // Istio's start at 0.1 s, which every one of our reviews would fall below.
            time: Histogram::new([
                0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
                5.0,
            ]),
            rejected: Family::default(),
            leaves: Counter::default(),
            leaf_expiry: Gauge::default(),
            authority_expiry: Gauge::default(),
            certificate_faulty: Gauge::default(),
            bundle_writes: Family::default(),
            mesh_accepted: Gauge::default(),
            mesh_reads: Family::default(),
            events: Family::default(),
        };
        let revision = ("revision".into(), revision.to_owned().into());
        let mut registry = Registry::with_labels([revision].into_iter());
        registry.register(
            "sidecar_injection_requests",
            "Requests for a review, whatever the answer",
            metrics.requests.clone(),
        );
        registry.register(
            "sidecar_injection_success",
            "Pods that were injected; refused and skipped ones are counted there",
            metrics.success.clone(),
        );
        registry.register(
            "sidecar_injection_failure",
            "Pods that were refused, and requests that were answered with an HTTP error, by reason",
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
            "fairlead_webhook_certificates",
            "Serving certificates that came into use",
            metrics.leaves.clone(),
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
        registry.register(
            "fairlead_webhook_mesh_config_accepted",
            "Whether the mesh configuration that is in use is the one in the ConfigMap: 1, or 0 where \
             that is missing or not accepted",
            metrics.mesh_accepted.clone(),
        );
        registry.register(
            "fairlead_webhook_mesh_config_reads",
            "Changes of the mesh's ConfigMap, by result: accepted, rejected or missing",
            metrics.mesh_reads.clone(),
        );
        registry.register(
            "fairlead_webhook_events",
            "Kubernetes Events, by result: published, failed, or dropped because there were too many",
            metrics.events.clone(),
        );
        (metrics, Arc::new(registry))
    }

    /// A review was answered.
    pub(crate) fn answered(&self, verdict: &Verdict, took: Duration) {
        self.requests.inc();
        match verdict {
            Verdict::Injected(_) => self.success.inc(),
            Verdict::Refused(refusal) => {
                let reason = refusal.kind();
                self.failure.get_or_create(&ReasonLabels { reason }).inc()
            }
            Verdict::Skipped(reason) => {
                let reason = reason.as_str();
                self.skip.get_or_create(&ReasonLabels { reason }).inc()
            }
        };
        self.time.observe(took.as_secs_f64());
    }

    /// A request was answered with an HTTP error.
    pub(crate) fn rejected(&self, code: u16, reason: &'static str) {
        self.requests.inc();
        self.failure.get_or_create(&ReasonLabels { reason }).inc();
        self.rejected.get_or_create(&RejectionLabels { code }).inc();
    }

    /// A serving certificate came into use.
    pub(crate) fn leaf_expires(&self, unix_seconds: i64) {
        self.leaves.inc();
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
            .get_or_create(&ResultLabels { result })
            .inc();
    }

    /// The mesh's ConfigMap was read.
    pub(crate) fn mesh_read(&self, read: MeshRead) {
        let result = match read {
            MeshRead::Accepted => "accepted",
            MeshRead::Rejected => "rejected",
            MeshRead::Missing => "missing",
        };
        self.mesh_reads
            .get_or_create(&ResultLabels { result })
            .inc();
        self.mesh_accepted.set((read == MeshRead::Accepted).into());
    }

    /// An Event was published, or was not.
    pub(crate) fn event(&self, result: &'static str) {
        self.events.get_or_create(&ResultLabels { result }).inc();
    }
}
