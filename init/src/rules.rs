//! What is redirected: settings → ordered rules of the nat table, as data.
//!
//! The order within a chain is the meaning, and is Istio's.

use std::net::{Ipv4Addr, Ipv6Addr};

use fairlead_api::values::Selection;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::Redirect;

/// The source of the proxy's own connections to the application, which are never captured again.
pub const PASSTHROUGH_IPV4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// As [`PASSTHROUGH_IPV4`]; unlike that one it is no local address unless it is added.
pub const PASSTHROUGH_IPV6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// The family of IP addresses; each has its own tables.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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

    /// The address that an application means by localhost. It is one address, not 127.0.0.0/8: the
    /// others stand for the pod itself.
    fn localhost(self) -> IpNet {
        match self {
            Self::Ipv4 => Ipv4Net::from(Ipv4Addr::LOCALHOST).into(),
            Self::Ipv6 => Ipv6Net::from(Ipv6Addr::LOCALHOST).into(),
        }
    }

    fn passthrough(self) -> IpNet {
        match self {
            Self::Ipv4 => Ipv4Net::from(PASSTHROUGH_IPV4).into(),
            Self::Ipv6 => Ipv6Net::from(PASSTHROUGH_IPV6).into(),
        }
    }

    fn has(self, cidr: &IpNet) -> bool {
        cidr.addr().is_ipv6() == (self == Self::Ipv6)
    }
}

/// A chain of the nat table that our rules stand in or jump to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Chain {
    /// The kernel's, for packets that arrive.
    Prerouting,
    /// The kernel's, for packets that local processes send.
    Output,
    /// Decides which arriving connections are captured.
    IstioInbound,
    /// Sends them to the proxy's inbound port.
    IstioInRedirect,
    /// Decides which outgoing connections are captured.
    IstioOutput,
    /// Sends them to the proxy's outbound port.
    IstioRedirect,
}

/// What a value of a packet is compared with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Is<T> {
    /// Equal, or within.
    Equal(T),
    /// Different, or outside.
    Not(T),
}

/// A transport protocol that has ports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// A condition on a packet; those of a rule stand in the order in which iptables prints them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Match {
    /// The source address.
    Source(IpNet),
    /// The destination address.
    Destination(Is<IpNet>),
    /// It leaves through the loopback interface: the pod talks to itself.
    ToItself,
    /// The protocol alone.
    Protocol(Protocol),
    /// The protocol and its destination port.
    DestinationPort(Protocol, Is<u16>),
    /// The user who made the socket.
    Uid(Is<u32>),
    /// The group which made the socket.
    Gid(Is<u32>),
}

/// What becomes of a packet that meets all conditions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is not captured, as far as this chain is concerned.
    Return,
    /// Another chain decides.
    Jump(Chain),
    /// It goes to this port of the pod.
    Redirect(u16),
}

/// A rule at the end of its chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// Where it stands.
    pub chain: Chain,
    /// All of these must hold.
    pub matches: Vec<Match>,
    /// What then happens.
    pub verdict: Verdict,
}

fn rule(chain: Chain, matches: impl Into<Vec<Match>>, verdict: Verdict) -> Rule {
    Rule {
        chain,
        matches: matches.into(),
        verdict,
    }
}

fn tcp_port(port: u16) -> Match {
    Match::DestinationPort(Protocol::Tcp, Is::Equal(port))
}

const TCP: Match = Match::Protocol(Protocol::Tcp);

/// The rules of one family, in order.
pub fn rules(redirect: &Redirect, family: Family) -> Vec<Rule> {
    let mut rules = Vec::from(redirects(redirect));
    rules.extend(inbound(redirect));
    rules.extend(outbound(redirect, family));
    rules
}

/// The chains that change a destination, and the tunnel's exception.
fn redirects(redirect: &Redirect) -> [Rule; 3] {
    [
        rule(
            Chain::IstioInbound,
            [tcp_port(redirect.tunnel_port)],
            Verdict::Return,
        ),
        rule(
            Chain::IstioRedirect,
            [TCP],
            Verdict::Redirect(redirect.outbound_port),
        ),
        rule(
            Chain::IstioInRedirect,
            [TCP],
            Verdict::Redirect(redirect.inbound_port),
        ),
    ]
}

