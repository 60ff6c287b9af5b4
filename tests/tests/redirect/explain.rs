//! What `fairlead-init explain` says of a packet is what the kernel does to it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use fairlead_tests::{
    netns::{Arrivals, Datagrams, Namespace, User, ask},
    wait,
};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::pod::{apply, init};

/// Of all numbers here, so that a failure can be had again.
const SEED: u64 = 0x0fa1_41ea_d000_0005;
/// Per configuration and family; times 10 and 2 they are 300.
const PACKETS: usize = 15;
const TIME_OUT: Duration = Duration::from_secs(3);

const ALL: &[&str] = &["-b", "*", "-d", "15021", "-i", "*"];

const CONFIGURATIONS: [&[&str]; 10] = [
    &[],
    &["-o", "25,8000-8100"],
    &["-x", "10.9.0.0/16,fd09::/16", "--drop-invalid"],
    &["--redirect-dns", "--capture-all-dns"],
    &[
        "--redirect-dns",
        "--dns-server",
        "10.0.0.2",
        "--dns-server",
        "fd00::2",
    ],
    &["-m", "TPROXY"],
    &[
        "-m",
        "TPROXY",
        "--redirect-dns",
        "--capture-all-dns",
        "--drop-invalid",
        "-g",
        "2000",
    ],
    &["-c", "eth0"],
    &["-k", "eth0"],
    &[
        "--istio-outbound-owner-groups=1000,2000,3000",
        "--istio-outbound-owner-groups-exclude=3000",
        "-u",
        "1337,5",
    ],
];

/// In place of [`ALL`] for every third configuration.
const LISTED: &[&str] = &[
    "-b",
    "8080,9090-9095",
    "-i",
    "10.9.0.0/16,fd09::/16,127.1.0.0/16",
    "-q",
    "443",
];

/// The addresses of one family.
struct Addresses {
    any: &'static str,
    localhost: &'static str,
    passthrough: &'static str,
    pod: &'static str,
    peers: [&'static str; 2],
}

const FAMILIES: [Addresses; 2] = [
    Addresses {
        any: "0.0.0.0",
        localhost: "127.0.0.1",
        passthrough: "127.0.0.6",
        pod: "10.0.0.1",
        peers: ["10.0.0.2", "10.9.0.1"],
    },
    Addresses {
        any: "::",
        localhost: "::1",
        passthrough: "::6",
        pod: "fd00::1",
        peers: ["fd00::2", "fd09::1"],
    },
];

const POD_PORTS: [u16; 7] = [53, 80, 443, 8080, 9090, 15008, 15021];
const PEER_PORTS: [u16; 5] = [25, 53, 80, 443, 8080];
const PROXY_PORTS: [u16; 3] = [15001, 15006, PROXY_QUESTIONS];
const PROXY_QUESTIONS: u16 = 15053;
const QUESTIONS: u16 = 53;

const fn of_group(uid: u32, gid: u32) -> User {
    User { uid, gid }
}

const USERS: [User; 7] = [
    User::APPLICATION,
    User::APPLICATION,
    User::PROXY,
    User::PROXY,
    of_group(1000, 1337),
    of_group(1000, 2000),
    of_group(5, 3000),
];

/// Where a packet may arrive, as `pod tcp 15001`.
type Place = String;

fn place(side: &str, protocol: &str, port: u16) -> Place {
    format!("{side} {protocol} {port}")
}

/// A pod and a peer that listen on every port that a packet here may go to.
struct World {
    addresses: &'static Addresses,
    pod: Namespace,
    peer: Namespace,
    connections: Vec<(Place, Arrivals)>,
    questions: Vec<(Place, Datagrams)>,
}

impl World {
    fn new(addresses: &'static Addresses, arguments: &[&str]) -> Self {
        let (pod, peer) = (Namespace::new(), Namespace::new());
        pod.connect(
            &["10.0.0.1/24", "fd00::1/64"],
            &peer,
            &["10.0.0.2/24", "fd00::2/64", "10.9.0.1/32", "fd09::1/128"],
        );
        apply(&pod, arguments);
        let mut connections = Vec::new();
        for port in PROXY_PORTS {
            let address = socket(addresses.any, port);
            let arrivals = match arguments.contains(&"TPROXY") && port == 15006 {
                true => Arrivals::listen_transparently_as(User::PROXY, &pod, address),
                false => Arrivals::listen_as(User::PROXY, &pod, &address.to_string()),
            };
            connections.push((place("pod", "tcp", port), arrivals));
        }
        let any = |port| socket(addresses.any, port).to_string();
        for port in POD_PORTS {
            connections.push((
                place("pod", "tcp", port),
                Arrivals::listen(&pod, &any(port)),
            ));
        }
        for port in PEER_PORTS {
            connections.push((
                place("peer", "tcp", port),
                Arrivals::listen(&peer, &any(port)),
            ));
        }
        let constant = |_: &_| Some(b"answer".to_vec());
        // There a redirect leads.
        let local = socket(addresses.localhost, PROXY_QUESTIONS).to_string();
        let proxys = Datagrams::answer_as(User::PROXY, &pod, &local, constant);
        let mut questions = vec![(place("pod", "udp", PROXY_QUESTIONS), proxys)];
        // At each address, so that the answer comes from the one that was asked.
        let [first, second] = addresses.peers;
        for (side, namespace, address) in [
            ("pod", &pod, addresses.pod),
            ("pod", &pod, addresses.localhost),
            ("peer", &peer, first),
            ("peer", &peer, second),
        ] {
            let local = socket(address, QUESTIONS).to_string();
            let datagrams = Datagrams::answer(namespace, &local, b"answer");
            questions.push((place(side, "udp", QUESTIONS), datagrams));
        }
        Self {
            addresses,
            pod,
            peer,
            connections,
            questions,
        }
    }

