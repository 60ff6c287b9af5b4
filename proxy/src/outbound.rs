//! Connections of the application: virtualOutbound → PassthroughCluster.

use crate::{connect::Upstream, destination::OriginalDst, direction::Direction};

/// The original destination; the redirect lets the proxy's user pass.
pub fn upstream(OriginalDst(address): OriginalDst) -> Upstream {
    Upstream {
        direction: Direction::Outbound,
        address,
        source: None,
    }
}
