//! Where the connections of an application, the proxy and a peer arrive once the rules stand.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use fairlead_tests::netns::{Arrival, Arrivals, Namespace, User};
use socket2::{Domain, Socket, Type};

use crate::pod::{BACKENDS, apply};

const TIME_OUT: Duration = Duration::from_secs(5);
const APPLICATION_PORT: u16 = 8080;

/// The addresses of one family.
struct Addresses {
    any: &'static str,
    localhost: &'static str,
    passthrough: &'static str,
    pod: &'static str,
    peer: &'static str,
    /// Of the peer, too.
    excluded: &'static str,
}

const FAMILIES: [Addresses; 2] = [
    Addresses {
        any: "0.0.0.0",
        localhost: "127.0.0.1",
        passthrough: "127.0.0.6",
        pod: "10.0.0.1",
        peer: "10.0.0.2",
        excluded: "10.9.0.1",
    },
    Addresses {
        any: "::",
        localhost: "::1",
        passthrough: "::6",
        pod: "fd00::1",
        peer: "fd00::2",
        excluded: "fd09::1",
    },
];

/// A pod with its proxy and its application, and a peer across a cable.
struct World {
    addresses: &'static Addresses,
    pod: Namespace,
    peer: Namespace,
    outbound: Arrivals,
    inbound: Arrivals,
    application: Arrivals,
}

/// Runs a scenario in each family, with the rules of each backend.
#[track_caller]
fn everywhere(arguments: &[&str], scenario: impl Fn(&World)) {
    for backend in BACKENDS {
        for addresses in &FAMILIES {
            let (pod, peer) = (Namespace::new(), Namespace::new());
            pod.connect(
                &["10.0.0.1/24", "fd00::1/64"],
                &peer,
                &["10.0.0.2/24", "fd00::2/64", "10.9.0.1/32", "fd09::1/128"],
            );
            apply(
                &pod,
                &[arguments, &["--force-iptables-binary", backend]].concat(),
            );
            let listen = |user, port| {
                let address = socket(addresses.any, port).to_string();
                Arrivals::listen_as(user, &pod, &address)
            };
            scenario(&World {
                addresses,
                outbound: listen(User::PROXY, 15001),
                inbound: listen(User::PROXY, 15006),
                application: listen(User::APPLICATION, APPLICATION_PORT),
                pod,
                peer,
            });
        }
    }
}

const ALL: [&str; 6] = ["-b", "*", "-d", "15021", "-i", "*"];

impl World {
    /// A server in the peer.
    fn server(&self, address: &str, port: u16) -> Arrivals {
        Arrivals::listen(&self.peer, &socket(address, port).to_string())
    }

    /// A connection from the pod that arrives at this listener and at no other one of the pod.
    #[track_caller]
    fn check(&self, user: User, address: &str, port: u16, expected: &Arrivals) -> Arrival {
        self.check_from(user, None, address, port, expected)
    }

    #[track_caller]
    fn check_from(
        &self,
        user: User,
        source: Option<&str>,
        address: &str,
        port: u16,
        expected: &Arrivals,
    ) -> Arrival {
        let source = source.map(|source| socket(source, 0));
        let destination = socket(address, port);
        let _connection = self
            .pod
            .run_as(user, || connect(source, destination))
            .unwrap_or_else(|error| panic!("{user:?} to {destination}: {error}"));
        self.arrived(destination, expected)
    }

    /// As [`check`](Self::check), from the peer.
    #[track_caller]
    fn check_inbound(&self, port: u16, expected: &Arrivals) -> Arrival {
        let destination = socket(self.addresses.pod, port);
        let _connection = self
            .peer
            .run(|| connect(None, destination))
            .unwrap_or_else(|error| panic!("peer to {destination}: {error}"));
        self.arrived(destination, expected)
    }

    #[track_caller]
    fn arrived(&self, destination: SocketAddr, expected: &Arrivals) -> Arrival {
        let arrival = expected.next();
        assert_eq!(arrival.original_destination, destination);
        for other in [&self.outbound, &self.inbound, &self.application] {
            assert!(
                other.is_empty(),
                "{destination} also arrived at {}",
                other.local()
            );
        }
        arrival
    }
}

fn socket(address: &str, port: u16) -> SocketAddr {
    let address: IpAddr = address.parse().expect("an address");
    SocketAddr::new(address, port)
}

