//! Rules as data: what any backend can install, and what is read back from any of them.

use std::{borrow::Cow, fmt};

use fairlead_api::values::Ports;
use ipnet::IpNet;

/// The family of IP addresses.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// IPv4
    Ipv4,
    /// IPv6
    Ipv6,
}

impl Family {
    /// The family as messages name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }

    /// The family of an address or network.
    pub fn of(cidr: &IpNet) -> Self {
        match cidr {
            IpNet::V4(_) => Self::Ipv4,
            IpNet::V6(_) => Self::Ipv6,
        }
    }
}

/// A table of the kernel's, in the order in which a packet passes them in one hook.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Table {
    /// Before connections are tracked.
    Raw,
    /// Before destinations are changed.
    Mangle,
    /// The first packet of each connection alone.
    Nat,
}

impl Table {
    /// All that rules of ours stand in.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Mangle, Self::Nat];

    /// The name in iptables' texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Mangle => "mangle",
            Self::Nat => "nat",
        }
    }

    /// The table of a name in iptables' texts; none for those that hold no rules of ours.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.name() == name)
    }
}

/// A chain of a table, ours or anybody's.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Chain(Cow<'static, str>);

impl Chain {
    /// The kernel's, for packets that arrive.
    pub const PREROUTING: Self = Self(Cow::Borrowed("PREROUTING"));
    /// The kernel's, for packets that local processes send.
    pub const OUTPUT: Self = Self(Cow::Borrowed("OUTPUT"));
    /// Decides which arriving connections are captured.
    pub const ISTIO_INBOUND: Self = Self(Cow::Borrowed("ISTIO_INBOUND"));
    /// Sends them to the proxy's inbound port.
    pub const ISTIO_IN_REDIRECT: Self = Self(Cow::Borrowed("ISTIO_IN_REDIRECT"));
    /// Decides which outgoing connections are captured.
    pub const ISTIO_OUTPUT: Self = Self(Cow::Borrowed("ISTIO_OUTPUT"));
    /// Sends them to the proxy's outbound port.
    pub const ISTIO_REDIRECT: Self = Self(Cow::Borrowed("ISTIO_REDIRECT"));
    /// Sends questions to name servers to the proxy; in raw, keeps its own apart from them.
    pub const ISTIO_OUTPUT_DNS: Self = Self(Cow::Borrowed("ISTIO_OUTPUT_DNS"));
    /// Keeps the packets of a captured connection local.
    pub const ISTIO_DIVERT: Self = Self(Cow::Borrowed("ISTIO_DIVERT"));
    /// Hands connections to the proxy's inbound port with their addresses unchanged.
    pub const ISTIO_TPROXY: Self = Self(Cow::Borrowed("ISTIO_TPROXY"));
    /// Drops.
    pub const ISTIO_DROP: Self = Self(Cow::Borrowed("ISTIO_DROP"));

    /// A chain of this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self(Cow::Owned(name.into()))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether it is ours: Istio's names are, and whoever uses them wants to be us.
    pub fn is_ours(&self) -> bool {
        self.0.starts_with("ISTIO_")
    }

    /// Whether packets come to it from the kernel.
    pub fn is_kernels(&self) -> bool {
        const NAMES: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
        NAMES.contains(&self.name())
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a value of a packet is compared with.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Is<T> {
    /// Equal, or within.
    Equal(T),
    /// Different, or outside.
    Not(T),
}

impl<T> Is<T> {
    /// The value, whichever way it is compared.
    pub fn value(&self) -> &T {
        match self {
            Self::Equal(value) | Self::Not(value) => value,
        }
    }

    /// Whether the comparison holds, where `matches` tells of equality.
    pub fn holds(&self, matches: impl FnOnce(&T) -> bool) -> bool {
        match self {
            Self::Equal(value) => matches(value),
            Self::Not(value) => !matches(value),
        }
    }
}

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

impl Protocol {
    /// The name in texts of rules.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What the kernel knows of a packet's connection (`ctstate` of iptables-extensions(8)).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum State {
    /// None that it knows, or one that nobody has answered yet.
    New,
    /// Known, and answered.
    Established,
    /// An error about a known one, or a connection that a known one announced.
    Related,
    /// No valid part of any.
    Invalid,
    /// Not tracked, by a rule of the raw table.
    Untracked,
}

/// A condition on a packet. Those of a rule stand in the order in which iptables prints them.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Match {
    /// The family, in tables that both share.
    Family(Family),
    /// The source address.
    Source(Is<IpNet>),
    /// The destination address.
    Destination(Is<IpNet>),
    /// The interface by which it arrives.
    InInterface(Is<String>),
    /// The interface by which it leaves.
    OutInterface(Is<String>),
    /// The protocol alone.
    Protocol(Is<Protocol>),
    /// The protocol, and its source port is one of these (or none of them).
    SourcePort(Protocol, Is<Vec<Ports>>),
    /// The protocol, and its destination port is one of these (or none of them).
    DestinationPort(Protocol, Is<Vec<Ports>>),
    /// A TCP packet that asks for a connection: of its flags SYN, ACK, RST and FIN it has SYN alone
    /// (`--syn` of iptables-extensions(8)).
    Syn(Is<()>),
    /// The user who made the socket.
    Uid(Is<u32>),
    /// The group which made the socket.
    Gid(Is<u32>),
    /// The packet's mark.
    Mark(Is<u32>),
    /// The connection's mark.
    ConnectionMark(Is<u32>),
    /// The connection's state is one of these; in order.
    State(Is<Vec<State>>),
    /// Something that no rule of ours asks for, as its tool writes it.
    Unknown(String),
}

/// What becomes of a packet that meets all conditions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// This chain decides nothing; the one that jumped here goes on.
    Return,
    /// No further rule of this table's hook is asked.
    Accept,
    /// It is lost.
    Drop,
    /// Another chain decides; if it does not, this one goes on.
    Jump(Chain),
    /// Another chain decides in place of this one.
    Goto(Chain),
    /// It goes to this port of the pod.
    Redirect(u16),
    /// It goes to the socket that listens on this port, its addresses unchanged, and is marked.
    Tproxy {
        /// The listener's port.
        port: u16,
        /// The packet's new mark.
        mark: u32,
    },
    /// The packet gets this mark, and the next rule is asked.
    SetMark(u32),
    /// The connection gets the packet's mark, and the next rule is asked.
    SaveMark,
    /// The packet gets the connection's mark, and the next rule is asked.
    RestoreMark,
    /// The connection is told from others of the same addresses by this zone.
    ConnectionZone(u16),
    /// Nothing, as where a rule only counts.
    Continue,
    /// Something that no rule of ours does, as its tool writes it.
    Unknown(String),
}

/// A rule, after those of its chain that stand before it in a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// The table of its chain.
    pub table: Table,
    /// Where it stands.
    pub chain: Chain,
    /// All of these must hold.
    pub matches: Vec<Match>,
    /// What then happens.
    pub verdict: Verdict,
}

impl Rule {
    /// Whether two rules do the same to every packet, wherever they stand: the order of the
    /// conditions does not matter.
    pub fn means(&self, other: &Self) -> bool {
        let sorted = |rule: &Self| {
            let mut matches = rule.matches.clone();
            matches.sort_unstable();
            matches
        };
        self.verdict == other.verdict
            && (self.matches == other.matches || sorted(self) == sorted(other))
    }

    /// The chain that it hands packets to.
    pub fn target(&self) -> Option<&Chain> {
        match &self.verdict {
            Verdict::Jump(chain) | Verdict::Goto(chain) => Some(chain),
            _ => None,
        }
    }
}