/// Arriving connections.
fn inbound(redirect: &Redirect) -> Vec<Rule> {
    let to_proxy = Verdict::Jump(Chain::IstioInRedirect);
    let decisions: Vec<Rule> = match &redirect.inbound_ports {
        Selection::All => {
            let excluded = redirect.excluded_inbound_ports.iter();
            let excluded =
                excluded.map(|port| rule(Chain::IstioInbound, [tcp_port(*port)], Verdict::Return));
            excluded
                .chain([rule(Chain::IstioInbound, [TCP], to_proxy)])
                .collect()
        }
        Selection::Only(ports) => {
            let ports = ports.iter();
            ports
                .map(|port| rule(Chain::IstioInbound, [tcp_port(*port)], to_proxy))
                .collect()
        }
    };
    if decisions.is_empty() {
        return decisions;
    }
    let entry = rule(Chain::Prerouting, [TCP], Verdict::Jump(Chain::IstioInbound));
    [vec![entry], decisions].concat()
}

/// Outgoing connections.
fn outbound(redirect: &Redirect, family: Family) -> Vec<Rule> {
    let output = |matches: Vec<Match>, verdict| rule(Chain::IstioOutput, matches, verdict);
    let to_proxy = Verdict::Jump(Chain::IstioRedirect);
    let of_family = |cidrs: &[IpNet]| -> Vec<IpNet> {
        cidrs
            .iter()
            .copied()
            .filter(|cidr| family.has(cidr))
            .collect()
    };

    // Any protocol enters: an excluded port may be UDP's.
    let mut rules = vec![rule(Chain::Output, [], Verdict::Jump(Chain::IstioOutput))];
    for port in &redirect.excluded_outbound_ports {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let port = Match::DestinationPort(protocol, Is::Equal(*port));
            rules.push(output(vec![port], Verdict::Return));
        }
    }
    let passthrough = vec![Match::Source(family.passthrough()), Match::ToItself];
    rules.push(output(passthrough, Verdict::Return));
    let uids = redirect
        .proxy_uids
        .iter()
        .map(|uid| (Match::Uid(Is::Equal(*uid)), Match::Uid(Is::Not(*uid))));
    let gids = redirect
        .proxy_gids
        .iter()
        .map(|gid| (Match::Gid(Is::Equal(*gid)), Match::Gid(Is::Not(*gid))));
    for (owned, not_owned) in uids.chain(gids) {
        rules.extend(owner(redirect, family, owned, not_owned));
    }
    let to_localhost = Match::Destination(Is::Equal(family.localhost()));
    rules.push(output(vec![to_localhost], Verdict::Return));
    for cidr in of_family(&redirect.excluded_outbound_cidrs) {
        let destination = Match::Destination(Is::Equal(cidr));
        rules.push(output(vec![destination], Verdict::Return));
    }
    for port in &redirect.outbound_ports {
        rules.push(output(vec![tcp_port(*port)], to_proxy));
    }
    match &redirect.outbound_cidrs {
        Selection::All => rules.push(output(vec![], to_proxy)),
        Selection::Only(cidrs) => {
            for cidr in of_family(cidrs) {
                let destination = Match::Destination(Is::Equal(cidr));
                rules.push(output(vec![destination], to_proxy));
            }
        }
    }
    rules
}

/// Tells the proxy's packets from the application's, by user or by group.
fn owner(redirect: &Redirect, family: Family, owned: Match, not_owned: Match) -> Vec<Rule> {
    let output = |matches: Vec<Match>, verdict| rule(Chain::IstioOutput, matches, verdict);
    let mut rules = Vec::with_capacity(3);
    // The application called its own Service: the proxy's connection comes back to this pod and
    // must enter as any other inbound connection would.
    rules.push(output(
        vec![
            Match::Destination(Is::Not(family.localhost())),
            Match::ToItself,
            Match::DestinationPort(Protocol::Tcp, Is::Not(redirect.tunnel_port)),
            owned,
        ],
        Verdict::Jump(Chain::IstioInRedirect),
    ));
    // The application calls its own address: that needs no proxy, unless loopback was asked for.
    let captures_loopback = redirect
        .included_cidrs()
        .iter()
        .any(|cidr| cidr.addr().is_loopback());
    if !captures_loopback {
        rules.push(output(vec![Match::ToItself, not_owned], Verdict::Return));
    }
    // What the proxy sends leaves; anything else would be a loop.
    rules.push(output(vec![owned], Verdict::Return));
    rules
}

#[cfg(test)]
mod tests;
