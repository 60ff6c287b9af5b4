use std::{
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    path::Path,
    process::Command,
};

use super::{Arrivals, DIRECTORY, Datagrams, Namespace, User, ask, leftovers};
use crate::wait;

#[test]
#[ignore = "needs root"]
fn a_cable_carries_both_families() {
    let (left, right) = (Namespace::new(), Namespace::new());
    left.connect(
        &["10.0.0.1/24", "fd00::1/64"],
        &right,
        &["10.0.0.2/24", "fd00::2/64"],
    );
    for (server, client) in [("10.0.0.2:80", "10.0.0.1"), ("[fd00::2]:80", "fd00::1")] {
        let arrivals = Arrivals::listen(&right, server);
        let stream = left.run_as(User::APPLICATION, || TcpStream::connect(server));
        let mut stream = stream.expect("connect");
        let mut arrival = arrivals.next();
        assert_eq!(
            arrival.peer.ip(),
            client.parse::<std::net::IpAddr>().expect("address")
        );
        stream.write_all(b"ping").expect("send");
        let mut received = [0; 4];
        arrival.stream.read_exact(&mut received).expect("receive");
        assert_eq!(&received, b"ping");
    }
}

#[test]
#[ignore = "needs root"]
fn a_question_by_udp_is_answered_and_its_port_free_again() {
    let namespace = Namespace::new();
    for address in ["127.0.0.1:53", "[::1]:53"] {
        let server = Datagrams::answer(&namespace, address, b"me");
        let destination = address.parse().expect("address");
        let asked = namespace.run_as(User::APPLICATION, || {
            ask(None, destination, b"who", wait::DEADLINE)
        });
        assert_eq!(asked.expect("answer"), b"me");
        assert_eq!(server.next().payload, b"who");
        assert!(server.is_empty());

        drop(server);
        wait::until("the port to be free", || {
            let again = namespace.run(|| UdpSocket::bind(address));
            again.ok()
        });
    }
}

#[test]
#[ignore = "needs root"]
fn a_process_runs_as_the_user_it_is_given() {
    let namespace = Namespace::new();
    let mut command = Command::new("id");
    command.arg("-u");
    let output = namespace.output_as(User::PROXY, command);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1337\n");
}

#[test]
#[ignore = "needs root"]
fn a_dropped_namespace_is_gone() {
    let namespace = Namespace::new();
    let path = namespace.path();
    assert!(path.exists());
    drop(namespace);
    assert!(!path.exists());
}

#[test]
#[ignore = "needs root"]
fn what_a_killed_run_left_is_removed_with_its_processes() {
    let mut ended = Command::new("true").spawn().expect("true");
    ended.wait().expect("the end of true");
    let name = leftovers::name(ended.id(), 0);
    super::ip(&["netns", "add", &name]);
    let mut left = Command::new("ip")
        .args(["netns", "exec", &name, "sleep", "1000"])
        .spawn()
        .expect("a process in the namespace");
    wait::until("the process to be inside", || {
        leftovers::processes(&name)
            .contains(&left.id())
            .then_some(())
    });

    leftovers::sweep();
    assert!(!left.wait().expect("the end of sleep").success());
    assert!(!Path::new(DIRECTORY).join(&name).exists());
}
