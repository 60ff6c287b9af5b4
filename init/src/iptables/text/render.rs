//! Rule → text, as `iptables-save` would print it.

use std::fmt;

use crate::rules::{Is, Match, Ports, Protocol, Rule, State, Verdict};

/// What follows `-A CHAIN`.
pub fn specification(rule: &Rule) -> String {
    let mut words: Vec<String> = Vec::with_capacity(rule.matches.len() + 1);
    for text in rule.matches.iter().filter_map(condition) {
        // What one module looks at stands together.
        let goes_on = words
            .last()
            .is_some_and(|last| last.starts_with("-p tcp -m tcp "));
        match text.strip_prefix("-m tcp ") {
            Some(rest) if goes_on => words.push(rest.to_owned()),
            _ => words.push(text),
        }
    }
    words.extend(target(rule));
    words.join(" ")
}

fn condition(condition: &Match) -> Option<String> {
    Some(match condition {
        // Each family has its own tables.
        Match::Family(_) => return None,
        Match::Source(cidr) => compared("-s", cidr),
        Match::Destination(cidr) => compared("-d", cidr),
        Match::InInterface(name) => compared("-i", name),
        Match::OutInterface(name) => compared("-o", name),
        Match::Protocol(protocol) => match protocol {
            Is::Equal(protocol) => format!("-p {}", protocol.name()),
            Is::Not(protocol) => format!("! -p {}", protocol.name()),
        },
        Match::SourcePort(protocol, ports) => port(*protocol, "sport", ports),
        Match::DestinationPort(protocol, ports) => port(*protocol, "dport", ports),
        Match::Syn(Is::Equal(())) => format!("-m tcp {SYN}"),
        Match::Syn(Is::Not(())) => format!("-m tcp ! {SYN}"),
        Match::Uid(uid) => format!("-m owner {}", compared("--uid-owner", uid)),
        Match::Gid(gid) => format!("-m owner {}", compared("--gid-owner", gid)),
        Match::Mark(mark) => format!("-m mark {}", compared("--mark", &mark.hexadecimal())),
        Match::ConnectionMark(mark) => {
            format!("-m connmark {}", compared("--mark", &mark.hexadecimal()))
        }
        Match::State(states) => {
            let names = |states: &Vec<State>| {
                let names: Vec<&str> = states.iter().map(|state| name(*state)).collect();
                names.join(",")
            };
            let states = match states {
                Is::Equal(states) => Is::Equal(names(states)),
                Is::Not(states) => Is::Not(names(states)),
            };
            format!("-m conntrack {}", compared("--ctstate", &states))
        }
        Match::Unknown(text) => text.clone(),
    })
}

const SYN: &str = "--tcp-flags FIN,SYN,RST,ACK SYN";

fn port(protocol: Protocol, option: &str, ports: &Is<Vec<Ports>>) -> String {
    let protocol = protocol.name();
    let list: Vec<String> = ports
        .value()
        .iter()
        .map(|Ports { first, last }| match first == last {
            true => first.to_string(),
            false => format!("{first}:{last}"),
        })
        .collect();
    let (module, option) = match list.len() {
        1 => (protocol, format!("--{option}")),
        _ => ("multiport", format!("--{option}s")),
    };
    let list = list.join(",");
    let not = if matches!(ports, Is::Not(_)) {
        "! "
    } else {
        ""
    };
    format!("-p {protocol} -m {module} {not}{option} {list}")
}

fn name(state: State) -> &'static str {
    match state {
        State::New => "NEW",
        State::Established => "ESTABLISHED",
        State::Related => "RELATED",
        State::Invalid => "INVALID",
        State::Untracked => "UNTRACKED",
    }
}

fn target(rule: &Rule) -> Option<String> {
    Some(match &rule.verdict {
        Verdict::Return => "-j RETURN".to_owned(),
        Verdict::Accept => "-j ACCEPT".to_owned(),
        Verdict::Drop => "-j DROP".to_owned(),
        Verdict::Jump(chain) => format!("-j {chain}"),
        Verdict::Goto(chain) => format!("-g {chain}"),
        Verdict::Redirect(port) => format!("-j REDIRECT --to-ports {port}"),
        Verdict::Tproxy { port, mark } => {
            let any = if has_ipv6(rule) { "::" } else { "0.0.0.0" };
            format!("-j TPROXY --on-port {port} --on-ip {any} --tproxy-mark {mark:#x}/{ALL_BITS}")
        }
        Verdict::SetMark(mark) => format!("-j MARK --set-xmark {mark:#x}/{ALL_BITS}"),
        Verdict::SaveMark => mark_of_connection("save"),
        Verdict::RestoreMark => mark_of_connection("restore"),
        Verdict::ConnectionZone(zone) => format!("-j CT --zone {zone}"),
        Verdict::Continue => return None,
        Verdict::Unknown(text) => text.clone(),
    })
}

const ALL_BITS: &str = "0xffffffff";

fn mark_of_connection(deed: &str) -> String {
    format!("-j CONNMARK --{deed}-mark --nfmask {ALL_BITS} --ctmask {ALL_BITS}")
}

/// Whether the rule is one of IPv6, which only its addresses tell.
fn has_ipv6(rule: &Rule) -> bool {
    rule.matches.iter().any(|condition| match condition {
        Match::Source(cidr) | Match::Destination(cidr) => cidr.value().addr().is_ipv6(),
        _ => false,
    })
}

fn compared(option: &str, is: &Is<impl fmt::Display>) -> String {
    match is {
        Is::Equal(value) => format!("{option} {value}"),
        Is::Not(value) => format!("! {option} {value}"),
    }
}

impl Is<u32> {
    fn hexadecimal(&self) -> Is<String> {
        match self {
            Self::Equal(value) => Is::Equal(format!("{value:#x}")),
            Self::Not(value) => Is::Not(format!("{value:#x}")),
        }
    }
}
