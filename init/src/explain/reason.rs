//! Why a rule stands there: the rule, and its chain → words, and the settings that made it.
//!
//! The shape of a rule tells, since each setting makes rules of one shape; where two make the same,
//! their order does.

use fairlead_api::{annotations, ports};

use super::walk::Step;
use crate::rules::{
    Chain, Is, Match, PASSTHROUGH_IPV4, PASSTHROUGH_IPV6, Ports, Rule, SELF_CALL_MARK, Table,
    Verdict,
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

const fn flag(flag: &'static str) -> Setting {
    Setting {
        flag,
        annotation: None,
    }
}

const fn annotated(flag: &'static str, annotation: &'static str) -> Setting {
    Setting {
        flag,
        annotation: Some(annotation),
    }
}

const MODE: Setting = annotated(
    "--istio-inbound-interception-mode",
    annotations::INTERCEPTION_MODE,
);
const MARK: Setting = flag("--istio-inbound-tproxy-mark");
const INBOUND_PORT: Setting = flag("--inbound-capture-port");
const UIDS: Setting = flag("--proxy-uid");
const GIDS: Setting = flag("--proxy-gid");
const DNS: Setting = flag("--redirect-dns");
const INCLUDED_INBOUND: Setting =
    annotated("--istio-inbound-ports", annotations::INCLUDE_INBOUND_PORTS);
const EXCLUDED_INBOUND: Setting = annotated(
    "--istio-local-exclude-ports",
    annotations::EXCLUDE_INBOUND_PORTS,
);
const INCLUDED_CIDRS: Setting = annotated(
    "--istio-service-cidr",
    annotations::INCLUDE_OUTBOUND_IP_RANGES,
);
const EXCLUDED_CIDRS: Setting = annotated(
    "--istio-service-exclude-cidr",
    annotations::EXCLUDE_OUTBOUND_IP_RANGES,
);
const INCLUDED_PORTS: Setting = annotated(
    "--istio-outbound-ports",
    annotations::INCLUDE_OUTBOUND_PORTS,
);
const EXCLUDED_PORTS: Setting = annotated(
    "--istio-local-outbound-ports-exclude",
    annotations::EXCLUDE_OUTBOUND_PORTS,
);
const EXCLUDED_INTERFACES: Setting = flag("--istio-exclude-interfaces");
const VIRTUAL_INTERFACES: Setting = flag("--kube-virt-interfaces");
const DROP_INVALID: Setting = flag("--drop-invalid");
const OUTBOUND_PORT: Setting = flag("--envoy-port");
const DNS_SERVERS: Setting = flag("--dns-server");
const ALL_DNS: Setting = flag("--capture-all-dns");
const TUNNEL_PORT: Setting = flag("--inbound-tunnel-port");
const LOOPBACK: Setting = flag("--istio-outbound-ipv4-loopback-cidr");
const EXCLUDED_GROUPS: Setting = flag("--istio-outbound-owner-groups-exclude");
const INCLUDED_GROUPS: Setting = flag("--istio-outbound-owner-groups");
const PROXYS_PORTS: Setting = flag("--istio-local-exclude-ports");

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

fn mangle(step: &Step<'_>) -> Option<Known> {
    let rule = step.rule;
    let inbound = rule.chain == Chain::ISTIO_INBOUND;
    // Istio has some in the kernel's chains.
    let outbound = rule.chain == Chain::ISTIO_OUTPUT || rule.chain == Chain::OUTPUT;
    match (&rule.verdict, rule.matches.as_slice()) {
        (Verdict::Jump(target), _) if *target == Chain::ISTIO_DROP => known(
            "packets that belong to no connection are dropped",
            &[DROP_INVALID],
        ),
        (Verdict::Drop, _) if rule.chain == Chain::ISTIO_DROP => {
            known("it is invalid", &[DROP_INVALID])
        }
        (Verdict::Jump(target), _)
            if rule.chain.is_kernels() && *target == Chain::ISTIO_INBOUND =>
        {
            known("arriving connections are captured there or not", &[MODE])
        }
        (Verdict::Jump(target), _) if rule.chain.is_kernels() && *target == Chain::ISTIO_OUTPUT => {
            known(
                "the proxy's packets to its own pod are marked there",
                &[MODE],
            )
        }
        (Verdict::Tproxy { .. }, _) if rule.chain == Chain::ISTIO_TPROXY => known(
            "the proxy's inbound port takes it, with its addresses unchanged",
            &[INBOUND_PORT, MARK, MODE],
        ),
        // TPROXY of iptables does so itself.
        (Verdict::Drop, _) if rule.chain == Chain::ISTIO_TPROXY => known(
            "without the proxy's transparent socket it is dropped",
            &[INBOUND_PORT, MODE],
        ),
        (Verdict::SetMark(_) | Verdict::Accept, []) if rule.chain == Chain::ISTIO_DIVERT => known(
            "by its mark it stays in the pod, with the connection that it belongs to",
            &[MARK, MODE],
        ),
        (Verdict::SaveMark, [Match::Mark(Is::Equal(_))])
            if inbound || rule.chain == Chain::PREROUTING =>
        {
            known(
                "the answers find their way by the mark of the connection",
                &[MARK, MODE],
            )
        }
        (Verdict::Return, [Match::Mark(Is::Equal(_))]) if inbound => {
            known("it is marked already: the proxy has it", &[MARK, MODE])
        }
        (Verdict::Return, matches) if inbound && is_from_passthrough(matches) => {
            known("the proxy's own connection to the application", &[])
        }
        (
            Verdict::Return,
            [
                Match::InInterface(Is::Equal(_)),
                Match::Mark(Is::Not(SELF_CALL_MARK)),
            ],
        )
        | (
            Verdict::Return,
            [
                Match::Mark(Is::Not(SELF_CALL_MARK)),
                Match::InInterface(Is::Equal(_)),
            ],
        ) if inbound => known("the pod talks to itself, and not by the proxy", &[MODE]),
        (Verdict::Return, [Match::InInterface(Is::Equal(name))])
            if inbound || rule.chain == Chain::PREROUTING =>
        {
            interface(step, name)
        }
        (Verdict::Return, [Match::DestinationPort(_, Is::Equal(ports))]) if inbound => {
            Some(excluded_inbound(ports))
        }
        (Verdict::Jump(target), _) if inbound && *target == Chain::ISTIO_DIVERT => known(
            "packets of open connections stay with them",
            &[INCLUDED_INBOUND, MODE],
        ),
        (Verdict::Jump(target), matches) if inbound && *target == Chain::ISTIO_TPROXY => {
            included_inbound(matches)
        }
        (Verdict::Return, [Match::OutInterface(Is::Equal(name))]) if outbound => {
            interface(step, name)
        }
        (Verdict::Return, matches)
            if outbound
                && matches
                    .iter()
                    .any(|is| matches!(is, Match::Mark(Is::Equal(_)))) =>
        {
            known("it is marked already", &[MARK, MODE])
        }
        (Verdict::SetMark(SELF_CALL_MARK), matches) if outbound && owner(matches).is_some() => {
            let setting: &[Setting] = match owner(matches) {
                Some(Match::Gid(_)) => &[GIDS, MODE],
                _ => &[UIDS, MODE],
            };
            known(
                "the proxy calls its own pod: the mark lets it enter as a peer would",
                setting,
            )
        }
        (Verdict::RestoreMark, [Match::ConnectionMark(Is::Equal(_))]) if outbound => known(
            "answers of captured connections go back to the proxy by the mark of the connection",
            &[MARK, MODE],
        ),
        _ => None,
    }
}

fn nat(step: &Step<'_>) -> Option<Known> {
    let rule = step.rule;
    let chain = &rule.chain;
    match (&rule.verdict, rule.matches.as_slice()) {
        (Verdict::Jump(target), matches)
            if *chain == Chain::PREROUTING && *target == Chain::ISTIO_REDIRECT =>
        {
            let virtual_machines =
                "what a virtual machine of the pod sends is captured as outbound";
            match matches.iter().any(|is| matches!(is, Match::Destination(_))) {
                true => known(virtual_machines, &[VIRTUAL_INTERFACES, INCLUDED_CIDRS]),
                false => known(virtual_machines, &[VIRTUAL_INTERFACES]),
            }
        }
        (Verdict::Jump(target), _)
            if *chain == Chain::PREROUTING && *target == Chain::ISTIO_INBOUND =>
        {
            known(
                "arriving connections are captured there or not",
                &[INCLUDED_INBOUND],
            )
        }
        (Verdict::Jump(target), _) if *chain == Chain::OUTPUT && *target == Chain::ISTIO_OUTPUT => {
            known("what the pod sends is captured there or not", &[])
        }
        (Verdict::Redirect(_), _) if *chain == Chain::ISTIO_REDIRECT => known(
            "the proxy's port for captured outbound connections",
            &[OUTBOUND_PORT],
        ),
        (Verdict::Redirect(_), _) if *chain == Chain::ISTIO_IN_REDIRECT => known(
            "the proxy's port for captured inbound connections",
            &[INBOUND_PORT],
        ),
        (Verdict::Redirect(_), _) if *chain == Chain::ISTIO_OUTPUT_DNS => known(
            "the proxy answers questions to name servers",
            &[DNS, DNS_SERVERS, ALL_DNS],
        ),
        // Istio leaves interfaces out there, and not in chains of its own.
        (
            Verdict::Return,
            [Match::InInterface(Is::Equal(name)) | Match::OutInterface(Is::Equal(name))],
        ) if chain.is_kernels() => interface(step, name),
        _ if *chain == Chain::ISTIO_INBOUND => inbound(step),
        _ if *chain == Chain::ISTIO_OUTPUT => outbound(step),
        _ => None,
    }
}

fn inbound(step: &Step<'_>) -> Option<Known> {
    match (&step.rule.verdict, step.rule.matches.as_slice()) {
        (Verdict::Return, [Match::DestinationPort(..)]) if step.number == 1 => {
            known("the mesh's tunnel port is never captured", &[TUNNEL_PORT])
        }
        (Verdict::Return, [Match::DestinationPort(_, Is::Equal(ports))]) => {
            Some(excluded_inbound(ports))
        }
        (Verdict::Return, [Match::InInterface(Is::Equal(name))]) => interface(step, name),
        (Verdict::Jump(target), matches) if *target == Chain::ISTIO_IN_REDIRECT => {
            included_inbound(matches)
        }
        _ => None,
    }
}

fn outbound(step: &Step<'_>) -> Option<Known> {
    let rule = step.rule;
    let matches = rule.matches.as_slice();
    let to_proxy = match &rule.verdict {
        Verdict::Return => return uncaptured(step),
        Verdict::Jump(target) => target,
        _ => return None,
    };
    if *to_proxy == Chain::ISTIO_OUTPUT_DNS {
        return known("questions to name servers are looked at there", &[DNS]);
    }
    if *to_proxy == Chain::ISTIO_IN_REDIRECT {
        let why = "the proxy calls its own pod: that enters as a peer's connection would";
        return match owner(matches)? {
            Match::Gid(_) => known(why, &[GIDS]),
            _ => known(why, &[UIDS]),
        };
    }
    if *to_proxy != Chain::ISTIO_REDIRECT {
        return None;
    }
    match matches {
        [] => known("all else is captured", &[INCLUDED_CIDRS]),
        [Match::Destination(_)] => known("the destination is to be captured", &[INCLUDED_CIDRS]),
        [Match::DestinationPort(..)] => known(
            "the port is to be captured, whatever the address",
            &[INCLUDED_PORTS],
        ),
        _ => None,
    }
}

/// Of `ISTIO_OUTPUT`, what leaves the pod as it is.
fn uncaptured(step: &Step<'_>) -> Option<Known> {
    let matches = step.rule.matches.as_slice();
    match matches {
        [] => known("no destination is to be captured", &[EXCLUDED_CIDRS]),
        _ if is_from_passthrough(matches) => {
            known("the proxy's own connection to the application", &[])
        }
        [Match::DestinationPort(..)] => known("the port is left alone", &[EXCLUDED_PORTS]),
        [Match::OutInterface(Is::Equal(name))] => interface(step, name),
        [Match::Destination(Is::Equal(cidr))] if cidr.addr().is_loopback() => {
            known("the application means itself", &[LOOPBACK])
        }
        [Match::Destination(Is::Equal(_))] => {
            known("the destination is left alone", &[EXCLUDED_CIDRS])
        }
        [Match::Uid(Is::Equal(_))] => known("the proxy's own packets are not captured", &[UIDS]),
        [Match::Gid(Is::Equal(gid))] if is_proxys_group(step, *gid) => {
            known("the proxy's own packets are not captured", &[GIDS])
        }
        [Match::Gid(Is::Equal(_))] => {
            known("the group's processes are left alone", &[EXCLUDED_GROUPS])
        }
        _ if matches
            .iter()
            .all(|is| matches!(is, Match::Gid(Is::Not(_)))) =>
        {
            known("other groups' processes are left alone", &[INCLUDED_GROUPS])
        }
        _ => {
            let why = "the pod talks to itself, and not by the proxy";
            let has = |is: fn(&Match) -> bool| matches.iter().any(is);
            if !has(|is| matches!(is, Match::OutInterface(Is::Equal(_)))) {
                None
            } else if has(|is| matches!(is, Match::Uid(Is::Not(_)))) {
                known(why, &[UIDS])
            } else if has(|is| matches!(is, Match::Gid(Is::Not(_)))) {
                known(why, &[GIDS])
            } else {
                None
            }
        }
    }
}

/// Whether a rule before this one takes the group for the proxy's.
fn is_proxys_group(step: &Step<'_>, gid: u32) -> bool {
    let before = step.chain.rules.iter().take(step.number - 1);
    let of_group = Match::Gid(Is::Equal(gid));
    let mut self_calls = before.filter(|rule| rule.target() == Some(&Chain::ISTIO_IN_REDIRECT));
    self_calls.any(|rule| rule.matches.contains(&of_group))
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
