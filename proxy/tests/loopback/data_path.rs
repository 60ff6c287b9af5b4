//! Connections through real workers.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
};

use fairlead_api::proxy_config::AccessLog;
use socket2::{Domain, SockRef, Socket, Type};

use crate::rig::{
    Leads, Rig, accept, connect, expect, expect_refusal, expect_reset, rest, until, upstream,
};

#[test]
fn bytes_pass_both_ways_and_are_counted() {
    let (listener, address) = upstream();
    let rig = Rig::leading_to(address);
    let mut client = connect(rig.outbound);
    let (mut server, _) = accept(&listener);
    client.write_all(b"question").unwrap();
    expect(&mut server, "question");
    server.write_all(b"an answer").unwrap();
    expect(&mut client, "an answer");
    let cluster = "cluster.PassthroughCluster.upstream_cx";
    assert_eq!(rig.active(), 1);
    // Counted while the connection is open.
    until("the bytes to be counted", || {
        let counted = |way: &str| rig.statistic(&format!("{cluster}_{way}_bytes_total"));
        ((counted("tx"), counted("rx")) == (8, 9)).then_some(())
    });
    drop(client);
    assert_eq!(rest(&mut server), "");
    drop(server);
    rig.idle();
    for happened in ["opened", "closed"] {
        let counted = rig.exposed(&format!("istio_tcp_connections_{happened}_total"));
        let [counted] = &counted[..] else {
            panic!("{happened}: {counted:?}");
        };
        assert!(counted.contains(",response_flags=\"-\","), "{counted}");
        assert!(counted.ends_with("} 1"), "{counted}");
    }
    let log = rig.finish();
    assert!(log.contains("\" 0 - - - \"-\" 8 9 "), "{log}");
    assert!(
        log.contains(&format!("\"{address}\" PassthroughCluster 127.0.0.1:")),
        "{log}"
    );
}

#[test]
fn the_server_may_speak_first() {
    let (listener, address) = upstream();
    let rig = Rig::leading_to(address);
    let mut client = connect(rig.outbound);
    let (mut server, _) = accept(&listener);
    server.write_all(b"220 ready\r\n").unwrap();
    expect(&mut client, "220 ready\r\n");
    drop((client, server));
    rig.finish();
}

#[test]
fn inbound_connections_come_from_the_address_that_the_redirect_lets_pass() {
    let (listener, address) = upstream();
    let rig = Rig::leading_to(address);
    let client = connect(rig.inbound);
    let (server, peer) = accept(&listener);
    assert_eq!(peer.ip(), Ipv4Addr::new(127, 0, 0, 6));
    drop((client, server));
    let log = rig.finish();
    assert!(
        log.contains("InboundPassthroughCluster 127.0.0.6:"),
        "{log}"
    );
}

#[test]
fn an_end_of_one_side_leaves_the_other_open() {
    let (listener, address) = upstream();
    let rig = Rig::leading_to(address);
    // The client ends first, the server goes on; then the other way round.
    let mut client = connect(rig.outbound);
    let (mut server, _) = accept(&listener);
    client.write_all(b"all I have").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut server), "all I have");
    server.write_all(b"received").unwrap();
    drop(server);
    assert_eq!(rest(&mut client), "received");
    let mut client = connect(rig.outbound);
    let (mut server, _) = accept(&listener);
    server.write_all(b"all I have").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut client), "all I have");
    client.write_all(b"received").unwrap();
    drop(client);
    assert_eq!(rest(&mut server), "received");
    drop(server);
    let log = rig.finish();
    assert_eq!(log.matches("\" 0 - - - \"-\" ").count(), 2, "{log}");
}

#[test]
fn a_large_stream_is_identical_though_the_reader_is_slow() {
    const BYTES: usize = 32 * 1024 * 1024;
    let (listener, address) = upstream();
    let rig = Rig::leading_to(address);
    let mut client = connect(rig.outbound);
    let (mut server, _) = accept(&listener);
    // Whatever is lost, doubled or swapped shows in the remainder of a prime.
    let byte = |index: usize| (index % 251) as u8;
    let sender = thread::spawn(move || {
        let data: Vec<u8> = (0..BYTES).map(byte).collect();
        client.write_all(&data).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        rest(&mut client)
    });
    let mut seen = 0;
    // Odd sizes, small at first, so that the buffers between fill up.
    let mut buffer = vec![0; 77_777];
    loop {
        let size = if seen < BYTES / 8 { 999 } else { buffer.len() };
        let read = server.read(&mut buffer[..size]).unwrap();
        if read == 0 {
            break;
        }
        for (index, found) in buffer[..read].iter().enumerate() {
            assert_eq!(*found, byte(seen + index), "at {}", seen + index);
        }
        seen += read;
    }
    assert_eq!(seen, BYTES);
    server.write_all(b"thanks").unwrap();
    drop(server);
    assert_eq!(sender.join().unwrap(), "thanks");
    let log = rig.finish();
    assert!(log.contains(&format!(" \"-\" {BYTES} 6 ")), "{log}");
}

