use clap::Parser;
use fairlead_api::values::Selection;

use super::{Action, Backend, Config, Ipv6, NameServers, Verbosity};
use crate::{Flags, rules::Ports};

fn config(arguments: &[&str]) -> Result<Config, String> {
    let flags = Flags::try_parse_from([&["fairlead-init"], arguments].concat()).unwrap();
    Config::from_flags(&flags).map_err(|faults| faults.to_string())
}

#[track_caller]
fn check_fault(arguments: &[&str], expected: &str) {
    match config(arguments) {
        Ok(config) => panic!("{arguments:?} is accepted: {config:?}"),
        Err(message) => assert_eq!(
            message,
            format!("1 setting is wrong, nothing was applied:\n  {expected}")
        ),
    }
}

#[test]
fn defaults_are_istios() {
    let config = config(&[]).unwrap();
    let redirect = &config.redirect;
    let ports = [
        redirect.outbound_port,
        redirect.inbound_port,
        redirect.tunnel_port,
    ];
    assert_eq!(ports, [15001, 15006, 15008]);
    assert_eq!(redirect.proxy_uids, [1337]);
    assert_eq!(redirect.proxy_gids, [1337]);
    assert_eq!(redirect.inbound_ports, Selection::Only(vec![]));
    assert_eq!(redirect.outbound_cidrs, Selection::Only(vec![]));
    assert_eq!(config.ipv6, Ipv6::Auto);
    assert_eq!(config.backend, None);
    assert_eq!(config.verbosity, Verbosity::Info);
    assert_eq!(config.action, Action::Apply);
}

#[test]
fn short_and_long_flags_are_the_same() {
    let short = [
        "-p",
        "1",
        "-z",
        "2",
        "-e",
        "3",
        "-u",
        "4",
        "-g",
        "5",
        "-m",
        "REDIRECT",
        "-b",
        "6",
        "-d",
        "7",
        "-i",
        "10.0.0.0/8",
        "-x",
        "fd00::/8",
        "-q",
        "8",
        "-o",
        "9",
        "-n",
    ];
    let long = [
        "--envoy-port=1",
        "--inbound-capture-port=2",
        "--inbound-tunnel-port=3",
        "--proxy-uid=4",
        "--proxy-gid=5",
        "--istio-inbound-interception-mode=REDIRECT",
        "--istio-inbound-ports=6",
        "--istio-local-exclude-ports=7",
        "--istio-service-cidr=10.0.0.0/8",
        "--istio-service-exclude-cidr=fd00::/8",
        "--istio-outbound-ports=8",
        "--istio-local-outbound-ports-exclude=9",
        "--dry-run",
    ];
    assert_eq!(config(&short), config(&long));
}

#[test]
fn the_groups_are_the_users_unless_given() {
    let ids = |arguments| {
        let redirect = config(arguments).unwrap().redirect;
        (redirect.proxy_uids, redirect.proxy_gids)
    };
    assert_eq!(ids(&["-u", "7,8"]), (vec![7, 8], vec![7, 8]));
    assert_eq!(ids(&["-u", "7", "-g", "9,,9"]), (vec![7], vec![9]));
    assert_eq!(ids(&["-u", ""]), (vec![1337], vec![1337]));
}

#[test]
fn networks_lose_host_bits_and_repetitions() {
    let redirect = config(&["-x", "10.1.2.3/8,10.0.0.0/8,::1/0"])
        .unwrap()
        .redirect;
    let cidrs: Vec<String> = redirect.cidrs().map(ToString::to_string).collect();
    assert_eq!(cidrs, ["10.0.0.0/8", "::/0"]);
}

#[test]
fn the_log_level_is_the_default_scopes() {
    let verbosity = |level| config(&["--log_output_level", level]).map(|config| config.verbosity);
    assert_eq!(verbosity("default:debug"), Ok(Verbosity::Debug));
    assert_eq!(verbosity("xds:debug,all:error"), Ok(Verbosity::Quiet));
    assert_eq!(verbosity("debug"), Ok(Verbosity::Debug));
}

