//! Arriving connections that the nat table hands to the proxy, and the chains that do so.

use fairlead_api::values::Selection;

use super::{
    Chain, Is, Match, Ports, Protocol, Rule, Table, Verdict, Writer, tcp, to_each_port, to_port,
};
use crate::{Redirect, config::Mode};

pub(super) fn rules(redirect: &Redirect) -> Vec<Rule> {
    let inbound = Writer::new(Table::Nat, Chain::ISTIO_INBOUND);
    let mut rules = vec![inbound.rule(
        [to_port(Protocol::Tcp, redirect.tunnel_port)],
        Verdict::Return,
    )];
    rules.extend(redirects(redirect));
    if redirect.mode != Mode::Redirect {
        // The mangle table takes them before they come here.
        return rules;
    }
    let decisions = decisions(redirect, &inbound);
    if decisions.is_empty() {
        return rules;
    }
    let prerouting = Writer::new(Table::Nat, Chain::PREROUTING);
    rules.push(prerouting.rule([tcp()], Verdict::Jump(Chain::ISTIO_INBOUND)));
    rules.extend(uncaptured_interfaces(redirect, &inbound));
    rules.extend(decisions);
    rules
}

/// The chains that change a destination.
fn redirects(redirect: &Redirect) -> [Rule; 2] {
    [
        (Chain::ISTIO_REDIRECT, redirect.outbound_port),
        (Chain::ISTIO_IN_REDIRECT, redirect.inbound_port),
    ]
    .map(|(chain, port)| Writer::new(Table::Nat, chain).rule([tcp()], Verdict::Redirect(port)))
}

fn decisions(redirect: &Redirect, inbound: &Writer) -> Vec<Rule> {
    let captured = || Verdict::Jump(Chain::ISTIO_IN_REDIRECT);
    let each = |ports: &[Ports], verdict: fn() -> Verdict| -> Vec<Rule> {
        let ports = to_each_port(Protocol::Tcp, ports).into_iter();
        ports
            .map(|ports| inbound.rule([ports], verdict()))
            .collect()
    };
    match &redirect.inbound_ports {
        Selection::All => {
            let mut rules = each(&redirect.excluded_inbound_ports, || Verdict::Return);
            rules.push(inbound.rule([tcp()], captured()));
            rules
        }
        Selection::Only(ports) => each(ports, captured),
    }
}

/// What arrives by excluded interfaces, and by those of virtual machines: it is no traffic to this
/// pod, or it is the virtual machine's outbound traffic, which has a rule of its own.
pub(super) fn uncaptured_interfaces(redirect: &Redirect, chain: &Writer) -> Vec<Rule> {
    let virtual_interfaces = redirect.virtual_interfaces.iter();
    virtual_interfaces
        .chain(&redirect.excluded_interfaces)
        .map(|name| {
            let arrives = Match::InInterface(Is::Equal(name.clone()));
            chain.rule([arrives], Verdict::Return)
        })
        .collect()
}
