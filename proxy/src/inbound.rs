//! Connections to the application: virtualInbound → InboundPassthroughCluster.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{connect::Upstream, destination::OriginalDst, direction::Direction};

/// The redirect lets packets from these addresses pass, so that the proxy's connection to the
/// application is not captured again.
pub const SOURCE_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// As [`SOURCE_V4`].
pub const SOURCE_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// The application, where the downstream meant to find it.
pub fn upstream(OriginalDst(address): OriginalDst) -> Upstream {
    let source: IpAddr = match address {
        SocketAddr::V4(_) => SOURCE_V4.into(),
        SocketAddr::V6(_) => SOURCE_V6.into(),
    };
    Upstream {
        direction: Direction::Inbound,
        address,
        source: Some((source, 0).into()),
    }
}
