//! The flags that describe a packet and say where its rules are.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::{Args, ValueEnum};

use super::packet::{self, Packet};
use crate::rules;

/// Which packet, and which rules.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Whether a process of the pod sends it, or it arrives by an interface
    #[arg(long, value_enum, default_value = "outbound")]
    pub direction: Direction,

    /// Its transport protocol
    #[arg(long, value_enum, default_value = "tcp")]
    pub protocol: Protocol,

    /// Who sends it; an IPv6 address with a port stands in brackets [default: outbound, what the
    /// kernel would take; else an address that no rule names]
    #[arg(long, value_name = "IP[:PORT]")]
    pub source: Option<Source>,

    /// Where it shall go; an IPv6 address stands in brackets
    #[arg(long, value_name = "IP:PORT", value_parser = destination)]
    pub destination: SocketAddr,

    /// Outbound: the user of the process, such as 1337 for the proxy [default: one that no rule
    /// names]
    #[arg(long)]
    pub uid: Option<u32>,

    /// Outbound: the group of the process [default: the number of the user]
    #[arg(long)]
    pub gid: Option<u32>,

    /// Inbound: the interface by which it arrives [default: eth0]
    #[arg(long, value_name = "NAME")]
    pub in_interface: Option<String>,

    /// Outbound: the interface by which it would leave [default: lo where the destination is an
    /// address of the pod, which a dump does not tell; else eth0]
    #[arg(long, value_name = "NAME")]
    pub out_interface: Option<String>,

    /// Its mark, also in hexadecimal, as iptables prints it
    #[arg(long, default_value_t = 0, value_parser = mark)]
    pub mark: u32,

    /// The mark of its connection
    #[arg(long, default_value_t = 0, value_parser = mark)]
    pub connection_mark: u32,

    /// What the kernel knows of its connection
    #[arg(long, value_enum, default_value = "new")]
    pub state: State,

    /// Rules in a file, as iptables-save, ip6tables-save and nft -j list ruleset print them, also
    /// one after the other; - for standard input [default: those that are installed]
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,

    /// Show the rules that do not match, too, and why not
    #[arg(long, short)]
    pub verbose: bool,

    /// The form of the answer
    #[arg(long, short, value_enum, default_value = "text")]
    pub output: Output,
}

/// Seen from the pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Direction {
    /// It arrives
    Inbound,
    /// It is sent
    Outbound,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum State {
    /// The first packet of a connection
    New,
    /// A later one
    Established,
    /// The first one of a connection that another one announced
    Related,
    /// One of no connection
    Invalid,
    /// One whose connection is not tracked
    Untracked,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// An address, with a port or without.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Source {
    ip: IpAddr,
    port: Option<u16>,
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressError {
    /// Of a source.
    #[error("accepted: 10.0.0.2, 10.0.0.2:80, fd00::2 or [fd00::2]:80")]
    Source,
    /// Of a destination.
    #[error("accepted: 10.0.0.2:80 or [fd00::2]:80")]
    Destination,
    /// Of a destination that no packet has.
    #[error("a connection to no address goes to the pod itself: ask for 127.0.0.1 or [::1]")]
    Unspecified,
}

fn destination(text: &str) -> Result<SocketAddr, AddressError> {
    let destination: SocketAddr = text.parse().map_err(|_| AddressError::Destination)?;
    match destination.ip().is_unspecified() {
        true => Err(AddressError::Unspecified),
        false => Ok(destination),
    }
}

fn mark(text: &str) -> Result<u32, &'static str> {
    let mark = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    mark.map_err(|_| "accepted: a number such as 1337 or 0x539")
}

impl FromStr for Source {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Ok(ip) = text.parse() {
            return Ok(Self { ip, port: None });
        }
        let socket: SocketAddr = text.parse().map_err(|_| AddressError::Source)?;
        Ok(Self {
            ip: socket.ip(),
            port: Some(socket.port()),
        })
    }
}