#[test]
fn many_connections_share_a_worker() {
    const EACH: usize = 3 * 1024 * 1024;
    let (listener, address) = upstream();
    let rig = Rig::leading_to(address);
    let streams: Vec<_> = (0..16)
        .map(|_| (connect(rig.outbound), accept(&listener).0))
        .collect();
    let transfers: Vec<_> = streams
        .into_iter()
        .flat_map(|(client, server)| {
            let mut ends = [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ];
            ends.each_mut().map(|(from, to)| {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                thread::spawn(move || {
                    let writer = thread::spawn(move || {
                        from.write_all(&vec![7; EACH]).unwrap();
                        from.shutdown(Shutdown::Write).unwrap();
                    });
                    let mut found = Vec::new();
                    to.read_to_end(&mut found).unwrap();
                    writer.join().unwrap();
                    found.len()
                })
            })
        })
        .collect();
    for transfer in transfers {
        assert_eq!(transfer.join().unwrap(), EACH);
    }
    let log = rig.finish();
    assert_eq!(
        log.matches(&format!(" {EACH} {EACH} ")).count(),
        16,
        "{log}"
    );
}

#[test]
fn a_reset_is_passed_on_as_a_reset() {
    let (listener, address) = upstream();
    let rig = Rig::leading_to(address);
    let (mut client, server) = open(&rig, &listener);
    reset(server);
    expect_reset(&mut client);
    let (client, mut server) = open(&rig, &listener);
    reset(client);
    expect_reset(&mut server);
    let log = rig.finish();
    assert!(
        log.contains(&format!(
            " UR upstream_reset - \"the upstream {address} broke the connection: Connection reset"
        )),
        "{log}"
    );
    assert!(log.contains(" - downstream_reset - \"-\""), "{log}");
}

#[test]
fn a_reset_after_an_answer_is_still_a_reset() {
    let (listener, address) = upstream();
    let rig = Rig::leading_to(address);
    let (mut client, mut server) = open(&rig, &listener);
    server.write_all(b"answer").unwrap();
    expect(&mut client, "answer");
    reset(server);
    expect_reset(&mut client);
    rig.finish();
}

#[test]
fn what_a_side_sent_before_it_broke_arrives() {
    const RUNS: usize = 20;
    let (listener, address) = upstream();
    // Little is copied, more is spliced.
    for answer in [200, 30_000] {
        let rig = Rig::leading_to(address);
        for _ in 0..RUNS {
            let client = connect(rig.outbound);
            let (server, _) = accept(&listener);
            check_early_end(server, client, answer);
        }
        for _ in 0..RUNS {
            let client = connect(rig.outbound);
            let (server, _) = accept(&listener);
            check_early_end(client, server, answer);
        }
        let log = rig.finish();
        let [upstream, downstream]: [Vec<_>; 2] =
            [" UR upstream_reset - ", " - downstream_reset - "]
                .map(|ending| log.lines().filter(|line| line.contains(ending)).collect());
        assert_eq!((upstream.len(), downstream.len()), (RUNS, RUNS), "{log}");
        for line in upstream {
            assert!(line.contains(&format!(" {answer} ")), "{line}");
        }
        for line in downstream {
            assert!(line.contains(&format!("\" {answer} ")), "{line}");
        }
    }
}

/// One side answers before it has read everything and closes, which resets; the other sends on
/// until it fails, and only then reads, as HTTP clients do.
#[track_caller]
fn check_early_end(mut early: TcpStream, mut sending: TcpStream, answer: usize) {
    let answering = thread::spawn(move || {
        early.read_exact(&mut [0; 1000]).unwrap();
        early.write_all(&vec![b'R'; answer]).unwrap();
    });
    let data = [b'x'; 20_000];
    for _ in 0..50 {
        if sending.write_all(&data).is_err() {
            break;
        }
    }
    answering.join().unwrap();
    let mut found = Vec::new();
    // By an end or by a reset, as without a proxy; but only after all that was sent.
    let _ = sending.read_to_end(&mut found);
    assert_eq!(found.len(), answer);
}

#[test]
fn a_reset_is_passed_on_though_the_other_side_takes_nothing() {
    let (listener, address) = upstream();
    let rig = Rig::leading_to(address);
    for chunk in [1000, 1024 * 1024] {
        let (mut client, mut server) = open(&rig, &listener);
        client.set_nonblocking(true).unwrap();
        // Until all buffers are full, and the proxy waits to write; then longer, to be sure.
        let data = vec![0; chunk];
        let mut refused = 0;
        until("full buffers", || {
            match client.write(&data) {
                Ok(_) => refused = 0,
                Err(_) => refused += 1,
            }
            (refused > 10_000).then_some(())
        });
        reset(client);
        rig.idle();
        expect_reset(&mut server);
    }
    let log = rig.finish();
    assert_eq!(log.matches(" - downstream_reset - ").count(), 2, "{log}");
}

