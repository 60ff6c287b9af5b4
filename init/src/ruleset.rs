//! Rules as iptables' text, comparable with what `iptables-save` prints.

use std::fmt::Write;

use ipnet::IpNet;

use crate::rules::{Chain, Is, Match, Protocol, Rule, Verdict};

/// The chains and rules of one nat table that are ours.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ruleset {
    /// Our own chains.
    pub chains: Vec<String>,
    /// The rules in them, and our jumps in the kernel's chains, each chain's in order.
    pub rules: Vec<Line>,
}

/// One rule as text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// The chain it stands in.
    pub chain: String,
    /// What follows `-A CHAIN`; empty conditions are left out.
    pub specification: String,
}

impl Ruleset {
    /// Writes rules as text; chains come in the order of their first use.
    pub fn from_rules(rules: &[Rule]) -> Self {
        let mut set = Self::default();
        for rule in rules {
            let jump = match rule.verdict {
                Verdict::Jump(chain) => Some(chain),
                Verdict::Return | Verdict::Redirect(_) => None,
            };
            for chain in [Some(rule.chain), jump].into_iter().flatten() {
                let name = chain_name(chain);
                if is_ours(name) && !set.chains.iter().any(|known| known == name) {
                    set.chains.push(name.to_owned());
                }
            }
            set.rules.push(Line {
                chain: chain_name(rule.chain).to_owned(),
                specification: specification(rule),
            });
        }
        set
    }

    /// Whether both hold the same chains and, chain by chain, rules that mean the same in order.
    pub fn matches(&self, other: &Self) -> bool {
        let has_all = |a: &Self, b: &Self| b.chains.iter().all(|chain| a.chains.contains(chain));
        let chains = self
            .rules
            .iter()
            .chain(&other.rules)
            .map(|line| &line.chain);
        has_all(self, other) && has_all(other, self) && {
            let mut chains: Vec<&String> = chains.collect();
            chains.sort_unstable();
            chains.dedup();
            chains
                .into_iter()
                .all(|chain| self.matches_in(other, chain))
        }
    }

    /// Whether both hold rules of the same meaning in one chain, in the same order.
    pub fn matches_in(&self, other: &Self, chain: &str) -> bool {
        let meanings = |set: &Self| -> Vec<Vec<String>> {
            let lines = set.rules.iter().filter(|line| line.chain == chain);
            lines.map(|line| meaning(&line.specification)).collect()
        };
        meanings(self) == meanings(other)
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.rules.is_empty()
    }
}

/// Whether a chain is ours: Istio's names are, and whoever uses them wants to be us.
pub fn is_ours(chain: &str) -> bool {
    chain.starts_with("ISTIO_")
}

fn chain_name(chain: Chain) -> &'static str {
    match chain {
        Chain::Prerouting => "PREROUTING",
        Chain::Output => "OUTPUT",
        Chain::IstioInbound => "ISTIO_INBOUND",
        Chain::IstioInRedirect => "ISTIO_IN_REDIRECT",
        Chain::IstioOutput => "ISTIO_OUTPUT",
        Chain::IstioRedirect => "ISTIO_REDIRECT",
    }
}

fn specification(rule: &Rule) -> String {
    let mut words = Vec::with_capacity(rule.matches.len() + 1);
    words.extend(rule.matches.iter().filter_map(condition));
    words.push(match rule.verdict {
        Verdict::Return => "-j RETURN".to_owned(),
        Verdict::Jump(chain) => format!("-j {}", chain_name(chain)),
        Verdict::Redirect(port) => format!("-j REDIRECT --to-ports {port}"),
    });
    words.join(" ")
}

fn condition(condition: &Match) -> Option<String> {
    match *condition {
        // Any address is no condition, and iptables does not print it. "No address" is one, which
        // iptables refuses; no rule of ours asks for it.
        Match::Source(cidr) | Match::Destination(Is::Equal(cidr)) if cidr.prefix_len() == 0 => None,
        Match::Source(cidr) => Some(format!("-s {cidr}")),
        Match::Destination(cidr) => Some(compared("-d", cidr)),
        Match::ToItself => Some("-o lo".to_owned()),
        Match::Protocol(protocol) => Some(format!("-p {}", protocol_name(protocol))),
        Match::DestinationPort(protocol, port) => {
            let protocol = protocol_name(protocol);
            Some(format!(
                "-p {protocol} -m {protocol} {}",
                compared("--dport", port)
            ))
        }
        Match::Uid(uid) => Some(format!("-m owner {}", compared("--uid-owner", uid))),
        Match::Gid(gid) => Some(format!("-m owner {}", compared("--gid-owner", gid))),
    }
}

