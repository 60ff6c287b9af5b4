use clap::Parser;

use super::{Options, OptionsError, Route};
use crate::explain::Packet;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

fn options(arguments: &[&str]) -> Options {
    Command::try_parse_from([&["explain"], arguments].concat())
        .unwrap()
        .options
}

#[track_caller]
fn check(arguments: &[&str], route: Option<&str>, expected: &str) -> Packet {
    let route = Route {
        source: route.map(|source| source.parse().unwrap()),
    };
    let packet = options(arguments).packet(route).unwrap();
    assert_eq!(packet.to_string(), expected);
    packet
}

#[test]
fn what_is_not_said_is_what_the_kernel_would_do() {
    check(
        &["--destination", "10.0.0.2:80", "--uid", "1000"],
        Some("10.0.0.1"),
        "outbound TCP packet from 10.0.0.1 to 10.0.0.2:80 by uid 1000, gid 1000, leaving by eth0, \
         connection state NEW",
    );
    check(
        &["--destination", "10.0.0.1:80"],
        Some("10.0.0.1"),
        "outbound TCP packet from 10.0.0.1 to 10.0.0.1:80 by a user whom no rule names, of a group \
         that no rule names, leaving by lo, connection state NEW",
    );
    check(
        &[
            "--destination",
            "[::1]:53",
            "--protocol",
            "udp",
            "--uid=1",
            "--gid=2",
        ],
        None,
        "outbound UDP packet from ::1 to [::1]:53 by uid 1, gid 2, leaving by lo, connection state NEW",
    );
    check(
        &[
            "--direction",
            "inbound",
            "--destination",
            "10.0.0.1:80",
            "--source",
            "10.0.0.9:4000",
        ],
        Some("10.0.0.1"),
        "inbound TCP packet from 10.0.0.9:4000 to 10.0.0.1:80, arriving by eth0, connection state NEW",
    );
}

#[test]
fn what_is_said_holds() {
    check(
        &[
            "--destination",
            "[fd00::1]:80",
            "--source",
            "fd00::9",
            "--out-interface",
            "eth1",
            "--uid",
            "0",
            "--mark",
            "1338",
            "--connection-mark",
            "7",
            "--state",
            "established",
        ],
        Some("fd00::1"),
        "outbound TCP packet from fd00::9 to [fd00::1]:80 by uid 0, gid 0, leaving by eth1, mark \
         1338, connection mark 7, connection state ESTABLISHED",
    );
}

#[test]
fn contradictions_are_refused() {
    let refused = |arguments: &[&str]| options(arguments).packet(Route::default()).unwrap_err();
    for (arguments, flag, direction) in [
        (["--direction=inbound", "--uid=1"], "--uid", "outbound"),
        (["--direction=inbound", "--gid=1"], "--gid", "outbound"),
        (
            ["--direction=inbound", "--out-interface=lo"],
            "--out-interface",
            "outbound",
        ),
        (
            ["--direction=outbound", "--in-interface=lo"],
            "--in-interface",
            "inbound",
        ),
    ] {
        let found = refused(&[&arguments[..], &["--destination=10.0.0.2:80"]].concat());
        assert_eq!(found, OptionsError::Direction(flag, direction));
    }
    let found = refused(&["--destination=10.0.0.2:80", "--source=fd00::1"]);
    assert!(matches!(found, OptionsError::Families(..)));
}

#[test]
fn the_flags_describe_the_same_packet_elsewhere() {
    for arguments in [
        &["--destination", "10.0.0.2:80"][..],
        &[
            "--direction",
            "inbound",
            "--protocol",
            "udp",
            "--source",
            "[fd00::9]:53",
            "--destination",
            "[fd00::1]:4000",
            "--in-interface",
            "eth1",
            "--mark",
            "7",
            "--connection-mark",
            "8",
            "--state",
            "related",
            "--verbose",
            "--output",
            "json",
        ],
        &[
            "--destination",
            "10.0.0.2:80",
            "--uid",
            "1",
            "--gid",
            "2",
            "--out-interface",
            "lo",
            "--source",
            "10.0.0.1",
        ],
    ] {
        let here = options(arguments);
        let there: Vec<String> = here.arguments();
        let there = options(&there.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(format!("{here:?}"), format!("{there:?}"));
    }
}

#[test]
fn addresses_that_are_none_are_refused_with_what_is_accepted() {
    for (flag, value, accepted) in [
        ("--destination", "10.0.0.2", "10.0.0.2:80 or [fd00::2]:80"),
        ("--destination", "fd00::2:80", "10.0.0.2:80 or [fd00::2]:80"),
        (
            "--source",
            "10.0.0.256",
            "10.0.0.2, 10.0.0.2:80, fd00::2 or [fd00::2]:80",
        ),
    ] {
        let error = Command::try_parse_from(["explain", flag, value]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(&format!("accepted: {accepted}")), "{error}");
    }
}

#[test]
fn an_address_that_no_packet_has_is_refused_with_the_one_that_it_gets() {
    for value in ["0.0.0.0:80", "[::]:80"] {
        let error = Command::try_parse_from(["explain", "--destination", value]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("ask for 127.0.0.1 or [::1]"), "{error}");
    }
}

#[test]
fn a_mark_is_decimal_or_as_iptables_prints_it() {
    for mark in ["1337", "0x539"] {
        let options = options(&["--destination", "10.0.0.2:80", "--mark", mark]);
        assert_eq!(options.mark, 1337);
    }
}
