//! The proof of the redirect: what it shows as whom, and what it says of rules that are missing.

use std::{fmt::Write, net::TcpListener, thread, time::Duration};

use clap::Parser;
use fairlead_api::values::Selection;
use fairlead_init::{
    Config, Flags,
    config::{Dns, Mode},
    plan::{Plan, Surroundings},
    policy_route,
    rules::Family,
    validation::{self, Settings, Validated, ValidationError},
};
use fairlead_tests::netns::{Namespace, User};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::{
    configurations::configurations,
    pod::{INJECTED, apply},
};

const MARK: u32 = 1337;
const TABLE: u32 = 133;
/// A failure needs no second attempt.
const AT_ONCE: Duration = Duration::from_millis(300);

/// Of an injected pod.
fn settings() -> Settings {
    settings_of(&[&INJECTED[..], &["--ipv6", "on"]].concat())
}

/// What `fairlead-init` makes of a command line, without name servers of its own.
fn settings_of(arguments: &[&str]) -> Settings {
    let flags = Flags::parse_from([&["fairlead-init"], arguments].concat());
    let config = Config::from_flags(&flags).expect("settings");
    let plan = Plan::new(&config, &Surroundings::default());
    Settings {
        redirect: plan.redirect,
        families: plan
            .families
            .into_iter()
            .map(|(family, _)| family)
            .collect(),
        probe_port: 15002,
        timeout: Duration::from_secs(5),
    }
}

/// A pod, and the node that its packets leave to.
struct Pod {
    pod: Namespace,
    _node: Namespace,
}

impl Pod {
    /// With the addresses of both families, and no rules.
    fn bare() -> Self {
        let (pod, node) = (Namespace::new(), Namespace::new());
        pod.connect(
            &["10.0.0.1/24", "fd00::1/64"],
            &node,
            &["10.0.0.2/24", "fd00::2/64"],
        );
        Self { pod, _node: node }
    }

    /// With the rules of an injected pod.
    fn injected() -> Self {
        let pod = Self::bare();
        apply(&pod.pod, &INJECTED);
        pod
    }

    fn validate(&self, user: User, settings: &Settings) -> Result<Validated, ValidationError> {
        self.pod.run_as(user, || validation::validate(settings))
    }

    /// What is proven and what is left out, as "IPv4 inbound" and the like.
    #[track_caller]
    fn check(&self, user: User, settings: &Settings, proven: &[&str], left_out: &[&str]) {
        check_validated(&self.validate(user, settings), proven, left_out);
    }

    /// The faults that are told, each by words of it.
    #[track_caller]
    fn check_faults(&self, settings: &Settings, expected: &[&[&str]]) {
        let settings = Settings {
            timeout: AT_ONCE,
            ..settings.clone()
        };
        match self.validate(User::ROOT, &settings) {
            Err(ValidationError::Unproven(faults)) => {
                assert_eq!(faults.0.len(), expected.len(), "{faults}");
                for (fault, words) in faults.0.iter().zip(expected) {
                    for word in *words {
                        assert!(fault.contains(word), "{word:?} is not in {fault:?}");
                    }
                }
            }
            outcome => panic!("{outcome:?}"),
        }
    }
}

#[track_caller]
fn check_validated(
    outcome: &Result<Validated, ValidationError>,
    proven: &[&str],
    left_out: &[&str],
) {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(error) => panic!("{error}"),
    };
    let names = |lines: &[String]| -> Vec<String> {
        let names = lines.iter().filter_map(|line| line.split_once(": "));
        let mut names: Vec<String> = names
            .map(|(name, _)| name.trim_end_matches(" is not proven").to_owned())
            .collect();
        names.sort_unstable();
        names
    };
    let both = |checks: &[&str]| -> Vec<String> {
        let checks = checks
            .iter()
            .flat_map(|check| ["IPv4", "IPv6"].map(|family| format!("{family} {check}")));
        let mut checks: Vec<String> = checks.collect();
        checks.sort_unstable();
        checks
    };
    assert_eq!(names(&outcome.proven), both(proven), "{outcome:?}");
    assert_eq!(names(&outcome.left_out), both(left_out), "{outcome:?}");
}

#[test]
#[ignore = "needs root"]
fn each_user_proves_what_it_can() {
    let pod = Pod::injected();
    let settings = settings();
    let (inbound, outbound, own) = ("inbound", "outbound", "outbound of the proxy");
    pod.check(User::ROOT, &settings, &[inbound, outbound, own], &[]);
    pod.check(User::PROXY, &settings, &[inbound, own], &[outbound]);
    pod.check(User::APPLICATION, &settings, &[outbound], &[inbound, own]);
    let by_group = User {
        uid: 1000,
        gid: 1337,
    };
    pod.check(by_group, &settings, &[own], &[inbound, outbound]);
}

