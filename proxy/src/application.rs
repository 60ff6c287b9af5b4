//! What the status port asks the application on behalf of others: the kubelet's probes and hooks,
//! and Prometheus' scrapes.
//!
//! - [`client`]: one HTTP request to the application, redirects included
//! - [`tls`]: HTTPS as the kubelet speaks it
//! - [`grpc`]: one health check
//! - [`probe`]: `/app-health/…` and `/app-lifecycle/…`
//! - [`metrics`]: what `/stats/prometheus` has of the application

mod client;
mod grpc;
pub(crate) mod metrics;
pub mod probe;
mod tls;
