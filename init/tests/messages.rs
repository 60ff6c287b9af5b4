//! What the faults of listings, of `explain` and of the validation say.

use std::{error::Error, io};

use fairlead_init::{
    explain::{
        ExplainError,
        dump::DumpError,
        live::LiveError,
        options::{AddressError, OptionsError},
    },
    nft::ListingError,
    validation::ValidationError,
};

/// A fault and its causes, as the program prints them.
fn words(fault: &dyn Error) -> String {
    let mut words = fault.to_string();
    let mut source = fault.source();
    while let Some(cause) = source {
        words += &format!(": {cause}");
        source = cause.source();
    }
    words
}

#[track_caller]
fn check(table: Vec<(Box<dyn Error>, &str)>) {
    for (fault, expected) in table {
        assert_eq!(words(&*fault), expected);
    }
}

fn denied() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

fn json() -> serde_json::Error {
    serde_json::from_str::<u8>("x").expect_err("no number")
}

const BROKEN: &str = "expected value at line 1 column 1";

#[test]
fn faults_of_listings_and_saved_rules_say_what_is_expected() {
    let listing =
        format!("the ruleset is not the JSON that `nft -j list ruleset` prints: {BROKEN}");
    let broken = format!(
        "its JSON is broken after 7 bytes: give all that `nft -j list ruleset` prints: {BROKEN}"
    );
    check(vec![
        (ListingError::Json(json()).into(), &listing),
        (
            ListingError::NotARuleset.into(),
            "the JSON is no ruleset of nft: it has no list named nftables",
        ),
        (
            DumpError::Unrecognised.into(),
            "there are no rules in it: give what `iptables-save`, `ip6tables-save` or `nft -j list \
             ruleset` prints",
        ),
        (DumpError::Json(7, json()).into(), &broken),
        (
            DumpError::Ruleset(ListingError::NotARuleset).into(),
            "its JSON is no ruleset: the JSON is no ruleset of nft: it has no list named nftables",
        ),
    ]);
}

#[test]
fn faults_of_a_described_packet_say_what_is_accepted() {
    let address = "10.0.0.2:80".parse().expect("an address");
    check(vec![
        (
            AddressError::Source.into(),
            "accepted: 10.0.0.2, 10.0.0.2:80, fd00::2 or [fd00::2]:80",
        ),
        (
            AddressError::Destination.into(),
            "accepted: 10.0.0.2:80 or [fd00::2]:80",
        ),
        (
            AddressError::Unspecified.into(),
            "a connection to no address goes to the pod itself: ask for 127.0.0.1 or [::1]",
        ),
        (
            OptionsError::Direction("--uid", "outbound").into(),
            "--uid is accepted only with --direction outbound",
        ),
        (
            OptionsError::Families("fd00::1".parse().expect("an address"), address).into(),
            "--source fd00::1 and --destination 10.0.0.2:80 are not of one family",
        ),
    ]);
}

#[test]
fn faults_of_looking_at_the_rules_say_what_to_do() {
    let capability = "the capability NET_ADMIN is missing, without which the kernel shows no rules. \
                      For a pod: `fairlead explain-packet --pod NAME`; or on its node, as root: \
                      `nsenter --net=/proc/PID/ns/net fairlead-init explain ...` with PID any \
                      process of the pod; or save them there by `nsenter --net=/proc/PID/ns/net \
                      iptables-save > FILE` (ip6tables-save for IPv6, nft -j list ruleset for \
                      nftables) and give --from FILE";
    let program = "iptables-nft-save";
    let live: Vec<(LiveError, &str)> = vec![
        (LiveError::Capability("NET_ADMIN"), capability),
        (
            LiveError::Names {
                path: "/proc/net/ip_tables_names",
                source: denied(),
            },
            "read /proc/net/ip_tables_names: run as root: permission denied",
        ),
        (
            LiveError::NoPrograms {
                iptables: "iptables",
            },
            "neither iptables nor nft is on the PATH: use an image that has them, such as \
             fairlead/proxy",
        ),
        (
            LiveError::NoLegacy { program },
            "iptables-nft-save is not on the PATH, and legacy tables are in use: use an image that \
             has it",
        ),
        (
            LiveError::Start {
                program,
                source: denied(),
            },
            "run iptables-nft-save: permission denied",
        ),
        (
            LiveError::Program {
                program,
                complaint: "no".to_owned(),
            },
            "iptables-nft-save failed (no)",
        ),
        (
            LiveError::Listing(ListingError::NotARuleset),
            "read what nft lists: the JSON is no ruleset of nft: it has no list named nftables",
        ),
    ];
    for (fault, expected) in live {
        assert_eq!(words(&ExplainError::from(fault)), expected);
    }
    let path = || "rules".into();
    check(vec![
        (
            ExplainError::Read {
                path: path(),
                source: denied(),
            }
            .into(),
            "read rules: permission denied",
        ),
        (
            ExplainError::Dump {
                path: path(),
                source: DumpError::Unrecognised,
            }
            .into(),
            "rules: there are no rules in it: give what `iptables-save`, `ip6tables-save` or `nft -j \
             list ruleset` prints",
        ),
    ]);
}

#[test]
fn faults_of_the_validation_say_what_to_do() {
    let address = "127.0.0.1:15001".parse().expect("an address");
    check(vec![
        (
            ValidationError::Taken { address }.into(),
            "127.0.0.1:15001 is taken, most likely by the proxy, which runs already: prove the \
             redirect before it starts, in an init container, or leave --run-validation out",
        ),
        (
            ValidationError::PrivilegedPort { address }.into(),
            "listen on 127.0.0.1:15001: a port below 1024 needs the capability NET_BIND_SERVICE: add \
             it to securityContext.capabilities of the container, or let the proxy have higher ports",
        ),
        (
            ValidationError::Listen {
                address,
                source: denied(),
            }
            .into(),
            "listen on 127.0.0.1:15001: permission denied",
        ),
        (
            ValidationError::Wait(denied()).into(),
            "wait for a connection: permission denied",
        ),
    ]);
}
