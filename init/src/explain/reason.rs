//! Why a rule stands there: the rule, and its chain → words, and the settings that made it.
//!
//! The shape of a rule tells, since each setting makes rules of one shape; where two make the same,
//! their order does.

mod mangle;
mod nat;
mod settings;

use fairlead_api::ports;

use self::{
    mangle::mangle,
    nat::nat,
    settings::{
        DNS, EXCLUDED_INBOUND, EXCLUDED_INTERFACES, INCLUDED_INBOUND, PROXYS_PORTS,
        VIRTUAL_INTERFACES,
    },
};
use super::walk::Step;
use crate::rules::{
    Chain, Is, Match, PASSTHROUGH_IPV4, PASSTHROUGH_IPV6, Ports, Rule, Table, Verdict,
};

/// What makes a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Setting {
    /// The flag of `fairlead-init`.
    pub flag: &'static str,
    /// The annotation of pods that sets the flag.
    pub annotation: Option<&'static str>,
}

/// Why a rule stands there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// The redirect needs it.
    Ours {
        /// What it is for.
        why: String,
        /// What the user can change about it; nothing where the redirect always has it.
        settings: Vec<Setting>,
    },
    /// It stands among ours, but its tool does not show all of it.
    Unreadable,
    /// It stands among ours, but no setting makes such a rule.
    Stray,
    /// It is nobody's of this mesh.
    Foreign,
}

/// Why the rule of a step stands there.
pub fn reason(step: &Step<'_>) -> Reason {
    let chain = &step.chain.name;
    // In tables that both families share, rules of one say so; it is no setting's doing.
    let mut rule = step.rule.clone();
    rule.matches.retain(|is| !matches!(is, Match::Family(_)));
    let step = &Step {
        rule: &rule,
        ..*step
    };
    let known = match rule.table {
        Table::Raw => raw(&rule),
        Table::Mangle => mangle(step),
        Table::Nat => nat(step),
    };
    match known {
        Some((why, settings)) => Reason::Ours {
            why,
            settings: settings.to_vec(),
        },
        None if chain.is_ours() && is_unreadable(&rule) => Reason::Unreadable,
        None if chain.is_ours() => Reason::Stray,
        None => Reason::Foreign,
    }
}

fn is_unreadable(rule: &Rule) -> bool {
    matches!(rule.verdict, Verdict::Unknown(_))
        || rule
            .matches
            .iter()
            .any(|is| matches!(is, Match::Unknown(_)))
}

type Known = (String, &'static [Setting]);

fn known(why: impl Into<String>, settings: &'static [Setting]) -> Option<Known> {
    Some((why.into(), settings))
}

fn raw(rule: &Rule) -> Option<Known> {
    match (&rule.verdict, rule.matches.as_slice()) {
        (Verdict::Jump(target), _) if rule.chain.is_kernels() && target.is_ours() => known(
            "questions to name servers, and their answers, are told apart there",
            &[DNS],
        ),
        (Verdict::ConnectionZone(_), matches) if rule.chain.is_ours() => {
            let of_proxy = matches.iter().any(|condition| {
                matches!(
                    condition,
                    Match::Uid(Is::Equal(_)) | Match::Gid(Is::Equal(_))
                )
            });
            let answers = matches.iter().any(|is| matches!(is, Match::SourcePort(..)));
            let why = match of_proxy {
                true if answers => "the proxy's answers belong to the application's questions",
                true => {
                    "the proxy's own questions are kept apart from the application's, which have \
                     the same addresses"
                }
                _ if rule.chain == Chain::ISTIO_INBOUND => {
                    "name servers answer the proxy's questions"
                }
                _ => "the application's questions are kept apart from the proxy's",
            };
            known(why, &[DNS])
        }
        _ => None,
    }
}

fn interface(step: &Step<'_>, name: &str) -> Option<Known> {
    let arrives = Match::InInterface(Is::Equal(name.to_owned()));
    let mut rules = step.tables.tables.iter().flat_map(|table| &table.chains);
    let is_virtual = rules.any(|chain| {
        chain.rules.iter().any(|rule| {
            rule.target() == Some(&Chain::ISTIO_REDIRECT) && rule.matches.contains(&arrives)
        })
    });
    if is_virtual {
        return known(
            "what virtual machines send was looked at already",
            &[VIRTUAL_INTERFACES],
        );
    }
    // In the kernel's chains, it is the redirect's only where a jump to it follows.
    let mut after = step.chain.rules.iter().skip(step.number);
    let ours =
        step.chain.name.is_ours() || after.any(|rule| rule.target().is_some_and(Chain::is_ours));
    ours.then(|| known("the interface is left alone", &[EXCLUDED_INTERFACES]))?
}

fn excluded_inbound(excluded: &[Ports]) -> Known {
    let of_proxy = |ports: &Ports| {
        ports.first == ports.last && ports::UNCAPTURED_INBOUND.contains(&ports.first)
    };
    match excluded.iter().all(of_proxy) {
        true => (
            "the proxy itself serves the port".to_owned(),
            &[PROXYS_PORTS],
        ),
        false => ("the port is left alone".to_owned(), &[EXCLUDED_INBOUND]),
    }
}

fn included_inbound(matches: &[Match]) -> Option<Known> {
    match matches
        .iter()
        .any(|is| matches!(is, Match::DestinationPort(..)))
    {
        true => known("the port is to be captured", &[INCLUDED_INBOUND]),
        false => known("all other ports are captured", &[INCLUDED_INBOUND]),
    }
}

fn is_from_passthrough(matches: &[Match]) -> bool {
    matches.iter().any(|condition| match condition {
        Match::Source(Is::Equal(cidr)) => {
            cidr.addr() == PASSTHROUGH_IPV4 || cidr.addr() == PASSTHROUGH_IPV6
        }
        _ => false,
    })
}

fn owner(matches: &[Match]) -> Option<&Match> {
    let mut matches = matches.iter();
    matches.find(|is| matches!(is, Match::Uid(Is::Equal(_)) | Match::Gid(Is::Equal(_))))
}
