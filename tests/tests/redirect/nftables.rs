//! Rules by nftables' own program: what the kernel makes of a transaction is what was meant.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use clap::Parser;
use fairlead_init::{
    Config, Flags,
    nft::{self, Listed},
    plan::{Plan, Surroundings},
    rules::Rule,
};
use fairlead_tests::netns::{Arrivals, Namespace};

use crate::pod::{INJECTED, apply};

const FOREIGN: &str = "table inet theirs {\n\
    \tchain output {\n\
    \t\ttype filter hook output priority 0; policy accept;\n\
    \t\ttcp dport 25 meta skuid != 8 log prefix \"mail\" counter drop\n\
    \t}\n\
    }\n";

/// One configuration for each clause that has rules of its own, and all clauses together.
const CONFIGURATIONS: [(&str, &[&str]); 15] = [
    ("nothing", &["--ipv6", "on"]),
    ("injected", &INJECTED),
    (
        "one family",
        &["-b", "*", "-d", "22", "-i", "*", "--ipv6", "off"],
    ),
    (
        "lists",
        &[
            "--ipv6",
            "on",
            "-b",
            "*",
            "-d",
            "22,8000-8010",
            "-i",
            "10.0.0.0/8,fd00::/8,1.2.3.4/32",
            "-x",
            "10.1.0.0/16,fd00:1::/32,fd00:2::5/128",
            "-q",
            "443,9000-9002",
            "-o",
            "25,1000-1001",
        ],
    ),
    (
        "ports",
        &["--ipv6", "on", "-b", "80,443,8000-8010", "-i", "*"],
    ),
    (
        "users and groups",
        &[
            "--ipv6", "on", "-b", "*", "-i", "*", "-u", "1337,0", "-g", "1,2",
        ],
    ),
    (
        "tproxy",
        &[
            "--ipv6", "on", "-b", "*", "-d", "22", "-i", "*", "-m", "TPROXY",
        ],
    ),
    (
        "tproxy ports",
        &["--ipv6", "on", "-b", "80,90-92", "-i", "*", "-m", "TPROXY"],
    ),
    (
        "tproxy of one family",
        &["--ipv6", "off", "-b", "*", "-i", "*", "-m", "TPROXY"],
    ),
    (
        "any name server",
        &[
            "--ipv6",
            "on",
            "-b",
            "*",
            "-i",
            "*",
            "--capture-all-dns",
            "--redirect-dns",
        ],
    ),
    (
        "name servers",
        &[
            "--ipv6",
            "on",
            "-i",
            "*",
            "--redirect-dns",
            "--dns-server",
            "10.0.0.10,fd00::a",
            "-e",
            "20",
        ],
    ),
    (
        "name server of one family",
        &[
            "--ipv6",
            "on",
            "-i",
            "*",
            "--redirect-dns",
            "--dns-server",
            "10.0.0.10",
        ],
    ),
    (
        "interfaces",
        &[
            "--ipv6",
            "on",
            "-b",
            "*",
            "-i",
            "10.0.0.0/8",
            "-c",
            "eth1",
            "-k",
            "tap0",
        ],
    ),
    (
        "invalid",
        &["--ipv6", "on", "-b", "*", "-i", "*", "--drop-invalid"],
    ),
    (
        "everything",
        &[
            "--ipv6",
            "on",
            "-b",
            "*",
            "-d",
            "22",
            "-i",
            "10.0.0.0/8,fd00::/8",
            "-x",
            "fd01::/16",
            "-q",
            "443",
            "-o",
            "25",
            "-u",
            "1337",
            "-g",
            "1338",
            "-c",
            "eth1",
            "-k",
            "tap0",
            "-m",
            "TPROXY",
            "--redirect-dns",
            "--capture-all-dns",
            "--drop-invalid",
        ],
    ),
];

#[test]
#[ignore = "needs root"]
fn a_transaction_leaves_exactly_what_was_meant() {
    let pod = Namespace::new();
    pod.feed("nft", &["-f", "-"], FOREIGN);
    // Each in place of the one before, and then in place of itself.
    for (name, arguments) in CONFIGURATIONS {
        let wanted = wanted(arguments);
        for _ in 0..2 {
            feed(&pod, &nft::transaction(&wanted));
            let listed = listed(&pod);
            assert!(
                nft::matches(&listed, &wanted),
                "{name}:\n{}\n{}",
                nft::transaction(&wanted),
                pod.stdout("nft", &["list", "ruleset"])
            );
            assert_eq!(nft::count(&listed), wanted.len(), "{name}");
            // Not only by its meaning: also in the order of its conditions.
            for rule in &wanted {
                let chains = listed.tables.iter().flat_map(|table| &table.chains);
                assert!(
                    chains
                        .flat_map(|chain| &chain.rules)
                        .any(|found| found == rule),
                    "{rule:?}"
                );
            }
            assert!(pod.run(nft::exists));
        }
        assert!(theirs(&pod).contains("\"mail\""));
    }
}

