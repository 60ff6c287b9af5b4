//! Whether a packet meets the conditions of a rule.

use std::net::{IpAddr, SocketAddr};

use super::{
    packet::{Direction, Packet, family},
    words,
};
use crate::rules::{Family, Is, Match, Protocol, Rule, State};

/// The packet as the next rule sees it; rules change some of it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) protocol: Protocol,
    pub(super) source: Option<IpAddr>,
    pub(super) source_port: Option<u16>,
    pub(super) destination: SocketAddr,
    pub(super) in_interface: Option<String>,
    pub(super) out_interface: Option<String>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mark: u32,
    pub(super) connection_mark: u32,
    pub(super) state: State,
}

impl From<&Packet> for Seen {
    fn from(packet: &Packet) -> Self {
        let interface = |of: Direction| (packet.direction == of).then(|| packet.interface.clone());
        Self {
            protocol: packet.protocol,
            source: packet.source,
            source_port: packet.source_port,
            destination: packet.destination,
            in_interface: interface(Direction::Inbound),
            out_interface: interface(Direction::Outbound),
            uid: packet.uid,
            gid: packet.gid,
            mark: packet.mark,
            connection_mark: packet.connection_mark,
            state: packet.state,
        }
    }
}

/// Whether a packet meets a rule's conditions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meets<'a> {
    /// All of them.
    All,
    /// Not this one, the first that fails.
    Not(&'a Match),
    /// All that are known, but this one is not.
    Unknown(&'a Match),
}

impl Seen {
    pub(super) fn meets<'a>(&self, rule: &'a Rule) -> Meets<'a> {
        let mut unknown = None;
        for condition in &rule.matches {
            match self.holds(condition) {
                Some(true) => {}
                Some(false) => return Meets::Not(condition),
                None => unknown = unknown.or(Some(condition)),
            }
        }
        unknown.map_or(Meets::All, Meets::Unknown)
    }

    /// Whether a condition holds, if that can be told.
    fn holds(&self, condition: &Match) -> Option<bool> {
        Some(match condition {
            Match::Family(of) => *of == family(self.destination.ip()),
            // In a table of both families, an address asks for its family, even if negated.
            Match::Source(cidr) => {
                Family::of(cidr.value()) == family(self.destination.ip())
                    && cidr.holds(|cidr| self.source.is_some_and(|source| cidr.contains(&source)))
            }
            Match::Destination(cidr) => {
                Family::of(cidr.value()) == family(self.destination.ip())
                    && cidr.holds(|cidr| cidr.contains(&self.destination.ip()))
            }
            Match::InInterface(name) => {
                name.holds(|name| self.in_interface.as_deref() == Some(name))
            }
            Match::OutInterface(name) => {
                name.holds(|name| self.out_interface.as_deref() == Some(name))
            }
            Match::Protocol(protocol) => protocol.holds(|protocol| *protocol == self.protocol),
            Match::SourcePort(protocol, ports) => {
                *protocol == self.protocol
                    && ports.holds(|ports| {
                        let has = |port| ports.iter().any(|ports| ports.contains(port));
                        self.source_port.is_some_and(has)
                    })
            }
            Match::DestinationPort(protocol, ports) => {
                *protocol == self.protocol
                    && ports.holds(|ports| {
                        let port = self.destination.port();
                        ports.iter().any(|ports| ports.contains(port))
                    })
            }
            Match::Syn(syn) => {
                let asks = match self.state {
                    State::New => self.protocol == Protocol::Tcp,
                    State::Established | State::Related => false,
                    State::Invalid | State::Untracked => return None,
                };
                syn.holds(|()| asks)
            }
            Match::Uid(uid) => uid.holds(|uid| self.uid == Some(*uid)),
            Match::Gid(gid) => gid.holds(|gid| self.gid == Some(*gid)),
            Match::Mark(mark) => mark.holds(|mark| *mark == self.mark),
            Match::ConnectionMark(mark) => mark.holds(|mark| *mark == self.connection_mark),
            Match::State(states) => states.holds(|states| states.contains(&self.state)),
            Match::Unknown(text) => return self.holds_text(text),
        })
    }

    /// Some conditions that no rule of ours has are common, and plain.
    fn holds_text(&self, text: &str) -> Option<bool> {
        if words::comment(text).is_some() {
            return Some(true);
        }
        let (negated, text) = match text.strip_prefix("! ") {
            Some(text) => (true, text),
            None => (false, text),
        };
        // A + at the end of an interface stands for any rest.
        let (option, pattern) = text.strip_suffix('+')?.split_once(' ')?;
        let interface = match option {
            "-i" => self.in_interface.as_deref(),
            "-o" => self.out_interface.as_deref(),
            _ => return None,
        };
        let begins = interface.is_some_and(|name| name.starts_with(pattern));
        let is = if negated { Is::Not(()) } else { Is::Equal(()) };
        Some(is.holds(|()| begins))
    }
}
