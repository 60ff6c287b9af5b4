use std::net::SocketAddr;

use fairlead_api::values::Selection;
use rustix::io::Errno;

use super::{judge, judge_delivery};
use crate::{
    Redirect,
    config::Dns,
    rules::{Family, Ports},
    validation::{
        identity::Identity,
        probe::{Delivery, Expected, Kind, Probe, Transport, tests::redirect},
        round::{Arrival, Outcome},
    },
};

const PROXY: Identity = Identity {
    uid: 1337,
    gid: 1337,
};

const APPLICATION: Identity = Identity {
    uid: 1000,
    gid: 1000,
};

fn probe(kind: Kind, destination: &str, expected: Expected) -> Probe {
    let destination: SocketAddr = destination.parse().unwrap();
    Probe {
        family: match destination {
            SocketAddr::V4(_) => Family::Ipv4,
            SocketAddr::V6(_) => Family::Ipv6,
        },
        kind,
        client: PROXY,
        mark: None,
        source: None,
        destination,
        expected,
    }
}

fn arrived(port: u16, original: &str, answered: Option<bool>) -> Outcome {
    Outcome::Arrived(Arrival {
        port,
        original_destination: Some(original.parse().unwrap()),
        local: Some(original.parse().unwrap()),
        answered,
    })
}

#[track_caller]
fn check(probe: &Probe, outcome: Outcome, expected: Result<&str, &str>) {
    check_with(&redirect(), probe, outcome, expected);
}

#[track_caller]
fn check_with(redirect: &Redirect, probe: &Probe, outcome: Outcome, expected: Result<&str, &str>) {
    let judged = judge(probe, &outcome).map_err(|fault| fault.sentence(redirect, probe, &[]));
    let judged = judged.as_deref().map_err(String::as_str);
    assert_eq!(judged, expected);
}

#[test]
fn the_inbound_port_takes_what_the_proxy_sends_to_its_pod() {
    let inbound = |destination| probe(Kind::Inbound, destination, Expected::ArrivesAt(15006));
    let v4 = inbound("127.0.0.6:15002");
    check(
        &v4,
        arrived(15006, "127.0.0.6:15002", None),
        Ok(
            "IPv4 inbound: a connection to 127.0.0.6:15002 as uid 1337 and gid 1337 arrives at \
            port 15006",
        ),
    );
    check(
        &v4,
        Outcome::Failed(Errno::CONNREFUSED),
        Err(
            "IPv4 inbound: a connection to 127.0.0.6:15002 as uid 1337 and gid 1337 was refused \
             instead of arriving at port 15006: `-t nat -A OUTPUT -j ISTIO_OUTPUT` or `-t nat -A \
             ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner \
             1337 -j ISTIO_IN_REDIRECT` or `-t nat -A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports \
             15006` is missing, or another rule stands before it",
        ),
    );
    check(
        &v4,
        arrived(15006, "10.0.0.1:80", None),
        Err(
            "IPv4 inbound: a connection to 127.0.0.6:15002 as uid 1337 and gid 1337 arrived at \
             port 15006, but its original destination is told as 10.0.0.1:80: another rule changed \
             it before",
        ),
    );
    check(
        &inbound("[::6]:15002"),
        Outcome::Silent,
        Err(
            "IPv6 inbound: a connection to [::6]:15002 as uid 1337 and gid 1337 got no answer \
             instead of arriving at port 15006: the address ::6/128 is missing on the loopback \
             interface",
        ),
    );
}

