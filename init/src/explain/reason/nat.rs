//! Rules of the nat table.

use super::{
    Known, excluded_inbound, included_inbound, interface, is_from_passthrough, known, owner,
    settings::{
        ALL_DNS, DNS, DNS_SERVERS, EXCLUDED_CIDRS, EXCLUDED_GROUPS, EXCLUDED_PORTS, GIDS,
        INBOUND_PORT, INCLUDED_CIDRS, INCLUDED_GROUPS, INCLUDED_INBOUND, INCLUDED_PORTS, LOOPBACK,
        OUTBOUND_PORT, TUNNEL_PORT, UIDS, VIRTUAL_INTERFACES,
    },
};
use crate::{
    explain::Step,
    rules::{Chain, Is, Match, Verdict},
};

pub(super) fn nat(step: &Step<'_>) -> Option<Known> {
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
