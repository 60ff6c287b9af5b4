//! The packet in question.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::rules::{Family, Protocol, State};

/// Seen from the pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// It arrives by an interface.
    Inbound,
    /// A process of the pod sends it.
    Outbound,
}

impl Direction {
    /// The word for it in texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// A packet as it comes to the first rule. What is not known of it is taken for something that no
/// rule names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packet {
    /// Whether it comes or goes.
    pub direction: Direction,
    /// Its transport protocol.
    pub protocol: Protocol,
    /// Who sends it.
    pub source: Option<IpAddr>,
    /// From which port.
    pub source_port: Option<u16>,
    /// Where it shall go.
    pub destination: SocketAddr,
    /// The user of its socket, where that is one of the pod.
    pub uid: Option<u32>,
    /// The group of its socket, where that is one of the pod.
    pub gid: Option<u32>,
    /// The interface by which it arrives, or by which it would leave.
    pub interface: String,
    /// Its mark.
    pub mark: u32,
    /// The mark of its connection.
    pub connection_mark: u32,
    /// What the kernel knows of its connection.
    pub state: State,
}

impl Packet {
    /// Its family.
    pub fn family(&self) -> Family {
        family(self.destination.ip())
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        };
        write!(f, "{} {protocol} packet", self.direction.name())?;
        match (self.source, self.source_port) {
            (Some(ip), Some(port)) => write!(f, " from {}", SocketAddr::new(ip, port))?,
            (Some(ip), None) => write!(f, " from {ip}")?,
            (None, Some(port)) => write!(f, " from port {port}")?,
            (None, None) => {}
        }
        write!(f, " to {}", self.destination)?;
        match self.direction {
            Direction::Inbound => write!(f, ", arriving by {}", self.interface)?,
            Direction::Outbound => {
                match self.uid {
                    Some(uid) => write!(f, " by uid {uid}")?,
                    None => f.write_str(" by a user whom no rule names")?,
                }
                match self.gid {
                    Some(gid) => write!(f, ", gid {gid}")?,
                    None => f.write_str(", of a group that no rule names")?,
                }
                write!(f, ", leaving by {}", self.interface)?;
            }
        }
        for (what, mark) in [
            ("mark", self.mark),
            ("connection mark", self.connection_mark),
        ] {
            if mark != 0 {
                write!(f, ", {what} {mark}")?;
            }
        }
        write!(f, ", connection state {}", state_name(self.state))
    }
}

/// The family of an address.
pub(super) fn family(ip: IpAddr) -> Family {
    match ip {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

/// What the kernel calls the pod itself when it redirects what the pod sends.
pub(super) fn loopback(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
        Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
    }
}

pub(super) fn state_name(state: State) -> &'static str {
    match state {
        State::New => "NEW",
        State::Established => "ESTABLISHED",
        State::Related => "RELATED",
        State::Invalid => "INVALID",
        State::Untracked => "UNTRACKED",
    }
}