#[test]
fn the_outbound_port_takes_what_an_application_sends() {
    let outbound = Probe {
        client: APPLICATION,
        ..probe(
            Kind::Outbound,
            "192.0.2.1:15002",
            Expected::ArrivesAt(15001),
        )
    };
    let fault = |what: &str, rule: &str| {
        format!(
            "IPv4 outbound: a connection to 192.0.2.1:15002 as uid 1000 and gid 1000 {what} \
             instead of arriving at port 15001: `-t nat -A OUTPUT -j ISTIO_OUTPUT` or `-t nat -A \
             ISTIO_OUTPUT {rule}-j ISTIO_REDIRECT` or `-t nat -A ISTIO_REDIRECT -p tcp -j REDIRECT \
             --to-ports 15001` is missing, or another rule stands before it"
        )
    };
    check(&outbound, Outcome::Silent, Err(&fault("got no answer", "")));
    check(
        &outbound,
        Outcome::Elsewhere,
        Err(&fault("was taken by another process", "")),
    );
    check(
        &outbound,
        arrived(15006, "192.0.2.1:15002", None),
        Err(&fault("arrived at port 15006", "")),
    );
    let mut redirect = redirect();
    redirect.outbound_cidrs = Selection::Only(Vec::new());
    redirect.outbound_ports = vec![Ports {
        first: 15000,
        last: 15010,
    }];
    check_with(
        &redirect,
        &outbound,
        Outcome::Silent,
        Err(&fault(
            "got no answer",
            "-p tcp -m tcp --dport 15000:15010 ",
        )),
    );
}

#[test]
fn what_the_proxy_sends_out_must_not_come_back() {
    let own = probe(Kind::ProxyOutbound, "192.0.2.1:15002", Expected::Leaves);
    let leaves = Ok(
        "IPv4 outbound of the proxy: a connection to 192.0.2.1:15002 as uid 1337 and gid 1337 \
         leaves",
    );
    for outcome in [
        Outcome::Silent,
        Outcome::Elsewhere,
        Outcome::Failed(Errno::HOSTUNREACH),
    ] {
        check(&own, outcome, leaves);
    }
    check(
        &own,
        arrived(15001, "192.0.2.1:15002", None),
        Err(
            "IPv4 outbound of the proxy: a connection to 192.0.2.1:15002 as uid 1337 and gid 1337 \
             arrived at port 15001 of the pod instead of leaving: `-t nat -A ISTIO_OUTPUT -m owner \
             --uid-owner 1337 -j RETURN` and `-t nat -A ISTIO_OUTPUT -m owner --gid-owner 1337 -j \
             RETURN` are missing, so that the proxy's own connections come back to it",
        ),
    );
}

#[test]
fn an_answer_that_does_not_come_back_is_a_fault() {
    let redirect = Redirect {
        dns: Some(Dns {
            port: 15053,
            servers: Selection::All,
        }),
        proxy_gids: Vec::new(),
        ..redirect()
    };
    let question = Probe {
        client: APPLICATION,
        ..probe(
            Kind::Question(Transport::Udp),
            "10.0.0.53:53",
            Expected::ArrivesAt(15053),
        )
    };
    let outcome = |answered| arrived(15053, "10.0.0.53:53", answered);
    for answered in [None, Some(true)] {
        check_with(
            &redirect,
            &question,
            outcome(answered),
            Ok(
                "IPv4 DNS by UDP: a datagram to 10.0.0.53:53 as uid 1000 and gid 1000 arrives at \
                port 15053",
            ),
        );
    }
    check_with(
        &redirect,
        &question,
        outcome(Some(false)),
        Err(
            "IPv4 DNS by UDP: a datagram to 10.0.0.53:53 as uid 1000 and gid 1000 arrived at port \
            15053, but the answer did not come back: `-t \
             raw -A ISTIO_OUTPUT_DNS -p udp -m udp --dport 53 -j CT --zone 2` is missing, or `-t raw -A \
             ISTIO_OUTPUT_DNS -p udp -m udp --sport 15053 -m owner --uid-owner 1337 -j CT --zone 2` \
             is missing, so that the two are in different conntrack zones",
        ),
    );
}

#[test]
fn a_policy_route_that_is_missing_is_told_with_its_commands() {
    let delivery = Delivery {
        family: Family::Ipv6,
        mark: 1337,
        table: 133,
        destination: "2001:db8::1".parse().unwrap(),
    };
    assert_eq!(
        judge_delivery(&delivery, true).as_deref(),
        Ok("IPv6 policy route: packets with the mark 1337 are delivered to the pod")
    );
    assert_eq!(
        judge_delivery(&delivery, false),
        Err(
            "IPv6 policy route: packets with the mark 1337 are not delivered to the pod: `ip -6 \
             rule add fwmark 1337 lookup 133` or `ip -6 route add local default dev lo table 133` \
             is missing"
                .to_owned()
        )
    );
}
