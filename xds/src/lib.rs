//! Envoy's protocol, version 3: the language that the proxy is configured in. It holds no behaviour.
//!
//! The messages are those of Envoy's API (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/api>),
//! as the crate `envoy-types` generates them. Around them:
//!
//! - [`bootstrap`] and [`read`] make messages out of YAML and JSON, or tell every fault by its path;
//! - [`json`] writes messages as Envoy's admin interface prints them;
//! - [`mask`] leaves some fields of a message alone;
//! - [`registry`] says which extensions there are, and which of them could enforce security;
//! - [`descriptors`] is what the others know of the messages.

pub mod bootstrap;
pub mod descriptors;
pub mod json;
pub mod mask;
pub mod read;
pub mod registry;

mod rules;
mod scalar;
mod tree;
mod wire;

/// The messages, in modules that are named as Envoy's packages: `envoy::config::listener::v3`.
pub use envoy_types::pb::{envoy, google, xds};
pub use prost;
