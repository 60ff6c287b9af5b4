//! Questions to name servers, by UDP and by TCP, and the way of their answers.

use std::{io::ErrorKind, net::SocketAddr};

use fairlead_tests::{
    netns::{Arrivals, Datagram, Datagrams, Namespace, User, ask},
    wait,
};

use super::{ALL, BY_GROUP, TIME_OUT, World, everywhere, socket};

const PROXYS_PORT: u16 = 15053;
const SERVERS: [&str; 5] = [
    "--redirect-dns",
    "--dns-server",
    "10.0.0.2",
    "--dns-server",
    "fd00::2",
];

/// A name server that tells by its answers who it is.
struct NameServer {
    address: SocketAddr,
    by_udp: Datagrams,
    by_tcp: Arrivals,
}

impl NameServer {
    #[track_caller]
    fn new(namespace: &Namespace, address: &str, answer: &'static [u8]) -> Self {
        let address = socket(address, 53);
        Self {
            address,
            by_udp: Datagrams::answer(namespace, &address.to_string(), answer),
            by_tcp: Arrivals::listen(namespace, &address.to_string()),
        }
    }
}

/// What the proxy has for questions: by UDP it asks the one whom the application meant, as if that
/// were its configuration, and passes the answer on.
struct Proxy {
    by_udp: Datagrams,
    by_tcp: Arrivals,
}

impl Proxy {
    #[track_caller]
    fn new(world: &World, upstream: SocketAddr) -> Self {
        // An answer must come from the address that the question was sent on to.
        let address = socket(world.addresses.localhost, PROXYS_PORT).to_string();
        let relay = move |question: &Datagram| {
            let answer = ask(None, upstream, &question.payload, TIME_OUT).ok()?;
            Some([b"relayed ", &answer[..]].concat())
        };
        Self {
            by_udp: Datagrams::answer_as(User::PROXY, &world.pod, &address, relay),
            by_tcp: Arrivals::listen_as(User::PROXY, &world.pod, &address),
        }
    }
}

#[track_caller]
fn answer(world: &World, user: User, server: SocketAddr) -> Vec<u8> {
    let answer = world
        .pod
        .run_as(user, || ask(None, server, b"who", TIME_OUT));
    answer.unwrap_or_else(|error| panic!("{user:?} asks {server}: {error}"))
}

/// A question goes to the proxy, which has it answered by the server.
#[track_caller]
fn check_captured(world: &World, user: User, server: &NameServer, proxy: &Proxy) {
    assert_eq!(answer(world, user, server.address), b"relayed server");
    proxy.by_udp.next();
    server.by_udp.next();
    let address = server.address.ip().to_string();
    world.check(user, &address, 53, &proxy.by_tcp);
}

/// A question goes to the server itself, by UDP at least.
#[track_caller]
fn check_direct(world: &World, user: User, server: &NameServer, proxy: &Proxy) {
    assert_eq!(answer(world, user, server.address), b"server");
    server.by_udp.next();
    assert!(proxy.by_udp.is_empty());
}

