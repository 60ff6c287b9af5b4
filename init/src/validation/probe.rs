//! Connections that show that the rules stand.

mod choice;
mod client;
mod plan;

use std::net::{IpAddr, SocketAddr};

pub(super) use self::plan::{Plan, plan};
use super::identity::Identity;
use crate::rules::Family;

/// The port of name servers.
pub(super) const DNS: u16 = 53;

/// A connection, and where it shall arrive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Probe {
    pub(super) family: Family,
    pub(super) kind: Kind,
    /// Who connects.
    pub(super) client: Identity,
    /// The mark of its packets, where the rules would not give it.
    pub(super) mark: Option<u32>,
    pub(super) source: Option<IpAddr>,
    pub(super) destination: SocketAddr,
    pub(super) expected: Expected,
}

/// What a probe shows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// The proxy's connection to its own pod enters by the inbound port.
    Inbound,
    /// The same with its addresses unchanged.
    Transparent,
    /// An application's connection leaves by the outbound port.
    Outbound,
    /// The proxy's connection leaves.
    ProxyOutbound,
    /// An application's question to a name server goes to the proxy.
    Question(Transport),
}

/// What carries a probe.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// What shall become of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expected {
    /// A listener of ours takes it.
    ArrivesAt(u16),
    /// None does.
    Leaves,
}

impl Probe {
    pub(super) fn transport(&self) -> Transport {
        match self.kind {
            Kind::Question(transport) => transport,
            _ => Transport::Tcp,
        }
    }
}

/// A packet with TPROXY's mark, which is to be delivered whoever it is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Delivery {
    pub(super) family: Family,
    pub(super) mark: u32,
    pub(super) table: u32,
    pub(super) destination: IpAddr,
}

pub(super) fn is_of(address: IpAddr, family: Family) -> bool {
    address.is_ipv6() == (family == Family::Ipv6)
}

/// The family as its users write it.
pub(super) fn family_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

#[cfg(test)]
pub(in crate::validation) mod tests;
