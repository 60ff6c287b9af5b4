//! Whatever the configuration: all backends do the same with the same packets.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicU16, Ordering},
    thread,
};

use fairlead_tests::netns::{Datagrams, Namespace, User, ask, original_destination};
use socket2::{Domain, SockRef, Socket, Type};

use super::{BY, BY_GROUP, TIME_OUT, connect, socket};
use crate::configurations::{Configuration, configurations, in_surroundings};

/// Addresses of the peer: in and out of the networks that the configurations name.
const PEER: [&str; 12] = [
    "10.0.0.2/24",
    "10.1.0.9/32",
    "10.9.0.9/32",
    "10.96.0.10/32",
    "172.16.0.9/32",
    "192.0.2.1/32",
    "fd00::2/64",
    "fd00::a/128",
    "fd00:1::9/128",
    "fd01::9/128",
    "fd09::9/128",
    "2001:db8::1/128",
];
const NAME_SERVERS: [&str; 6] = [
    "10.0.0.2",
    "10.96.0.10",
    "192.0.2.1",
    "fd00::2",
    "fd00::a",
    "2001:db8::1",
];
const OWN: [&str; 2] = ["10.0.0.1", "fd00::1"];
const LOOPBACK: [&str; 5] = ["127.0.0.1", "127.0.0.5", "127.0.1.9", "127.1.2.3", "::1"];
/// Further interfaces of the pod, and the addresses at both ends.
const NEIGHBOURS: [(&str, [&str; 2], [&str; 2]); 2] = [
    ("eth1", ["10.2.0.1", "10.2.0.2"], ["fd02::1", "fd02::2"]),
    ("tap0", ["10.3.0.1", "10.3.0.2"], ["fd03::1", "fd03::2"]),
];

const PORTS_OF_PROXIES: [u16; 7] = [15001, 15006, 15053, 15101, 15106, 1, 2];
const PORTS_OF_APPLICATION: [u16; 10] = [8080, 22, 53, 80, 443, 3, 8005, 9090, 15008, 15090];
const PORTS_OF_PEER: [u16; 8] = [80, 443, 25, 53, 3306, 5500, 8005, 9005];

const MEMBERS: [User; 2] = [of_group(2000), of_group(3000)];

const fn of_group(gid: u32) -> User {
    User { uid: 1000, gid }
}

