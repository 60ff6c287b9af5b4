//! Inbound and outbound, as seen from the pod, and what the sidecar's parts of each are called.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Which way a connection goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// To the application.
    Inbound,
    /// From the application.
    Outbound,
}

/// The cluster of connections that have no place to go: it has no endpoints.
pub const BLACK_HOLE_CLUSTER: &str = "BlackHoleCluster";

/// Where the proxy's connections to the application come from: the redirect lets packets from there
/// pass, so that they are not captured again.
pub const SOURCE_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// As [`SOURCE_V4`].
pub const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

impl Direction {
    /// Both, in the order of the listeners' ports.
    pub const ALL: [Self; 2] = [Self::Outbound, Self::Inbound];

    /// The name of the listener that takes these connections.
    pub fn listener(self) -> &'static str {
        match self {
            Self::Inbound => "virtualInbound",
            Self::Outbound => "virtualOutbound",
        }
    }

    /// The name of the cluster that leads to the original destination.
    pub fn cluster(self) -> &'static str {
        match self {
            Self::Inbound => "InboundPassthroughCluster",
            Self::Outbound => "PassthroughCluster",
        }
    }
}
