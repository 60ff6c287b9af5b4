//! What is redirected: settings → ordered rules, as data.
//!
//! The order within a chain is the meaning, and is Istio's. Each rule of ours in one of the
//! kernel's chains only hands packets to a chain of ours, so that what is ours is told from
//! what is not, and foreign rules after it are asked as before.

mod inbound;
mod model;
mod outbound;
mod tproxy;
mod zones;

use std::net::{Ipv4Addr, Ipv6Addr};

pub use fairlead_api::values::Ports;
use fairlead_api::values::Selection;
use ipnet::{IpNet, Ipv6Net};

pub use self::model::{Chain, Family, Is, Match, Protocol, Rule, State, Table, Verdict};
pub use self::tproxy::SELF_CALL_MARK;
use crate::Redirect;

/// The source of the proxy's own connections to the application, which are never captured again.
pub const PASSTHROUGH_IPV4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
/// As [`PASSTHROUGH_IPV4`]; unlike that one it is no local address unless it is added.
pub const PASSTHROUGH_IPV6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// The rules of one family: table by table, in order.
pub fn rules(redirect: &Redirect, family: Family) -> Vec<Rule> {
    let mut rules = zones::rules(redirect, family);
    rules.extend(tproxy::rules(redirect, family));
    rules.extend(inbound::rules(redirect));
    rules.extend(outbound::rules(redirect, family));
    rules
}

/// Makes the rules of one chain.
struct Writer {
    table: Table,
    chain: Chain,
}

impl Writer {
    fn new(table: Table, chain: Chain) -> Self {
        Self { table, chain }
    }

    fn rule(&self, matches: impl Into<Vec<Match>>, verdict: Verdict) -> Rule {
        // Any address is no condition, and no backend keeps it.
        let mut matches = matches.into();
        matches.retain(|condition| match condition {
            Match::Source(Is::Equal(cidr)) | Match::Destination(Is::Equal(cidr)) => {
                cidr.prefix_len() > 0
            }
            _ => true,
        });
        Rule {
            table: self.table,
            chain: self.chain.clone(),
            matches,
            verdict,
        }
    }
}

fn tcp() -> Match {
    Match::Protocol(Is::Equal(Protocol::Tcp))
}

fn to_port(protocol: Protocol, ports: impl Into<Ports>) -> Match {
    Match::DestinationPort(protocol, Is::Equal(vec![ports.into()]))
}

/// Conditions that together mean all of a list of ports: one for each as in Istio, or, where there
/// are many, as few as a rule of iptables can hold.
fn to_each_port(protocol: Protocol, list: &[Ports]) -> Vec<Match> {
    const MOST: usize = 15;
    let condition = |ports: &[Ports]| Match::DestinationPort(protocol, Is::Equal(ports.to_vec()));
    if list.len() <= MOST {
        return list.chunks(1).map(condition).collect();
    }
    // A range takes the room of two ports (`multiport` of iptables-extensions(8)).
    let room = |ports: &Ports| if ports.first == ports.last { 1 } else { 2 };
    let mut groups: Vec<Vec<Ports>> = Vec::new();
    let mut taken = MOST;
    for ports in list {
        taken += room(ports);
        if taken > MOST {
            taken = room(ports);
            groups.push(Vec::new());
        }
        if let Some(group) = groups.last_mut() {
            group.push(*ports);
        }
    }
    groups.iter().map(|group| condition(group)).collect()
}

fn not_to_ports(protocol: Protocol, ports: &[u16]) -> Match {
    let ports = ports.iter().copied().map(Ports::from).collect();
    Match::DestinationPort(protocol, Is::Not(ports))
}

/// It leaves through the loopback interface: the pod talks to itself.
fn to_itself() -> Match {
    Match::OutInterface(Is::Equal(LOOPBACK.to_owned()))
}

fn from_itself() -> Match {
    Match::InInterface(Is::Equal(LOOPBACK.to_owned()))
}

const LOOPBACK: &str = "lo";
const DNS: u16 = 53;

/// The addresses that an application means by localhost: unless set otherwise one address, not
/// 127.0.0.0/8, whose others stand for the pod itself.
fn localhost(redirect: &Redirect, family: Family) -> IpNet {
    match family {
        Family::Ipv4 => redirect.loopback_cidr.into(),
        Family::Ipv6 => Ipv6Net::from(Ipv6Addr::LOCALHOST).into(),
    }
}

fn passthrough(family: Family) -> IpNet {
    match family {
        Family::Ipv4 => IpNet::from(std::net::IpAddr::from(PASSTHROUGH_IPV4)),
        Family::Ipv6 => IpNet::from(std::net::IpAddr::from(PASSTHROUGH_IPV6)),
    }
}

fn of_family(cidrs: &[IpNet], family: Family) -> impl Iterator<Item = IpNet> {
    let cidrs = cidrs.iter().copied();
    cidrs.filter(move |cidr| Family::of(cidr) == family)
}

/// The captured outbound destinations, as conditions: one without a condition where all are.
fn captured_destinations(redirect: &Redirect, family: Family) -> Vec<Option<Match>> {
    match &redirect.outbound_cidrs {
        Selection::All => vec![None],
        Selection::Only(cidrs) => of_family(cidrs, family)
            .map(|cidr| Some(Match::Destination(Is::Equal(cidr))))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
