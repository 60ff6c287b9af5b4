//! Rules that others made, as their tools print them.

use super::*;

#[track_caller]
fn check(dump: &str, packet: &Packet, outcome: Outcome, doubts: &[&str]) {
    let tables = dump::parse(dump, packet.family()).unwrap();
    let explanation = walk(&tables, packet);
    let text = explanation.text(true);
    assert_eq!(explanation.outcome, outcome, "{text}");
    assert_eq!(explanation.doubts.len(), doubts.len(), "{text}");
    for (found, expected) in explanation.doubts.iter().zip(doubts) {
        assert!(found.contains(expected), "{text}");
    }
}

fn nat(rules: &str) -> String {
    format!(
        "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:A - [0:0]\n:B - [0:0]\n{rules}COMMIT\n"
    )
}

fn outbound() -> Packet {
    sent(Protocol::Tcp, 1000, "10.0.0.2:80")
}

#[test]
fn jumps_come_back_and_gotos_do_not() {
    let end = "-A OUTPUT -p tcp -j REDIRECT --to-ports 1\n";
    for (rules, port) in [
        ("-A OUTPUT -j A\n-A A -d 10.9.9.9/32 -j ACCEPT\n", 1),
        (
            "-A OUTPUT -j A\n-A A -j RETURN\n-A A -p tcp -j REDIRECT --to-ports 2\n",
            1,
        ),
        (
            "-A OUTPUT -j A\n-A A -g B\n-A A -p tcp -j REDIRECT --to-ports 2\n-A B -p udp\n",
            1,
        ),
        (
            "-A OUTPUT -j A\n-A A -j B\n-A A -p tcp -j REDIRECT --to-ports 2\n-A B -p udp\n",
            2,
        ),
    ] {
        let dump = nat(&format!("{rules}{end}"));
        check(&dump, &outbound(), redirected(port), &[]);
    }
    check(
        &nat(&format!("-A OUTPUT -g A\n-A A -j RETURN\n{end}")),
        &outbound(),
        Outcome::Uncaptured,
        &[],
    );
    check(
        &nat(&format!("-A OUTPUT -j ACCEPT\n{end}")),
        &outbound(),
        Outcome::Uncaptured,
        &[],
    );
}

#[test]
fn a_chain_that_leads_back_to_itself_is_cut() {
    for rules in [
        "-A OUTPUT -j A\n-A A -j B\n-A B -j A\n-A OUTPUT -p tcp -j REDIRECT --to-ports 1\n",
        "-A OUTPUT -j A\n-A A -g B\n-A B -g A\n-A OUTPUT -p tcp -j REDIRECT --to-ports 1\n",
    ] {
        check(
            &nat(rules),
            &outbound(),
            redirected(1),
            &["leads back to itself"],
        );
    }
    let missing = "-A OUTPUT -j C\n-A OUTPUT -p tcp -j REDIRECT --to-ports 1\n";
    check(
        &nat(missing),
        &outbound(),
        redirected(1),
        &["has no chain C"],
    );
}

#[test]
fn what_cannot_be_told_makes_the_answer_uncertain() {
    let end = "-A OUTPUT -p tcp -j REDIRECT --to-ports 1\n";
    for (rules, doubts) in [
        (
            "-A OUTPUT -m set --match-set x dst -j ACCEPT\n",
            &["-m set --match-set x dst"][..],
        ),
        (
            "-A OUTPUT -p tcp -j DNAT --to-destination 10.0.0.9:80\n",
            &["-j DNAT"],
        ),
        // Another condition fails, whatever this one says.
        (
            "-A OUTPUT -d 10.9.9.9/32 -m set --match-set x dst -j ACCEPT\n",
            &[],
        ),
        (
            "-A OUTPUT -d 10.9.9.9/32 -j DNAT --to-destination 10.0.0.9:80\n",
            &[],
        ),
        // It would change nothing.
        (
            "-A OUTPUT -m set --match-set x dst -j LOG --log-prefix \"a b\"\n",
            &[],
        ),
        ("-A OUTPUT -j LOG\n-A OUTPUT\n", &[]),
        // Comments are no conditions, and wildcards of interfaces are known.
        ("-A OUTPUT -m comment --comment \"a b\" -j LOG\n", &[]),
        ("-A OUTPUT -o wg+ -j ACCEPT\n", &[]),
        ("-A OUTPUT ! -o e+ -j ACCEPT\n", &[]),
    ] {
        check(
            &nat(&format!("{rules}{end}")),
            &outbound(),
            redirected(1),
            doubts,
        );
    }
    let by_wildcard = nat(&format!(
        "-A OUTPUT -o e+ -m comment --comment x -j ACCEPT\n{end}"
    ));
    check(&by_wildcard, &outbound(), Outcome::Uncaptured, &[]);
}

#[test]
fn tables_are_asked_in_the_kernels_order() {
    let marks = "*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -m mark --mark 0x7 -j REDIRECT --to-ports 1\nCOMMIT\n\
                 *mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j MARK --set-xmark 0x7/0xffffffff\nCOMMIT\n";
    check(marks, &outbound(), redirected(1), &[]);
    let untracked = "*raw\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j CT --notrack\nCOMMIT\n\
                     *nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j REDIRECT --to-ports 1\nCOMMIT\n";
    check(untracked, &outbound(), Outcome::Uncaptured, &[]);
    let connection = "*mangle\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -j MARK --set-xmark 0x7/0xffffffff\n\
                      -A OUTPUT -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff\n\
                      -A OUTPUT -m connmark --mark 0x7 -j DROP\nCOMMIT\n";
    check(connection, &outbound(), Outcome::Dropped, &[]);
}

