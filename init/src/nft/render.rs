//! Rules → the text that `nft -f` takes, which is one transaction.

use std::fmt::{self, Write};

use ipnet::IpNet;

use super::{FAMILY, chain_name, chains, hook, table_name};
use crate::rules::{Chain, Family, Is, Match, Ports, Rule, State, Table, Verdict};

/// The text that leaves exactly these rules in our tables, whatever they held before: all at
/// once, or, at a fault, nothing of it.
///
/// The rules are those that [`merge`](super::merge()) made.
pub fn transaction(rules: &[Rule]) -> String {
    removal() + &tables(rules)
}

/// As [`transaction`], for where none of our tables is; where one is, it changes nothing and fails.
///
/// The kernel takes several times as long for a transaction that removes anything, as it then
/// waits for packets that are under way.
pub fn creation(rules: &[Rule]) -> String {
    let mut text = String::new();
    for table in Table::ALL {
        if rules.iter().any(|rule| rule.table == table) {
            put(
                &mut text,
                format_args!("create table {FAMILY} {}\n", table_name(table)),
            );
        }
    }
    text + &tables(rules)
}

fn tables(rules: &[Rule]) -> String {
    let mut text = String::new();
    for table in Table::ALL {
        let chains = chains(rules, table);
        if chains.is_empty() {
            continue;
        }
        put(
            &mut text,
            format_args!("table {FAMILY} {} {{\n", table_name(table)),
        );
        for chain in chains {
            let rules = rules.iter();
            let rules = rules.filter(|rule| rule.table == table && rule.chain == *chain);
            write_chain(&mut text, table, chain, rules);
        }
        text.push_str("}\n");
    }
    text
}

/// The text that leaves none of our tables.
pub fn removal() -> String {
    let mut text = String::new();
    for table in Table::ALL {
        let name = table_name(table);
        // What is not there cannot be deleted, and what is there can be made again.
        put(
            &mut text,
            format_args!("table {FAMILY} {name}\ndelete table {FAMILY} {name}\n"),
        );
    }
    text
}

fn write_chain<'a>(
    text: &mut String,
    table: Table,
    chain: &Chain,
    rules: impl Iterator<Item = &'a Rule>,
) {
    put(text, format_args!("\tchain {} {{\n", chain_name(chain)));
    if let Some(hook) = hook(table, chain) {
        let (kind, name, priority) = (&hook.kind, &hook.name, hook.priority);
        put(
            text,
            format_args!("\t\ttype {kind} hook {name} priority {priority}; policy accept;\n"),
        );
    }
    for rule in rules {
        put(text, format_args!("\t\t{}\n", statement(rule)));
    }
    text.push_str("\t}\n");
}

/// A rule as nft writes it.
pub fn statement(rule: &Rule) -> String {
    let mut words: Vec<String> = rule.matches.iter().map(condition).collect();
    words.push("counter".to_owned());
    words.extend(verdict(rule));
    words.join(" ")
}

fn condition(condition: &Match) -> String {
    match condition {
        Match::Family(family) => format!("meta nfproto {}", family.name()),
        Match::Source(cidr) => address("saddr", cidr),
        Match::Destination(cidr) => address("daddr", cidr),
        Match::InInterface(name) => compared("iifname", name, |name| format!("\"{name}\"")),
        Match::OutInterface(name) => compared("oifname", name, |name| format!("\"{name}\"")),
        Match::Protocol(protocol) => compared("meta l4proto", protocol, |protocol| {
            protocol.name().to_owned()
        }),
        Match::SourcePort(protocol, ports) => {
            compared(&format!("{} sport", protocol.name()), ports, |ports| {
                list(ports)
            })
        }
        Match::DestinationPort(protocol, ports) => {
            compared(&format!("{} dport", protocol.name()), ports, |ports| {
                list(ports)
            })
        }
        Match::Syn(syn) => compared("tcp flags & (fin | syn | rst | ack)", syn, |()| {
            "syn".to_owned()
        }),
        Match::Uid(uid) => compared("meta skuid", uid, u32::to_string),
        Match::Gid(gid) => compared("meta skgid", gid, u32::to_string),
        Match::Mark(mark) => compared("meta mark", mark, u32::to_string),
        Match::ConnectionMark(mark) => compared("ct mark", mark, u32::to_string),
        Match::State(states) => compared("ct state", states, |states| {
            let names: Vec<&str> = states.iter().map(|state| name(*state)).collect();
            match names.as_slice() {
                [name] => (*name).to_owned(),
                // Each packet's connection is in one state: it is one of these, or none.
                _ => format!("{{ {} }}", names.join(", ")),
            }
        }),
        Match::Unknown(text) => text.clone(),
    }
}

fn address(field: &str, cidr: &Is<IpNet>) -> String {
    let protocol = match Family::of(cidr.value()) {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
    };
    compared(&format!("{protocol} {field}"), cidr, IpNet::to_string)
}

fn compared<T>(what: &str, is: &Is<T>, text: impl FnOnce(&T) -> String) -> String {
    match is {
        Is::Equal(value) => format!("{what} {}", text(value)),
        Is::Not(value) => format!("{what} != {}", text(value)),
    }
}

fn list(ports: &[Ports]) -> String {
    match ports {
        [ports] => ports.to_string(),
        _ => {
            let items: Vec<String> = ports.iter().map(Ports::to_string).collect();
            format!("{{ {} }}", items.join(", "))
        }
    }
}

fn name(state: State) -> &'static str {
    match state {
        State::New => "new",
        State::Established => "established",
        State::Related => "related",
        State::Invalid => "invalid",
        State::Untracked => "untracked",
    }
}

fn verdict(rule: &Rule) -> Option<String> {
    Some(match &rule.verdict {
        Verdict::Return => "return".to_owned(),
        Verdict::Accept => "accept".to_owned(),
        Verdict::Drop => "drop".to_owned(),
        Verdict::Jump(chain) => format!("jump {}", chain_name(chain)),
        Verdict::Goto(chain) => format!("goto {}", chain_name(chain)),
        Verdict::Redirect(port) => format!("redirect to :{port}"),
        // iptables' TPROXY also marks the packet, and is the last that its table does.
        Verdict::Tproxy { port, mark } => {
            let family = match family(rule) {
                Some(Family::Ipv4) => "ip ",
                Some(Family::Ipv6) => "ip6 ",
                None => "",
            };
            format!("tproxy {family}to :{port} meta mark set {mark} accept")
        }
        Verdict::SetMark(mark) => format!("meta mark set {mark}"),
        Verdict::SaveMark => "ct mark set meta mark".to_owned(),
        Verdict::RestoreMark => "meta mark set ct mark".to_owned(),
        // As in iptables, the first zone that a packet gets is the one it keeps.
        Verdict::ConnectionZone(zone) => format!("ct zone set {zone}"),
        Verdict::Continue => return None,
        Verdict::Unknown(text) => text.clone(),
    })
}

/// The family whose packets alone can meet the conditions; nft wants to be told.
fn family(rule: &Rule) -> Option<Family> {
    rule.matches.iter().find_map(|condition| match condition {
        Match::Family(family) => Some(*family),
        Match::Source(cidr) | Match::Destination(cidr) => Some(Family::of(cidr.value())),
        _ => None,
    })
}

fn put(text: &mut String, part: fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(part);
}

#[cfg(test)]
mod tests;
