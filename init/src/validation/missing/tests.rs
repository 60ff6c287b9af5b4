use fairlead_api::values::Selection;

use super::{releases, suspects, zones};
use crate::{
    Redirect,
    config::{Dns, Mode},
    rules::{Family, SELF_CALL_MARK},
    validation::{
        identity::Identity,
        probe::{Expected, Kind, Probe, Transport, tests::redirect},
    },
};

fn probe(kind: Kind, id: u32, destination: &str, port: u16) -> Probe {
    Probe {
        family: Family::Ipv4,
        kind,
        client: Identity { uid: id, gid: id },
        mark: None,
        source: None,
        destination: destination.parse().unwrap(),
        expected: Expected::ArrivesAt(port),
    }
}

fn inbound() -> Probe {
    probe(Kind::Inbound, 1337, "127.0.0.6:15002", 15006)
}

fn outbound() -> Probe {
    probe(Kind::Outbound, 1000, "192.0.2.1:15002", 15001)
}

fn question(transport: Transport) -> Probe {
    probe(Kind::Question(transport), 1000, "10.0.0.53:53", 15053)
}

fn with_dns() -> Redirect {
    Redirect {
        dns: Some(Dns {
            port: 15053,
            servers: Selection::Only(vec!["10.0.0.53".parse().unwrap()]),
        }),
        ..redirect()
    }
}

#[track_caller]
fn check(
    redirect: &Redirect,
    probe: &Probe,
    arrived_at: Option<u16>,
    shown: &[&Probe],
    expected: &[&str],
) {
    assert_eq!(suspects(redirect, probe, arrived_at, shown), expected);
}

const JUMP: &str = "`-t nat -A OUTPUT -j ISTIO_OUTPUT`";
const ENTERS: &str = "`-t nat -A ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport \
                      15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT`";
const TO_INBOUND: &str = "`-t nat -A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006`";
const LEAVES: &str = "`-t nat -A ISTIO_OUTPUT -j ISTIO_REDIRECT`";
const TO_OUTBOUND: &str = "`-t nat -A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001`";

#[test]
fn a_rule_that_another_probe_has_passed_is_not_missing() {
    let redirect = redirect();
    let (inbound, outbound) = (inbound(), outbound());
    check(&redirect, &inbound, None, &[], &[JUMP, ENTERS, TO_INBOUND]);
    check(
        &redirect,
        &outbound,
        None,
        &[],
        &[JUMP, LEAVES, TO_OUTBOUND],
    );
    check(
        &redirect,
        &inbound,
        None,
        &[&outbound],
        &[ENTERS, TO_INBOUND],
    );
    check(
        &redirect,
        &outbound,
        None,
        &[&inbound],
        &[LEAVES, TO_OUTBOUND],
    );
    let of_other_family = Probe {
        family: Family::Ipv6,
        destination: "[2001:db8::1]:15002".parse().unwrap(),
        ..outbound
    };
    check(
        &redirect,
        &inbound,
        None,
        &[&of_other_family],
        &[JUMP, ENTERS, TO_INBOUND],
    );
}

#[test]
fn where_a_connection_arrives_instead_tells_the_rule() {
    let redirect = with_dns();
    let [udp, tcp] = [Transport::Udp, Transport::Tcp].map(question);
    let to_dns = "`-t nat -A ISTIO_OUTPUT -j ISTIO_OUTPUT_DNS`";
    let of = |protocol: &str| {
        format!(
            "`-t nat -A ISTIO_OUTPUT_DNS -d 10.0.0.53/32 -p {protocol} -m {protocol} --dport 53 -j \
             REDIRECT --to-ports 15053`"
        )
    };
    check(&redirect, &tcp, Some(15001), &[], &[to_dns, &of("tcp")]);
    check(&redirect, &tcp, Some(15001), &[&udp], &[&of("tcp")]);
    check(&redirect, &udp, None, &[&tcp], &[&of("udp")]);
}

#[test]
fn what_tproxy_relies_on_is_in_the_mangle_table() {
    let redirect = Redirect {
        mode: Mode::Tproxy,
        ..redirect()
    };
    let transparent = Probe {
        mark: Some(SELF_CALL_MARK),
        ..probe(Kind::Transparent, 0, "127.0.0.6:15002", 15006)
    };
    check(
        &redirect,
        &transparent,
        None,
        &[],
        &[
            "`-t mangle -A PREROUTING -p tcp -j ISTIO_INBOUND`",
            "`-t mangle -A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY`",
            "`-t mangle -A ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --on-port 15006 --on-ip \
             0.0.0.0 --tproxy-mark 0x539/0xffffffff`",
        ],
    );
}

/// The proxy's connection to its pod arrives at the same port in either table.
#[test]
fn with_tproxy_an_inbound_connection_vouches_for_no_rule_of_the_nat_table() {
    let redirect = Redirect {
        mode: Mode::Tproxy,
        ..redirect()
    };
    check(
        &redirect,
        &outbound(),
        None,
        &[&inbound()],
        &[JUMP, LEAVES, TO_OUTBOUND],
    );
    let suspects = suspects(&redirect, &inbound(), None, &[]);
    assert!(suspects.contains(&ENTERS.to_owned()), "{suspects:?}");
}

#[test]
fn the_proxys_connections_are_let_go_by_user_and_by_group() {
    let own = probe(Kind::ProxyOutbound, 1337, "192.0.2.1:15002", 0);
    assert_eq!(
        releases(&redirect(), &own),
        [
            "`-t nat -A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN`",
            "`-t nat -A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN`",
        ]
    );
}

#[test]
fn questions_and_answers_are_put_into_zones_by_rules_of_the_raw_table() {
    let [question, answer] = zones(&with_dns(), &question(Transport::Udp));
    assert_eq!(
        question,
        ["`-t raw -A ISTIO_OUTPUT_DNS -d 10.0.0.53/32 -p udp -m udp --dport 53 -j CT --zone 2`"]
    );
    assert_eq!(
        answer,
        ["uid", "gid"].map(|owner| format!(
            "`-t raw -A ISTIO_OUTPUT_DNS -p udp -m udp --sport 15053 -m owner --{owner}-owner 1337 \
             -j CT --zone 2`"
        ))
    );
}
