//! Arriving connections that the mangle table hands to the proxy with their addresses unchanged,
//! and invalid packets, which it drops.
//!
//! A captured packet is marked, and by its mark it is routed to the pod itself, whatever its
//! destination is (Linux, Documentation/networking/tproxy.rst).

use fairlead_api::values::Selection;

use super::{
    Chain, Family, Is, Match, Protocol, Rule, State, Table, Verdict, Writer, from_itself, inbound,
    localhost, passthrough, tcp, to_each_port, to_itself,
};
use crate::{Redirect, config::Mode};

/// The mark of packets of the proxy to its own pod, which enter it as those of others do.
pub const SELF_CALL_MARK: u32 = 1338;

pub(super) fn rules(redirect: &Redirect, family: Family) -> Vec<Rule> {
    let mut rules = Vec::new();
    if redirect.mode == Mode::Tproxy {
        rules.extend(capture(redirect, family, redirect.policy_route.mark));
    }
    if redirect.drop_invalid {
        let prerouting = Writer::new(Table::Mangle, Chain::PREROUTING);
        let invalid = Match::State(Is::Equal(vec![State::Invalid]));
        // Ahead of what captures: a captured packet asks no further rule.
        rules.insert(
            0,
            prerouting.rule([invalid], Verdict::Jump(Chain::ISTIO_DROP)),
        );
        let drop = Writer::new(Table::Mangle, Chain::ISTIO_DROP);
        rules.push(drop.rule([], Verdict::Drop));
    }
    rules
}

fn capture(redirect: &Redirect, family: Family, mark: u32) -> Vec<Rule> {
    let inbound = Writer::new(Table::Mangle, Chain::ISTIO_INBOUND);
    let decisions = decisions(redirect, &inbound);
    if decisions.is_empty() {
        return Vec::new();
    }
    let divert = Writer::new(Table::Mangle, Chain::ISTIO_DIVERT);
    let tproxy = Writer::new(Table::Mangle, Chain::ISTIO_TPROXY);
    let prerouting = Writer::new(Table::Mangle, Chain::PREROUTING);
    let not_localhost = Match::Destination(Is::Not(localhost(redirect, family)));
    let port = redirect.inbound_port;
    let mut rules = vec![
        divert.rule([], Verdict::SetMark(mark)),
        divert.rule([], Verdict::Accept),
        tproxy.rule([not_localhost, tcp()], Verdict::Tproxy { port, mark }),
        prerouting.rule([tcp()], Verdict::Jump(Chain::ISTIO_INBOUND)),
    ];
    let marked = Match::Mark(Is::Equal(mark));
    let source = Match::Source(Is::Equal(passthrough(family)));
    let not_self_call = Match::Mark(Is::Not(SELF_CALL_MARK));
    rules.extend([
        // The proxy may send with the client's address as its source; the answers find their way
        // by the mark of the connection. A packet of the client itself has no mark yet, unless two
        // backends capture it while one follows the other.
        inbound.rule([from_itself(), marked.clone()], Verdict::SaveMark),
        inbound.rule([marked], Verdict::Return),
        inbound.rule([source, from_itself()], Verdict::Return),
        inbound.rule([from_itself(), not_self_call], Verdict::Return),
    ]);
    rules.extend(inbound::uncaptured_interfaces(redirect, &inbound));
    rules.extend(decisions);
    rules.extend(output(redirect, family, mark));
    rules
}

/// Which ports are captured: packets of open connections are kept local, and new ones are handed over.
fn decisions(redirect: &Redirect, inbound: &Writer) -> Vec<Rule> {
    let pair = |port: Match| {
        // A client that has given a connection up may take its port again for a new one while the
        // connection tracker still takes the old one for open. Kept local by that alone, the new one
        // would come to the application past the proxy.
        let later = Match::Syn(Is::Not(()));
        let open = Match::State(Is::Equal(vec![State::Related, State::Established]));
        [
            inbound.rule(
                [port.clone(), later, open],
                Verdict::Jump(Chain::ISTIO_DIVERT),
            ),
            inbound.rule([port], Verdict::Jump(Chain::ISTIO_TPROXY)),
        ]
    };
    match &redirect.inbound_ports {
        Selection::All => {
            let excluded = to_each_port(Protocol::Tcp, &redirect.excluded_inbound_ports);
            excluded
                .into_iter()
                .map(|ports| inbound.rule([ports], Verdict::Return))
                .chain(pair(tcp()))
                .collect()
        }
        Selection::Only(ports) => to_each_port(Protocol::Tcp, ports)
            .into_iter()
            .flat_map(pair)
            .collect(),
    }
}

/// What the proxy sends to its own pod is marked, so that it enters; other packets over loopback
/// are the application's to itself.
fn output(redirect: &Redirect, family: Family, mark: u32) -> Vec<Rule> {
    let output = Writer::new(Table::Mangle, Chain::ISTIO_OUTPUT);
    let entry = Writer::new(Table::Mangle, Chain::OUTPUT);
    let mut rules = vec![entry.rule([tcp()], Verdict::Jump(Chain::ISTIO_OUTPUT))];
    for name in &redirect.excluded_interfaces {
        let leaves = Match::OutInterface(Is::Equal(name.clone()));
        rules.push(output.rule([leaves], Verdict::Return));
    }
    let marked = Match::Mark(Is::Equal(mark));
    rules.push(output.rule([to_itself(), marked], Verdict::Return));
    let uids = redirect.proxy_uids.iter();
    let uids = uids.map(|uid| Match::Uid(Is::Equal(*uid)));
    let gids = redirect.proxy_gids.iter();
    let gids = gids.map(|gid| Match::Gid(Is::Equal(*gid)));
    for owner in uids.chain(gids) {
        let not_localhost = Match::Destination(Is::Not(localhost(redirect, family)));
        rules.push(output.rule(
            [not_localhost, to_itself(), owner],
            Verdict::SetMark(SELF_CALL_MARK),
        ));
    }
    let of_client = Match::ConnectionMark(Is::Equal(mark));
    rules.push(output.rule([of_client], Verdict::RestoreMark));
    rules
}
