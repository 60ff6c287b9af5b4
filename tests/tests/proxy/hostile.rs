//! Clients that mean no good, or cannot do better: what they take is bounded, counted and explained, and
//! others are served meanwhile.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use fairlead_tests::{
    netns::Namespace,
    wait::{self, DEADLINE},
};
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::SockRef;

use crate::{
    bootstrap::{Authority, Proxy, Scratch, bootstrap, cluster, listener},
    pod::bounded,
};

const PLAIN: &str = "127.0.0.1:10000";
const SECURE: &str = "127.0.0.1:10001";
const LOOKED_AT: &str = "127.0.0.1:10002";
const UPSTREAM: &str = "127.0.0.1:20000";

/// How long a handshake and the listener filters may take, where nothing else is said.
const PATIENCE: Duration = Duration::from_millis(1500);

/// An upstream that sends back what comes.
fn echo(namespace: &Namespace) {
    let listening = namespace.run(|| TcpListener::bind(UPSTREAM));
    let listening = listening.expect("a listener");
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listening.accept() {
            // It ends with its peer.
            thread::spawn(move || {
                let mut copy = stream.try_clone()?;
                std::io::copy(&mut stream, &mut copy)
            });
        }
    });
}

fn connect(namespace: &Namespace, address: &str) -> TcpStream {
    let address: SocketAddr = address.parse().expect("an address");
    let connect = || TcpStream::connect_timeout(&address, DEADLINE);
    bounded(namespace.run(connect).expect("somebody listens"))
}

/// Whether a connection gets back what it sends.
#[track_caller]
fn serves(namespace: &Namespace, address: &str) {
    let mut stream = connect(namespace, address);
    let mut found = [0; 5];
    let served = stream
        .write_all(b"hello")
        .and_then(|()| stream.read_exact(&mut found));
    assert!(served.is_ok() && &found == b"hello", "{served:?} {found:?}");
}

/// Waits for the end of a connection, of whatever kind.
#[track_caller]
fn ends(stream: &mut TcpStream) {
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
                ) =>
            {
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// A proxy with a plain listener, one with TLS, and one whose filters look at the first bytes.
fn start<'a>(
    namespace: &'a Namespace,
    scratch: &Scratch,
    fields: &str,
    patience: Duration,
    change: impl FnOnce(Command) -> Command,
) -> Proxy<'a> {
    let authority = Authority::new(scratch);
    let milliseconds = patience.as_millis();
    let seconds = format!("{}.{:03}s", milliseconds / 1000, milliseconds % 1000);
    let tls = format!(
        "transport_socket_connect_timeout: {seconds}, {}",
        authority.transport_socket("Downstream", "server")
    );
    let inspector = |name: &str, message: &str| {
        format!(
            "{{name: {name}, typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.filters.listener.{name}.v3.{message}}}}}"
        )
    };
    let filters = format!(
        "listener_filters_timeout: {seconds}, listener_filters: [{}, {}, {}]",
        inspector("proxy_protocol", "ProxyProtocol"),
        inspector("tls_inspector", "TlsInspector"),
        inspector("http_inspector", "HttpInspector"),
    );
    let text = bootstrap(
        fields,
        &[
            listener("plain", PLAIN, "up", "", ""),
            listener("secure", SECURE, "up", "", &tls),
            listener("looked_at", LOOKED_AT, "up", &filters, ""),
        ],
        &[cluster("up", UPSTREAM, "")],
    );
    Proxy::start_by(namespace, scratch, &text, change)
}

/// The first message of a handshake.
fn client_hello() -> Vec<u8> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("the versions are known")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "a.example".try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a vector takes all");
    hello
}

#[test]
#[ignore = "needs root"]
fn garbage_and_halves_are_refused_in_words() {
    let scratch = Scratch::new("garbage");
    let namespace = Namespace::new();
    echo(&namespace);
    let proxy = start(&namespace, &scratch, "", PATIENCE, |command| command);
    let hello = client_hello();
    let half = &hello[..hello.len() / 2];

    // Bytes that are nothing, and an end in the middle.
    let mut stream = connect(&namespace, SECURE);
    stream.write_all(&[0xff; 600]).expect("it takes some bytes");
    ends(&mut stream);
    proxy.counted("listener.127.0.0.1_10001.ssl.connection_error", 1);
    proxy.logged(&[SECURE, "details=tls_plaintext_refused", "plaintext"]);
    let mut stream = connect(&namespace, SECURE);
    stream.write_all(half).expect("it takes some bytes");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    ends(&mut stream);
    proxy.logged(&[SECURE, "details=tls_closed_in_handshake"]);
    proxy.counted("listener.127.0.0.1_10001.downstream_cx_destroy", 2);

    // Filters that look for a header, and find something else or a part of it.
    let mut stream = connect(&namespace, LOOKED_AT);
    stream.write_all(&[0xff; 600]).expect("it takes some bytes");
    ends(&mut stream);
    proxy.counted("proxy_proto.not_found_disallowed", 1);
    let mut stream = connect(&namespace, LOOKED_AT);
    stream
        .write_all(b"PROXY TCP4 ")
        .expect("it takes some bytes");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("it is open");
    ends(&mut stream);
    proxy.counted(
        "listener.127.0.0.1_10002.downstream_listener_filter_remote_close",
        1,
    );
    serves(&namespace, PLAIN);
}