#[test]
#[ignore = "needs root"]
fn each_configuration_means_the_same_in_all_backends() {
    let outcomes: Vec<Vec<Vec<String>>> = thread::scope(|scope| {
        let runs = BY.map(|backend| {
            scope.spawn(move || {
                let world = World::new();
                let configurations = configurations();
                let outcomes = configurations
                    .iter()
                    .map(|each| world.outcomes(each, backend));
                outcomes.collect()
            })
        });
        runs.map(|run| run.join().expect("outcomes")).into()
    });
    let mut differing = Vec::new();
    for (index, configuration) in configurations().iter().enumerate() {
        let [first, others @ ..] = &outcomes[..] else {
            unreachable!("there are several backends");
        };
        for (other, backend) in others.iter().zip(&BY[1..]) {
            let pairs = first[index].iter().zip(&other[index]);
            differing.extend(
                pairs
                    .filter(|(one, other)| one != other)
                    .map(|(one, other)| {
                        format!("{}: {one}, but by {backend:?} {other}", configuration.name)
                    }),
            );
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}

/// A pod and all others, with somebody at each port that a rule could lead to.
struct World {
    pod: Namespace,
    peer: Namespace,
    neighbours: Vec<Namespace>,
    _hosts: Vec<Host>,
    _name_servers: Vec<Datagrams>,
    /// Each question is of another port, so that none is one more of an earlier connection.
    next_port: AtomicU16,
}

impl World {
    fn new() -> Self {
        let (pod, peer) = (Namespace::new(), Namespace::new());
        pod.connect(&["10.0.0.1/24", "fd00::1/64"], &peer, &PEER);
        let mut hosts = Vec::new();
        let mut host = |namespace: &Namespace, place: &'static str, user, ports: &[u16]| {
            for port in ports {
                for any in ["0.0.0.0", "::"] {
                    hosts.push(Host::new(namespace, place, user, socket(any, *port)));
                }
            }
        };
        host(&pod, "proxy", User::PROXY, &PORTS_OF_PROXIES);
        host(
            &pod,
            "application",
            User::APPLICATION,
            &PORTS_OF_APPLICATION,
        );
        host(&peer, "peer", User::ROOT, &PORTS_OF_PEER);
        let mut neighbours = Vec::new();
        for (interface, v4, v6) in NEIGHBOURS {
            let neighbour = neighbour(&pod, interface, v4, v6);
            host(&neighbour, interface, User::ROOT, &[80]);
            neighbours.push(neighbour);
        }
        let mut name_servers = Vec::new();
        for address in NAME_SERVERS {
            let address = socket(address, 53).to_string();
            name_servers.push(Datagrams::answer(&peer, &address, b"peer"));
        }
        for address in ["127.0.0.53:53", "[::1]:53"] {
            name_servers.push(Datagrams::answer(&pod, address, b"pod"));
        }
        for address in ["127.0.0.1:15053", "[::1]:15053"] {
            let answer = |_: &_| Some(b"proxy".to_vec());
            name_servers.push(Datagrams::answer_as(User::PROXY, &pod, address, answer));
        }
        Self {
            pod,
            peer,
            neighbours,
            _hosts: hosts,
            _name_servers: name_servers,
            next_port: AtomicU16::new(20_000),
        }
    }

    /// What became of each connection and question.
    fn outcomes(&self, configuration: &Configuration, backend: &[&str]) -> Vec<String> {
        let output = self.pod.output(in_surroundings(configuration, backend));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {told}", configuration.name);

        let mut outcomes = Vec::new();
        for user in [User::APPLICATION, User::PROXY] {
            outcomes.extend(self.of_pod(user, &destinations(), &questions()));
        }
        let further = [
            User::ROOT,
            User::with_id(1338),
            User::with_id(1500),
            BY_GROUP,
        ];
        for user in further.into_iter().chain(MEMBERS) {
            let some = [
                "10.0.0.2:80",
                "10.0.0.1:8080",
                "[fd00::2]:80",
                "[fd00::1]:8080",
            ];
            let some = some.map(|address| address.parse().expect("an address"));
            let servers = [NAME_SERVERS[1], NAME_SERVERS[4]].map(|server| socket(server, 53));
            outcomes.extend(self.of_pod(user, &some, &servers));
        }
        let inbound: Vec<_> = OWN
            .iter()
            .flat_map(|address| PORTS_OF_APPLICATION.map(|port| socket(address, port)))
            .collect();
        outcomes.extend(self.peer.run(|| knocks("peer", &inbound)));
        for ((interface, [v4, _], [v6, _]), neighbour) in NEIGHBOURS.iter().zip(&self.neighbours) {
            let doors = [v4, v6].map(|address| [socket(address, 8080), socket(address, 22)]);
            outcomes.extend(neighbour.run(|| knocks(interface, &doors.concat())));
        }
        outcomes
    }

    fn of_pod(
        &self,
        user: User,
        destinations: &[SocketAddr],
        servers: &[SocketAddr],
    ) -> Vec<String> {
        let next_port = &self.next_port;
        self.pod.run_as(user, || {
            let name = format!("{}/{}", user.uid, user.gid);
            let mut outcomes = knocks(&name, destinations);
            for server in servers {
                let any = if server.is_ipv4() { "0.0.0.0" } else { "::" };
                let port = next_port.fetch_add(1, Ordering::Relaxed);
                let answer = ask(Some(socket(any, port)), *server, b"who", TIME_OUT)
                    .map(|answer| String::from_utf8_lossy(&answer).into_owned());
                let answer = answer.unwrap_or_else(|error| error.kind().to_string());
                outcomes.push(format!("{name} asks {server}: {answer}"));
            }
            outcomes
        })
    }
}

fn destinations() -> Vec<SocketAddr> {
    let addresses = PEER.iter().filter_map(|address| address.split('/').next());
    let mut destinations: Vec<_> = addresses.map(|address| socket(address, 80)).collect();
    for peer in ["10.0.0.2", "fd00::2"] {
        destinations.extend(PORTS_OF_PEER.map(|port| socket(peer, port)));
    }
    for server in &NAME_SERVERS[1..] {
        destinations.push(socket(server, 53));
    }
    for own in OWN {
        destinations.extend([8080, 53, 15008, 22].map(|port| socket(own, port)));
    }
    for address in LOOPBACK {
        destinations.extend([80, 8080].map(|port| socket(address, port)));
    }
    destinations.push(socket("127.0.0.53", 53));
    for (_, [_, v4], [_, v6]) in NEIGHBOURS {
        destinations.extend([v4, v6].map(|address| socket(address, 80)));
    }
    destinations
}

fn questions() -> Vec<SocketAddr> {
    let servers = NAME_SERVERS.into_iter().chain(["127.0.0.53", "::1"]);
    servers.map(|server| socket(server, 53)).collect()
}

/// Joins one more interface of the pod to somebody.
fn neighbour(pod: &Namespace, interface: &str, v4: [&str; 2], v6: [&str; 2]) -> Namespace {
    let neighbour = Namespace::new();
    pod.ip(&[
        "link",
        "add",
        interface,
        "type",
        "veth",
        "peer",
        "name",
        "eth0",
        "netns",
        neighbour.name(),
    ]);
    for (index, (side, interface)) in [(pod, interface), (&neighbour, "eth0")].iter().enumerate() {
        side.ip(&["link", "set", interface, "up"]);
        let (v4, v6) = (format!("{}/24", v4[index]), format!("{}/64", v6[index]));
        side.ip(&["address", "add", &v4, "dev", interface]);
        side.ip(&["address", "add", &v6, "dev", interface, "nodad"]);
    }
    neighbour
}

/// What each destination says to a connection of the calling thread.
fn knocks(name: &str, destinations: &[SocketAddr]) -> Vec<String> {
    let knock = |destination: &SocketAddr| {
        let told = knock(*destination).unwrap_or_else(|error| error.kind().to_string());
        format!("{name} to {destination}: {told}")
    };
    destinations.iter().map(knock).collect()
}

fn knock(destination: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::from(connect(None, destination)?);
    stream.set_read_timeout(Some(TIME_OUT))?;
    let mut told = String::new();
    stream.read_to_string(&mut told)?;
    Ok(told)
}

/// A listener that tells whoever connects where that is, and what is seen of him there.
struct Host(TcpListener);

impl Host {
    fn new(namespace: &Namespace, place: &'static str, user: User, address: SocketAddr) -> Self {
        let listen = || -> io::Result<(TcpListener, TcpListener)> {
            let domain = Domain::for_address(address);
            let socket = namespace.run_as(user, || Socket::new(domain, Type::STREAM, None))?;
            match address.ip() {
                IpAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
                IpAddr::V6(_) => {
                    socket.set_only_v6(true)?;
                    socket.set_ip_transparent_v6(true)?;
                }
            }
            socket.bind(&address.into())?;
            socket.listen(128)?;
            let listener = TcpListener::from(socket);
            Ok((listener.try_clone()?, listener))
        };
        let (accepting, listener) =
            listen().unwrap_or_else(|error| panic!("{place}, {address}: {error}"));
        thread::spawn(move || {
            while let Ok((mut stream, client)) = accepting.accept() {
                let told = original_destination(&stream).and_then(|wanted| {
                    let own = stream.local_addr()?;
                    // Where connections meet in one port, the kernel may change theirs.
                    let (port, client) = (address.port(), client.ip());
                    write!(
                        stream,
                        "{place} {port}, as {own}, from {client}, to {wanted}"
                    )
                });
                // Whoever is gone already need not be told.
                drop(told);
            }
        });
        Self(listener)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Ends the thread that accepts.
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Both);
    }
}
