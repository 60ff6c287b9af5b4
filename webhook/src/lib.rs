//! The sidecar injector: AdmissionReview in, JSON Patch out.
//!
//! ```text
//! API server ── POST /inject ──▶ server   TLS, limits, deadlines
//!                                  │
//!                                review   AdmissionReview → pod; answer → AdmissionReview
//!                                  │
//!                                decide   inject, or skip and why
//!                                  │
//!                                inject   pod → pod with the redirect and the proxy, or refusal
//!                                  │
//!                                 patch   the difference, which only adds
//! ```
//!
//! - [`config`]: flags and environment of the process
//! - [`settings`]: the injector's configuration file
//! - [`server`], [`review`], [`decide`], [`inject`], [`patch`]: the path above
//! - [`surroundings`]: the mesh's configuration, namespaces and nodes, as they are watched
//! - [`events`]: Kubernetes Events of what became of the pods
//! - [`certificate`]: own authority, serving certificate, `caBundle`
//! - [`api_server`]: the client's address and patience
//! - [`metrics`]: what is counted
//! - [`run`]: the process, from its configuration to its end

pub mod api_server;
pub mod certificate;
pub mod config;
pub mod decide;
pub mod events;
#[cfg(test)]
mod fake_api;
pub mod inject;
pub mod metrics;
pub mod patch;
mod pod;
pub mod review;
pub mod run;
pub mod server;
pub mod settings;
pub mod surroundings;
