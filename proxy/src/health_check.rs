//! Active health checks: endpoints are asked whether they work
//! (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/health_checking>).
//!
//! [`settings`] says what is asked and how often, [`probe`] asks over a connection that somebody
//! else made, and [`progress`] draws the conclusions.

pub mod probe;
pub mod progress;
pub mod settings;