#[test]
#[ignore = "needs root"]
fn slow_bytes_do_not_prolong_the_time() {
    let scratch = Scratch::new("slow");
    let namespace = Namespace::new();
    echo(&namespace);
    let proxy = start(&namespace, &scratch, "", PATIENCE, |command| command);
    let hello = client_hello();
    for (address, bytes) in [
        (SECURE, &hello[..]),
        (LOOKED_AT, b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2"),
    ] {
        let mut stream = connect(&namespace, address);
        stream.set_nodelay(true).expect("it is open");
        let since = Instant::now();
        // A byte at a time, each well within the patience, all of them not.
        for byte in bytes.chunks(1).cycle() {
            if stream.write_all(byte).is_err() || since.elapsed() > DEADLINE {
                break;
            }
            thread::sleep(PATIENCE / 10);
        }
        let took = since.elapsed();
        assert!(
            took >= PATIENCE && took < PATIENCE * 4,
            "{address}: {took:?}"
        );
    }
    proxy.counted(
        "listener.127.0.0.1_10001.downstream_cx_transport_socket_connect_timeout",
        1,
    );
    proxy.counted("listener.127.0.0.1_10002.downstream_pre_cx_timeout", 1);
    proxy.logged(&[SECURE, "details=tls_handshake_timeout"]);
    serves(&namespace, PLAIN);
}

#[test]
#[ignore = "needs root"]
fn resets_at_each_step_leave_nothing_behind() {
    let scratch = Scratch::new("resets");
    let namespace = Namespace::new();
    echo(&namespace);
    let proxy = start(&namespace, &scratch, "", PATIENCE, |command| command);
    let hello = client_hello();
    let steps: [(&str, &[u8]); 8] = [
        (PLAIN, b""),
        (PLAIN, b"hello"),
        (SECURE, b""),
        (SECURE, &hello[..3]),
        (SECURE, &hello),
        (LOOKED_AT, b""),
        (LOOKED_AT, b"PROXY"),
        (
            LOOKED_AT,
            b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\n\r\n",
        ),
    ];
    for round in 0..50 {
        for (address, bytes) in steps {
            let mut stream = connect(&namespace, address);
            stream.write_all(bytes).expect("it takes some bytes");
            if round % 2 == 1 {
                thread::sleep(Duration::from_millis(1));
            }
            SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .expect("it is open");
        }
    }
    for port in [10_000, 10_001, 10_002] {
        for gauge in ["downstream_cx_active", "downstream_pre_cx_active"] {
            proxy.counted(&format!("listener.127.0.0.1_{port}.{gauge}"), 0);
        }
    }
    proxy.counted("cluster.up.upstream_cx_active", 0);
    serves(&namespace, PLAIN);
}

/// Connections that nothing is said on.
const IDLE: usize = 10_000;
/// What each of them may take of the proxy's memory, of an unoptimized one, too.
const IDLE_KIB: f64 = 20.0;
/// How long a handshake may take them.
const IDLE_PATIENCE: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs root"]
fn ten_thousand_idle_connections_are_borne() {
    let limit = getrlimit(Resource::Nofile);
    let all = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, all).expect("the limit may be raised to its maximum");
    let scratch = Scratch::new("idle");
    let namespace = Namespace::new();
    echo(&namespace);
    let proxy = start(&namespace, &scratch, "", IDLE_PATIENCE, |command| command);
    serves(&namespace, PLAIN);
    let before = proxy.process.resident_kib();
    let address: SocketAddr = SECURE.parse().expect("an address");
    let connect = || -> std::io::Result<Vec<TcpStream>> {
        (0..IDLE).map(|_| TcpStream::connect(address)).collect()
    };
    let idle = namespace.run(connect).expect("the proxy accepts");
    proxy.counted("listener.127.0.0.1_10001.downstream_cx_active", IDLE as u64);
    let each = proxy.process.resident_kib().saturating_sub(before) as f64 / IDLE as f64;
    eprintln!("{each:.1} KiB for each of {IDLE} connections");
    assert!(each <= IDLE_KIB, "{each:.1} KiB each");
    serves(&namespace, PLAIN);
    // None is kept longer than a handshake may take.
    let timed_out = "listener.127.0.0.1_10001.downstream_cx_transport_socket_connect_timeout";
    wait::until_within(
        IDLE_PATIENCE * 2,
        Duration::from_millis(100),
        "the time of all to be over",
        || (proxy.statistic(timed_out) == IDLE as u64).then_some(()),
    );
    proxy.counted("listener.127.0.0.1_10001.downstream_cx_active", 0);
    drop(idle);
    serves(&namespace, PLAIN);
}

