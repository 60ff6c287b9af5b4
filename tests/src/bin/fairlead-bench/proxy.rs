//! `fairlead-proxy`: what the sidecar costs by itself, and beside Envoy.

pub(crate) mod beside;
pub(crate) mod hop;
mod traffic;

/// The congestion control that every kernel lets every namespace have. There is no loss here, and
/// so no difference to cubic, the usual one.
const UNPACED: &str = "reno";

/// Of the network namespace of the thread that opens it.
const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";
