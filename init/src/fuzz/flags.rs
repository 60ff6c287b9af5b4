//! Random flags and values: they are refused, or become rules of nothing but what was given.

use clap::Parser;
use ipnet::IpNet;

use crate::{
    Config, Flags,
    iptables::text,
    plan::{Plan, Surroundings},
    random::Random,
    rules::{Match, Rule, Verdict},
};

const FLAGS: [&str; 34] = [
    "-p",
    "-z",
    "-e",
    "-u",
    "-g",
    "-m",
    "-b",
    "-d",
    "-t",
    "-r",
    "-i",
    "-x",
    "-q",
    "-o",
    "-c",
    "-k",
    "--envoy-port",
    "--proxy-uid",
    "--istio-inbound-ports",
    "--istio-service-cidr",
    "--istio-local-exclude-ports",
    "--istio-outbound-ports",
    "--istio-outbound-owner-groups",
    "--istio-outbound-owner-groups-exclude",
    "--istio-outbound-ipv4-loopback-cidr",
    "--dns-server",
    "--ipv6",
    "--force-iptables-binary",
    "--network-namespace",
    "--log_output_level",
    "--iptables-probe-port",
    "--probe-timeout",
    "--dry-run-file-path",
    "--nonsense",
];

const SWITCHES: [&str; 12] = [
    "--drop-invalid",
    "--redirect-dns",
    "--capture-all-dns",
    "--dual-stack",
    "--native-nftables",
    "--cni-mode",
    "--dry-run",
    "--cleanup-only",
    "--reconcile=true",
    "--force-apply=maybe",
    "--skip-rule-apply=",
    "--run-validation",
];

const PIECES: [&str; 58] = [
    "",
    "",
    "*",
    ",",
    ",",
    ",",
    "-",
    ":",
    "/",
    "!",
    "+",
    " ",
    "\t",
    "\n",
    "\"",
    "'",
    "\\",
    "\u{0}",
    "ü",
    "%n",
    "0",
    "80",
    "080",
    "443",
    "65535",
    "65536",
    "70000",
    "-1",
    "1337",
    "1338",
    "4294967294",
    "4294967295",
    "99999999999999999999",
    "8000-8010",
    "8010-8000",
    "1:2",
    "10.0.0.0/8",
    "10.1.2.3/33",
    "10.1.2.3",
    "0.0.0.0/0",
    "::/0",
    "fd00::/8",
    "::ffff:1.2.3.4/96",
    "127.0.0.0/8",
    "1.2.3.4/-1",
    "TPROXY",
    "REDIRECT",
    "eth0",
    "lo",
    "on",
    "off",
    "legacy",
    "nft",
    "5s",
    "0s",
    "true",
    "ISTIO_OUTPUT",
    "COMMIT\n*nat\n-F",
];

/// Values that are accepted, so that rules come about often enough.
const PLAIN: [&str; 14] = [
    "80",
    "*",
    "443,9000",
    "8000-8010,22",
    "10.0.0.0/8",
    "10.0.0.0/8,fd00::/8",
    "1337,0",
    "TPROXY",
    "eth0,net1",
    "10.96.0.10,fd00::a",
    "on",
    "127.0.0.0/16",
    "5",
    "0.0.0.0/0,10.1.2.3",
];

#[test]
fn random_flags_are_refused_or_become_rules_of_what_was_given() {
    let mut random = Random::new(21);
    let mut accepted = 0;
    for _ in 0..10_000 {
        let arguments = arguments(&mut random);
        let Ok(flags) = Flags::try_parse_from(&arguments) else {
            continue;
        };
        match Config::from_flags(&flags) {
            Ok(config) => {
                accepted += 1;
                let surroundings = Surroundings {
                    ipv6_addresses: vec![std::net::Ipv6Addr::LOCALHOST],
                    name_servers: Vec::new(),
                };
                for (_, rules) in Plan::new(&config, &surroundings).families {
                    for rule in rules {
                        check(&rule, &arguments);
                    }
                }
            }
            Err(faults) => assert!(faults.to_string().contains("nothing was applied")),
        }
    }
    assert!(accepted > 1_000, "{accepted} were accepted");
}

fn arguments(random: &mut Random) -> Vec<String> {
    let mut arguments = vec!["fairlead-init".to_owned()];
    for _ in 0..random.below(6) {
        if random.below(4) == 0 {
            arguments.push(random.one_of(&SWITCHES).to_owned());
            continue;
        }
        arguments.push(random.one_of(&FLAGS).to_owned());
        arguments.push(if random.below(2) == 0 {
            random.one_of(&PLAIN).to_owned()
        } else {
            (0..=random.below(3))
                .map(|_| random.one_of(&PIECES))
                .collect()
        });
    }
    arguments
}

/// The rule is one line that reads as the same rule, of constants and given values.
#[track_caller]
fn check(rule: &Rule, arguments: &[String]) {
    let line = text::specification(rule);
    assert!(!line.contains(char::is_control), "{arguments:?}: {line}");
    let again = text::parse(rule.table, rule.chain.clone(), &line);
    assert_eq!(again, *rule, "{arguments:?}: {line}");

    let given = Given(arguments);
    let port = |port: u16| given.has_number(port.into(), &[53, 15001, 15006, 15008, 15053]);
    let id = |id: u32| given.has_number(id, &[1337, 1338]);
    let is_known = rule.matches.iter().all(|condition| match condition {
        Match::Source(is) | Match::Destination(is) => given.has_network(*is.value()),
        Match::InInterface(is) | Match::OutInterface(is) => given.has_name(is.value()),
        Match::SourcePort(_, is) | Match::DestinationPort(_, is) => is
            .value()
            .iter()
            .all(|ports| port(ports.first) && port(ports.last)),
        Match::Uid(is) | Match::Gid(is) | Match::Mark(is) | Match::ConnectionMark(is) => {
            id(*is.value())
        }
        Match::Family(_) | Match::Protocol(_) | Match::Syn(_) | Match::State(_) => true,
        Match::Unknown(_) => false,
    });
    let does_known = match &rule.verdict {
        Verdict::Jump(chain) => chain.is_ours(),
        Verdict::Redirect(to) => port(*to),
        Verdict::Tproxy { port: to, mark } => port(*to) && id(*mark),
        Verdict::SetMark(mark) => id(*mark),
        Verdict::Unknown(_) => false,
        _ => true,
    };
    assert!(is_known && does_known, "{arguments:?}: {line}");
}

/// The values of a command line.
struct Given<'a>(&'a [String]);

impl Given<'_> {
    fn has_number(&self, number: u32, constants: &[u32]) -> bool {
        let words = self.0.iter().flat_map(|value| value.split([',', '-', ':']));
        let mut numbers = words.filter_map(|word| word.parse().ok());
        constants.contains(&number) || numbers.any(|given: u32| given == number)
    }

    fn has_network(&self, network: IpNet) -> bool {
        const CONSTANTS: [&str; 4] = ["127.0.0.1/32", "127.0.0.6/32", "::1/128", "::6/128"];
        let words = self.0.iter().flat_map(|value| value.split(','));
        let mut networks = words.chain(CONSTANTS).filter_map(|word| {
            let address = || {
                word.parse()
                    .ok()
                    .map(|ip: std::net::IpAddr| IpNet::from(ip))
            };
            word.parse::<IpNet>().ok().or_else(address)
        });
        networks.any(|given| given.trunc() == network)
    }

    fn has_name(&self, name: &str) -> bool {
        let mut words = self.0.iter().flat_map(|value| value.split(','));
        name == "lo" || words.any(|word| word == name)
    }
}