#[test]
#[ignore = "needs root"]
fn without_a_route_only_loopback_is_proven() {
    let namespace = Namespace::new();
    apply(&namespace, &[&INJECTED[..], &["--ipv6", "on"]].concat());
    let outcome = namespace.run(|| validation::validate(&settings()));
    check_validated(
        &outcome,
        &["inbound"],
        &["outbound", "outbound of the proxy"],
    );
}

#[test]
#[ignore = "needs root"]
fn each_missing_rule_has_its_sentence() {
    let owner = ["-m", "owner", "--uid-owner", "1337"];
    let by_group = ["-m", "owner", "--gid-owner", "1337"];
    let faults: [(&[&[&str]], &[&str]); 4] = [
        (
            &[&["-F", "ISTIO_IN_REDIRECT"]],
            &[
                "IPv4 inbound: ",
                "was refused",
                "port 15006",
                "ISTIO_IN_REDIRECT",
            ],
        ),
        (
            &[&["-F", "ISTIO_REDIRECT"]],
            &[
                "IPv4 outbound: ",
                "port 15001",
                "ISTIO_OUTPUT -j ISTIO_REDIRECT",
            ],
        ),
        (
            &[
                &[&["-D", "ISTIO_OUTPUT"], &owner[..], &["-j", "RETURN"]].concat(),
                &[&["-D", "ISTIO_OUTPUT"], &by_group[..], &["-j", "RETURN"]].concat(),
            ],
            &[
                "IPv4 outbound of the proxy: ",
                "arrived at port 15001",
                "--uid-owner 1337 -j RETURN",
            ],
        ),
        (
            &[&[
                "-I",
                "ISTIO_OUTPUT",
                "-p",
                "tcp",
                "--dport",
                "15002",
                "-j",
                "REDIRECT",
                "--to-ports",
                "15006",
            ]],
            &[
                "IPv4 outbound: ",
                "arrived at port 15006 instead of arriving at port 15001",
            ],
        ),
    ];
    for (commands, words) in faults {
        let pod = Pod::injected();
        for command in commands {
            let arguments = [&["-t", "nat"], *command].concat();
            pod.pod.stdout("iptables-nft", &arguments);
        }
        pod.check_faults(&settings(), &[words]);
    }
}

#[test]
#[ignore = "needs root"]
fn all_faults_are_told_at_once() {
    let pod = Pod::bare();
    pod.check_faults(
        &settings(),
        &[
            &["IPv4 inbound: ", "was refused", "-t nat"],
            &["IPv4 outbound: ", "port 15001"],
            &["IPv6 inbound: ", "the address ::6/128 is missing"],
            &["IPv6 outbound: ", "port 15001"],
        ],
    );
}

#[test]
#[ignore = "needs root"]
fn rules_that_come_late_are_waited_for() {
    let pod = Pod::bare();
    thread::scope(|scope| {
        let validation = scope.spawn(|| pod.validate(User::ROOT, &settings()));
        apply(&pod.pod, &INJECTED);
        let outcome = validation.join().expect("no panic");
        check_validated(
            &outcome,
            &["inbound", "outbound", "outbound of the proxy"],
            &[],
        );
    });
}

#[test]
#[ignore = "needs root"]
fn a_proxy_that_runs_already_is_told() {
    let pod = Pod::injected();
    let _proxy = pod
        .pod
        .run(|| TcpListener::bind("[::]:15006"))
        .expect("a listener");
    let outcome = pod.validate(User::ROOT, &settings());
    assert!(
        matches!(&outcome, Err(ValidationError::Taken { address }) if address.port() == 15006),
        "{outcome:?}"
    );
}

#[test]
#[ignore = "needs root"]
fn the_probes_follow_what_is_captured() {
    let arguments = [
        "-b",
        "9090",
        "-i",
        "10.9.0.0/16,fd09::/16",
        "-o",
        "15002",
        "-x",
        "10.9.0.0/24",
        "--ipv6",
        "on",
    ];
    let pod = Pod::bare();
    apply(&pod.pod, &arguments);
    let mut settings = settings_of(&arguments);
    pod.check(
        User::ROOT,
        &settings,
        &["inbound", "outbound", "outbound of the proxy"],
        &[],
    );
    settings.redirect.excluded_interfaces = vec!["lo".to_owned(), "eth+".to_owned()];
    pod.check(
        User::ROOT,
        &settings,
        &[],
        &["inbound", "outbound", "outbound of the proxy"],
    );
}

