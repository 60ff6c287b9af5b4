//! Outgoing connections that the nat table hands to the proxy.

use std::net::IpAddr;

use fairlead_api::values::Selection;
use ipnet::IpNet;

use super::{
    Chain, DNS, Family, Is, Match, Protocol, Rule, Table, Verdict, Writer, captured_destinations,
    localhost, not_to_ports, of_family, passthrough, to_each_port, to_itself, to_port,
};
use crate::{Redirect, config::Dns};

pub(super) fn rules(redirect: &Redirect, family: Family) -> Vec<Rule> {
    let output = Writer::new(Table::Nat, Chain::ISTIO_OUTPUT);
    let to_proxy = || Verdict::Jump(Chain::ISTIO_REDIRECT);
    let mut rules = virtual_machines(redirect, family);

    // Any protocol enters: an excluded port may be UDP's.
    let entry = Writer::new(Table::Nat, Chain::OUTPUT);
    rules.push(entry.rule([], Verdict::Jump(Chain::ISTIO_OUTPUT)));
    for name in &redirect.excluded_interfaces {
        let leaves = Match::OutInterface(Is::Equal(name.clone()));
        rules.push(output.rule([leaves], Verdict::Return));
    }
    let excluded = &redirect.excluded_outbound_ports;
    let [tcp, udp] = [Protocol::Tcp, Protocol::Udp].map(|of| to_each_port(of, excluded));
    for ports in tcp.into_iter().zip(udp) {
        rules.extend(<[Match; 2]>::from(ports).map(|ports| output.rule([ports], Verdict::Return)));
    }
    let source = Match::Source(Is::Equal(passthrough(family)));
    rules.push(output.rule([source, to_itself()], Verdict::Return));
    let tunnel = redirect.tunnel_port;
    let uncaptured: &[u16] = match redirect.dns {
        Some(_) => &[DNS, tunnel],
        None => &[tunnel],
    };
    for uid in &redirect.proxy_uids {
        let owner = [Match::Uid(Is::Equal(*uid)), Match::Uid(Is::Not(*uid))];
        rules.extend(owned(redirect, family, &output, owner, uncaptured));
    }
    for gid in &redirect.proxy_gids {
        let owner = [Match::Gid(Is::Equal(*gid)), Match::Gid(Is::Not(*gid))];
        rules.extend(owned(redirect, family, &output, owner, &[tunnel]));
    }
    rules.extend(owner_groups(redirect, &output));
    if let Some(dns) = &redirect.dns {
        rules.extend(questions(dns, family, &output));
    }
    let to_localhost = Match::Destination(Is::Equal(localhost(redirect, family)));
    rules.push(output.rule([to_localhost], Verdict::Return));
    for cidr in of_family(&redirect.excluded_outbound_cidrs, family) {
        let destination = Match::Destination(Is::Equal(cidr));
        rules.push(output.rule([destination], Verdict::Return));
    }
    for ports in to_each_port(Protocol::Tcp, &redirect.outbound_ports) {
        rules.push(output.rule([ports], to_proxy()));
    }
    for destination in captured_destinations(redirect, family) {
        rules.push(output.rule(Vec::from_iter(destination), to_proxy()));
    }
    rules
}

/// Virtual machines in the pod send through an interface of it: what arrives there is outbound.
fn virtual_machines(redirect: &Redirect, family: Family) -> Vec<Rule> {
    let prerouting = Writer::new(Table::Nat, Chain::PREROUTING);
    let mut rules = Vec::new();
    for name in &redirect.virtual_interfaces {
        for destination in captured_destinations(redirect, family) {
            let arrives = Match::InInterface(Is::Equal(name.clone()));
            let matches = Vec::from_iter(destination.into_iter().chain([arrives]));
            rules.push(prerouting.rule(matches, Verdict::Jump(Chain::ISTIO_REDIRECT)));
        }
    }
    rules
}

/// Tells the proxy's packets from the application's, by user or by group.
fn owned(
    redirect: &Redirect,
    family: Family,
    output: &Writer,
    [owned, not_owned]: [Match; 2],
    uncaptured: &[u16],
) -> Vec<Rule> {
    let mut rules = Vec::with_capacity(3);
    // The application called its own Service: the proxy's connection comes back to this pod and
    // must enter as any other inbound connection would.
    rules.push(output.rule(
        [
            Match::Destination(Is::Not(localhost(redirect, family))),
            to_itself(),
            not_to_ports(Protocol::Tcp, uncaptured),
            owned.clone(),
        ],
        Verdict::Jump(Chain::ISTIO_IN_REDIRECT),
    ));
    // The application calls its own address: that needs no proxy, unless loopback was asked for or
    // it is a question to a name server of its own.
    if !redirect.captures_loopback() {
        let mut matches = vec![to_itself()];
        matches.extend(
            redirect
                .dns
                .as_ref()
                .map(|_| not_to_ports(Protocol::Tcp, &[DNS])),
        );
        matches.push(not_owned);
        rules.push(output.rule(matches, Verdict::Return));
    }
    // What the proxy sends leaves; anything else would be a loop.
    rules.push(output.rule([owned], Verdict::Return));
    rules
}

/// The groups whose processes are captured, or, where all are but some, those that are not.
fn owner_groups(redirect: &Redirect, output: &Writer) -> Vec<Rule> {
    match &redirect.owner_groups {
        Selection::Only(groups) => {
            let others = groups.iter().map(|gid| Match::Gid(Is::Not(*gid)));
            vec![output.rule(Vec::from_iter(others), Verdict::Return)]
        }
        Selection::All => {
            let excluded = redirect.excluded_owner_groups.iter();
            excluded
                .map(|gid| output.rule([Match::Gid(Is::Equal(*gid))], Verdict::Return))
                .collect()
        }
    }
}

/// Questions to name servers go to the proxy's.
fn questions(dns: &Dns, family: Family, output: &Writer) -> Vec<Rule> {
    let destinations: Vec<Option<Match>> = dns.servers_of(family);
    if destinations.is_empty() {
        return Vec::new();
    }
    let chain = Writer::new(Table::Nat, Chain::ISTIO_OUTPUT_DNS);
    let mut rules = vec![output.rule([], Verdict::Jump(Chain::ISTIO_OUTPUT_DNS))];
    for destination in destinations {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let matches = destination.iter().cloned().chain([to_port(protocol, DNS)]);
            rules.push(chain.rule(Vec::from_iter(matches), Verdict::Redirect(dns.port)));
        }
    }
    rules
}

impl Dns {
    /// The name servers of a family, as conditions: one without a condition where all are meant.
    pub(super) fn servers_of(&self, family: Family) -> Vec<Option<Match>> {
        match &self.servers {
            Selection::All => vec![None],
            Selection::Only(servers) => servers
                .iter()
                .filter(|server: &&IpAddr| server.is_ipv6() == (family == Family::Ipv6))
                .map(|server| Some(Match::Destination(Is::Equal(IpNet::from(*server)))))
                .collect(),
        }
    }
}