#[test]
fn each_wrong_value_says_what_is_accepted() {
    let port = "a port from 1 to 65535 is accepted";
    let ids = "a comma list of numeric ids without spaces is accepted";
    let ports = "a comma list of ports from 1 to 65535 and ranges such as 8000-8010 without spaces \
                 is accepted";
    let cidrs = "a comma list of CIDRs such as 10.0.0.0/8 or fd00::/64 without spaces is accepted";
    let interfaces = "a comma list of interface names of at most 15 characters without spaces is \
                      accepted";
    for (arguments, expected) in [
        (["-p", "70000"], format!("--envoy-port '70000': {port}")),
        (["-p", "+80"], format!("--envoy-port '+80': {port}")),
        (["-z", "0"], format!("--inbound-capture-port '0': {port}")),
        (["-e", "x"], format!("--inbound-tunnel-port 'x': {port}")),
        (["-u", "istio"], format!("--proxy-uid 'istio': {ids}")),
        (
            ["-g", "4294967295"],
            format!("--proxy-gid '4294967295': {ids}"),
        ),
        (
            ["-m", "tproxy"],
            "--istio-inbound-interception-mode 'tproxy': REDIRECT or TPROXY is accepted".to_owned(),
        ),
        (
            ["-b", "80,70000"],
            format!("--istio-inbound-ports '80,70000': '70000' is wrong: {ports}; or * for all"),
        ),
        (
            ["-d", "*"],
            format!("--istio-local-exclude-ports '*': '*' is wrong: {ports}"),
        ),
        (
            ["-q", "90-80"],
            format!("--istio-outbound-ports '90-80': '90-80' is wrong: {ports}"),
        ),
        (
            ["-o", "1, 2"],
            format!("--istio-local-outbound-ports-exclude '1, 2': ' 2' is wrong: {ports}"),
        ),
        (
            ["-i", "10.0.0.0/33"],
            format!(
                "--istio-service-cidr '10.0.0.0/33': '10.0.0.0/33' is wrong: {cidrs}; or * for all"
            ),
        ),
        (
            ["-x", "*"],
            format!("--istio-service-exclude-cidr '*': '*' is wrong: {cidrs}"),
        ),
        (
            ["--ipv6", "yes"],
            "--ipv6 'yes': auto, on or off is accepted".to_owned(),
        ),
        (
            ["-t", "1338"],
            "--istio-inbound-tproxy-mark '1338': a number from 1 to 4294967295 other than 1338 is \
             accepted"
                .to_owned(),
        ),
        (
            ["-r", "254"],
            "--istio-inbound-tproxy-route-table '254': a number from 1 to 4294967295 other than \
             253, 254 and 255 is accepted"
                .to_owned(),
        ),
        (
            ["-c", "eth0,a/b"],
            format!("--istio-exclude-interfaces 'eth0,a/b': 'a/b' is wrong: {interfaces}"),
        ),
        (
            ["-k", "vm+"],
            format!("--kube-virt-interfaces 'vm+': 'vm+' is wrong: {interfaces}"),
        ),
        (
            ["--istio-outbound-owner-groups", "java"],
            format!("--istio-outbound-owner-groups 'java': {ids}; or * for all"),
        ),
        (
            ["--istio-outbound-owner-groups-exclude", "*"],
            format!("--istio-outbound-owner-groups-exclude '*': {ids}"),
        ),
        (
            ["--istio-outbound-ipv4-loopback-cidr", "10.0.0.0/8"],
            "--istio-outbound-ipv4-loopback-cidr '10.0.0.0/8': an IPv4 CIDR within 127.0.0.0/8 is \
             accepted"
                .to_owned(),
        ),
        (
            ["--istio-outbound-ipv4-loopback-cidr", "127.0.0.0/7"],
            "--istio-outbound-ipv4-loopback-cidr '127.0.0.0/7': an IPv4 CIDR within 127.0.0.0/8 \
             is accepted"
                .to_owned(),
        ),
        (
            ["--dns-server", "dns.example"],
            "--dns-server 'dns.example': an IP address such as 10.96.0.10 is accepted".to_owned(),
        ),
        (
            ["--iptables-probe-port", "0"],
            format!("--iptables-probe-port '0': {port}"),
        ),
        (
            ["--probe-timeout", "5"],
            "--probe-timeout '5': a duration such as 5s or 500ms is accepted".to_owned(),
        ),
        (
            ["-z", "15001"],
            "--inbound-capture-port '15001': a port other than that of --envoy-port is accepted"
                .to_owned(),
        ),
        (
            ["--force-iptables-binary", "nftables"],
            "--force-iptables-binary 'nftables': legacy or nft is accepted".to_owned(),
        ),
        (
            ["--log_output_level", "default:loud"],
            "--log_output_level 'default:loud': levels none, fatal, error, warn, info and debug \
             are accepted"
                .to_owned(),
        ),
    ] {
        check_fault(&arguments, &expected);
    }
}

#[test]
fn more_groups_than_the_kernel_matches_are_refused() {
    let groups: Vec<String> = (1..=65).map(|gid| gid.to_string()).collect();
    let groups = groups.join(",");
    check_fault(
        &["--istio-outbound-owner-groups", &groups],
        &format!(
            "--istio-outbound-owner-groups '{groups}': at most 64 groups are accepted, not 65"
        ),
    );
}

