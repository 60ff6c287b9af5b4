//! Traffic by interfaces that are excluded, or that are a virtual machine's.

use fairlead_tests::netns::{Arrivals, Namespace, User};

use super::{APPLICATION_PORT, World, everywhere, socket};

const ALL: [&str; 4] = ["-b", "*", "-i", "*"];

/// Another one than the peer, at the pod's `eth1`.
struct Neighbour {
    namespace: Namespace,
    /// Its address, and the pod's on that cable.
    own: &'static str,
    pod: &'static str,
}

impl Neighbour {
    #[track_caller]
    fn new(world: &World) -> Self {
        let namespace = Namespace::new();
        let (own, pod, length) = if world.is_ipv4() {
            ("10.1.0.2", "10.1.0.1", 24)
        } else {
            ("fd01::2", "fd01::1", 64)
        };
        world.pod.ip(&[
            "link",
            "add",
            "eth1",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            namespace.name(),
        ]);
        let flags: &[&str] = if world.is_ipv4() { &[] } else { &["nodad"] };
        for (side, interface, address) in [(&world.pod, "eth1", pod), (&namespace, "eth0", own)] {
            let address = format!("{address}/{length}");
            side.ip(&["link", "set", interface, "up"]);
            side.ip(&[&["address", "add", &address, "dev", interface], flags].concat());
        }
        namespace.ip(&["route", "add", "default", "via", pod]);
        Self {
            namespace,
            own,
            pod,
        }
    }

    #[track_caller]
    fn server(&self, port: u16) -> Arrivals {
        Arrivals::listen(&self.namespace, &socket(self.own, port).to_string())
    }
}

#[test]
#[ignore = "needs root"]
fn nothing_is_captured_by_an_excluded_interface() {
    for mode in ["REDIRECT", "TPROXY"] {
        let arguments = [&ALL[..], &["-c", "eth2,eth1", "-m", mode]].concat();
        everywhere(&arguments, |world| {
            let neighbour = Neighbour::new(world);
            let server = neighbour.server(80);
            world.check(User::APPLICATION, neighbour.own, 80, &server);
            let (client, pod) = (&neighbour.namespace, neighbour.pod);
            world.check_of(client, pod, APPLICATION_PORT, &world.application);
            // By the other interface all is as ever.
            world.check(User::APPLICATION, world.addresses.peer, 80, &world.outbound);
            world.check_inbound(APPLICATION_PORT, &world.inbound);
        });
    }
}

#[test]
#[ignore = "needs root"]
fn what_a_virtual_machine_sends_is_captured_as_outbound() {
    for mode in ["REDIRECT", "TPROXY"] {
        let arguments = [&ALL[..], &["-k", "eth2,eth1", "-m", mode]].concat();
        everywhere(&arguments, |world| {
            let neighbour = Neighbour::new(world);
            for (address, port) in [
                (world.addresses.peer, 80),
                (world.addresses.elsewhere, 443),
                (neighbour.pod, APPLICATION_PORT),
            ] {
                world.check_of(&neighbour.namespace, address, port, &world.outbound);
            }
            world.check_inbound(APPLICATION_PORT, &world.inbound);
        });
    }
}

#[test]
#[ignore = "needs root"]
fn of_a_virtual_machine_only_listed_networks_are_captured() {
    let arguments = ["-b", "*", "-i", "10.9.0.0/16,fd09::/16", "-k", "eth1"];
    everywhere(&arguments, |world| {
        let neighbour = Neighbour::new(world);
        let client = &neighbour.namespace;
        world.check_of(client, world.addresses.excluded, 80, &world.outbound);
        world.check_of(client, neighbour.pod, APPLICATION_PORT, &world.application);
        world.check_inbound(APPLICATION_PORT, &world.inbound);
    });
}
