//! Failures that once took days to understand: each tells its cause, at the side that is asked.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

use fairlead_tests::netns::{Arrivals, Namespace, User};
use socket2::SockRef;

use crate::{
    bootstrap::{Authority, Proxy, Scratch, bootstrap, cluster, listener},
    pod::{bounded, cable, rest, says},
};

const SERVER: &str = "10.0.0.2:8000";
const APPLICATION: &str = "127.0.0.1:8000";
/// Where the caller's application calls, by way of its own proxy.
const CALLED: &str = "127.0.0.1:10000";
const HTTPBIN: &str = "outbound|8000||httpbin.foo.svc.cluster.local";

/// What the caller's application gets.
fn call(caller: &Namespace, address: &str, words: &str) -> (io::Result<usize>, String) {
    let address: SocketAddr = address.parse().expect("an address");
    let stream = caller.run_as(User::APPLICATION, || TcpStream::connect(address));
    let mut stream = bounded(stream.expect("the caller's proxy listens"));
    let mut answer = Vec::new();
    let read = stream
        .write_all(words.as_bytes())
        .and_then(|()| stream.read_to_end(&mut answer));
    (read, String::from_utf8_lossy(&answer).into_owned())
}

#[test]
#[ignore = "needs root"]
fn plaintext_at_a_strict_port_is_explained_on_both_sides() {
    let scratch = Scratch::new("strict");
    let authority = Authority::new(&scratch);
    let (caller, called) = cable();
    let application = Arrivals::listen(&called, APPLICATION);
    let strict = authority.transport_socket("Downstream", "httpbin");
    let server = Proxy::start(
        &called,
        &scratch,
        &bootstrap(
            "",
            &[listener("strict", SERVER, "inbound|8000||", "", &strict)],
            &[cluster("inbound|8000||", APPLICATION, "")],
        ),
    );
    // A traffic policy of connection pools alone, with which the client's side forgets mTLS.
    let pool = "circuit_breakers: {thresholds: [{max_connections: 100}]}";
    let client = Proxy::start(
        &caller,
        &scratch,
        &bootstrap(
            "",
            &[
                listener("plain", CALLED, HTTPBIN, "", ""),
                listener("encrypted", "127.0.0.1:10001", "encrypted", "", ""),
            ],
            &[
                cluster(HTTPBIN, SERVER, pool),
                cluster(
                    "encrypted",
                    SERVER,
                    &authority.transport_socket("Upstream", "sleep"),
                ),
            ],
        ),
    );

    let (_, answer) = call(&caller, CALLED, "GET / HTTP/1.1\r\nhost: httpbin\r\n\r\n");
    assert!(!answer.contains("200 OK"), "{answer}");
    // The server says who it was, at which port, and what was wrong.
    server.told(&["WARN", "10.0.0.1:", SERVER, "plaintext", "mTLS is required"]);
    server.logged(&[
        "10.0.0.1:",
        SERVER,
        "details=tls_plaintext_refused",
        "down=[",
    ]);
    let counted = "listener.10.0.0.2_8000.ssl";
    server.counted(&format!("{counted}.plaintext_refused"), 1);
    server.counted(&format!("{counted}.connection_error"), 1);
    // So does the caller, with more than a flag.
    client.told(&["WARN", SERVER, "peer requires mTLS"]);
    client.logged(&[
        HTTPBIN,
        SERVER,
        "flags=U",
        "details=upstream_requires_mtls",
        "peer requires mTLS",
    ]);
    client.counted("upstream_failure.upstream_requires_mtls", 1);

    // With mTLS the same call arrives.
    let encrypted: SocketAddr = "127.0.0.1:10001".parse().expect("an address");
    let stream = caller.run_as(User::APPLICATION, || TcpStream::connect(encrypted));
    let mut stream = bounded(stream.expect("the caller's proxy listens"));
    let mut arrived = bounded(application.next().stream);
    says(&mut stream, &mut arrived, "hello");
    drop(arrived);
    assert_eq!(rest(&mut stream), "");
    server.counted(&format!("{counted}.handshake"), 1);
    server.counted(&format!("{counted}.plaintext_refused"), 1);
}