#[test]
#[ignore = "needs root"]
fn the_applications_questions_go_to_the_proxy_and_its_own_leave() {
    everywhere(&[&ALL[..], &SERVERS].concat(), |world| {
        let server = NameServer::new(&world.peer, world.addresses.peer, b"server");
        let proxy = Proxy::new(world, server.address);
        check_captured(world, User::APPLICATION, &server, &proxy);
        check_captured(world, User::ROOT, &server, &proxy);
        for user in [User::PROXY, BY_GROUP] {
            check_direct(world, user, &server, &proxy);
            world.check(user, world.addresses.peer, 53, &server.by_tcp);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn questions_to_other_servers_are_no_questions() {
    everywhere(&[&ALL[..], &SERVERS].concat(), |world| {
        let other = NameServer::new(&world.peer, world.addresses.excluded, b"server");
        let proxy = Proxy::new(world, other.address);
        check_direct(world, User::APPLICATION, &other, &proxy);
        world.check(
            User::APPLICATION,
            world.addresses.excluded,
            53,
            &world.outbound,
        );
    });
}

#[test]
#[ignore = "needs root"]
fn questions_to_all_servers_may_be_meant() {
    let all = ["--redirect-dns", "--capture-all-dns"];
    everywhere(&[&ALL[..], &all].concat(), |world| {
        let server = NameServer::new(&world.peer, world.addresses.excluded, b"server");
        let proxy = Proxy::new(world, server.address);
        check_captured(world, User::APPLICATION, &server, &proxy);
        check_direct(world, User::PROXY, &server, &proxy);
    });
}

#[test]
#[ignore = "needs root"]
fn questions_of_a_family_without_servers_leave() {
    let arguments = ["--redirect-dns", "--dns-server", "10.0.0.2"];
    everywhere(&arguments, |world| {
        let server = NameServer::new(&world.peer, world.addresses.peer, b"server");
        let proxy = Proxy::new(world, server.address);
        if world.is_ipv4() {
            check_captured(world, User::APPLICATION, &server, &proxy);
        } else {
            check_direct(world, User::APPLICATION, &server, &proxy);
            world.check(User::APPLICATION, world.addresses.peer, 53, &server.by_tcp);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn an_excluded_port_excludes_questions() {
    everywhere(&[&ALL[..], &SERVERS, &["-o", "53"]].concat(), |world| {
        let server = NameServer::new(&world.peer, world.addresses.peer, b"server");
        let proxy = Proxy::new(world, server.address);
        check_direct(world, User::APPLICATION, &server, &proxy);
        world.check(User::APPLICATION, world.addresses.peer, 53, &server.by_tcp);
    });
}

#[test]
#[ignore = "needs root"]
fn questions_of_groups_that_are_not_captured_leave() {
    let excluded = ["--istio-outbound-owner-groups-exclude", "3000"];
    everywhere(&[&ALL[..], &SERVERS, &excluded].concat(), |world| {
        let server = NameServer::new(&world.peer, world.addresses.peer, b"server");
        let proxy = Proxy::new(world, server.address);
        let member = User {
            uid: 1000,
            gid: 3000,
        };
        check_direct(world, member, &server, &proxy);
        check_captured(world, User::APPLICATION, &server, &proxy);
    });
}

#[test]
#[ignore = "needs root"]
fn a_name_server_in_the_pod_is_asked_through_the_proxy() {
    let local = [
        "--redirect-dns",
        "--dns-server",
        "127.0.0.53",
        "--dns-server",
        "::1",
    ];
    everywhere(&[&ALL[..], &local].concat(), |world| {
        let address = if world.is_ipv4() { "127.0.0.53" } else { "::1" };
        let server = NameServer::new(&world.pod, address, b"server");
        let proxy = Proxy::new(world, server.address);
        check_captured(world, User::APPLICATION, &server, &proxy);
        check_direct(world, User::PROXY, &server, &proxy);
        world.check(User::PROXY, address, 53, &server.by_tcp);
    });
}

#[test]
#[ignore = "needs root"]
fn the_proxy_asks_a_name_server_at_the_pods_address_directly() {
    let local = [
        "--redirect-dns",
        "--dns-server",
        "10.0.0.1",
        "--dns-server",
        "fd00::1",
    ];
    everywhere(&[&ALL[..], &local].concat(), |world| {
        let server = NameServer::new(&world.pod, world.addresses.pod, b"server");
        let proxy = Proxy::new(world, server.address);
        check_captured(world, User::APPLICATION, &server, &proxy);
        world.check(User::PROXY, world.addresses.pod, 53, &server.by_tcp);
    });
}

/// The application and the proxy in turn use the same addresses and ports: without a zone for each
/// the kernel would take the second's question for one more of the first.
#[test]
#[ignore = "needs root"]
fn questions_of_the_same_port_are_kept_apart() {
    everywhere(&[&ALL[..], &SERVERS].concat(), |world| {
        let server = NameServer::new(&world.peer, world.addresses.peer, b"server");
        let _proxy = Proxy::new(world, server.address);
        let source = Some(socket(world.addresses.pod, 40000));
        for round in 0..2 {
            for (user, expected) in [
                (User::APPLICATION, &b"relayed server"[..]),
                (User::PROXY, b"server"),
            ] {
                let answer = wait::until("the port to be free", || {
                    let question = || ask(source, server.address, b"who", TIME_OUT);
                    match world.pod.run_as(user, question) {
                        Err(error) if error.kind() == ErrorKind::AddrInUse => None,
                        outcome => Some(outcome),
                    }
                });
                let answer = answer.unwrap_or_else(|error| panic!("{round}, {user:?}: {error}"));
                assert_eq!(answer, expected, "{round}, {user:?}");
            }
        }
    });
}
