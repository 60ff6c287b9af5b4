//! Arriving connections that keep their addresses on the way to the proxy.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

use fairlead_tests::netns::User;
use socket2::{Domain, Socket, Type};

use super::{APPLICATION_PORT, BY_GROUP, TIME_OUT, World, connect, everywhere, socket};

const TPROXY: [&str; 8] = ["-m", "TPROXY", "-b", "*", "-d", "15021", "-i", "*"];

/// A connection from the peer to the proxy, over which both say more than one packet.
#[track_caller]
fn check_conversation(world: &World, address: &str, port: u16) {
    let destination = socket(address, port);
    let client = world
        .peer
        .run(|| connect(None, destination))
        .unwrap_or_else(|error| panic!("peer to {destination}: {error}"));
    let mut arrival = world.arrived(destination, &world.inbound);
    let client = TcpStream::from(client);
    assert_eq!(arrival.peer, client.local_addr().expect("address"));
    assert_eq!(arrival.stream.local_addr().expect("address"), destination);
    converse(client, &mut arrival.stream);
}

/// More than one packet each way.
#[track_caller]
fn converse(mut client: TcpStream, server: &mut TcpStream) {
    for round in 0..3 {
        let mut received = [0];
        client.write_all(&[round]).expect("send");
        server.read_exact(&mut received).expect("receive");
        server.write_all(&received).expect("answer");
        client.read_exact(&mut received).expect("the answer");
        assert_eq!(received, [round]);
    }
}

#[test]
#[ignore = "needs root"]
fn arriving_connections_keep_their_addresses() {
    everywhere(&TPROXY, |world| {
        check_conversation(world, world.addresses.pod, APPLICATION_PORT);
        check_conversation(world, world.addresses.pod, 15008);
    });
}

/// By the policy route: without it such packets would leave again.
#[test]
#[ignore = "needs root"]
fn connections_to_addresses_beyond_the_pod_arrive_too() {
    everywhere(&TPROXY, |world| {
        // Else the pod could not yet tell who asks for its neighbour: its link-local address is new.
        check_conversation(world, world.addresses.pod, 80);
        check_conversation(world, world.addresses.elsewhere, 80);
    });
}

#[test]
#[ignore = "needs root"]
fn the_mark_and_the_routing_table_may_be_others() {
    for others in [&["-t", "7"][..], &["-r", "77"], &["-t", "7", "-r", "77"]] {
        everywhere(&[&TPROXY[..], others].concat(), |world| {
            check_conversation(world, world.addresses.pod, APPLICATION_PORT);
            check_conversation(world, world.addresses.elsewhere, 80);
        });
    }
}

#[test]
#[ignore = "needs root"]
fn excluded_ports_are_reached_directly() {
    everywhere(&TPROXY, |world| {
        let health = world.served(15021);
        world.check_inbound(15021, &health);
    });
}

#[test]
#[ignore = "needs root"]
fn only_listed_ports_keep_their_addresses_on_the_way_to_the_proxy() {
    everywhere(&["-m", "TPROXY", "-b", "9090,9100-9102"], |world| {
        for port in [9090, 9100, 9102] {
            check_conversation(world, world.addresses.pod, port);
        }
        world.check_inbound(APPLICATION_PORT, &world.application);
    });
}

#[test]
#[ignore = "needs root"]
fn without_ports_nothing_arriving_is_captured() {
    everywhere(&["-m", "TPROXY", "-i", "*"], |world| {
        world.check_inbound(APPLICATION_PORT, &world.application);
        world.check(User::APPLICATION, world.addresses.peer, 80, &world.outbound);
    });
}

#[test]
#[ignore = "needs root"]
fn what_leaves_is_captured_as_ever() {
    everywhere(&TPROXY, |world| {
        world.check(User::APPLICATION, world.addresses.peer, 80, &world.outbound);
        let server = world.server(world.addresses.peer, 80);
        world.check(User::PROXY, world.addresses.peer, 80, &server);
    });
}

#[test]
#[ignore = "needs root"]
fn the_proxy_enters_its_own_pod_and_the_application_does_not() {
    everywhere(&TPROXY, |world| {
        let (pod, localhost) = (world.addresses.pod, world.addresses.localhost);
        world.check(User::PROXY, pod, APPLICATION_PORT, &world.inbound);
        world.check(BY_GROUP, pod, APPLICATION_PORT, &world.inbound);
        world.check(User::APPLICATION, pod, APPLICATION_PORT, &world.application);
        for user in [User::APPLICATION, User::PROXY] {
            world.check(user, localhost, APPLICATION_PORT, &world.application);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn the_proxys_source_address_is_not_captured_again() {
    everywhere(&TPROXY, |world| {
        let source = Some(world.addresses.passthrough);
        let (pod, port) = (world.addresses.pod, APPLICATION_PORT);
        world.check_from(User::PROXY, source, pod, port, &world.application);
    });
}

/// As Istio's proxy does, which is root of the proxy's group. The answers go to an address that is
/// elsewhere: by the mark of the connection they stay.
#[test]
#[ignore = "needs root"]
fn the_proxy_may_speak_to_the_application_as_the_client() {
    everywhere(&TPROXY, |world| {
        let client = socket(world.addresses.peer, 40000);
        let application = socket(world.addresses.pod, APPLICATION_PORT);
        let connect = || -> io::Result<Socket> {
            let domain = Domain::for_address(client);
            // Who makes a socket is its owner for good; the rest is for the privileged.
            let proxy = world
                .pod
                .run_as(BY_GROUP, || Socket::new(domain, Type::STREAM, None))?;
            if world.is_ipv4() {
                proxy.set_ip_transparent_v4(true)?;
            } else {
                proxy.set_ip_transparent_v6(true)?;
            }
            proxy.set_mark(1337)?;
            proxy.bind(&client.into())?;
            proxy.connect_timeout(&application.into(), TIME_OUT)?;
            Ok(proxy)
        };
        let proxy = connect().expect("a connection of the proxy");
        let mut arrival = world.arrived(application, &world.application);
        assert_eq!(arrival.peer, client);
        converse(proxy.into(), &mut arrival.stream);
    });
}

/// A client may take the port of a connection that it has given up for the next one. Where that was
/// not seen, the pod's connection tracker takes the new one for a part of the old.
#[test]
#[ignore = "needs root"]
fn a_connection_from_a_port_that_seems_in_use_is_captured() {
    const PORT: u16 = 40000;
    // Ahead of the connection tracker.
    const LOST: &str = "table inet lost { chain output {
        type filter hook output priority -400; tcp flags & rst == rst drop;
    }; }";
    everywhere(&TPROXY, |world| {
        let source = Some(socket(world.addresses.peer, PORT));
        let destination = socket(world.addresses.pod, APPLICATION_PORT);
        let ask = || world.peer.run(|| connect(source, destination));
        let client = ask().expect("a connection");
        let arrival = world.arrived(destination, &world.inbound);
        for side in [&world.peer, &world.pod] {
            side.feed("nft", &["-f", "-"], LOST);
        }
        for end in [client, Socket::from(arrival.stream)] {
            end.set_linger(Some(Duration::ZERO)).expect("an option");
        }
        for side in [&world.peer, &world.pod] {
            side.feed("nft", &["-f", "-"], "delete table inet lost");
        }

        let _client = ask().expect("a connection from the same port");
        world.arrived(destination, &world.inbound);
    });
}
