//! Each clause of the redirect.

use super::*;

const TCP: Protocol = Protocol::Tcp;
const UDP: Protocol = Protocol::Udp;
const UNCAPTURED: Outcome = Outcome::Uncaptured;

#[test]
fn all_connections_are_captured_but_the_proxys() {
    let passthrough = by("lo", from("127.0.0.6", sent(TCP, 1337, "10.0.0.1:8080")));
    check(
        &ALL,
        &[
            (
                sent(TCP, 1000, "10.0.0.2:80"),
                redirected(15001),
                "nat ISTIO_OUTPUT",
            ),
            (
                packet(Direction::Outbound, TCP, "10.0.0.2:80"),
                redirected(15001),
                "nat ISTIO_OUTPUT",
            ),
            (
                sent(TCP, 1337, "10.0.0.2:80"),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
            (sent(UDP, 1000, "10.0.0.2:80"), UNCAPTURED, "nothing"),
            (
                by("lo", sent(TCP, 1000, "10.0.0.1:80")),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
            (
                by("lo", sent(TCP, 1000, "127.0.0.1:80")),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
            (
                by("lo", sent(TCP, 1337, "10.0.0.1:80")),
                redirected(15006),
                "nat ISTIO_OUTPUT",
            ),
            (
                by("lo", sent(TCP, 1337, "10.0.0.1:15008")),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
            (
                by("lo", sent(TCP, 1337, "127.0.0.1:80")),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
            (passthrough, UNCAPTURED, "nat ISTIO_OUTPUT"),
            (
                arriving("10.0.0.1:80"),
                redirected(15006),
                "nat ISTIO_INBOUND",
            ),
            (arriving("10.0.0.1:15021"), UNCAPTURED, "nat ISTIO_INBOUND"),
            (arriving("10.0.0.1:15008"), UNCAPTURED, "nat ISTIO_INBOUND"),
            (
                packet(Direction::Inbound, UDP, "10.0.0.1:80"),
                UNCAPTURED,
                "nothing",
            ),
        ],
    );
}

#[test]
fn a_group_of_the_proxy_is_the_proxy() {
    let by_group = |destination: &str| Packet {
        gid: Some(1337),
        ..sent(TCP, 1000, destination)
    };
    check(
        &ALL,
        &[
            (by_group("10.0.0.2:80"), UNCAPTURED, "nat ISTIO_OUTPUT"),
            // The users' rules come first: who is not the proxy's user talks to itself.
            (
                by("lo", by_group("10.0.0.1:80")),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
        ],
    );
}

#[test]
fn a_connection_stays_where_its_first_packet_went() {
    let later = |packet: Packet, state: State| Packet { state, ..packet };
    check(
        &ALL,
        &[
            (
                later(sent(TCP, 1000, "10.0.0.2:80"), State::Established),
                Outcome::AsItsConnection,
                "nothing",
            ),
            (
                later(sent(TCP, 1000, "10.0.0.2:80"), State::Invalid),
                UNCAPTURED,
                "nothing",
            ),
            (
                later(arriving("10.0.0.1:80"), State::Related),
                redirected(15006),
                "nat ISTIO_INBOUND",
            ),
        ],
    );
}

#[test]
fn lists_of_ports_and_networks_decide() {
    check(
        &[
            "-b",
            "8080,9000-9010",
            "-i",
            "10.5.0.0/16,fd05::/16",
            "-x",
            "10.6.0.0/16,fd06::/16",
            "-q",
            "443",
            "-o",
            "25,5000-5010",
        ],
        &[
            (
                sent(TCP, 1000, "10.5.0.2:80"),
                redirected(15001),
                "nat ISTIO_OUTPUT",
            ),
            (sent(TCP, 1000, "10.7.0.2:80"), UNCAPTURED, "nothing"),
            (
                sent(TCP, 1000, "10.7.0.2:443"),
                redirected(15001),
                "nat ISTIO_OUTPUT",
            ),
            (
                sent(TCP, 1000, "10.6.0.2:443"),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
            (
                sent(TCP, 1000, "10.5.0.2:25"),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
            (
                sent(TCP, 1000, "10.5.0.2:5005"),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
            (
                arriving("10.0.0.1:8080"),
                redirected(15006),
                "nat ISTIO_INBOUND",
            ),
            (
                arriving("10.0.0.1:9005"),
                redirected(15006),
                "nat ISTIO_INBOUND",
            ),
            (arriving("10.0.0.1:80"), UNCAPTURED, "nothing"),
        ],
    );
}

#[test]
fn a_loopback_network_captures_calls_to_oneself() {
    let arguments = ["-b", "*", "-i", "127.1.2.3/32,10.0.0.0/8"];
    let [tables, _] = installed(&arguments);
    let to = |destination: &str| walk(&tables, &by("lo", sent(TCP, 1000, destination))).outcome;
    assert_eq!(to("127.1.2.3:80"), redirected(15001));
    assert_eq!(to("127.0.0.1:80"), UNCAPTURED);
}

#[test]
fn groups_of_owners_decide() {
    let of = |gid: u32| Packet {
        gid: Some(gid),
        ..sent(TCP, 1000, "10.0.0.2:80")
    };
    let included = ["--istio-outbound-owner-groups=2000,3000"];
    check(
        &[&ALL[..], &included].concat(),
        &[
            (of(2000), redirected(15001), "nat ISTIO_OUTPUT"),
            (of(3000), redirected(15001), "nat ISTIO_OUTPUT"),
            (of(4000), UNCAPTURED, "nat ISTIO_OUTPUT"),
        ],
    );
    let excluded = ["--istio-outbound-owner-groups-exclude=2000"];
    check(
        &[&ALL[..], &excluded].concat(),
        &[
            (of(2000), UNCAPTURED, "nat ISTIO_OUTPUT"),
            (of(4000), redirected(15001), "nat ISTIO_OUTPUT"),
        ],
    );
}

#[test]
fn interfaces_decide() {
    check(
        &[&ALL[..], &["-c", "eth1"]].concat(),
        &[
            (
                by("eth1", sent(TCP, 1000, "10.0.0.2:80")),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
            (
                by("eth1", arriving("10.0.0.1:80")),
                UNCAPTURED,
                "nat ISTIO_INBOUND",
            ),
            (
                arriving("10.0.0.1:80"),
                redirected(15006),
                "nat ISTIO_INBOUND",
            ),
        ],
    );
    check(
        &[&ALL[..], &["-k", "vm0"]].concat(),
        &[
            (
                by("vm0", arriving("10.0.0.9:80")),
                redirected(15001),
                "nat PREROUTING",
            ),
            (
                arriving("10.0.0.1:80"),
                redirected(15006),
                "nat ISTIO_INBOUND",
            ),
        ],
    );
}

#[test]
fn questions_to_name_servers_go_to_the_proxy() {
    check(
        &[&ALL[..], &["--redirect-dns", "--capture-all-dns"]].concat(),
        &[
            (
                sent(UDP, 1000, "10.0.0.2:53"),
                redirected(15053),
                "nat ISTIO_OUTPUT_DNS",
            ),
            (
                sent(TCP, 1000, "10.0.0.2:53"),
                redirected(15053),
                "nat ISTIO_OUTPUT_DNS",
            ),
            (
                by("lo", sent(TCP, 1000, "127.0.0.1:53")),
                redirected(15053),
                "nat ISTIO_OUTPUT_DNS",
            ),
            (
                sent(UDP, 1337, "10.0.0.2:53"),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
            (
                sent(TCP, 1000, "10.0.0.2:80"),
                redirected(15001),
                "nat ISTIO_OUTPUT",
            ),
        ],
    );
    check(
        &[
            &ALL[..],
            &[
                "--redirect-dns",
                "--dns-server",
                "10.0.0.10",
                "--dns-server",
                "fd00::10",
            ],
        ]
        .concat(),
        &[
            (
                sent(UDP, 1000, "10.0.0.10:53"),
                redirected(15053),
                "nat ISTIO_OUTPUT_DNS",
            ),
            (sent(UDP, 1000, "10.0.0.2:53"), UNCAPTURED, "nothing"),
            (
                sent(TCP, 1000, "10.0.0.2:53"),
                redirected(15001),
                "nat ISTIO_OUTPUT",
            ),
        ],
    );
}

#[test]
fn tproxy_takes_what_arrives_with_its_addresses() {
    let later = |packet: Packet| Packet {
        state: State::Established,
        ..packet
    };
    let taken = Outcome::Tproxied { port: 15006 };
    check(
        &[&ALL[..], &["-m", "TPROXY"]].concat(),
        &[
            (arriving("10.0.0.1:80"), taken, "mangle ISTIO_INBOUND"),
            (
                arriving("10.0.0.1:15021"),
                UNCAPTURED,
                "mangle ISTIO_INBOUND",
            ),
            (
                later(arriving("10.0.0.1:80")),
                Outcome::Diverted { mark: 1337 },
                "mangle ISTIO_INBOUND",
            ),
            (
                sent(TCP, 1000, "10.0.0.2:80"),
                redirected(15001),
                "nat ISTIO_OUTPUT",
            ),
            (
                by("lo", sent(TCP, 1000, "10.0.0.1:80")),
                UNCAPTURED,
                "nat ISTIO_OUTPUT",
            ),
            (
                by("lo", sent(TCP, 1337, "10.0.0.1:80")),
                redirected(15006),
                "nat ISTIO_OUTPUT",
            ),
            // The tunnel's port is not redirected, so the mark is what lets it enter.
            (
                by("lo", sent(TCP, 1337, "10.0.0.1:15008")),
                taken,
                "mangle ISTIO_INBOUND",
            ),
        ],
    );
    check(
        &["-b", "8080", "-i", "*", "-m", "TPROXY"],
        &[
            (arriving("10.0.0.1:8080"), taken, "mangle ISTIO_INBOUND"),
            (arriving("10.0.0.1:80"), UNCAPTURED, "nothing"),
        ],
    );
}

#[test]
fn what_the_proxy_sends_to_its_own_pod_is_marked() {
    let [tables, _] = installed(&[&ALL[..], &["-m", "TPROXY"]].concat());
    let packet = by("lo", sent(TCP, 1337, "10.0.0.1:15008"));
    let explanation = walk(&tables, &packet);
    let marks = explanation.steps.iter().any(|step| {
        step.meets == Meets::All
            && step.rule.verdict == crate::rules::Verdict::SetMark(SELF_CALL_MARK)
    });
    assert!(marks, "{}", explanation.text(true));
}

#[test]
fn invalid_packets_are_dropped_if_that_is_asked_for() {
    let invalid = Packet {
        state: State::Invalid,
        ..arriving("10.0.0.1:80")
    };
    check(
        &[&ALL[..], &["--drop-invalid"]].concat(),
        &[
            (invalid.clone(), Outcome::Dropped, "mangle PREROUTING"),
            (
                arriving("10.0.0.1:80"),
                redirected(15006),
                "nat ISTIO_INBOUND",
            ),
        ],
    );
    check(&ALL, &[(invalid, UNCAPTURED, "nothing")]);
}
