//! Rules of the mangle table.

use super::{
    Known, Setting, excluded_inbound, included_inbound, interface, is_from_passthrough, known,
    owner,
    settings::{DROP_INVALID, GIDS, INBOUND_PORT, INCLUDED_INBOUND, MARK, MODE, UIDS},
};
use crate::{
    explain::Step,
    rules::{Chain, Is, Match, SELF_CALL_MARK, Verdict},
};

pub(super) fn mangle(step: &Step<'_>) -> Option<Known> {
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
        (Verdict::SaveMark, matches)
            if is_marked(matches) && (inbound || rule.chain == Chain::PREROUTING) =>
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
        (Verdict::Return, _)
            if inbound && rule.matches.contains(&Match::Mark(Is::Not(SELF_CALL_MARK))) =>
        {
            known("the pod talks to itself, and not by the proxy", &[MODE])
        }
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
        (Verdict::Return, matches) if outbound && is_marked(matches) => {
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

fn is_marked(matches: &[Match]) -> bool {
    let mut matches = matches.iter();
    matches.any(|is| matches!(is, Match::Mark(Is::Equal(_))))
}