/// The ways in which a call fails: the port, the flag, the token, words of the log, and statistics of the
/// cluster.
const CAUSES: [(u16, &str, &str, &str, &[&str]); 6] = [
    (
        8001,
        "UF",
        "upstream_connect_timeout",
        "connect to 10.0.0.2:8001: no answer within 400ms: packets are dropped on the way (a network policy",
        &["upstream_cx_connect_timeout", "upstream_cx_connect_fail"],
    ),
    (
        8002,
        "UF",
        "upstream_connect_refused",
        "connect to 10.0.0.2:8002: refused: nothing listens on that port there",
        &["upstream_cx_connect_fail"],
    ),
    (
        8003,
        "UF",
        "upstream_host_unreachable",
        "connect to 10.0.0.2:8003: host unreachable",
        &["upstream_cx_connect_fail"],
    ),
    (
        8004,
        "UF",
        "upstream_network_unreachable",
        "connect to 10.9.0.2:8004: network unreachable: this pod has no route there",
        &["upstream_cx_connect_fail"],
    ),
    (
        8005,
        "UF",
        "tls_peer_speaks_plaintext",
        "10.0.0.2:8005",
        &["upstream_cx_connect_fail", "ssl.connection_error"],
    ),
    (
        8006,
        "U",
        "upstream_reset",
        "the upstream 10.0.0.2:8006 broke the connection",
        &["upstream_cx_destroy_remote"],
    ),
];

#[test]
#[ignore = "needs root"]
fn each_way_to_fail_has_its_own_words() {
    let scratch = Scratch::new("vanished");
    let authority = Authority::new(&scratch);
    let (caller, called) = cable();
    // A policy of the other network drops what comes from here, and a firewall rejects.
    called.stdout(
        "iptables",
        &["-A", "INPUT", "-p", "tcp", "--dport", "8001", "-j", "DROP"],
    );
    called.stdout(
        "iptables",
        &[
            "-A",
            "INPUT",
            "-p",
            "tcp",
            "--dport",
            "8003",
            "-j",
            "REJECT",
            "--reject-with",
            "icmp-host-unreachable",
        ],
    );
    caller.ip(&["rule", "add", "to", "10.9.0.0/16", "type", "unreachable"]);
    let (_open, plain, resets) = (
        Arrivals::listen(&called, "10.0.0.2:8001"),
        Arrivals::listen(&called, "10.0.0.2:8005"),
        Arrivals::listen(&called, "10.0.0.2:8006"),
    );
    let answering = thread::spawn(move || {
        let mut stream = bounded(plain.next().stream);
        // The ClientHello, of which a server without TLS makes nothing.
        let answered = stream
            .read(&mut [0; 4096])
            .and_then(|_| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        assert!(answered.is_ok(), "{answered:?}");
        let mut stream = bounded(resets.next().stream);
        let first = stream.read(&mut [0]);
        assert!(first.is_ok(), "{first:?}");
        let reset = stream
            .write_all(b"half an ")
            .and_then(|()| SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)));
        assert!(reset.is_ok(), "{reset:?}");
    });

    let tls = authority.transport_socket("Upstream", "sleep");
    let mut listeners = Vec::new();
    let mut clusters = Vec::new();
    for (port, ..) in CAUSES {
        let name = format!("to-{port}");
        let ip = if port == 8004 { "10.9.0.2" } else { "10.0.0.2" };
        let fields = if port == 8005 { &tls } else { "" };
        listeners.push(listener(&name, &format!("127.0.0.1:{port}"), &name, "", ""));
        clusters.push(cluster(&name, &format!("{ip}:{port}"), fields));
    }
    let client = Proxy::start(&caller, &scratch, &bootstrap("", &listeners, &clusters));
    for (port, flag, token, words, counted) in CAUSES {
        let (_, answer) = call(&caller, &format!("127.0.0.1:{port}"), "hello");
        assert!(!answer.contains("200"), "{answer}");
        client.logged(&[
            &format!("cluster=to-{port} "),
            &format!("flags={flag}"),
            &format!("details={token}"),
            words,
        ]);
        for name in counted {
            let name = format!("cluster.to-{port}.{name}");
            assert!(client.statistic(&name) >= 1, "{name}");
        }
        client.counted(&format!("upstream_failure.{token}"), 1);
    }
    assert!(answering.join().is_ok());
    // Only what was never answered is counted as a time-out.
    for (port, ..) in CAUSES {
        let timed_out = client.statistic(&format!("cluster.to-{port}.upstream_cx_connect_timeout"));
        assert_eq!(timed_out, u64::from(port == 8001), "{port}");
    }
}
