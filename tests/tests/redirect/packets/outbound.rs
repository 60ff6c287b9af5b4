//! Connections of the application and the proxy, to others and to the pod itself.

use fairlead_tests::netns::{Datagrams, User, ask};

use super::{ALL, APPLICATION_PORT, BY_GROUP, TIME_OUT, everywhere, socket};

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
        world.check(BY_GROUP, world.addresses.peer, 80, &server);
    });
}

#[test]
#[ignore = "needs root"]
fn nothing_leaving_is_captured_unless_asked_for() {
    everywhere(&["-b", "*"], |world| {
        let server = world.server(world.addresses.peer, 80);
        world.check(User::APPLICATION, world.addresses.peer, 80, &server);
    });
}

#[test]
#[ignore = "needs root"]
fn excluded_outbound_ports_and_networks_are_reached_directly() {
    let exclusions = ["-o", "3306,5000-5002", "-x", "10.9.0.0/16,fd09::/16"];
    everywhere(&[&ALL[..], &exclusions].concat(), |world| {
        for port in [3306, 5000, 5002] {
            let database = world.server(world.addresses.peer, port);
            world.check(User::APPLICATION, world.addresses.peer, port, &database);
        }
        let excluded = world.server(world.addresses.excluded, 80);
        world.check(User::APPLICATION, world.addresses.excluded, 80, &excluded);
        for port in [80, 4999, 5003] {
            world.check(
                User::APPLICATION,
                world.addresses.peer,
                port,
                &world.outbound,
            );
        }
    });
}

#[test]
#[ignore = "needs root"]
fn only_listed_networks_and_ports_are_captured() {
    let only = [
        "-b",
        "*",
        "-i",
        "10.9.0.0/16,fd09::/16",
        "-q",
        "443,8000-8002",
    ];
    everywhere(&only, |world| {
        let (excluded, peer) = (world.addresses.excluded, world.addresses.peer);
        world.check(User::APPLICATION, excluded, 80, &world.outbound);
        for port in [443, 8000, 8002] {
            world.check(User::APPLICATION, peer, port, &world.outbound);
        }
        for port in [80, 8003] {
            let server = world.server(peer, port);
            world.check(User::APPLICATION, peer, port, &server);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn an_exclusion_beats_a_listed_port() {
    let both = ["-q", "80,443", "-o", "443", "-x", "10.9.0.0/16,fd09::/16"];
    everywhere(&both, |world| {
        let (excluded, peer) = (world.addresses.excluded, world.addresses.peer);
        world.check(User::APPLICATION, peer, 80, &world.outbound);
        for (address, port) in [(peer, 443), (excluded, 80)] {
            let server = world.server(address, port);
            world.check(User::APPLICATION, address, port, &server);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn every_network_may_be_named() {
    let (included, excluded) = (["-i", "0.0.0.0/0,::/0"], ["-x", "0.0.0.0/0,::/0"]);
    everywhere(&included, |world| {
        world.check(User::APPLICATION, world.addresses.peer, 80, &world.outbound);
    });
    everywhere(&[included, excluded].concat(), |world| {
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
        let (pod, localhost) = (world.addresses.pod, world.addresses.localhost);
        world.check(User::PROXY, pod, APPLICATION_PORT, &world.inbound);
        world.check(User::PROXY, localhost, APPLICATION_PORT, &world.application);
        let tunnel = world.served(15008);
        world.check(User::PROXY, pod, 15008, &tunnel);
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

#[test]
#[ignore = "needs root"]
fn a_listed_loopback_network_captures_the_pods_calls_to_itself() {
    everywhere(&["-b", "*", "-i", "127.1.2.0/24,::/0"], |world| {
        let (pod, localhost) = (world.addresses.pod, world.addresses.localhost);
        // Localhost proper never is.
        world.check(
            User::APPLICATION,
            localhost,
            APPLICATION_PORT,
            &world.application,
        );
        if world.is_ipv4() {
            world.check(User::APPLICATION, "127.1.2.3", 80, &world.outbound);
            world.check(User::APPLICATION, pod, APPLICATION_PORT, &world.application);
        } else {
            world.check(User::APPLICATION, pod, APPLICATION_PORT, &world.outbound);
        }
        // The rule for the group is no longer hidden by the one for all but the user.
        world.check(BY_GROUP, pod, APPLICATION_PORT, &world.inbound);
    });
}

#[test]
#[ignore = "needs root"]
fn the_proxy_by_its_group_reaches_the_pod_directly() {
    // As in Istio: the rule for all but the proxy's user comes first.
    everywhere(&ALL, |world| {
        world.check(
            BY_GROUP,
            world.addresses.pod,
            APPLICATION_PORT,
            &world.application,
        );
    });
}

#[test]
#[ignore = "needs root"]
fn localhost_may_be_a_network() {
    let network = ["--istio-outbound-ipv4-loopback-cidr", "127.0.0.0/8"];
    for (arguments, captured) in [(ALL.to_vec(), true), ([&ALL[..], &network].concat(), false)] {
        everywhere(&arguments, |world| {
            if world.is_ipv4() {
                let expected = if captured {
                    &world.inbound
                } else {
                    &world.application
                };
                world.check(User::PROXY, "127.0.0.5", APPLICATION_PORT, expected);
            }
        });
    }
}

#[test]
#[ignore = "needs root"]
fn datagrams_are_not_captured() {
    everywhere(&ALL, |world| {
        let destination = socket(world.addresses.peer, 53);
        let server = Datagrams::answer(&world.peer, &destination.to_string(), b"server");
        for user in [User::APPLICATION, User::PROXY] {
            let answer = world
                .pod
                .run_as(user, || ask(None, destination, b"who", TIME_OUT));
            assert_eq!(answer.expect("answer"), b"server");
            assert_eq!(server.next().peer.ip(), socket(world.addresses.pod, 0).ip());
        }
    });
}