    /// Sends the packet, and says where it arrived.
    fn observe(&self, packet: &Packet) -> Place {
        let destination = socket(packet.destination, packet.port);
        let source = packet.source.map(|source| socket(source, 0));
        let (side, user) = match packet.inbound {
            true => (&self.peer, User::ROOT),
            false => (&self.pod, packet.user),
        };
        if packet.protocol == "udp" {
            let answer = side.run_as(user, || ask(source, destination, b"question", TIME_OUT));
            if answer.is_err() {
                return "nowhere".to_owned();
            }
            let mut questions = self.questions.iter();
            return questions
                .find(|(_, datagrams)| !datagrams.is_empty())
                .map_or("elsewhere".to_owned(), |(place, _)| place.clone());
        }
        let connection = side.run_as(user, || {
            let socket = Socket::new(Domain::for_address(destination), Type::STREAM, None)?;
            if let Some(source) = source {
                socket.bind(&source.into())?;
            }
            socket.connect_timeout(&destination.into(), TIME_OUT)?;
            std::io::Result::Ok(socket)
        });
        if connection.is_err() {
            return "nowhere".to_owned();
        }
        wait::until("the arrival of a connection", || {
            let mut connections = self.connections.iter();
            connections
                .find(|(_, arrivals)| !arrivals.is_empty())
                .map(|(place, _)| place.clone())
        })
    }