fn connect(source: Option<SocketAddr>, destination: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(destination), Type::STREAM, None)?;
    if let Some(source) = source {
        socket.bind(&source.into())?;
    }
    socket.connect_timeout(&destination.into(), TIME_OUT)?;
    Ok(socket)
}

#[test]
#[ignore = "needs root"]
fn the_applications_connections_go_to_the_outbound_port() {
    everywhere(&ALL, |world| {
        world.check(User::APPLICATION, world.addresses.peer, 80, &world.outbound);
        world.check(User::ROOT, world.addresses.peer, 443, &world.outbound);
    });
}

#[test]
#[ignore = "needs root"]
fn the_proxys_own_connections_leave() {
    everywhere(&ALL, |world| {
        let server = world.server(world.addresses.peer, 80);
        world.check(User::PROXY, world.addresses.peer, 80, &server);
        let by_group = User {
            uid: 1000,
            gid: 1337,
        };
        world.check(by_group, world.addresses.peer, 80, &server);
    });
}

#[test]
#[ignore = "needs root"]
fn arriving_connections_go_to_the_inbound_port() {
    everywhere(&ALL, |world| {
        let arrival = world.check_inbound(APPLICATION_PORT, &world.inbound);
        assert_eq!(arrival.peer.ip(), socket(world.addresses.peer, 0).ip());
    });
}

#[test]
#[ignore = "needs root"]
fn excluded_and_tunnel_ports_are_reached_directly() {
    everywhere(&ALL, |world| {
        for port in [15021, 15008] {
            let health =
                Arrivals::listen(&world.pod, &socket(world.addresses.any, port).to_string());
            world.check_inbound(port, &health);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn only_listed_inbound_ports_are_captured() {
    everywhere(&["-b", "9090", "-i", "*"], |world| {
        world.check_inbound(APPLICATION_PORT, &world.application);
        world.check_inbound(9090, &world.inbound);
    });
}

#[test]
#[ignore = "needs root"]
fn excluded_outbound_ports_and_networks_are_reached_directly() {
    let exclusions = ["-o", "3306", "-x", "10.9.0.0/16,fd09::/16"];
    everywhere(&[&ALL[..], &exclusions].concat(), |world| {
        let database = world.server(world.addresses.peer, 3306);
        world.check(User::APPLICATION, world.addresses.peer, 3306, &database);
        let excluded = world.server(world.addresses.excluded, 80);
        world.check(User::APPLICATION, world.addresses.excluded, 80, &excluded);
        world.check(User::APPLICATION, world.addresses.peer, 80, &world.outbound);
    });
}

#[test]
#[ignore = "needs root"]
fn only_listed_networks_and_ports_are_captured() {
    let only = ["-b", "*", "-i", "10.9.0.0/16,fd09::/16", "-q", "443"];
    everywhere(&only, |world| {
        world.check(
            User::APPLICATION,
            world.addresses.excluded,
            80,
            &world.outbound,
        );
        world.check(
            User::APPLICATION,
            world.addresses.peer,
            443,
            &world.outbound,
        );
        let server = world.server(world.addresses.peer, 80);
        world.check(User::APPLICATION, world.addresses.peer, 80, &server);
    });
}

#[test]
#[ignore = "needs root"]
fn the_application_reaches_itself_directly() {
    everywhere(&ALL, |world| {
        for address in [world.addresses.pod, world.addresses.localhost] {
            world.check(
                User::APPLICATION,
                address,
                APPLICATION_PORT,
                &world.application,
            );
        }
    });
}

#[test]
#[ignore = "needs root"]
fn the_proxy_enters_its_own_pod_as_any_peer_would() {
    everywhere(&ALL, |world| {
        world.check(
            User::PROXY,
            world.addresses.pod,
            APPLICATION_PORT,
            &world.inbound,
        );
        world.check(
            User::PROXY,
            world.addresses.localhost,
            APPLICATION_PORT,
            &world.application,
        );
    });
}

#[test]
#[ignore = "needs root"]
fn the_proxys_source_address_marks_what_is_not_captured_again() {
    everywhere(&ALL, |world| {
        let source = Some(world.addresses.passthrough);
        let (pod, port) = (world.addresses.pod, APPLICATION_PORT);
        let arrival = world.check_from(User::PROXY, source, pod, port, &world.application);
        assert_eq!(
            arrival.peer.ip(),
            socket(world.addresses.passthrough, 0).ip()
        );
    });
}
