use super::transition;
use crate::{
    iptables::{
        installed::{Installed, Ruleset},
        text,
    },
    rules::{Chain, Table},
};

fn wanted() -> Ruleset {
    let rule =
        |chain: &'static str, words: &str| text::parse(Table::Nat, Chain::named(chain), words);
    Ruleset::new(vec![
        rule("OUTPUT", "-j ISTIO_OUTPUT"),
        rule("ISTIO_OUTPUT", "-d 10.0.0.0/8 -j RETURN"),
        rule("ISTIO_OUTPUT", "-p tcp -m tcp --dport 80 -j RETURN"),
    ])
}

#[track_caller]
fn check(installed: &str, expected: Option<&str>) {
    check_of(installed, &wanted(), expected);
}

#[track_caller]
fn check_of(installed: &str, wanted: &Ruleset, expected: Option<&str>) {
    let installed = Installed::parse(&format!("*nat\n{installed}"));
    let text = transition(&installed, wanted, false);
    assert_eq!(text.as_deref(), expected);
}

#[test]
fn an_empty_table_gets_everything() {
    check(
        "",
        Some(
            "*nat\n:ISTIO_OUTPUT - [0:0]\n\
             -A OUTPUT -j ISTIO_OUTPUT\n\
             -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
             -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\nCOMMIT\n",
        ),
    );
}

#[test]
fn what_stands_is_left_alone() {
    check(
        ":ISTIO_OUTPUT - [0:0]\n\
         -A OUTPUT -j LOG\n-A OUTPUT -j ISTIO_OUTPUT\n-A OUTPUT -j ACCEPT\n\
         -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
         -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\n",
        None,
    );
}

#[test]
fn another_order_is_put_right_without_touching_the_jump() {
    check(
        ":ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\n\
         -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\n\
         -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n",
        Some(
            "*nat\n:ISTIO_OUTPUT - [0:0]\n\
             -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
             -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\nCOMMIT\n",
        ),
    );
}

#[test]
fn a_doubled_jump_becomes_one_and_a_stale_chain_goes() {
    check(
        ":ISTIO_OUTPUT - [0:0]\n:ISTIO_OUTPUT_DNS - [0:0]\n\
         -A OUTPUT -j ISTIO_OUTPUT\n-A OUTPUT -j ISTIO_OUTPUT\n\
         -A PREROUTING -p tcp -j ISTIO_OUTPUT_DNS\n\
         -A ISTIO_OUTPUT_DNS -j RETURN\n",
        Some(
            "*nat\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_OUTPUT_DNS - [0:0]\n\
             -D OUTPUT -j ISTIO_OUTPUT\n-D OUTPUT -j ISTIO_OUTPUT\n\
             -D PREROUTING -p tcp -j ISTIO_OUTPUT_DNS\n\
             -A OUTPUT -j ISTIO_OUTPUT\n\
             -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
             -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\n\
             -X ISTIO_OUTPUT_DNS\nCOMMIT\n",
        ),
    );
}

#[test]
fn a_stale_chain_in_foreign_use_is_only_emptied() {
    check(
        ":ISTIO_OLD - [0:0]\n:THEIRS - [0:0]\n-A THEIRS -j ISTIO_OLD\n-A ISTIO_OLD -j RETURN\n",
        Some(
            "*nat\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_OLD - [0:0]\n\
             -A OUTPUT -j ISTIO_OUTPUT\n\
             -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
             -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\nCOMMIT\n",
        ),
    );
}

#[test]
fn nothing_wanted_removes_all_of_ours() {
    check_of(
        ":ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\n-A ISTIO_OUTPUT -j RETURN\n",
        &Ruleset::default(),
        Some("*nat\n:ISTIO_OUTPUT - [0:0]\n-D OUTPUT -j ISTIO_OUTPUT\n-X ISTIO_OUTPUT\nCOMMIT\n"),
    );
}

#[test]
fn tables_that_gain_rules_come_before_those_that_lose_theirs() {
    let rule =
        |table, chain: &'static str, words: &str| text::parse(table, Chain::named(chain), words);
    let nat = rule(Table::Nat, "PREROUTING", "-p tcp -j ISTIO_INBOUND");
    let mangle = rule(Table::Mangle, "PREROUTING", "-p tcp -j ISTIO_INBOUND");
    for (old, new, tables) in [
        ("nat", mangle, ["*mangle", "*nat"]),
        ("mangle", nat, ["*nat", "*mangle"]),
    ] {
        let old =
            format!("*{old}\n:ISTIO_INBOUND - [0:0]\n-A PREROUTING -p tcp -j ISTIO_INBOUND\n");
        let text = transition(&Installed::parse(&old), &Ruleset::new(vec![new]), false);
        let text = text.unwrap_or_default();
        let starts: Vec<&str> = text.lines().filter(|line| line.starts_with('*')).collect();
        let parts: Vec<&str> = super::tables(&text).collect();
        assert_eq!(parts.concat(), text);
        for (part, table) in parts.iter().zip(tables) {
            assert!(
                part.starts_with(table) && part.ends_with("\nCOMMIT\n"),
                "{part}"
            );
        }
        assert_eq!(parts.len(), 2);
        assert_eq!(starts, tables);
    }
}

#[test]
fn what_is_forced_is_written_though_it_stands() {
    let stands = ":ISTIO_OUTPUT - [0:0]\n-A OUTPUT -j ISTIO_OUTPUT\n\
                  -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
                  -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\n";
    check(stands, None);
    let installed = Installed::parse(&format!("*nat\n{stands}"));
    assert_eq!(
        transition(&installed, &wanted(), true).as_deref(),
        Some(
            "*nat\n:ISTIO_OUTPUT - [0:0]\n\
             -A ISTIO_OUTPUT -d 10.0.0.0/8 -j RETURN\n\
             -A ISTIO_OUTPUT -p tcp -m tcp --dport 80 -j RETURN\nCOMMIT\n"
        )
    );
    assert_eq!(
        transition(&Installed::default(), &Ruleset::default(), true),
        None
    );
}
