//! Where the connections of an application, the proxy and a peer arrive once the rules stand.

mod alike;
mod dns;
mod inbound;
mod interfaces;
mod invalid;
mod outbound;
mod owners;
mod tproxy;

use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use fairlead_tests::netns::{Arrival, Arrivals, Namespace, User};
use socket2::{Domain, Socket, Type};

use crate::pod::apply;

const TIME_OUT: Duration = Duration::from_secs(5);
const APPLICATION_PORT: u16 = 8080;

/// All captured, with an exception.
const ALL: [&str; 6] = ["-b", "*", "-d", "15021", "-i", "*"];

/// Whose rules they are; all mean the same.
const BY: [&[&str]; 3] = [
    &["--force-iptables-binary", "nft"],
    &["--force-iptables-binary", "legacy"],
    &["--native-nftables"],
];

/// The proxy by its group alone.
const BY_GROUP: User = User {
    uid: 1000,
    gid: 1337,
};

/// The addresses of one family.
struct Addresses {
    any: &'static str,
    localhost: &'static str,
    passthrough: &'static str,
    pod: &'static str,
    peer: &'static str,
    /// Of the peer, too.
    excluded: &'static str,
    /// Nobody's, and by way of the pod for the peer.
    elsewhere: &'static str,
}

const FAMILIES: [Addresses; 2] = [
    Addresses {
        any: "0.0.0.0",
        localhost: "127.0.0.1",
        passthrough: "127.0.0.6",
        pod: "10.0.0.1",
        peer: "10.0.0.2",
        excluded: "10.9.0.1",
        elsewhere: "10.77.0.1",
    },
    Addresses {
        any: "::",
        localhost: "::1",
        passthrough: "::6",
        pod: "fd00::1",
        peer: "fd00::2",
        excluded: "fd09::1",
        elsewhere: "fd77::1",
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
    for backend in BY {
        for addresses in &FAMILIES {
            // Is shown if the scenario fails.
            println!("{backend:?}, {}", addresses.pod);
            scenario(&World::new(addresses, &[arguments, backend].concat()));
        }
    }
}

impl World {
    #[track_caller]
    fn new(addresses: &'static Addresses, arguments: &[&str]) -> Self {
        let (pod, peer) = (Namespace::new(), Namespace::new());
        pod.connect(
            &["10.0.0.1/24", "fd00::1/64"],
            &peer,
            &["10.0.0.2/24", "fd00::2/64", "10.9.0.1/32", "fd09::1/128"],
        );
        apply(&pod, arguments);
        let listen = |user, port| {
            let address = socket(addresses.any, port).to_string();
            Arrivals::listen_as(user, &pod, &address)
        };
        let inbound = if arguments.contains(&"TPROXY") {
            let address = socket(addresses.any, 15006);
            Arrivals::listen_transparently_as(User::PROXY, &pod, address)
        } else {
            listen(User::PROXY, 15006)
        };
        Self {
            addresses,
            outbound: listen(User::PROXY, 15001),
            inbound,
            application: listen(User::APPLICATION, APPLICATION_PORT),
            pod,
            peer,
        }
    }

    fn is_ipv4(&self) -> bool {
        socket(self.addresses.any, 0).is_ipv4()
    }

    /// A server in the peer.
    #[track_caller]
    fn server(&self, address: &str, port: u16) -> Arrivals {
        Arrivals::listen(&self.peer, &socket(address, port).to_string())
    }

    /// A further server in the pod, of the application's user.
    #[track_caller]
    fn served(&self, port: u16) -> Arrivals {
        let address = socket(self.addresses.any, port).to_string();
        Arrivals::listen_as(User::APPLICATION, &self.pod, &address)
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

    /// As [`check`](Self::check), from the peer to the pod.
    #[track_caller]
    fn check_inbound(&self, port: u16, expected: &Arrivals) -> Arrival {
        self.check_of(&self.peer, self.addresses.pod, port, expected)
    }

    /// As [`check`](Self::check), from anybody.
    #[track_caller]
    fn check_of(
        &self,
        client: &Namespace,
        address: &str,
        port: u16,
        expected: &Arrivals,
    ) -> Arrival {
        let destination = socket(address, port);
        let _connection = client
            .run(|| connect(None, destination))
            .unwrap_or_else(|error| panic!("{} to {destination}: {error}", client.name()));
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
