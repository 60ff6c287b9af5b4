//! The rules of each family → one list, for tables that both share.

use ipnet::IpNet;

use crate::rules::{Family, Is, Match, Ports, Protocol, Rule, State, Verdict};

/// One list that does to the packets of each family what the family's own list does in iptables.
///
/// A rule that both families have stands there once. One that a single family has is for it
/// alone: by an address that it names, or else by a condition on the family. A family without a
/// list is not touched.
///
/// Conditions are brought into the one form in which nft prints them. A captured packet for whose
/// port nobody listens is dropped, as iptables' TPROXY does by itself.
///
/// One difference stays: a packet that no process sent has no user. iptables takes that for
/// another user than any, nftables for none that could be compared, so that the packet of a kernel's
/// own socket is captured where all users but some are not.
pub fn merge(families: &[(Family, Vec<Rule>)]) -> Vec<Rule> {
    let normalized = |rules: &[Rule]| -> Vec<Rule> { rules.iter().map(normal).collect() };
    let rules = match families {
        [] => Vec::new(),
        [(family, rules)] => {
            let rules = normalized(rules).into_iter();
            // Packets come to other chains through these alone.
            rules
                .map(|rule| match rule.chain.is_kernels() {
                    true => of_family(rule, *family),
                    false => rule,
                })
                .collect()
        }
        [(one, ones), (other, others), ..] => {
            interleave((*one, normalized(ones)), (*other, normalized(others)))
        }
    };
    rules.into_iter().flat_map(with_drop).collect()
}

/// Keeps the order of both lists. Of rules that stand in another order there than here, one is
/// written for each family.
fn interleave((one, ones): (Family, Vec<Rule>), (other, others): (Family, Vec<Rule>)) -> Vec<Rule> {
    let mut merged = Vec::with_capacity(ones.len().max(others.len()));
    let (mut ones, mut others) = (ones.as_slice(), others.as_slice());
    while let ([first, rest @ ..], [second, other_rest @ ..]) = (ones, others) {
        let is_shared = |rule: &Rule, ahead: &[Rule]| !names_address(rule) && ahead.contains(rule);
        if first == second {
            merged.push(first.clone());
            (ones, others) = (rest, other_rest);
        } else if is_shared(first, other_rest) && !is_shared(second, rest) {
            merged.push(of_family(second.clone(), other));
            others = other_rest;
        } else {
            merged.push(of_family(first.clone(), one));
            ones = rest;
        }
    }
    merged.extend(ones.iter().map(|rule| of_family(rule.clone(), one)));
    merged.extend(others.iter().map(|rule| of_family(rule.clone(), other)));
    merged
}

/// Whether a condition names an address, which only packets of its family can meet.
fn names_address(rule: &Rule) -> bool {
    let is_address =
        |condition: &Match| matches!(condition, Match::Source(_) | Match::Destination(_));
    rule.matches.iter().any(is_address)
}

fn of_family(mut rule: Rule, family: Family) -> Rule {
    if !names_address(&rule) {
        rule.matches.insert(0, Match::Family(family));
    }
    rule
}

/// nftables asks the next rule where iptables' TPROXY drops: when nobody listens transparently.
fn with_drop(rule: Rule) -> Vec<Rule> {
    match rule.verdict {
        Verdict::Tproxy { .. } => {
            let drop = Rule {
                verdict: Verdict::Drop,
                ..rule.clone()
            };
            vec![rule, drop]
        }
        _ => vec![rule],
    }
}

/// A rule as nft prints it, however it was written.
pub(super) fn normal(rule: &Rule) -> Rule {
    let mut rule = rule.clone();
    let mut told: Vec<Protocol> = Vec::new();
    for condition in &mut rule.matches {
        match condition {
            Match::Source(cidr) | Match::Destination(cidr) => *cidr = truncated(*cidr),
            Match::SourcePort(protocol, ports) | Match::DestinationPort(protocol, ports) => {
                told.push(*protocol);
                let (Is::Equal(list) | Is::Not(list)) = ports;
                *list = joined(std::mem::take(list));
            }
            Match::Syn(_) => told.push(Protocol::Tcp),
            Match::State(Is::Equal(states) | Is::Not(states)) => {
                states.sort_unstable_by_key(|state| position(*state));
                states.dedup();
            }
            _ => {}
        }
    }
    // A port tells the protocol, too.
    rule.matches.retain(|condition| match condition {
        Match::Protocol(Is::Equal(protocol)) => !told.contains(protocol),
        _ => true,
    });
    rule
}

/// The order in which iptables prints states.
fn position(state: State) -> u8 {
    match state {
        State::Invalid => 0,
        State::New => 1,
        State::Related => 2,
        State::Established => 3,
        State::Untracked => 4,
    }
}

fn truncated(cidr: Is<IpNet>) -> Is<IpNet> {
    match cidr {
        Is::Equal(cidr) => Is::Equal(cidr.trunc()),
        Is::Not(cidr) => Is::Not(cidr.trunc()),
    }
}

/// In order, and without those that touch or overlap: nft joins them, too.
fn joined(mut ports: Vec<Ports>) -> Vec<Ports> {
    ports.sort_unstable();
    let mut joined: Vec<Ports> = Vec::with_capacity(ports.len());
    for next in ports {
        match joined.last_mut() {
            Some(last) if u32::from(next.first) <= u32::from(last.last) + 1 => {
                last.last = last.last.max(next.last);
            }
            _ => joined.push(next),
        }
    }
    joined
}

#[cfg(test)]
mod tests;
