//! Each rule of ours has a reason, and the right setting.

use super::*;

const CONFIGURATIONS: &[&[&str]] = &[
    &[],
    &ALL,
    &["-b", "*", "-i", "0.0.0.0/0,::/0", "-x", "0.0.0.0/0"],
    &[
        "-b",
        "80,443",
        "-i",
        "10.0.0.0/8,fd00::/8,127.1.2.3/32",
        "-x",
        "10.1.0.0/16",
        "-q",
        "443",
        "-o",
        "25",
        "-u",
        "1337,5",
        "-g",
        "1338,6",
        "-c",
        "eth1,eth2",
        "-k",
        "vm0",
        "--redirect-dns",
        "--dns-server",
        "10.0.0.10",
        "--drop-invalid",
        "--istio-outbound-owner-groups=7,8",
        "--istio-outbound-owner-groups-exclude=9",
    ],
    &[
        "-b",
        "*",
        "-d",
        "22",
        "-i",
        "*",
        "-m",
        "TPROXY",
        "-c",
        "eth1",
        "-k",
        "vm0",
        "-g",
        "9",
        "--redirect-dns",
        "--capture-all-dns",
        "--drop-invalid",
    ],
    &["-b", "80", "-i", "*", "-m", "TPROXY"],
];

/// The rules as steps, were they asked or not.
fn steps(tables: &[Tables]) -> Vec<super::super::Step<'_>> {
    let mut steps = Vec::new();
    for tables in tables {
        for table in &tables.tables {
            for chain in &table.chains {
                for (index, rule) in chain.rules.iter().enumerate() {
                    steps.push(super::super::Step {
                        hook: super::super::Hook::Output,
                        tables,
                        table,
                        chain,
                        number: index + 1,
                        rule,
                        meets: Meets::All,
                    });
                }
            }
        }
    }
    steps
}

#[test]
fn no_rule_of_ours_is_without_one() {
    for configuration in CONFIGURATIONS {
        for tables in installed(configuration) {
            for step in steps(&tables) {
                let found = reason(&step);
                assert!(
                    matches!(found, Reason::Ours { .. }),
                    "{configuration:?}: {}: {:?}",
                    step.place(),
                    step.rule
                );
            }
        }
    }
}

/// The setting of the rule that decides.
#[track_caller]
fn check(arguments: &[&str], packet: &Packet, flag: &str, annotation: Option<&str>) {
    let all = if arguments.contains(&"-d") {
        &["-b", "*", "-i", "*"]
    } else {
        &ALL[..]
    };
    for tables in installed(&[all, arguments].concat()) {
        let explanation = walk(&tables, packet);
        let text = explanation.text(true);
        let step = explanation.steps[explanation.decided_by.expect(&text)];
        let Reason::Ours { settings, .. } = reason(&step) else {
            panic!("{text}");
        };
        let first = settings.first().expect(&text);
        assert_eq!((first.flag, first.annotation), (flag, annotation), "{text}");
    }
}

#[test]
fn the_deciding_rule_names_its_setting() {
    let to = |destination: &str| sent(Protocol::Tcp, 1000, destination);
    for (arguments, packet, flag, annotation) in [
        (
            &[][..],
            to("10.0.0.2:80"),
            "--istio-service-cidr",
            Some(annotations::INCLUDE_OUTBOUND_IP_RANGES),
        ),
        (
            &["-o", "25"],
            to("10.0.0.2:25"),
            "--istio-local-outbound-ports-exclude",
            Some(annotations::EXCLUDE_OUTBOUND_PORTS),
        ),
        (
            &["-x", "10.1.0.0/16"],
            to("10.1.0.2:80"),
            "--istio-service-exclude-cidr",
            Some(annotations::EXCLUDE_OUTBOUND_IP_RANGES),
        ),
        (
            &["-q", "443"],
            to("10.0.0.2:443"),
            "--istio-outbound-ports",
            Some(annotations::INCLUDE_OUTBOUND_PORTS),
        ),
        (
            &["-c", "eth0"],
            to("10.0.0.2:80"),
            "--istio-exclude-interfaces",
            None,
        ),
        (
            &["--istio-outbound-owner-groups=7"],
            to("10.0.0.2:80"),
            "--istio-outbound-owner-groups",
            None,
        ),
        (
            &["--istio-outbound-owner-groups-exclude=1000"],
            to("10.0.0.2:80"),
            "--istio-outbound-owner-groups-exclude",
            None,
        ),
        (
            &[],
            sent(Protocol::Tcp, 1337, "10.0.0.2:80"),
            "--proxy-uid",
            None,
        ),
        (
            &["-u", "5", "-g", "1000"],
            to("10.0.0.2:80"),
            "--proxy-gid",
            None,
        ),
        (&[], by("lo", to("127.0.0.1:80")), "--proxy-uid", None),
        (
            &["--redirect-dns", "--capture-all-dns"],
            to("10.0.0.2:53"),
            "--redirect-dns",
            None,
        ),
        (
            &[],
            arriving("10.0.0.1:80"),
            "--istio-inbound-ports",
            Some(annotations::INCLUDE_INBOUND_PORTS),
        ),
        (
            &["-d", "22"],
            arriving("10.0.0.1:22"),
            "--istio-local-exclude-ports",
            Some(annotations::EXCLUDE_INBOUND_PORTS),
        ),
        (
            &[],
            arriving("10.0.0.1:15021"),
            "--istio-local-exclude-ports",
            None,
        ),
        (
            &[],
            arriving("10.0.0.1:15008"),
            "--inbound-tunnel-port",
            None,
        ),
        (
            &["-k", "vm0"],
            by("vm0", arriving("10.0.0.9:80")),
            "--kube-virt-interfaces",
            None,
        ),
    ] {
        check(arguments, &packet, flag, annotation);
    }
}

#[test]
fn a_rule_that_somebody_put_among_ours_is_told_apart() {
    let dump = "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n\
                -A OUTPUT -j ISTIO_OUTPUT\n\
                -A ISTIO_OUTPUT -p tcp -m mark --mark 0x7 -j RETURN\n\
                -A OUTPUT -d 10.0.0.0/8 -j ACCEPT\n";
    let tables = dump::parse(dump, Family::Ipv4).unwrap();
    let found: Vec<Reason> = steps(&tables).iter().map(reason).collect();
    assert_eq!(found[2], Reason::Stray);
    assert_eq!(found[1], Reason::Foreign);
    let Reason::Ours { settings, .. } = &found[0] else {
        panic!("{found:?}");
    };
    assert_eq!(
        *settings,
        [Setting {
            flag: "",
            annotation: None
        }; 0]
    );
}
