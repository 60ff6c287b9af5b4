//! Connections that arrive from others.

use super::{ALL, APPLICATION_PORT, everywhere, socket};

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
            let health = world.served(port);
            world.check_inbound(port, &health);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn only_listed_inbound_ports_are_captured() {
    everywhere(&["-b", "9090,9100-9102", "-i", "*"], |world| {
        world.check_inbound(APPLICATION_PORT, &world.application);
        for port in [9090, 9100, 9102] {
            world.check_inbound(port, &world.inbound);
        }
        let beyond = world.served(9103);
        world.check_inbound(9103, &beyond);
    });
}

#[test]
#[ignore = "needs root"]
fn ranges_of_inbound_ports_are_excluded_to_both_ends() {
    everywhere(&["-b", "*", "-d", "8080-8082"], |world| {
        world.check_inbound(8080, &world.application);
        let last = world.served(8082);
        world.check_inbound(8082, &last);
        world.check_inbound(8079, &world.inbound);
        world.check_inbound(8083, &world.inbound);
    });
}

#[test]
#[ignore = "needs root"]
fn nothing_arriving_is_captured_unless_asked_for() {
    everywhere(&["-i", "*"], |world| {
        world.check_inbound(APPLICATION_PORT, &world.application);
    });
}

#[test]
#[ignore = "needs root"]
fn the_ports_of_the_proxy_may_move() {
    let moved = ["-p", "16001", "-z", "16006", "-e", "16008"];
    everywhere(&[&["-b", "*", "-i", "*"][..], &moved].concat(), |world| {
        let [outbound, inbound, tunnel] = [16001, 16006, 16008].map(|port| world.served(port));
        let user = fairlead_tests::netns::User::APPLICATION;
        world.check(user, world.addresses.peer, 80, &outbound);
        world.check_inbound(APPLICATION_PORT, &inbound);
        world.check_inbound(16008, &tunnel);
        world.check_inbound(15008, &inbound);
    });
}