#[test]
fn what_cannot_be_had_together_is_refused() {
    check_fault(
        &["--native-nftables", "--force-iptables-binary", "nft"],
        "--force-iptables-binary 'nft': nothing is accepted with --native-nftables",
    );
    check_fault(
        &["--cleanup-only", "--skip-rule-apply"],
        "--cleanup-only 'true': it is accepted only without --skip-rule-apply",
    );
}

#[test]
fn port_lists_take_ranges() {
    let ports = |first, last| Ports { first, last };
    let redirect = config(&["-o", "80,8000-8010,9000:9001,80"])
        .unwrap()
        .redirect;
    assert_eq!(
        redirect.excluded_outbound_ports,
        [ports(80, 80), ports(8000, 8010), ports(9000, 9001)]
    );
}

#[test]
fn a_switch_may_be_given_a_value() {
    let action = |arguments: &[&str]| config(arguments).unwrap().action;
    assert_eq!(action(&["--dry-run=false"]), Action::Apply);
    assert_eq!(action(&["--cleanup-only"]), Action::CleanUp);
    assert_eq!(action(&["--skip-rule-apply=true"]), Action::Skip);
    // A dry run changes nothing, whatever else is asked for.
    assert_eq!(
        action(&["-n", "--cleanup-only", "--dry-run-file-path=/f"]),
        Action::DryRun(Some("/f".into()))
    );
}

#[test]
fn name_servers_are_those_of_the_system_unless_given() {
    let servers = |arguments: &[&str]| config(arguments).unwrap().name_servers;
    assert_eq!(
        servers(&["--capture-all-dns", "--dns-server=10.0.0.1"]),
        None
    );
    assert_eq!(servers(&["--redirect-dns"]), Some(NameServers::System));
    assert_eq!(
        servers(&["--redirect-dns", "--capture-all-dns"]),
        Some(NameServers::All)
    );
    assert_eq!(
        servers(&[
            "--redirect-dns",
            "--dns-server=10.0.0.1,fd00::1",
            "--dns-server=10.0.0.1"
        ]),
        Some(NameServers::Listed(vec![
            "10.0.0.1".parse().unwrap(),
            "fd00::1".parse().unwrap()
        ]))
    );
}

#[test]
fn an_ipv6_network_needs_ipv6() {
    check_fault(
        &["--ipv6", "off", "-i", "10.0.0.0/8,fd00::/8"],
        "--istio-service-cidr '10.0.0.0/8,fd00::/8': only IPv4 CIDRs are accepted with --ipv6 off",
    );
}

#[test]
fn all_faults_come_at_once() {
    let message = config(&["-p", "x", "-b", "y", "-i", "z", "--ipv6", "?"]).unwrap_err();
    assert!(
        message.starts_with("4 settings are wrong, nothing was applied:\n"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 5, "{message}");
    assert_eq!(
        config(&["--force-iptables-binary", "nft"]).unwrap().backend,
        Some(Backend::Nft)
    );
}

#[test]
fn a_switch_is_set_by_any_spelling_of_a_truth_and_left_alone_by_an_empty_one() {
    let action = |word: &str| config(&[&format!("--dry-run{word}")]).map(|config| config.action);
    for word in ["", "=true", "=TRUE", "=True", "=t", "=1", "=yes", "=on"] {
        let dry = action(word).unwrap();
        assert_eq!(dry, Action::DryRun(None), "{word}");
    }
    for word in ["=", "=false", "=False", "=f", "=0", "=no", "=off"] {
        let wet = action(word).unwrap();
        assert_eq!(wet, Action::Apply, "{word}");
    }
    for (flags, expected) in [
        (
            &["--redirect-dns=", "--istio-meta-dns-capture=true"][..],
            true,
        ),
        (
            &["--redirect-dns=false", "--istio-meta-dns-capture=true"],
            false,
        ),
        (&["--redirect-dns", "--istio-meta-dns-capture="], true),
        (&["--redirect-dns=", "--istio-meta-dns-capture="], false),
    ] {
        let servers = config(flags).unwrap().name_servers;
        assert_eq!(servers.is_some(), expected, "{flags:?}");
    }
}

#[test]
fn of_a_flag_given_twice_the_last_value_counts() {
    let config = config(&[
        "-b",
        "80",
        "--dry-run",
        "--istio-inbound-ports=*",
        "--dry-run=false",
    ])
    .unwrap();
    assert_eq!(config.redirect.inbound_ports, Selection::All);
    assert_eq!(config.action, Action::Apply);
}
