//! The proxy's start, drain and sudden end, under applications that go on.

use std::io::Read;

use fairlead_tests::{
    netns::{Arrivals, Namespace, User},
    wait,
};
use rustix::process::Signal;

use crate::pod::{PORT, Pod, bounded, called, rest, says, sidecar, socket_address, two_pods};

#[test]
#[ignore = "needs root"]
fn a_killed_proxy_is_replaced_and_traffic_resumes() {
    let (mut caller, called_pod) = two_pods();
    let server = Arrivals::listen_as(User::APPLICATION, &called_pod.namespace, "[::]:8080");
    for address in called(PORT) {
        let mut client = caller.connect(address);
        let mut stream = bounded(server.next().stream);
        says(&mut client, &mut stream, "before");
        caller.proxy().signal(Signal::KILL);
        caller.proxy().exit();
        // The kernel closes what the proxy held: both ends hear of it.
        for end in [&mut client, &mut stream] {
            let mut more = Vec::new();
            // An end or a reset, but no more bytes.
            drop(end.read_to_end(&mut more));
            assert!(more.is_empty(), "{more:?}");
        }
        caller.start_proxy(sidecar());
        let mut client = caller.connect(address);
        let mut stream = bounded(server.next().stream);
        says(&mut client, &mut stream, "after");
    }
}

#[test]
#[ignore = "needs root"]
fn a_termination_signal_drains() {
    let (mut caller, called_pod) = two_pods();
    let server = Arrivals::listen_as(User::APPLICATION, &called_pod.namespace, "[::]:8080");
    let [address, _] = called(PORT);
    let mut client = caller.connect(address);
    let mut stream = bounded(server.next().stream);
    says(&mut client, &mut stream, "before");
    caller.proxy().signal(Signal::TERM);
    wait::until("the drain", || {
        (caller.statistic("server.state") == 1).then_some(())
    });
    says(&mut stream, &mut client, "during");
    // The application may still need others while it ends.
    let mut second = caller.connect(address);
    says(&mut second, &mut bounded(server.next().stream), "new");
    drop(second);
    drop(client);
    assert_eq!(rest(&mut stream), "");
    drop(stream);
    assert_eq!(caller.proxy().exit().code(), Some(0));
    let log = wait::until("both lines", || {
        Some(caller.log()).filter(|log| log.len() == 2)
    });
    assert!(!log.iter().any(|line| line.contains(" LR ")), "{log:?}");
}

#[test]
#[ignore = "needs root"]
fn a_second_signal_ends_the_drain_and_resets_what_is_open() {
    let (mut caller, called_pod) = two_pods();
    let server = Arrivals::listen_as(User::APPLICATION, &called_pod.namespace, "[::]:8080");
    let [address, _] = called(PORT);
    let mut client = caller.connect(address);
    let mut stream = bounded(server.next().stream);
    says(&mut client, &mut stream, "before");
    caller.proxy().signal(Signal::TERM);
    wait::until("the drain", || {
        (caller.statistic("server.state") == 1).then_some(())
    });
    caller.proxy().signal(Signal::TERM);
    assert_eq!(caller.proxy().exit().code(), Some(0));
    for end in [&mut client, &mut stream] {
        let heard = end.read_to_end(&mut Vec::new());
        let kind = heard.map_err(|error| error.kind());
        assert_eq!(kind, Err(std::io::ErrorKind::ConnectionReset));
    }
    caller.logged(&[" LR proxy_ended - "]);
}

#[test]
#[ignore = "needs root"]
fn a_pod_without_ipv6_is_served() {
    let pod = Namespace::new();
    pod.feed("tee", &["/proc/sys/net/ipv6/conf/all/disable_ipv6"], "1\n");
    let pod = Pod::start(pod);
    pod.connect_in_vain(socket_address("127.0.0.1", 15001));
    pod.logged(&[" UH destination_is_the_proxy - "]);
}