#[test]
#[ignore = "needs root"]
fn each_configuration_is_proven_behind_each_backend() {
    let backends: [&[&str]; 3] = [
        &["--force-iptables-binary", "nft"],
        &["--force-iptables-binary", "legacy"],
        &["--native-nftables"],
    ];
    let unproven: String = thread::scope(|scope| {
        let backends = backends.map(|backend| scope.spawn(move || unproven_behind(backend)));
        backends
            .into_iter()
            .map(|backend| backend.join().expect("no panic"))
            .collect()
    });
    assert!(unproven.is_empty(), "{unproven}");
}

/// What is wrongly taken for missing; nothing is.
fn unproven_behind(backend: &[&str]) -> String {
    let mut unproven = String::new();
    for configuration in configurations() {
        // Their name servers are not those of this machine.
        if !configuration.name_servers.is_empty() {
            continue;
        }
        let pod = Pod::bare();
        let arguments = &configuration.arguments;
        apply(&pod.pod, &[arguments, backend].concat());
        let settings = settings_of(arguments);
        // Only root may listen there.
        let low = settings
            .redirect
            .outbound_port
            .min(settings.redirect.inbound_port)
            < 1024;
        let users = [User::ROOT, User::PROXY, User::APPLICATION];
        for user in &users[..if low { 1 } else { users.len() }] {
            if let Err(error) = pod.validate(*user, &settings) {
                let name = configuration.name;
                let _ = writeln!(unproven, "{name} {backend:?} {user:?}: {error}");
            }
        }
    }
    unproven
}

#[test]
#[ignore = "needs root"]
fn a_port_that_not_everybody_may_have_is_told() {
    let pod = Pod::injected();
    let mut settings = settings();
    settings.redirect.inbound_port = 1;
    let outcome = pod.validate(User::PROXY, &settings);
    assert!(
        matches!(&outcome, Err(ValidationError::PrivilegedPort { address }) if address.port() == 1),
        "{outcome:?}"
    );
}

/// The rules of TPROXY, as Istio's order has them; `localhost` and the like as in the family.
fn tproxy_rules(localhost: &str, passthrough: &str) -> String {
    format!(
        "*mangle\n\
         -N ISTIO_INBOUND\n-N ISTIO_DIVERT\n-N ISTIO_TPROXY\n\
         -A ISTIO_DIVERT -j MARK --set-mark 1337\n-A ISTIO_DIVERT -j ACCEPT\n\
         -A ISTIO_TPROXY ! -d {localhost} -p tcp -j TPROXY --on-port 15006 --tproxy-mark 1337\n\
         -A PREROUTING -p tcp -j ISTIO_INBOUND\n\
         -A PREROUTING -p tcp -m mark --mark 1337 -j CONNMARK --save-mark\n\
         -A ISTIO_INBOUND -m mark --mark 1337 -j RETURN\n\
         -A ISTIO_INBOUND -s {passthrough} -i lo -j RETURN\n\
         -A ISTIO_INBOUND -i lo -m mark ! --mark 1338 -j RETURN\n\
         -A ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT\n\
         -A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY\n\
         -A OUTPUT -o lo -p tcp -m mark --mark 1337 -j RETURN\n\
         -A OUTPUT ! -d {localhost} -o lo -p tcp -m owner --uid-owner 1337 -j MARK --set-mark 1338\n\
         -A OUTPUT -p tcp -m connmark --mark 1337 -j CONNMARK --restore-mark\n\
         COMMIT\n"
    )
}

fn tproxy_pod() -> (Pod, Settings) {
    let pod = Pod::injected();
    for (family, program, rules) in [
        (
            Family::Ipv4,
            "iptables-nft-restore",
            tproxy_rules("127.0.0.1/32", "127.0.0.6/32"),
        ),
        (
            Family::Ipv6,
            "ip6tables-nft-restore",
            tproxy_rules("::1/128", "::6/128"),
        ),
    ] {
        pod.pod.feed(program, &["--noflush"], &rules);
        pod.pod
            .run(|| policy_route::ensure(family, MARK, TABLE))
            .expect("a policy route");
    }
    let mut settings = settings();
    settings.redirect.mode = Mode::Tproxy;
    (pod, settings)
}

#[test]
#[ignore = "needs root"]
fn tproxy_is_proven_with_unchanged_addresses() {
    let (pod, settings) = tproxy_pod();
    let (inbound, tproxy, route) = ("inbound", "inbound by TPROXY", "policy route");
    let (outbound, own) = ("outbound", "outbound of the proxy");
    pod.check(
        User::ROOT,
        &settings,
        &[inbound, tproxy, route, outbound, own],
        &[],
    );
    pod.check(
        User::PROXY,
        &settings,
        &[inbound, route, own],
        &[tproxy, outbound],
    );
    // The container istio-init: root that cannot become somebody else.
    let outcome = pod.pod.run(|| {
        let capabilities = CapabilitySet::NET_ADMIN | CapabilitySet::NET_RAW;
        let sets = CapabilitySets {
            effective: capabilities,
            permitted: capabilities,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, sets).expect("fewer capabilities");
        validation::validate(&settings)
    });
    check_validated(&outcome, &[tproxy, route, outbound], &[inbound, own]);
}

