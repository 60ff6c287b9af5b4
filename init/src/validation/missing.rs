//! Which rules are missing, judged by where a probe came out.
//!
//! A probe's way through the wanted rules is walked once as they are, and once more without each of
//! the rules that it meets: those without which it would come out elsewhere are suspected. Rules
//! that a probe which arrived relies on stand.

use std::net::SocketAddr;

use super::probe::{Kind, Probe, Transport};
use crate::{
    Redirect,
    explain::{
        Direction, Meets, Packet, Tables,
        tables::Backend,
        walk::{Outcome, walk},
    },
    iptables::{
        installed::{Line, Saved},
        text::specification,
    },
    rules::{self, Protocol, Rule, State, Verdict},
};

/// The rules of which one is missing, if a probe went astray and others did not.
///
/// The port is the one that it arrived at, if it did at any.
pub(super) fn suspects(
    redirect: &Redirect,
    probe: &Probe,
    arrived_at: Option<u16>,
    shown: &[&Probe],
) -> Vec<String> {
    let wanted = rules::rules(redirect, probe.family);
    let others = shown.iter().filter(|other| other.family == probe.family);
    let standing: Vec<Rule> = others
        .flat_map(|other| needed(&wanted, &packet(other)))
        .map(|needed| needed.rule)
        .collect();
    let packet = packet(probe);
    let mut missing = needed(&wanted, &packet);
    missing.retain(|each| !standing.contains(&each.rule));
    // Where no single rule explains it, more than one is missing, or there is one too many.
    if missing.iter().any(|each| each.otherwise == arrived_at) {
        missing.retain(|each| each.otherwise == arrived_at);
    }
    if missing.is_empty() {
        let met = met(&wanted, &packet).into_iter();
        return met.map(|rule| text(&rule)).collect();
    }
    missing.iter().map(|each| text(&each.rule)).collect()
}

/// The rules that let a probe go; all of them are missing if it came back.
pub(super) fn releases(redirect: &Redirect, probe: &Probe) -> Vec<String> {
    let mut wanted = rules::rules(redirect, probe.family);
    let packet = packet(probe);
    let mut releases = Vec::new();
    while let (Some(rule), Outcome::Uncaptured) = way(&wanted, &packet) {
        wanted.retain(|other| *other != rule);
        releases.push(text(&rule));
    }
    releases
}

/// The rules that put a question into its conntrack zone, and those that put the answer there.
pub(super) fn zones(redirect: &Redirect, probe: &Probe) -> [Vec<String>; 2] {
    let wanted = rules::rules(redirect, probe.family);
    let question = packet(probe);
    let answer = Packet {
        source_port: redirect.dns.as_ref().map(|dns| dns.port),
        destination: SocketAddr::new(question.destination.ip(), 0),
        uid: redirect.proxy_uids.first().copied(),
        gid: redirect.proxy_gids.first().copied(),
        ..question.clone()
    };
    [question, answer].map(|packet| {
        let met = met(&wanted, &packet).into_iter();
        let zones = met.filter(|rule| matches!(rule.verdict, Verdict::ConnectionZone(_)));
        zones.map(|rule| text(&rule)).collect()
    })
}

/// A rule that a probe relies on.
struct Needed {
    rule: Rule,
    /// The port at which the probe arrives without it, if at any.
    otherwise: Option<u16>,
}

fn needed(wanted: &[Rule], packet: &Packet) -> Vec<Needed> {
    let arrives = |rules: &[Rule]| port(way(rules, packet).1);
    let port = arrives(wanted);
    met(wanted, packet)
        .into_iter()
        .filter_map(|rule| {
            let rest: Vec<Rule> = wanted
                .iter()
                .filter(|other| **other != rule)
                .cloned()
                .collect();
            let otherwise = arrives(&rest);
            (otherwise != port).then_some(Needed { rule, otherwise })
        })
        .collect()
}

/// The rule that decides about a packet, and what it decides.
fn way(rules: &[Rule], packet: &Packet) -> (Option<Rule>, Outcome) {
    let tables = tables(rules, packet);
    let explanation = walk(&tables, packet);
    let decisive = explanation
        .decided_by
        .and_then(|step| explanation.steps.get(step));
    (decisive.map(|step| step.rule.clone()), explanation.outcome)
}

fn met(rules: &[Rule], packet: &Packet) -> Vec<Rule> {
    let tables = tables(rules, packet);
    let steps = walk(&tables, packet).steps.into_iter();
    steps
        .filter(|step| step.meets == Meets::All)
        .map(|step| step.rule.clone())
        .collect()
}

fn tables(rules: &[Rule], packet: &Packet) -> [Tables; 1] {
    let chains = rules.iter().map(|rule| (rule.table, rule.chain.clone()));
    let lines = rules.iter().cloned().map(Line::from);
    let saved = Saved {
        chains: chains.collect(),
        dropping: Vec::new(),
        lines: lines.collect(),
        unreadable: None,
    };
    [Tables::from_saved(Backend::Nft, packet.family(), saved)]
}

fn packet(probe: &Probe) -> Packet {
    let interface = match probe.kind {
        Kind::Inbound | Kind::Transparent => "lo",
        // Whichever it is, no rule names it: by such a one nothing would be tried.
        _ => "",
    };
    Packet {
        direction: Direction::Outbound,
        protocol: match probe.transport() {
            Transport::Tcp => Protocol::Tcp,
            Transport::Udp => Protocol::Udp,
        },
        source: probe.source,
        source_port: None,
        destination: probe.destination,
        uid: Some(probe.client.uid),
        gid: Some(probe.client.gid),
        interface: interface.to_owned(),
        mark: probe.mark.unwrap_or_default(),
        connection_mark: 0,
        state: State::New,
    }
}

fn port(outcome: Outcome) -> Option<u16> {
    match outcome {
        Outcome::Redirected { port } | Outcome::Tproxied { port } => Some(port),
        _ => None,
    }
}

/// As the arguments of iptables that would add it.
fn text(rule: &Rule) -> String {
    let Rule { table, chain, .. } = rule;
    format!("`-t {} -A {chain} {}`", table.name(), specification(rule))
}

#[cfg(test)]
mod tests;