#[test]
#[ignore = "needs root"]
fn a_creation_leaves_the_same_and_is_refused_where_a_table_is() {
    for (name, arguments) in CONFIGURATIONS {
        let pod = Namespace::new();
        let wanted = wanted(arguments);
        feed(&pod, &nft::creation(&wanted));
        assert!(nft::matches(&listed(&pod), &wanted), "{name}");
        refused(&pod, &nft::creation(&wanted));
        assert!(nft::matches(&listed(&pod), &wanted), "{name}");
    }
}

#[test]
#[ignore = "needs root"]
fn each_change_by_another_hand_is_seen() {
    let pod = Namespace::new();
    let wanted = wanted(&[
        "--ipv6",
        "on",
        "-b",
        "*",
        "-i",
        "*",
        "-m",
        "TPROXY",
        "--redirect-dns",
        "--capture-all-dns",
    ]);
    for change in [
        "insert rule inet istio-proxy-nat ISTIO_OUTPUT accept",
        "add rule inet istio-proxy-nat ISTIO_OUTPUT counter",
        "add rule inet istio-proxy-nat output log",
        "add chain inet istio-proxy-raw more",
        "add chain inet istio-proxy-nat more { type nat hook input priority 100; }",
        "add chain inet istio-proxy-mangle prerouting { policy drop; }",
        "flush chain inet istio-proxy-nat ISTIO_IN_REDIRECT",
        "flush table inet istio-proxy-raw",
        "delete table inet istio-proxy-mangle",
        "add table inet istio-proxy-nat { flags dormant; }",
    ] {
        feed(&pod, &nft::transaction(&wanted));
        assert!(nft::matches(&listed(&pod), &wanted));
        feed(&pod, &format!("{change}\n"));
        assert!(!nft::matches(&listed(&pod), &wanted), "{change}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_removal_leaves_nothing_of_ours_and_all_of_theirs() {
    let pod = Namespace::new();
    feed(&pod, &nft::removal());
    assert!(!pod.run(nft::exists));
    feed(&pod, FOREIGN);
    let before = theirs(&pod);
    let wanted = wanted(CONFIGURATIONS[14].1);
    feed(&pod, &nft::transaction(&wanted));
    assert!(pod.run(nft::exists));
    feed(&pod, &nft::removal());
    assert!(!pod.run(nft::exists));
    assert_eq!(theirs(&pod), before);
    assert!(nft::matches(&listed(&pod), &[]));
    assert_eq!(listed(&pod).tables.len(), 1);
}

#[test]
#[ignore = "needs root"]
fn a_fault_in_a_transaction_changes_nothing() {
    let pod = Namespace::new();
    let first = wanted(CONFIGURATIONS[1].1);
    feed(&pod, &nft::transaction(&first));
    let mut text = nft::transaction(&wanted(CONFIGURATIONS[14].1));
    text.push_str("add rule inet istio-proxy-nat NOWHERE accept\n");
    refused(&pod, &text);
    assert!(nft::matches(&listed(&pod), &first));
}

/// iptables' TPROXY drops by itself; without a rule of its own nftables would let them in uncaptured.
#[test]
#[ignore = "needs root"]
fn connections_that_no_transparent_listener_takes_are_lost() {
    let (pod, peer) = (Namespace::new(), Namespace::new());
    pod.connect(
        &["10.0.0.1/24", "fd00::1/64"],
        &peer,
        &["10.0.0.2/24", "fd00::2/64"],
    );
    let arguments = ["-b", "*", "-d", "22", "-m", "TPROXY", "--native-nftables"];
    apply(&pod, &arguments);
    let _application = Arrivals::listen(&pod, "[::]:80");
    for address in ["10.0.0.1", "fd00::1"] {
        let refusal = |port| {
            let address = SocketAddr::new(address.parse().expect("an address"), port);
            let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
            peer.run(connect).expect_err("nobody listens").kind()
        };
        assert_eq!(refusal(80), ErrorKind::TimedOut, "{address}");
        assert_eq!(refusal(22), ErrorKind::ConnectionRefused, "{address}");
    }
}

fn wanted(arguments: &[&str]) -> Vec<Rule> {
    let arguments = [&["fairlead-init"], arguments].concat();
    let flags = Flags::try_parse_from(arguments).expect("flags");
    let config = Config::from_flags(&flags).expect("a configuration");
    nft::merge(&Plan::new(&config, &Surroundings::default()).families)
}

#[track_caller]
fn feed(pod: &Namespace, text: &str) {
    pod.feed("nft", &nft::APPLY_ARGUMENTS, text);
}

/// Feeds what must be refused.
#[track_caller]
fn refused(pod: &Namespace, text: &str) {
    let mut command = Command::new("nft");
    command.arg(text);
    let output = pod.output(command);
    assert!(!output.status.success(), "{text}");
}

#[track_caller]
fn listed(pod: &Namespace) -> Listed {
    let numbers = nft::parse(&pod.stdout("nft", &nft::LIST_ARGUMENTS)).expect("a ruleset");
    let names = nft::parse(&pod.stdout("nft", &["-j", "list", "ruleset"])).expect("a ruleset");
    assert_eq!(numbers, names);
    numbers
}

fn theirs(pod: &Namespace) -> String {
    pod.stdout("nft", &["-s", "list", "table", "inet", "theirs"])
}
