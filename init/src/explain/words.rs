//! Conditions and verdicts of rules in words.

use std::fmt::Display;

use super::packet::state_name;
use crate::rules::{Is, Match, Ports, Protocol, Rule, State, Verdict};

/// The conditions of a rule; together they read as one.
pub(super) fn conditions(rule: &Rule) -> String {
    if rule.matches.is_empty() {
        return "any packet".to_owned();
    }
    let words: Vec<String> = rule.matches.iter().map(condition).collect();
    words.join(", ")
}

/// One condition.
pub(super) fn condition(condition: &Match) -> String {
    match condition {
        Match::Family(family) => family.name().to_owned(),
        Match::Source(cidr) => compared("from", cidr),
        Match::Destination(cidr) => compared("to", cidr),
        Match::InInterface(name) => compared("arriving by", name),
        Match::OutInterface(name) => compared("leaving by", name),
        Match::Protocol(protocol) => match protocol {
            Is::Equal(protocol) => name(*protocol).to_owned(),
            Is::Not(protocol) => format!("not {}", name(*protocol)),
        },
        Match::SourcePort(protocol, ports) => port(*protocol, "from", ports),
        Match::DestinationPort(protocol, ports) => port(*protocol, "to", ports),
        Match::Syn(Is::Equal(())) => "asking for a connection".to_owned(),
        Match::Syn(Is::Not(())) => "not asking for a connection".to_owned(),
        Match::Uid(uid) => compared("uid", uid),
        Match::Gid(gid) => compared("gid", gid),
        Match::Mark(mark) => compared("mark", mark),
        Match::ConnectionMark(mark) => compared("connection mark", mark),
        Match::State(states) => {
            let names = |states: &[State]| {
                let names: Vec<&str> = states.iter().copied().map(state_name).collect();
                names.join(" or ")
            };
            match states {
                Is::Equal(states) => format!("connection state {}", names(states)),
                Is::Not(states) => format!("connection state not {}", names(states)),
            }
        }
        Match::Unknown(text) => match comment(text) {
            Some(comment) => format!("(comment {comment})"),
            None => format!("`{text}`"),
        },
    }
}

/// What a rule does, as it stands after the arrow.
pub(super) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Return => "RETURN".to_owned(),
        Verdict::Accept => "ACCEPT".to_owned(),
        Verdict::Drop => "DROP".to_owned(),
        Verdict::Jump(chain) => chain.to_string(),
        Verdict::Goto(chain) => format!("{chain} (goto)"),
        Verdict::Redirect(port) => format!("REDIRECT to port {port}"),
        Verdict::Tproxy { port, mark } => format!("TPROXY to port {port}, mark {mark}"),
        Verdict::SetMark(mark) => format!("set mark {mark}"),
        Verdict::SaveMark => "save the mark for the connection".to_owned(),
        Verdict::RestoreMark => "take the connection's mark".to_owned(),
        Verdict::ConnectionZone(zone) => format!("connection zone {zone}"),
        Verdict::Continue => "go on".to_owned(),
        Verdict::Unknown(text) => format!("`{text}`"),
    }
}

/// The text of a comment, which is no condition.
pub(super) fn comment(unknown: &str) -> Option<&str> {
    unknown.strip_prefix("-m comment --comment ")
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

fn port(protocol: Protocol, which: &str, ports: &Is<Vec<Ports>>) -> String {
    let list: Vec<String> = ports.value().iter().map(Ports::to_string).collect();
    let plural = match ports.value().as_slice() {
        [Ports { first, last }] if first == last => "port",
        _ => "ports",
    };
    let not = if matches!(ports, Is::Not(_)) {
        "not "
    } else {
        ""
    };
    format!(
        "{} {not}{which} {plural} {}",
        name(protocol),
        list.join(",")
    )
}

fn compared(what: &str, is: &Is<impl Display>) -> String {
    match is {
        Is::Equal(value) => format!("{what} {value}"),
        Is::Not(value) => format!("not {what} {value}"),
    }
}