    /// Where the packet arrives by the word of `fairlead-init`, and that word.
    fn explained(&self, packet: &Packet) -> (Place, String) {
        let destination = socket(packet.destination, packet.port).to_string();
        let (uid, gid) = (packet.user.uid.to_string(), packet.user.gid.to_string());
        let mut arguments = vec![
            "explain",
            "--verbose",
            "--output=json",
            "--protocol",
            packet.protocol,
            "--destination",
            &destination,
        ];
        if packet.inbound {
            arguments.extend([
                "--direction",
                "inbound",
                "--source",
                self.addresses.peers[0],
            ]);
        } else {
            arguments.extend(["--uid", &uid, "--gid", &gid]);
        }
        if let Some(source) = packet.source {
            arguments.extend(["--source", source]);
        }
        let output = self.pod.output(init(&arguments));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: Value = serde_json::from_str(&text).expect("JSON");
        let verdict = &report["verdict"];
        assert_eq!(verdict["certain"], true, "{text}");
        let port = verdict["port"]
            .as_u64()
            .and_then(|port| port.try_into().ok());
        let place = match (verdict["kind"].as_str(), port) {
            (Some("redirected" | "tproxied"), Some(port)) => place("pod", packet.protocol, port),
            (Some("uncaptured"), _) => {
                let to_peer = self.addresses.peers.contains(&packet.destination);
                let side = if to_peer { "peer" } else { "pod" };
                place(side, packet.protocol, packet.port)
            }
            (Some("dropped"), _) => "nowhere".to_owned(),
            other => panic!("{other:?}: {text}"),
        };
        (place, text)
    }
}

#[derive(Debug)]
struct Packet {
    inbound: bool,
    protocol: &'static str,
    user: User,
    source: Option<&'static str>,
    destination: &'static str,
    port: u16,
}

impl Packet {
    fn random(random: &mut Random, addresses: &'static Addresses) -> Self {
        let inbound = random.below(4) == 0;
        let to_itself = !inbound && random.below(3) == 0;
        let is_question = random.below(4) == 0;
        let destination = match (inbound, to_itself) {
            (true, _) => addresses.pod,
            (_, true) => *random.of(&[addresses.pod, addresses.localhost]),
            _ => *random.of(&addresses.peers),
        };
        let port = match (is_question, inbound || to_itself) {
            (true, _) => QUESTIONS,
            (_, true) => *random.of(&POD_PORTS),
            _ => *random.of(&PEER_PORTS),
        };
        let from_proxy = to_itself && destination == addresses.pod && random.below(3) == 0;
        Self {
            inbound,
            protocol: if is_question && random.below(2) == 0 {
                "udp"
            } else {
                "tcp"
            },
            user: *random.of(&USERS),
            source: from_proxy.then_some(addresses.passthrough),
            destination,
            port,
        }
    }
}

fn socket(address: &str, port: u16) -> SocketAddr {
    let address: IpAddr = address.parse().expect("an address");
    SocketAddr::new(address, port)
}

/// Xorshift: the same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound
    }

    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}

/// 300 packets, by rules of one backend.
fn compare(backend: &[&str]) {
    println!("seed {SEED:#x}");
    let mut random = Random(SEED);
    let mut arrived: BTreeMap<Place, usize> = BTreeMap::new();
    for (index, configuration) in CONFIGURATIONS.iter().enumerate() {
        for addresses in &FAMILIES {
            let lists = if index % 3 == 1 { LISTED } else { ALL };
            let arguments = [lists, configuration, backend].concat();
            let world = World::new(addresses, &arguments);
            for _ in 0..PACKETS {
                let packet = Packet::random(&mut random, addresses);
                let (explained, text) = world.explained(&packet);
                let observed = world.observe(&packet);
                assert_eq!(explained, observed, "{arguments:?}: {packet:?}: {text}");
                *arrived.entry(observed).or_default() += 1;
            }
        }
    }
    println!("{arrived:#?}");
    // Else they would prove little.
    let at = |port: u16| -> usize {
        ["tcp", "udp"]
            .iter()
            .filter_map(|protocol| arrived.get(&place("pod", protocol, port)))
            .sum()
    };
    assert!(
        at(15001) > 30 && at(15006) > 30 && at(PROXY_QUESTIONS) > 3,
        "{arrived:#?}"
    );
}

#[test]
#[ignore = "needs root"]
fn looking_changes_nothing() {
    let pod = Namespace::new();
    let output = pod.output(init(&["explain", "--destination", "127.0.0.1:80"]));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(text.contains("no rule is asked"), "{text}");
    assert_eq!(pod.stdout("nft", &["list", "ruleset"]), "");
    assert_eq!(pod.stdout("cat", &["/proc/net/ip_tables_names"]), "");
}

#[test]
#[ignore = "needs root"]
fn who_may_not_look_is_told_how_to() {
    let pod = Namespace::new();
    let explain = init(&["explain", "--destination", "127.0.0.1:80"]);
    let output = pod.output_as(User::PROXY, explain);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in [
        "NET_ADMIN is missing",
        "fairlead explain-packet --pod",
        "iptables-save > FILE",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
#[ignore = "needs root"]
fn three_hundred_packets_go_where_explain_says_by_nft() {
    compare(&["--force-iptables-binary", "nft"]);
}

#[test]
#[ignore = "needs root"]
fn three_hundred_packets_go_where_explain_says_by_legacy() {
    compare(&["--force-iptables-binary", "legacy"]);
}

#[test]
#[ignore = "needs root"]
fn three_hundred_packets_go_where_explain_says_by_nftables() {
    compare(&["--native-nftables"]);
}