#[test]
fn a_policy_drops_what_no_rule_decides() {
    let dump = "*mangle\n:OUTPUT DROP [0:0]\n-A OUTPUT -p tcp --dport 80 -j ACCEPT\nCOMMIT\n";
    check(
        dump,
        &sent(Protocol::Tcp, 1000, "10.0.0.2:443"),
        Outcome::Dropped,
        &[],
    );
    let allowed = dump.replace("--dport", "-m tcp --dport");
    check(&allowed, &outbound(), Outcome::Uncaptured, &[]);
}

#[test]
fn two_backends_are_both_asked_and_that_is_said() {
    let heading = |program: &str| format!("# Generated by {program} on Sat Nov 21 15:53:12 2026\n");
    let ours =
        nat("-A OUTPUT -j ISTIO_OUTPUT\n:ISTIO_OUTPUT - [0:0]\n-A ISTIO_OUTPUT -p tcp -j ACCEPT\n");
    let other = ours.replace("ACCEPT\nCOMMIT", "REDIRECT --to-ports 2\nCOMMIT");
    let dump = format!(
        "{}{ours}{}{other}",
        heading("iptables-nft-save v1.8.9 (nf_tables)"),
        heading("iptables-save v1.8.9")
    );
    let tables = dump::parse(&dump, Family::Ipv4).unwrap();
    assert_eq!(
        [tables[0].backend, tables[1].backend],
        [Backend::Nft, Backend::Legacy]
    );
    let explanation = walk(&tables, &outbound());
    assert_eq!(explanation.outcome, redirected(2));
    assert!(
        explanation.notes[0].contains("that is a fault"),
        "{:?}",
        explanation.notes
    );
    assert!(
        explanation
            .text(false)
            .contains("iptables-legacy: nat ISTIO_OUTPUT rule 1")
    );
}

#[test]
fn backends_that_disagree_make_the_answer_uncertain() {
    let one = |port: u16| nat(&format!("-A OUTPUT -p tcp -j REDIRECT --to-ports {port}\n"));
    let dump = format!(
        "# Generated by iptables-nft-save v1.8.9 (nf_tables) on x\n{}# Generated by iptables-save v1.8.9 on x\n{}",
        one(1),
        one(2)
    );
    check(
        &dump,
        &outbound(),
        redirected(1),
        &["two backends disagree"],
    );
}

#[test]
fn rules_of_later_hooks_are_mentioned() {
    let dump = "*mangle\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
    let tables = dump::parse(dump, Family::Ipv4).unwrap();
    let notes = walk(&tables, &outbound()).notes;
    assert!(
        notes.iter().any(|note| note.contains("mangle INPUT")),
        "{notes:?}"
    );
}

#[test]
fn istios_rules_of_nft_are_walked() {
    let dump = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}},
        {"table": {"family": "inet", "name": "istio-proxy-nat", "handle": 1}},
        {"chain": {"family": "inet", "table": "istio-proxy-nat", "name": "output", "handle": 1,
            "type": "nat", "hook": "output", "prio": -100, "policy": "accept"}},
        {"chain": {"family": "inet", "table": "istio-proxy-nat", "name": "istio-output", "handle": 2}},
        {"rule": {"family": "inet", "table": "istio-proxy-nat", "chain": "output", "handle": 3,
            "expr": [{"counter": {"packets": 0, "bytes": 0}}, {"jump": {"target": "istio-output"}}]}},
        {"rule": {"family": "inet", "table": "istio-proxy-nat", "chain": "istio-output", "handle": 4,
            "expr": [{"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": 6}},
                {"redirect": {"port": 15001}}]}}]}"#;
    check(dump, &outbound(), redirected(15001), &[]);
    check(dump, &in_ipv6(&outbound()), redirected(15001), &[]);
}

#[test]
fn what_nft_does_not_show_of_iptables_is_said() {
    let dump = r#"{"nftables": [{"table": {"family": "ip", "name": "nat", "handle": 1}},
        {"chain": {"family": "ip", "table": "nat", "name": "OUTPUT", "handle": 1, "type": "nat",
            "hook": "output", "prio": -100, "policy": "accept"}},
        {"chain": {"family": "ip", "table": "nat", "name": "ISTIO_OUTPUT", "handle": 2}},
        {"rule": {"family": "ip", "table": "nat", "chain": "OUTPUT", "handle": 3,
            "expr": [{"jump": {"target": "ISTIO_OUTPUT"}}]}},
        {"rule": {"family": "ip", "table": "nat", "chain": "ISTIO_OUTPUT", "handle": 4,
            "expr": [{"xt": {"type": "target", "name": "REDIRECT"}}]}}]}"#;
    check(dump, &outbound(), Outcome::Uncaptured, &["\"REDIRECT\""]);
    let tables = dump::parse(dump, Family::Ipv4).unwrap();
    let text = walk(&tables, &outbound()).text(false);
    assert!(text.contains("what it does is not known"), "{text}");
    assert!(text.contains("give what iptables-save"), "{text}");
}

#[test]
fn a_dump_with_counters_holds_the_same_rules() {
    check(
        &nat("[12:720] -A OUTPUT -p tcp -j REDIRECT --to-ports 15001\n"),
        &outbound(),
        Outcome::Redirected { port: 15001 },
        &[],
    );
}

#[test]
fn names_and_comments_cannot_command_the_terminal() {
    let dump = nat("-A OUTPUT -m comment --comment \"a\x1b[2Jb\" -p tcp -j X\x1b]0;c\x07\n");
    let tables = dump::parse(&dump, Family::Ipv4).unwrap();
    let packet = outbound();
    let text = walk(&tables, &packet).text(true);
    let is_harmless = |character: char| character == '\n' || !character.is_control();
    assert!(text.chars().all(is_harmless), "{text:?}");
}
