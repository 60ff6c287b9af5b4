//! Inbound and outbound, as seen from the pod.

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
