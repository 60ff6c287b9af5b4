//! The proxy on loopback sockets, with a redirect that leads where the test says.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends by panicking, in its helpers too"
)]

mod application;
mod bootstrap;
mod data_path;
mod metrics;
mod probes;
mod rig;
mod sidecar;
