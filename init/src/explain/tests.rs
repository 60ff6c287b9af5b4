//! Packets through rules of our own making, and through those of others.

use std::net::SocketAddr;

use clap::Parser;
use fairlead_api::annotations;

use super::{
    Direction, Explanation, Meets, Outcome, Packet, Reason, Setting, Tables, dump, reason::reason,
    tables::Backend, walk,
};
use crate::{
    Config, Flags,
    iptables::installed::{Ruleset, Saved},
    nft,
    plan::{Plan, Surroundings},
    rules::{Family, Protocol, Rule, SELF_CALL_MARK, State, Table},
};

mod foreign;
mod fuzz;
mod ours;
mod reasons;

const ALL: [&str; 6] = ["-b", "*", "-d", "15021", "-i", "*"];

/// The rules that the flags make, by family.
fn plan(arguments: &[&str]) -> Plan {
    let flags = [&["fairlead-init", "--ipv6", "on"], arguments].concat();
    let config = Config::from_flags(&Flags::try_parse_from(flags).unwrap()).unwrap();
    Plan::new(&config, &Surroundings::default())
}

/// The rules as iptables would print them, and as nft would list them.
fn installed(arguments: &[&str]) -> [Vec<Tables>; 2] {
    let plan = plan(arguments);
    let by_iptables = plan
        .families
        .iter()
        .map(|(family, rules)| Tables::from_saved(Backend::Nft, *family, saved(rules)));
    let merged = nft::merge(&plan.families);
    let by_nft = Tables::from_listed(listed(&merged), false);
    [by_iptables.collect(), vec![by_nft]]
}

fn saved(rules: &[Rule]) -> Saved {
    let ruleset = Ruleset::new(rules.to_vec());
    let mut text = String::new();
    for table in Table::ALL {
        text += &format!(
            "*{}\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n",
            table.name()
        );
        for chain in ruleset.chains_of(table) {
            text += &format!(":{chain} - [0:0]\n");
        }
        for line in ruleset.lines_of(table) {
            text += &format!("-A {} {}\n", line.rule.chain, line.text);
        }
        text += "COMMIT\n";
    }
    Saved::parse(&text)
}

/// The tables that a transaction with these rules makes.
fn listed(rules: &[Rule]) -> nft::Listed {
    let mut tables: Vec<nft::ListedTable> = Vec::new();
    for table in Table::ALL {
        let mut chains: Vec<nft::ListedChain> = Vec::new();
        for rule in rules.iter().filter(|rule| rule.table == table) {
            let index = match chains.iter().position(|chain| chain.name == rule.chain) {
                Some(index) => index,
                None => {
                    chains.push(nft::ListedChain {
                        name: rule.chain.clone(),
                        hook: rule.chain.is_kernels().then(|| nft::Hook {
                            name: rule.chain.name().to_lowercase(),
                            priority: match table {
                                Table::Raw => -300,
                                Table::Mangle => -150,
                                Table::Nat => -100,
                            },
                            kind: if table == Table::Nat { "nat" } else { "filter" }.to_owned(),
                            drops: false,
                        }),
                        rules: Vec::new(),
                    });
                    chains.len() - 1
                }
            };
            chains[index].rules.push(rule.clone());
        }
        tables.push(nft::ListedTable {
            family: "inet".to_owned(),
            name: format!("istio-proxy-{}", table.name()),
            chains,
        });
    }
    nft::Listed { tables }
}

fn packet(direction: Direction, protocol: Protocol, destination: &str) -> Packet {
    Packet {
        direction,
        protocol,
        source: None,
        source_port: None,
        destination: destination.parse().unwrap(),
        uid: None,
        gid: None,
        interface: "eth0".to_owned(),
        mark: 0,
        connection_mark: 0,
        state: State::New,
    }
}

fn sent(protocol: Protocol, id: u32, destination: &str) -> Packet {
    Packet {
        uid: Some(id),
        gid: Some(id),
        ..packet(Direction::Outbound, protocol, destination)
    }
}

fn arriving(destination: &str) -> Packet {
    packet(Direction::Inbound, Protocol::Tcp, destination)
}

fn by(interface: &str, mut packet: Packet) -> Packet {
    interface.clone_into(&mut packet.interface);
    packet
}

fn from(source: &str, packet: Packet) -> Packet {
    Packet {
        source: Some(source.parse().unwrap()),
        ..packet
    }
}

/// The same packet of IPv6, where the addresses of these tests have a counterpart.
fn in_ipv6(packet: &Packet) -> Packet {
    let other = |ip: &str| match ip {
        "127.0.0.1" => "::1".to_owned(),
        "127.0.0.6" => "::6".to_owned(),
        ip => format!(
            "fd{:0>2}::{}",
            ip.split('.').nth(1).unwrap(),
            ip.split('.').next_back().unwrap()
        ),
    };
    let destination = other(&packet.destination.ip().to_string());
    let source = packet
        .source
        .map(|ip| other(&ip.to_string()).parse().unwrap());
    Packet {
        destination: SocketAddr::new(destination.parse().unwrap(), packet.destination.port()),
        source,
        ..packet.clone()
    }
}

fn by_chain(explanation: &Explanation<'_>) -> String {
    let decided = explanation.decided_by.map(|index| explanation.steps[index]);
    decided.map_or("nothing".to_owned(), |step| {
        format!("{} {}", step.rule.table.name(), step.chain.name)
    })
}

/// Each packet of both families, through the rules of both tools.
#[track_caller]
fn check(arguments: &[&str], expected: &[(Packet, Outcome, &str)]) {
    for tables in installed(arguments) {
        for (packet, outcome, chain) in expected {
            for packet in [packet.clone(), in_ipv6(packet)] {
                let explanation = walk(&tables, &packet);
                let text = explanation.text(true);
                assert_eq!(explanation.outcome, *outcome, "{text}");
                assert_eq!(by_chain(&explanation), *chain, "{text}");
                assert_eq!(explanation.doubts, [""; 0], "{text}");
            }
        }
    }
}

const fn redirected(port: u16) -> Outcome {
    Outcome::Redirected { port }
}
