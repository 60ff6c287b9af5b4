use super::{creation, removal, statement, transaction};
use crate::rules::{Chain, Family, Is, Match, Ports, Protocol, Rule, State, Table, Verdict};

fn rule(table: Table, chain: Chain, matches: &[Match], verdict: Verdict) -> Rule {
    Rule {
        table,
        chain,
        matches: matches.to_vec(),
        verdict,
    }
}

#[track_caller]
fn check(matches: &[Match], verdict: Verdict, expected: &str) {
    let rule = rule(Table::Nat, Chain::ISTIO_OUTPUT, matches, verdict);
    assert_eq!(statement(&rule), expected);
}

#[test]
fn each_condition_has_nftables_form() {
    let cidr = |text: &str| text.parse().unwrap();
    let range = Ports {
        first: 80,
        last: 90,
    };
    for (condition, expected) in [
        (Match::Family(Family::Ipv6), "meta nfproto ipv6"),
        (
            Match::Source(Is::Not(cidr("10.0.0.0/8"))),
            "ip saddr != 10.0.0.0/8",
        ),
        (
            Match::Destination(Is::Equal(cidr("::1/128"))),
            "ip6 daddr ::1/128",
        ),
        (
            Match::InInterface(Is::Not("lo".to_owned())),
            "iifname != \"lo\"",
        ),
        (
            Match::OutInterface(Is::Equal("eth0".to_owned())),
            "oifname \"eth0\"",
        ),
        (
            Match::Protocol(Is::Not(Protocol::Udp)),
            "meta l4proto != udp",
        ),
        (
            Match::SourcePort(Protocol::Udp, Is::Equal(vec![53.into()])),
            "udp sport 53",
        ),
        (
            Match::DestinationPort(Protocol::Tcp, Is::Not(vec![53.into(), range])),
            "tcp dport != { 53, 80-90 }",
        ),
        (
            Match::Syn(Is::Not(())),
            "tcp flags & (fin | syn | rst | ack) != syn",
        ),
        (Match::Uid(Is::Not(1337)), "meta skuid != 1337"),
        (Match::Gid(Is::Equal(0)), "meta skgid 0"),
        (Match::Mark(Is::Not(1338)), "meta mark != 1338"),
        (Match::ConnectionMark(Is::Equal(1337)), "ct mark 1337"),
        (
            Match::State(Is::Equal(vec![State::Invalid])),
            "ct state invalid",
        ),
        (
            Match::State(Is::Not(vec![State::New, State::Untracked])),
            "ct state != { new, untracked }",
        ),
    ] {
        check(
            &[condition],
            Verdict::Continue,
            &format!("{expected} counter"),
        );
    }
}

#[test]
fn each_verdict_has_nftables_form() {
    for (verdict, expected) in [
        (Verdict::Return, "counter return"),
        (Verdict::Accept, "counter accept"),
        (Verdict::Drop, "counter drop"),
        (
            Verdict::Jump(Chain::ISTIO_REDIRECT),
            "counter jump ISTIO_REDIRECT",
        ),
        (
            Verdict::Goto(Chain::ISTIO_REDIRECT),
            "counter goto ISTIO_REDIRECT",
        ),
        (Verdict::Redirect(15001), "counter redirect to :15001"),
        (
            Verdict::Tproxy {
                port: 15006,
                mark: 1337,
            },
            "counter tproxy to :15006 meta mark set 1337 accept",
        ),
        (Verdict::SetMark(1338), "counter meta mark set 1338"),
        (Verdict::SaveMark, "counter ct mark set meta mark"),
        (Verdict::RestoreMark, "counter meta mark set ct mark"),
        (Verdict::ConnectionZone(2), "counter ct zone set 2"),
        (Verdict::Continue, "counter"),
    ] {
        check(&[], verdict, expected);
    }
}

#[test]
fn what_is_captured_by_address_names_the_family_of_the_listener() {
    let verdict = Verdict::Tproxy { port: 1, mark: 2 };
    let not = |text: &str| Match::Destination(Is::Not(text.parse().unwrap()));
    check(
        &[not("127.0.0.1/32")],
        verdict.clone(),
        "ip daddr != 127.0.0.1/32 counter tproxy ip to :1 meta mark set 2 accept",
    );
    check(
        &[not("::1/128")],
        verdict.clone(),
        "ip6 daddr != ::1/128 counter tproxy ip6 to :1 meta mark set 2 accept",
    );
    check(
        &[Match::Family(Family::Ipv4)],
        verdict,
        "meta nfproto ipv4 counter tproxy ip to :1 meta mark set 2 accept",
    );
}

#[test]
fn a_transaction_replaces_all_tables_and_makes_those_with_rules() {
    let rules = [
        rule(
            Table::Mangle,
            Chain::OUTPUT,
            &[],
            Verdict::Jump(Chain::ISTIO_OUTPUT),
        ),
        rule(
            Table::Nat,
            Chain::OUTPUT,
            &[],
            Verdict::Jump(Chain::ISTIO_OUTPUT),
        ),
        rule(Table::Nat, Chain::ISTIO_OUTPUT, &[], Verdict::Redirect(1)),
        rule(Table::Nat, Chain::PREROUTING, &[], Verdict::Accept),
    ];
    let made = "table inet istio-proxy-mangle {\n\
        \tchain output {\n\
        \t\ttype route hook output priority -150; policy accept;\n\
        \t\tcounter jump ISTIO_OUTPUT\n\
        \t}\n\
        \tchain ISTIO_OUTPUT {\n\
        \t}\n\
        }\n\
        table inet istio-proxy-nat {\n\
        \tchain output {\n\
        \t\ttype nat hook output priority -100; policy accept;\n\
        \t\tcounter jump ISTIO_OUTPUT\n\
        \t}\n\
        \tchain ISTIO_OUTPUT {\n\
        \t\tcounter redirect to :1\n\
        \t}\n\
        \tchain prerouting {\n\
        \t\ttype nat hook prerouting priority -100; policy accept;\n\
        \t\tcounter accept\n\
        \t}\n\
        }\n";
    assert_eq!(transaction(&rules), format!("{}{made}", removal()));
    assert_eq!(transaction(&[]), removal());
    let tables = "create table inet istio-proxy-mangle\ncreate table inet istio-proxy-nat\n";
    assert_eq!(creation(&rules), format!("{tables}{made}"));
    assert_eq!(creation(&[]), "");
}

#[test]
fn a_removal_names_each_of_our_tables_and_cannot_fail() {
    assert_eq!(
        removal(),
        "table inet istio-proxy-raw\ndelete table inet istio-proxy-raw\n\
         table inet istio-proxy-mangle\ndelete table inet istio-proxy-mangle\n\
         table inet istio-proxy-nat\ndelete table inet istio-proxy-nat\n"
    );
}