/// Why flags describe no packet.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// A flag of the other direction.
    #[error("{0} is accepted only with --direction {1}")]
    Direction(&'static str, &'static str),
    /// Addresses of two families.
    #[error("--source {0} and --destination {1} are not of one family")]
    Families(IpAddr, SocketAddr),
}

/// What the pod itself would make of a packet that it sends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Route {
    /// The address that it would come from.
    pub source: Option<IpAddr>,
}

impl Options {
    /// The packet; `route` tells of one that is sent to the destination.
    ///
    /// # Errors
    /// When flags contradict each other.
    pub fn packet(&self, route: Route) -> Result<Packet, OptionsError> {
        let outbound = self.direction == Direction::Outbound;
        let misplaced = if outbound {
            [("--in-interface", self.in_interface.is_some())].to_vec()
        } else {
            [
                ("--out-interface", self.out_interface.is_some()),
                ("--uid", self.uid.is_some()),
                ("--gid", self.gid.is_some()),
            ]
            .to_vec()
        };
        if let Some((flag, _)) = misplaced.iter().find(|(_, given)| *given) {
            let other = if outbound { "inbound" } else { "outbound" };
            return Err(OptionsError::Direction(flag, other));
        }
        let destination = self.destination;
        if let Some(Source { ip, .. }) = self.source
            && ip.is_ipv4() != destination.is_ipv4()
        {
            return Err(OptionsError::Families(ip, destination));
        }
        // The kernel sends to an address of its own from that address.
        let to_itself =
            destination.ip().is_loopback() || outbound && route.source == Some(destination.ip());
        let interface = if outbound {
            &self.out_interface
        } else {
            &self.in_interface
        };
        let usual = if to_itself { "lo" } else { "eth0" };
        let sends_from = match (outbound, destination.ip().is_loopback()) {
            (true, true) => Some(packet::loopback(packet::family(destination.ip()))),
            (true, false) => route.source,
            (false, _) => None,
        };
        Ok(Packet {
            direction: match self.direction {
                Direction::Inbound => packet::Direction::Inbound,
                Direction::Outbound => packet::Direction::Outbound,
            },
            protocol: match self.protocol {
                Protocol::Tcp => rules::Protocol::Tcp,
                Protocol::Udp => rules::Protocol::Udp,
            },
            source: self.source.map(|source| source.ip).or(sends_from),
            source_port: self.source.and_then(|source| source.port),
            destination,
            uid: self.uid,
            gid: self.gid.or(self.uid),
            interface: interface.clone().unwrap_or_else(|| usual.to_owned()),
            mark: self.mark,
            connection_mark: self.connection_mark,
            state: match self.state {
                State::New => rules::State::New,
                State::Established => rules::State::Established,
                State::Related => rules::State::Related,
                State::Invalid => rules::State::Invalid,
                State::Untracked => rules::State::Untracked,
            },
        })
    }

    /// The flags again, for a run elsewhere that reads the rules there.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut put = |flag: &str, value: Option<String>| {
            arguments.extend(value.map(|value| format!("--{flag}={value}")));
        };
        let source = self.source.map(|source| match source.port {
            Some(port) => SocketAddr::new(source.ip, port).to_string(),
            None => source.ip.to_string(),
        });
        put("direction", name(&self.direction));
        put("protocol", name(&self.protocol));
        put("source", source);
        put("destination", Some(self.destination.to_string()));
        put("uid", self.uid.map(|uid| uid.to_string()));
        put("gid", self.gid.map(|gid| gid.to_string()));
        put("in-interface", self.in_interface.clone());
        put("out-interface", self.out_interface.clone());
        put("mark", Some(self.mark.to_string()));
        put("connection-mark", Some(self.connection_mark.to_string()));
        put("state", name(&self.state));
        put("output", name(&self.output));
        if self.verbose {
            arguments.push("--verbose".to_owned());
        }
        arguments
    }
}

fn name(value: &impl ValueEnum) -> Option<String> {
    let value = value.to_possible_value()?;
    Some(value.get_name().to_owned())
}

#[cfg(test)]
mod tests;