#[test]
fn a_refused_connection_is_reset_and_explained() {
    let (listener, address) = upstream();
    drop(listener);
    let rig = Rig::leading_to(address);
    expect_refusal(rig.outbound);
    expect_refusal(rig.inbound);
    rig.idle();
    let cluster = "cluster.PassthroughCluster.upstream_cx_connect";
    assert_eq!(rig.statistic(&format!("{cluster}_fail")), 1);
    assert_eq!(rig.statistic(&format!("{cluster}_timeout")), 0);
    let log = rig.finish();
    let words = format!(
        " UF,URX upstream_connect_refused - \"delayed_connect_error:_Connection_refused: connect to {address}: refused: "
    );
    assert!(log.contains(&format!("{words}nothing listens")), "{log}");
    assert!(log.contains(&format!("{words}no application")), "{log}");
}

#[test]
fn an_upstream_that_does_not_answer_is_told_from_one_that_refuses() {
    let (full, _waiting) = full_listener();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let rig = Rig::leading_to(address);
    expect_refusal(rig.outbound);
    rig.idle();
    let cluster = "cluster.PassthroughCluster.upstream_cx_connect";
    assert_eq!(rig.statistic(&format!("{cluster}_fail")), 1);
    assert_eq!(rig.statistic(&format!("{cluster}_timeout")), 1);
    let log = rig.finish();
    assert!(
        log.contains(&format!(
            " UF,URX upstream_connect_timeout - \"connect to {address}: no answer within 200ms: "
        )),
        "{log}"
    );
}

#[test]
fn a_client_that_gives_up_ends_the_attempt() {
    let (full, _waiting) = full_listener();
    let rig = Rig::leading_to(full.local_addr().unwrap().as_socket().unwrap());
    let client = connect(rig.outbound);
    until("the attempt", || {
        let begun = rig.statistic("cluster.PassthroughCluster.upstream_cx_total");
        (begun == 1).then_some(())
    });
    reset(client);
    let log = rig.finish();
    assert!(
        log.contains(" DC downstream_reset_before_upstream_connected - "),
        "{log}"
    );
}

#[test]
fn a_connection_that_was_not_redirected_is_refused_and_explained() {
    let rig = Rig::start(Leads(None), AccessLog::Failures);
    let (outbound, inbound) = (rig.outbound, rig.inbound);
    expect_refusal(outbound);
    expect_refusal(inbound);
    rig.idle();
    let statistic = |name: &str| rig.statistic(&format!("cluster.{name}"));
    assert_eq!(statistic("BlackHoleCluster.upstream_cx_none_healthy"), 2);
    for cluster in ["PassthroughCluster", "InboundPassthroughCluster"] {
        assert_eq!(statistic(&format!("{cluster}.upstream_cx_total")), 0);
    }
    let log = rig.finish();
    for address in [outbound, inbound] {
        assert!(
            log.contains(&format!(
                " UH destination_is_the_proxy - \"the connection was not redirected: its \
                 destination {address} is the proxy's own port {}; ",
                address.port()
            )),
            "{log}"
        );
    }
    assert_eq!(log.matches("\"-\" BlackHoleCluster - ").count(), 2, "{log}");
}

#[test]
fn the_end_of_the_proxy_resets_and_tells_what_was_open() {
    let (listener, address) = upstream();
    let rig = Rig::leading_to(address);
    let mut client = connect(rig.outbound);
    let (mut server, _) = accept(&listener);
    client.write_all(b"begun").unwrap();
    expect(&mut server, "begun");
    let log = rig.cut();
    expect_reset(&mut client);
    expect_reset(&mut server);
    assert!(log.contains(" LR proxy_ended - \"-\" 5 0 "), "{log}");
}

#[test]
fn the_access_log_holds_what_is_asked_for() {
    for (policy, expected) in [
        (AccessLog::All, 2),
        (AccessLog::Failures, 1),
        (AccessLog::Off, 0),
    ] {
        let (listener, address) = upstream();
        let rig = Rig::start(Leads(Some(address)), policy);
        let mut client = connect(rig.outbound);
        drop(accept(&listener));
        assert_eq!(rest(&mut client), "");
        drop((client, listener));
        expect_refusal(rig.outbound);
        let log = rig.finish();
        assert_eq!(log.lines().count(), expected, "{policy:?}: {log}");
    }
}

/// A connection that the proxy has seen open: what was sent has arrived, and was answered.
fn open(rig: &Rig, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = connect(rig.outbound);
    let (mut server, _) = accept(listener);
    client.write_all(b"open").unwrap();
    expect(&mut server, "open");
    server.write_all(b"it is").unwrap();
    expect(&mut client, "it is");
    (client, server)
}

/// Closes with a reset instead of an end.
fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(stream);
}

/// A listener whose queue is full, so that the kernel drops further SYNs; and what fills it.
fn full_listener() -> (Socket, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    // A backlog of 0 takes one connection; the kernel may round up.
    loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let connected = socket.connect_timeout(&address, std::time::Duration::from_millis(200));
        waiting.push(socket);
        if connected.is_err() {
            return (listener, waiting);
        }
    }
}
