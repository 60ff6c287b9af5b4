use clap::Parser;

use super::{parse, specification, words};
use crate::{
    Config, Flags,
    plan::{Plan, Surroundings},
    rules::{Chain, Rule, Table, Verdict},
};

fn rule(text: &str) -> Rule {
    parse(Table::Nat, Chain::OUTPUT, text)
}

#[track_caller]
fn check(one: &str, other: &str, same: bool) {
    assert_eq!(rule(one).means(&rule(other)), same, "{one}\n{other}");
}

#[test]
fn order_modules_and_synonyms_do_not_matter() {
    for (one, other) in [
        (
            "-p tcp -m tcp --dport 80 -j RETURN",
            "-p 6 --destination-port 80 -j RETURN",
        ),
        (
            "! -d 127.0.0.1/32 -o lo -m owner --uid-owner 1337 -j X",
            "-o lo -m owner --uid-owner 1337 ! -d 127.0.0.1/32 -j X",
        ),
        ("-j REDIRECT --to-port 1", "-j REDIRECT --to-ports 1"),
        ("-d 10.1.0.0/8 -j X", "-d 10.0.0.0/8 -j X"),
        ("-s 0:0::6/128 -j X", "-s ::6 -j X"),
        ("-d 0.0.0.0/0 -j X", "-j X"),
        (
            "-m mark --mark 1337 -j MARK --set-mark 1338",
            "-m mark --mark 0x539/0xffffffff -j MARK --set-xmark 0x53a/0xffffffff",
        ),
        (
            "-m state --state RELATED,ESTABLISHED -j X",
            "-m conntrack --ctstate ESTABLISHED,RELATED -j X",
        ),
        (
            "-p tcp -m tcp --dport 80 ! --tcp-flags FIN,SYN,RST,ACK SYN -j X",
            "-p tcp -m tcp --dport 80 -m tcp ! --tcp-flags SYN,ACK,FIN,RST SYN -j X",
        ),
        (
            "-j TPROXY --on-port 1 --tproxy-mark 2/0xffffffff",
            "-j TPROXY --on-port 1 --on-ip 0.0.0.0 --tproxy-mark 0x2/0xffffffff",
        ),
        (
            "-j CONNMARK --save-mark",
            "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff",
        ),
    ] {
        check(one, other, true);
    }
}

#[test]
fn negation_values_and_further_conditions_do() {
    for (one, other) in [
        ("! -d 10.0.0.0/8 -j X", "-d 10.0.0.0/8 -j X"),
        ("-o lo -j X", "-o eth0 -j X"),
        (
            "-p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -j X",
            "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j X",
        ),
        (
            "-p tcp -m tcp --tcp-flags SYN,ACK SYN -j X",
            "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j X",
        ),
        ("-p udp -j X", "-p tcp -j X"),
        ("-p tcp -j X", "-p tcp -m tcp --dport 1 -j X"),
        ("-j X", "-g X"),
        ("-j X", "-m comment --comment y -j X"),
        ("-j LOG", "-j LOG --log-prefix y"),
        ("-m mark --mark 1 -j X", "-m connmark --mark 1 -j X"),
        ("-m mark --mark 1 -j X", "-m mark --mark 1/0xff -j X"),
        (
            "-p tcp -m tcp --dport 1 -j X",
            "-p tcp -m tcp --dport 1:2 -j X",
        ),
        (
            "-p tcp -m tcp --dport 1 -j X",
            "-p tcp -m tcp --sport 1 -j X",
        ),
        ("-m owner --uid-owner 1 -j X", "-m owner --gid-owner 1 -j X"),
        (
            "-p tcp ! --dport 1 -m owner --uid-owner 2 -j X",
            "-p tcp --dport 1 -m owner ! --uid-owner 2 -j X",
        ),
        (
            "-j REDIRECT --to-ports 1",
            "-j REDIRECT --to-ports 1 --random",
        ),
    ] {
        check(one, other, false);
    }
}

#[test]
fn what_is_written_is_read_back() {
    let flags = "fairlead-init --ipv6 on -m TPROXY -b 80,90-99 -d 1 -i 10.0.0.0/8,fd00::/8 -x 10.1.0.0/16 \
                 -q 443 -o 25 -c net1 -k vm0 --redirect-dns --capture-all-dns --drop-invalid \
                 --istio-outbound-owner-groups 1,2 --istio-outbound-owner-groups-exclude 3";
    let flags = Flags::try_parse_from(flags.split_whitespace()).unwrap();
    let plan = Plan::new(
        &Config::from_flags(&flags).unwrap(),
        &Surroundings::default(),
    );
    for rule in plan.families.into_iter().flat_map(|(_, rules)| rules) {
        let text = specification(&rule);
        let read = parse(rule.table, rule.chain.clone(), &text);
        assert_eq!(read, rule, "{text}");
    }
}

#[test]
fn what_is_not_known_stays_as_it_was_written() {
    for text in [
        "-m comment --comment \"a \\\"b\" -j ACCEPT",
        "-p icmp -j ACCEPT",
        "-m statistic --mode random --probability 0.5 -j REJECT --reject-with tcp-reset",
        "-i cali+ -j MARK --set-xmark 0x1/0x1",
    ] {
        let rule = rule(text);
        let again = parse(rule.table, rule.chain.clone(), &specification(&rule));
        assert!(again.means(&rule), "{text}: {}", specification(&rule));
    }
    assert_eq!(rule("-m comment --comment x").verdict, Verdict::Continue);
}

#[test]
fn quoted_text_is_one_word() {
    assert_eq!(
        words(r#"--comment "a -j \"b" -j X ''"#),
        ["--comment", r#"a -j "b"#, "-j", "X", "''"]
    );
    assert_eq!(words(r#"  "" "#), [""]);
    assert_eq!(words("\"open \\"), ["open "]);
}