fn compared(option: &str, is: Is<impl std::fmt::Display>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match is {
        Is::Equal(value) => write!(text, "{option} {value}"),
        Is::Not(value) => write!(text, "! {option} {value}"),
    };
    text
}

fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// A specification in a form that is equal for all texts of the same meaning: one entry per
/// option, sorted; modules are implied by their options.
fn meaning(specification: &str) -> Vec<String> {
    let mut options: Vec<String> = Vec::new();
    let mut words = words(specification).into_iter().peekable();
    let mut negated = false;
    while let Some(word) = words.next() {
        if word == "!" {
            negated = true;
            continue;
        }
        let mut values = Vec::new();
        while let Some(value) = words.next_if(|next| !next.starts_with('-') && next != "!") {
            values.push(value);
        }
        let option = match word.as_str() {
            "-m" | "--match" => continue,
            "--destination-port" => "--dport",
            "--to-port" => "--to-ports",
            "--jump" => "-j",
            other => other,
        };
        let value = match option {
            "-s" | "-d" => match values.join(" ").parse::<IpNet>() {
                Ok(cidr) if cidr.prefix_len() == 0 && !negated => continue,
                Ok(cidr) => cidr.trunc().to_string(),
                Err(_) => values.join(" "),
            },
            "-p" => match values.join(" ").as_str() {
                "6" => "tcp".to_owned(),
                "17" => "udp".to_owned(),
                other => other.to_owned(),
            },
            _ => values.join(" "),
        };
        options.push(format!(
            "{}{option} {value}",
            if negated { "! " } else { "" }
        ));
        negated = false;
    }
    options.sort_unstable();
    options
}

/// The words of a rule as `iptables-save` prints it, where a text with blanks is quoted.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut begun) = (false, false);
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            '\\' if quoted => word.extend(characters.next()),
            blank if blank.is_whitespace() && !quoted => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => {
                word.push(other);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::{meaning, words};

    #[track_caller]
    fn check(one: &str, other: &str, same: bool) {
        assert_eq!(meaning(one) == meaning(other), same, "{one}\n{other}");
    }

    #[test]
    fn order_modules_and_synonyms_do_not_matter() {
        check(
            "-p tcp -m tcp --dport 80 -j RETURN",
            "-p 6 --destination-port 80 -j RETURN",
            true,
        );
        check(
            "! -d 127.0.0.1/32 -o lo -m owner --uid-owner 1337 -j X",
            "-o lo -m owner --uid-owner 1337 ! -d 127.0.0.1/32 -j X",
            true,
        );
        check("-j REDIRECT --to-port 1", "-j REDIRECT --to-ports 1", true);
        check("-d 10.1.0.0/8 -j X", "-d 10.0.0.0/8 -j X", true);
        check("-s 0:0::6/128 -j X", "-s ::6/128 -j X", true);
        check("-d 0.0.0.0/0 -j X", "-j X", true);
    }

    #[test]
    fn negation_values_and_further_conditions_do() {
        check("! -d 10.0.0.0/8 -j X", "-d 10.0.0.0/8 -j X", false);
        check("-o lo -j X", "-o eth0 -j X", false);
        check("-p udp -j X", "-p tcp -j X", false);
        check("-j X", "-m comment --comment y -j X", false);
        check(
            "-m owner --uid-owner 1 -j X",
            "-m owner --gid-owner 1 -j X",
            false,
        );
        check(
            "-p tcp ! --dport 1 -m owner --uid-owner 2 -j X",
            "-p tcp --dport 1 -m owner ! --uid-owner 2 -j X",
            false,
        );
    }

    #[test]
    fn quoted_text_is_one_word() {
        assert_eq!(
            words(r#"--comment "a -j \"b" -j X ''"#),
            ["--comment", r#"a -j "b"#, "-j", "X", "''"]
        );
        assert_eq!(words(r#"  "" "#), [""]);
        assert_eq!(words("\"open \\"), ["open "]);
    }
}