#[test]
#[ignore = "needs root"]
fn without_descriptors_accepting_pauses_and_goes_on() {
    let scratch = Scratch::new("descriptors");
    let namespace = Namespace::new();
    echo(&namespace);
    let proxy = start(&namespace, &scratch, "", PATIENCE, |command| {
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -n 100; exec \"$0\" \"$@\""]);
        limited.arg(command.get_program()).args(command.get_args());
        limited
    });
    let mut clients: Vec<TcpStream> = (0..200).map(|_| connect(&namespace, PLAIN)).collect();
    proxy.told(&["WARN", "accept failed", "Too many open files"]);
    // It waits for descriptors, and does not ask for them all the time.
    let (since, before) = (Instant::now(), proxy.cpu());
    thread::sleep(Duration::from_secs(3));
    let share = (proxy.cpu() - before).as_secs_f64() / since.elapsed().as_secs_f64();
    eprintln!("{share:.3} of a processor while descriptors are exhausted");
    assert!(share < 0.1, "{share:.3} of a processor");
    assert!(
        proxy.times_told("accept failed") <= 8,
        "a flood of warnings"
    );
    // Those that wait are served as soon as others have ended.
    while clients.len() > 20 {
        clients.remove(0);
        thread::sleep(Duration::from_millis(1));
    }
    wait::until("somebody to be served", || {
        let mut stream = connect(&namespace, PLAIN);
        stream
            .set_read_timeout(Some(Duration::from_millis(500)))
            .expect("it is open");
        let mut found = [0; 5];
        let served = stream
            .write_all(b"hello")
            .and_then(|()| stream.read_exact(&mut found));
        served.is_ok().then_some(())
    });
    let failed = proxy.statistic("listener.127.0.0.1_10000.downstream_cx_accept_failed");
    assert!(failed > 0, "no failure is counted");
}

#[test]
#[ignore = "needs root"]
fn limits_of_connections_are_kept_and_told() {
    let scratch = Scratch::new("limits");
    let namespace = Namespace::new();
    echo(&namespace);
    let fields = "overload_manager: {resource_monitors: [{name: \
                  envoy.resource_monitors.global_downstream_max_connections, typed_config: {'@type': \
                  type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.\
                  DownstreamConnectionsConfig, max_active_downstream_connections: 5}}]}\n\
                  layered_runtime: {layers: [{name: static, static_layer: \
                  {envoy.resource_limits.listener.plain.connection_limit: 3}}]}";
    let proxy = start(
        &namespace,
        &scratch,
        fields,
        Duration::from_secs(60),
        |command| command,
    );
    let held = |address: &str, count: usize| -> Vec<TcpStream> {
        (0..count).map(|_| connect(&namespace, address)).collect()
    };
    let first = held(PLAIN, 3);
    proxy.counted("listener.127.0.0.1_10000.downstream_cx_active", 3);
    // One more than the listener may have.
    ends(&mut connect(&namespace, PLAIN));
    proxy.counted("listener.127.0.0.1_10000.downstream_cx_overflow", 1);
    proxy.told(&[
        "WARN",
        "listener=\"plain\"",
        "connection_limit",
        "allows, 3",
    ]);
    // One more than all of them may have.
    let second = held(SECURE, 2);
    proxy.counted("listener.127.0.0.1_10001.downstream_cx_active", 2);
    ends(&mut connect(&namespace, LOOKED_AT));
    proxy.counted("listener.127.0.0.1_10002.downstream_global_cx_overflow", 1);
    proxy.told(&["WARN", "max_active_downstream_connections allows, 5"]);
    // As soon as one ends, another may come.
    drop((first, second));
    proxy.counted("listener.127.0.0.1_10001.downstream_cx_active", 0);
    proxy.counted("listener.127.0.0.1_10000.downstream_cx_active", 0);
    serves(&namespace, PLAIN);
}