#[test]
#[ignore = "needs root"]
fn what_tproxy_lacks_is_told() {
    let (pod, settings) = tproxy_pod();
    pod.pod
        .run(|| policy_route::remove(Family::Ipv6, MARK, TABLE))
        .expect("removed");
    pod.check_faults(
        &settings,
        &[&[
            "IPv6 policy route: ",
            "ip -6 rule add fwmark 1337 lookup 133",
        ]],
    );
    pod.pod
        .stdout("iptables-nft", &["-t", "mangle", "-F", "ISTIO_TPROXY"]);
    pod.check_faults(
        &settings,
        &[&[
            "IPv4 inbound by TPROXY: ",
            "was refused",
            "ISTIO_TPROXY ! -d 127.0.0.1/32",
        ]],
    );
}

/// The rules of DNS over those of an injected pod, for one name server.
fn dns_rules(server: &str, zones: bool) -> String {
    let mut rules = format!(
        "*nat\n-N ISTIO_OUTPUT_DNS\n-I ISTIO_OUTPUT 8 -j ISTIO_OUTPUT_DNS\n\
         -A ISTIO_OUTPUT_DNS -d {server} -p tcp --dport 53 -j REDIRECT --to-ports 15053\n\
         -A ISTIO_OUTPUT_DNS -d {server} -p udp --dport 53 -j REDIRECT --to-ports 15053\n\
         COMMIT\n"
    );
    if zones {
        rules.push_str(&format!(
            "*raw\n\
             -A OUTPUT -p udp --dport 53 -m owner --uid-owner 1337 -j CT --zone 1\n\
             -A OUTPUT -p udp --sport 15053 -m owner --uid-owner 1337 -j CT --zone 2\n\
             -A OUTPUT -d {server} -p udp --dport 53 -j CT --zone 2\n\
             -A PREROUTING -s {server} -p udp --sport 53 -j CT --zone 1\n\
             COMMIT\n"
        ));
    }
    rules
}

fn dns_settings(servers: &[&str]) -> Settings {
    let servers = servers
        .iter()
        .map(|server| server.parse().expect("an address"));
    let mut settings = settings();
    settings.redirect.dns = Some(Dns {
        port: 15053,
        servers: Selection::Only(servers.collect()),
    });
    settings
}

#[test]
#[ignore = "needs root"]
fn questions_to_name_servers_and_their_answers_are_proven() {
    let pod = Pod::injected();
    let servers = ["10.0.0.53", "fd00::53"];
    for (program, server) in ["iptables-nft-restore", "ip6tables-nft-restore"]
        .iter()
        .zip(servers)
    {
        pod.pod
            .feed(program, &["--noflush"], &dns_rules(server, true));
    }
    let (inbound, outbound, own) = ("inbound", "outbound", "outbound of the proxy");
    let (udp, tcp) = ("DNS by UDP", "DNS by TCP");
    let settings = dns_settings(&servers);
    pod.check(
        User::ROOT,
        &settings,
        &[inbound, outbound, own, udp, tcp],
        &[],
    );
    pod.check(
        User::APPLICATION,
        &settings,
        &[outbound, udp, tcp],
        &[inbound, own],
    );
}

#[test]
#[ignore = "needs root"]
fn what_dns_lacks_is_told() {
    let pod = Pod::injected();
    let settings = dns_settings(&["10.0.0.53"]);
    pod.check_faults(
        &settings,
        &[
            &[
                "IPv4 DNS by UDP: ",
                "ISTIO_OUTPUT_DNS -d 10.0.0.53/32 -p udp",
            ],
            &[
                "IPv4 DNS by TCP: ",
                "arrived at port 15001 instead of arriving at port 15053",
            ],
        ],
    );
    pod.pod.feed(
        "iptables-nft-restore",
        &["--noflush"],
        &dns_rules("10.0.0.53", true),
    );
    // The answers of the proxy are no longer found to belong to the questions.
    pod.pod.stdout(
        "iptables-nft",
        &[
            "-t",
            "raw",
            "-D",
            "OUTPUT",
            "-p",
            "udp",
            "--sport",
            "15053",
            "-m",
            "owner",
            "--uid-owner",
            "1337",
            "-j",
            "CT",
            "--zone",
            "2",
        ],
    );
    pod.check_faults(
        &settings,
        &[&[
            "IPv4 DNS by UDP: ",
            "the answer did not come back",
            "-t raw",
        ]],
    );
}
