//! What applications see of the sidecars: nothing but the peer's address.

use std::{
    io::{Read, Write},
    net::{IpAddr, Shutdown},
    thread,
};

use fairlead_tests::netns::{Arrivals, User};

use crate::pod::{CALLER, EXCLUDED, PORT, bounded, called, rest, says, socket_address, two_pods};

/// The source addresses of connections that a proxy makes to its application.
pub(crate) const PROXY_SOURCES: [&str; 2] = ["127.0.0.6", "::6"];

#[test]
#[ignore = "needs root"]
fn a_call_goes_through_both_sidecars() {
    let (caller, called_pod) = two_pods();
    let server = Arrivals::listen_as(User::APPLICATION, &called_pod.namespace, "[::]:8080");
    for ((address, source), caller_ip) in called(PORT).into_iter().zip(PROXY_SOURCES).zip(CALLER) {
        let mut client = caller.connect(address);
        let arrival = server.next();
        let peer = arrival.peer.ip().to_canonical();
        assert_eq!(Ok(peer), source.parse::<IpAddr>());
        let mut stream = bounded(arrival.stream);
        says(&mut client, &mut stream, "question");
        says(&mut stream, &mut client, "an answer");
        drop(client);
        assert_eq!(rest(&mut stream), "");
        drop(stream);
        let host = format!("\"{address}\"");
        let line = caller.logged(&[" 0 - - - \"-\" 8 9 ", &host, " PassthroughCluster "]);
        // Where the application meant to go, and that it came from this pod.
        let ends = format!(" {address} {}", with_any_port(caller_ip));
        assert!(line.contains(&ends), "{line}");
        let line =
            called_pod.logged(&[" 0 - - - \"-\" 8 9 ", &host, " InboundPassthroughCluster "]);
        assert!(line.contains(&ends), "{line}");
        let own = format!(" InboundPassthroughCluster {}", with_any_port(source));
        assert!(line.contains(&own), "{line}");
    }
    for (pod, cluster) in [
        (&caller, "PassthroughCluster"),
        (&called_pod, "InboundPassthroughCluster"),
    ] {
        let statistic = |name: &str| pod.statistic(&format!("cluster.{cluster}.{name}"));
        assert_eq!(statistic("upstream_cx_total"), 2);
        assert_eq!(statistic("upstream_cx_active"), 0);
        assert_eq!(statistic("upstream_cx_tx_bytes_total"), 16);
        assert_eq!(statistic("upstream_cx_rx_bytes_total"), 18);
    }
    // Nothing was captured twice.
    assert_eq!(caller.log().len(), 2);
    assert_eq!(called_pod.log().len(), 2);
}

/// The beginning of an address in a log line.
pub(crate) fn with_any_port(ip: &str) -> String {
    if ip.contains(':') {
        format!("[{ip}]:")
    } else {
        format!("{ip}:")
    }
}

#[test]
#[ignore = "needs root"]
fn a_server_may_speak_first_and_either_side_may_end_first() {
    let (caller, called_pod) = two_pods();
    let server = Arrivals::listen_as(User::APPLICATION, &called_pod.namespace, "[::]:8080");
    for address in called(PORT) {
        let mut client = caller.connect(address);
        let mut stream = bounded(server.next().stream);
        says(&mut stream, &mut client, "220 ready\r\n");
        assert!(client.write_all(b"all I have").is_ok());
        assert!(client.shutdown(Shutdown::Write).is_ok());
        assert_eq!(rest(&mut stream), "all I have");
        // The client has ended; the server has not.
        says(&mut stream, &mut client, "received");
        drop(stream);
        assert_eq!(rest(&mut client), "");
    }
}

#[test]
#[ignore = "needs root"]
fn a_large_stream_is_identical_after_two_sidecars() {
    const BYTES: usize = 100 * 1024 * 1024;
    let (caller, called_pod) = two_pods();
    let server = Arrivals::listen_as(User::APPLICATION, &called_pod.namespace, "[::]:8080");
    // Whatever is lost, doubled or swapped shows in the remainder of a prime.
    let byte = |index: usize| (index % 251) as u8;
    for address in called(PORT) {
        let mut client = caller.connect(address);
        let mut stream = bounded(server.next().stream);
        let sender = thread::spawn(move || {
            let data: Vec<u8> = (0..BYTES).map(byte).collect();
            client.write_all(&data).unwrap();
        });
        let mut buffer = vec![0; 1024 * 1024];
        for seen in (0..BYTES).step_by(buffer.len()) {
            stream.read_exact(&mut buffer).unwrap();
            let wrong = buffer
                .iter()
                .enumerate()
                .find(|(index, found)| **found != byte(seen + index));
            assert_eq!(wrong, None, "of the bytes from {seen}");
        }
        assert_eq!(rest(&mut stream), "");
        assert!(sender.join().is_ok());
        drop(stream);
        let bytes = format!(" 0 - - - \"-\" {BYTES} 0 ");
        let host = format!("\"{address}\"");
        caller.logged(&[&bytes, &host]);
        called_pod.logged(&[&bytes, &host]);
    }
}

#[test]
#[ignore = "needs root"]
fn excluded_ports_and_the_proxys_own_packets_pass_the_sidecars_by() {
    let (caller, called_pod) = two_pods();
    let excluded = Arrivals::listen_as(User::APPLICATION, &called_pod.namespace, "[::]:9090");
    let captured = Arrivals::listen_as(User::APPLICATION, &called_pod.namespace, "[::]:8080");
    for (index, address) in called(EXCLUDED).into_iter().enumerate() {
        let mut client = caller.connect(address);
        let arrival = excluded.next();
        assert_eq!(arrival.peer.ip().to_canonical().to_string(), CALLER[index]);
        says(&mut client, &mut bounded(arrival.stream), "direct");
    }
    for address in called(PORT) {
        // Not captured where it leaves, captured where it arrives.
        let mut client = caller.connect_as(User::PROXY, address);
        let arrival = captured.next();
        let peer = arrival.peer.ip().to_canonical().to_string();
        assert!(PROXY_SOURCES.contains(&peer.as_str()), "{peer}");
        says(
            &mut client,
            &mut bounded(arrival.stream),
            "from the proxy's user",
        );
    }
    for listener in ["0.0.0.0_15001", "0.0.0.0_15006"] {
        let name = format!("listener.{listener}.downstream_cx_total");
        assert_eq!(caller.statistic(&name), 0);
    }
    assert_eq!(
        called_pod.statistic("listener.0.0.0.0_15006.downstream_cx_total"),
        2
    );
}

#[test]
#[ignore = "needs root"]
fn an_application_reaches_itself_through_its_own_sidecar() {
    let (caller, _called) = two_pods();
    let server = Arrivals::listen_as(User::APPLICATION, &caller.namespace, "[::]:8080");
    for (ip, source) in CALLER.into_iter().zip(PROXY_SOURCES) {
        // By its own address over loopback, the redirect lets the application pass.
        let mut client = caller.connect(socket_address(ip, PORT));
        let arrival = server.next();
        assert_eq!(arrival.peer.ip().to_canonical().to_string(), ip);
        says(&mut client, &mut bounded(arrival.stream), "to myself");
        // As the proxy does it when a service's address leads back to this pod.
        let mut client = caller.connect_as(User::PROXY, socket_address(ip, PORT));
        let arrival = server.next();
        assert_eq!(arrival.peer.ip().to_canonical().to_string(), source);
        says(&mut client, &mut bounded(arrival.stream), "back to myself");
    }
    assert_eq!(
        caller.statistic("cluster.InboundPassthroughCluster.upstream_cx_total"),
        2
    );
}
