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
        walk::{Hook, Outcome, walk},
    },
    iptables::{
        installed::{Line, Saved},
        text::specification,
    },
    rules::{self, Protocol, Rule, State, Table},
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
    let packet = packet(probe);
    let needed = needed(&wanted, &packet);
    let stands = |rule: &Rule| {
        let others = shown.iter().filter(|other| other.family == probe.family);
        others
            .flat_map(|other| self::needed(&wanted, &self::packet(other)))
            .any(|needed| needed.rule == *rule)
    };
    let missing: Vec<&Needed> = needed.iter().filter(|each| !stands(&each.rule)).collect();
    let explains = |each: &&&Needed| port(each.otherwise) == arrived_at;
    let explaining: Vec<&Needed> = missing.iter().filter(explains).copied().collect();
    // Where no single rule explains it, more than one is missing, or there is one too many.
    let suspects = if explaining.is_empty() {
        missing
    } else {
        explaining
    };
    suspects.into_iter().map(|each| text(&each.rule)).collect()
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

/// The rules by which a question and its answer are found to belong together.
pub(super) fn zones(redirect: &Redirect, probe: &Probe) -> Vec<String> {
    let Some(dns) = &redirect.dns else {
        return Vec::new();
    };
    let wanted = rules::rules(redirect, probe.family);
    let question = packet(probe);
    let answer = Packet {
        source_port: Some(dns.port),
        destination: SocketAddr::new(question.destination.ip(), 0),
        uid: redirect.proxy_uids.first().copied(),
        gid: redirect.proxy_gids.first().copied(),
        ..question.clone()
    };
    let mut zones: Vec<String> = Vec::new();
    for packet in [question, answer] {
        let tables = tables(&wanted, &packet);
        let steps = walk(&tables, &packet).steps.into_iter();
        // An answer that has arrived is found by its addresses.
        let sent = steps.filter(|step| step.hook == Hook::Output && step.meets == Meets::All);
        for rule in sent.map(|step| step.rule) {
            if rule.table == Table::Raw && !zones.contains(&text(rule)) {
                zones.push(text(rule));
            }
        }
    }
    zones
}

/// A rule that a probe relies on.
struct Needed {
    rule: Rule,
    /// What becomes of the probe without it.
    otherwise: Outcome,
}

fn needed(wanted: &[Rule], packet: &Packet) -> Vec<Needed> {
    let (_, outcome) = way(wanted, packet);
    met(wanted, packet)
        .into_iter()
        .filter_map(|rule| {
            let rest: Vec<Rule> = wanted
                .iter()
                .filter(|other| **other != rule)
                .cloned()
                .collect();
            let (_, otherwise) = way(&rest, packet);
            (otherwise != outcome).then_some(Needed { rule, otherwise })
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
