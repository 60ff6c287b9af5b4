//! Each configuration's rules are a golden file, in the form that `--dry-run` prints.

use std::{env, fs, path::Path};

use clap::Parser;

use crate::{
    Config, Flags,
    plan::{Plan, Surroundings},
};

/// What the webhook gives the init container of a pod without annotations.
const INJECTED: &[&str] = &[
    "-p",
    "15001",
    "-z",
    "15006",
    "-u",
    "1337",
    "-m",
    "REDIRECT",
    "-i",
    "*",
    "-x",
    "",
    "-b",
    "*",
    "-d",
    "15090,15021,15020",
];

#[track_caller]
fn check(name: &str, arguments: &[&str]) {
    let flags = [&["fairlead-init", "--ipv6", "on"], arguments].concat();
    let config = Config::from_flags(&Flags::try_parse_from(flags).unwrap()).unwrap();
    let found = Plan::new(&config, &Surroundings::default()).dry_run(config.backend);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.rules"));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let expected = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: run with UPDATE_GOLDEN=1", path.display()));
    assert_eq!(
        found, expected,
        "{name}: if this is wanted, run with UPDATE_GOLDEN=1"
    );
}

#[test]
fn nothing_is_captured_unless_asked_for() {
    check("no_flags", &[]);
}

#[test]
fn an_injected_pod_captures_all_but_the_proxys_ports() {
    check("injected", INJECTED);
}

#[test]
fn the_ports_of_the_proxy_may_move() {
    check(
        "ports",
        &["-p", "1", "-z", "2", "-e", "3", "-b", "*", "-i", "*"],
    );
}

#[test]
fn listed_inbound_ports_are_captured_and_exclusions_are_moot() {
    check("inbound_ports", &["-b", "80,443", "-d", "15090", "-i", "*"]);
}

#[test]
fn excluded_inbound_ports_are_left_alone() {
    check(
        "excluded_inbound_ports",
        &["-b", "*", "-d", "22,15090", "-i", "*"],
    );
}

#[test]
fn listed_networks_are_captured_each_in_its_family() {
    check(
        "outbound_cidrs",
        &["-b", "*", "-i", "10.0.0.0/8,fd00::/8,172.16.0.0/12"],
    );
}

#[test]
fn a_loopback_network_captures_the_pods_calls_to_itself() {
    check(
        "loopback_cidr",
        &["-b", "*", "-i", "127.1.2.3/32,10.0.0.0/8"],
    );
}

#[test]
fn excluded_networks_are_left_alone() {
    check(
        "excluded_outbound_cidrs",
        &["-b", "*", "-i", "*", "-x", "10.96.0.0/12,fd01::/64"],
    );
}

#[test]
fn listed_outbound_ports_are_captured_whatever_the_address() {
    check("outbound_ports", &["-b", "*", "-q", "80,443"]);
}

#[test]
fn excluded_outbound_ports_are_left_alone_for_tcp_and_udp() {
    check(
        "excluded_outbound_ports",
        &["-b", "*", "-i", "*", "-o", "3306,53"],
    );
}

#[test]
fn several_users_and_groups_have_their_rules_in_turn() {
    check(
        "users_and_groups",
        &["-b", "*", "-i", "*", "-u", "1337,1338", "-g", "1337,2000"],
    );
}

#[test]
fn all_lists_together_keep_their_order() {
    check(
        "everything",
        &[
            "-b",
            "*",
            "-d",
            "22",
            "-i",
            "10.0.0.0/8,fd00::/8",
            "-x",
            "10.1.0.0/16,fd00:1::/32",
            "-q",
            "443",
            "-o",
            "25",
            "-u",
            "1337",
            "-g",
            "1338",
        ],
    );
}

#[test]
fn any_address_is_no_condition() {
    check("any_network", &["-b", "*", "-i", "0.0.0.0/0,::/0"]);
}
