//! A whole process part that runs an Envoy bootstrap, on loopback.

mod admin;

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use fairlead_proxy::{
    access_log::FLUSH_INTERVAL,
    configuration::Source,
    original_dst::Conntrack,
    server::{Options, Server, validate},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

use crate::rig::{DEADLINE, connect, until};

/// A directory that is gone after the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("fairlead-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        // In one step, as an editor or the kubelet does.
        let next = self.0.join(format!("{name}.next"));
        fs::write(&next, text).unwrap();
        fs::rename(next, &path).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs of a test do no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running server.
struct Process {
    admin: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

impl Process {
    /// Runs the bootstrap in a thread; it names a port that nobody has for `ADMIN`.
    fn start(path: &Path, admin: SocketAddr) -> Self {
        let process = Self::begin(path, admin);
        process.becomes_live();
        process
    }

    /// The same, and does not wait until it carries traffic.
    fn begin(path: &Path, admin: SocketAddr) -> Self {
        Self::begin_with(path, admin, Duration::from_millis(200), false)
    }

    /// As [`begin`](Self::begin), with this time for what is not configured any more. Asked to end, it
    /// first `drains` until it is idle, as a sidecar does.
    fn begin_with(path: &Path, admin: SocketAddr, drain_time: Duration, drains: bool) -> Self {
        install_provider();
        let options = Options {
            source: Source {
                path: Some(path.to_owned()),
                ..Source::default()
            },
            concurrency: 2,
            drain_time,
            file_flush_interval: FLUSH_INTERVAL,
            telemetry: None,
        };
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut server = Server::start(options, None, Arc::new(Conntrack))
                    .await
                    .unwrap();
                if drains {
                    assert!(server.initialize().await.unwrap().is_none());
                    server.live().await.unwrap();
                    server.drain(DEADLINE, true).await;
                    server.end().await;
                } else {
                    server.run().await.unwrap();
                }
            });
        });
        let process = Self {
            admin,
            thread: Some(thread),
        };
        until("the admin port", || TcpStream::connect(admin).ok());
        process
    }

    fn becomes_live(&self) {
        until("the listeners", || {
            self.ask("GET", "/ready").contains("LIVE").then_some(())
        });
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = connect(self.admin);
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits until the statistic has this value.
    fn counted(&self, name: &str, value: &str) {
        let line = format!("{name}: {value}");
        until(&line, || {
            let page = self.ask("GET", "/stats");
            page.lines().any(|found| found == line).then_some(())
        });
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.ask("POST", "/quitquitquit");
            // A failure in it was told on standard error.
            let _ = thread.join();
        }
    }
}

fn install_provider() {
    // Another test may have been first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// An address that nobody else has: each has a loopback address of its own, which also the number of
/// this process is part of.
fn free() -> SocketAddr {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let last = LAST.fetch_add(1, Ordering::Relaxed).checked_add(1).unwrap();
    let [_, _, high, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, high | 0x40, low, last], 18_080))
}

/// An upstream that greets everybody with its name, and then echoes.
fn greeter(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                // It ends with its peer.
                let _ = stream.write_all(name.as_bytes());
                let mut copy = stream.try_clone().unwrap();
                let _ = std::io::copy(&mut stream, &mut copy);
                let _ = copy.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}

fn socket(address: SocketAddr) -> String {
    format!(
        "{{socket_address: {{address: {}, port_value: {}}}}}",
        address.ip(),
        address.port()
    )
}

fn listener(name: &str, address: SocketAddr, cluster: &str, transport: &str) -> String {
    format!(
        r#"
  - name: {name}
    address: {}
    filter_chains:
    - {transport}
      filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: {name}
          cluster: {cluster}"#,
        socket(address)
    )
}

fn cluster(name: &str, endpoint: SocketAddr, transport: &str) -> String {
    format!(
        r"
  - name: {name}
    type: STATIC
    connect_timeout: 1s
    {transport}
    load_assignment:
      cluster_name: {name}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {}}}}}]}}]",
        socket(endpoint)
    )
}

fn bootstrap(admin: SocketAddr, listeners: &[String], clusters: &[String]) -> String {
    format!(
        "admin: {{address: {}}}\nstatic_resources:\n  listeners:{}\n  clusters:{}\n",
        socket(admin),
        listeners.concat(),
        clusters.concat()
    )
}

fn greeting(address: SocketAddr, name: &str) -> TcpStream {
    let mut stream = connect(address);
    let mut found = vec![0; name.len()];
    stream.read_exact(&mut found).unwrap();
    assert_eq!(found, name.as_bytes());
    stream
}

fn echoed(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    let mut found = vec![0; text.len()];
    stream.read_exact(&mut found).unwrap();
    assert_eq!(found, text.as_bytes());
}

#[test]
fn a_reload_leads_new_connections_elsewhere_and_keeps_those_of_others() {
    let scratch = Scratch::new("reload");
    let (admin, changed, kept) = (free(), free(), free());
    let (first, second) = (greeter("first"), greeter("second"));
    let clusters = [cluster("a", first, ""), cluster("b", second, "")];
    let of = |to: &str| {
        let listeners = [
            listener("changed", changed, to, ""),
            listener("kept", kept, "a", ""),
        ];
        bootstrap(admin, &listeners, &clusters)
    };
    let path = scratch.write("bootstrap.yaml", &of("a"));
    let process = Process::start(&path, admin);
    let mut old = greeting(changed, "first");
    let mut other = greeting(kept, "first");
    scratch.write("bootstrap.yaml", &of("b"));
    until("the other cluster", || {
        let mut stream = connect(changed);
        let mut found = [0; 5];
        stream.read_exact(&mut found).unwrap();
        (&found == b"secon").then_some(())
    });
    // What took the connection is not configured any more: it ends when it was drained.
    let mut rest = Vec::new();
    let ended = old.read_to_end(&mut rest);
    assert!(ended.is_ok_and(|read| read == 0) || rest.is_empty());
    echoed(&mut other, "still here");
    process.counted("listener_manager.listener_modified", "1");
    // One that is wrong changes nothing.
    scratch.write(
        "bootstrap.yaml",
        "static_resources: {listeners: [{nam: x}]}",
    );
    process.counted("tcp.kept.downstream_cx_total", "1");
    greeting(changed, "second");
    echoed(&mut other, "and here");
}

/// A cluster that nobody tells its endpoint: the one who is asked does not answer.
fn unanswered(name: &str, server: SocketAddr) -> String {
    format!(
        r#"
  - name: {name}
    type: STRICT_DNS
    typed_dns_resolver_config:
      name: cares
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
        resolvers: [{}]
    load_assignment:
      cluster_name: {name}
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: a.example, port_value: 1}}}}}}}}]}}]"#,
        socket(server)
    )
}

#[test]
fn operators_are_answered_while_clusters_look_for_their_endpoints() {
    let scratch = Scratch::new("warming");
    let (admin, address) = (free(), free());
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let upstream = greeter("found");
    let slow = unanswered("slow", silent.local_addr().unwrap());
    let listeners = [listener("l", address, "slow", "")];
    let path = scratch.write("bootstrap.yaml", &bootstrap(admin, &listeners, &[slow]));
    let process = Process::begin(&path, admin);
    let answer = process.ask("GET", "/ready");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.trim_end().ends_with("PRE_INITIALIZING"), "{answer}");
    let told = process.ask("GET", "/init_dump");
    assert!(told.contains("\"cluster slow\""), "{told}");
    process.counted("server.state", "2");
    process.counted("cluster.slow.warming_state", "1");
    let refused = TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // What is wrong changes nothing; what need not look any more is carried.
    scratch.write("bootstrap.yaml", "static_resources: {listeners: 1}");
    let clusters = [cluster("slow", upstream, "")];
    scratch.write("bootstrap.yaml", &bootstrap(admin, &listeners, &clusters));
    process.becomes_live();
    greeting(address, "found");
    process.counted("server.state", "0");
    process.counted("cluster.slow.warming_state", "0");
    let told = process.ask("GET", "/init_dump");
    assert!(told.trim_end().ends_with("{}"), "{told}");
}

#[test]
fn the_start_ends_when_an_operator_asks_for_it() {
    let scratch = Scratch::new("start-ends");
    let (admin, address) = (free(), free());
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let slow = unanswered("slow", silent.local_addr().unwrap());
    let listeners = [listener("l", address, "slow", "")];
    let path = scratch.write("bootstrap.yaml", &bootstrap(admin, &listeners, &[slow]));
    let process = Process::begin(&path, admin);
    let started = Instant::now();
    drop(process);
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "it was waited for"
    );
    assert!(TcpStream::connect(admin).is_err());
}

#[test]
fn the_drain_carries_connections_of_listeners_that_are_gone() {
    let scratch = Scratch::new("gone");
    let (admin, gone, kept) = (free(), free(), free());
    let clusters = [cluster("a", greeter("first"), "")];
    let kept = listener("kept", kept, "a", "");
    let both = [listener("gone", gone, "a", ""), kept.clone()];
    let path = scratch.write("bootstrap.yaml", &bootstrap(admin, &both, &clusters));
    let mut process = Process::begin_with(&path, admin, 10 * DEADLINE, true);
    process.becomes_live();
    let mut open = greeting(gone, "first");
    scratch.write("bootstrap.yaml", &bootstrap(admin, &[kept], &clusters));
    process.counted("listener_manager.total_listeners_draining", "1");
    process.ask("POST", "/quitquitquit");
    process.counted("server.live", "0");
    echoed(&mut open, "still here");
    drop(open);
    process.thread.take().unwrap().join().unwrap();
}

#[test]
fn every_fault_of_a_bootstrap_is_told_with_its_path() {
    install_provider();
    let scratch = Scratch::new("faults");
    let told = |text: &str| {
        let path = scratch.write("bootstrap.yaml", text);
        let source = Source {
            path: Some(path),
            ..Source::default()
        };
        validate(&source).unwrap_err().to_string()
    };
    let words = told("static_resources: {listeners: [{nam: x}], cluster: []}");
    for fault in [
        "static_resources.listeners[0].nam:",
        "static_resources.cluster:",
    ] {
        assert!(words.contains(fault), "{words}");
    }
    let words = told(&bootstrap(
        free(),
        &[listener("l", free(), "a", "transport_socket: {name: quic}")],
        &[
            cluster(
                "a",
                free(),
                "upstream_connection_options: {tcp_keepalive: {keepalive_probes: 0}}",
            ),
            cluster("a", free(), ""),
        ],
    ));
    for fault in [
        "static_resources.listeners[0].filter_chains[0].transport_socket.typed_config: is missing",
        "static_resources.clusters[0].upstream_connection_options.tcp_keepalive.keepalive_probes: 0 \
         is not from 1 to 127",
    ] {
        assert!(words.contains(fault), "{words}");
    }
}

#[test]
fn what_is_promised_by_a_bootstrap_is_not_passed_over() {
    install_provider();
    let scratch = Scratch::new("promises");
    let text = |extra: &str| {
        let listeners = ["one", "two"].map(|name| {
            let address = SocketAddr::from(([127, 41, 0, 1], 18_001));
            listener(name, address, "a", "")
        });
        bootstrap(free(), &listeners, &[cluster("a", free(), "")]) + extra
    };
    let path = scratch.write(
        "bootstrap.yaml",
        &text("dynamic_resources: {lds_config: {path_config_source: {path: lds.yaml}}}\n"),
    );
    let source = Source {
        path: Some(path),
        yaml: Some("admin: {allow_paths: [{exact: /ready}]}".to_owned()),
        ..Source::default()
    };
    let words = validate(&source).unwrap_err().to_string();
    for fault in [
        "static_resources.listeners[1].address: 127.41.0.1:18001 is an address of element 0, too",
        "dynamic_resources.lds_config: is not supported",
        "admin.allow_paths: is not supported",
    ] {
        assert!(words.contains(fault), "{words}");
    }
}

/// A CA, and certificates that it issued.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    fn issue(&self, scratch: &Scratch, name: &str, uri: &str) {
        let mut params = CertificateParams::default();
        let uri = SanType::URI(uri.try_into().unwrap());
        params.subject_alt_names = vec![uri];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        scratch.write(&format!("{name}.crt"), &certificate.pem());
        scratch.write(&format!("{name}.key"), &key.serialize_pem());
    }
}

fn context(scratch: &Scratch, kind: &str, name: &str, san: &str) -> String {
    let at = scratch.0.display();
    let required = if kind == "Downstream" {
        "require_client_certificate: true, "
    } else {
        ""
    };
    format!(
        r#"transport_socket: {{name: tls, typed_config: {{"@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{kind}TlsContext, {required}common_tls_context: {{tls_certificates: [{{certificate_chain: {{filename: "{at}/{name}.crt"}}, private_key: {{filename: "{at}/{name}.key"}}}}], validation_context: {{trusted_ca: {{filename: "{at}/ca.crt"}}, match_typed_subject_alt_names: [{{san_type: URI, matcher: {{exact: "{san}"}}}}]}}}}}}}}"#
    )
}

#[test]
fn two_proxies_speak_mutual_tls_and_tell_of_plaintext() {
    let scratch = Scratch::new("mtls");
    let authority = Authority::new();
    scratch.write("ca.crt", &authority.0.pem());
    let (client, server) = ("spiffe://a/ns/x/sa/client", "spiffe://a/ns/x/sa/server");
    authority.issue(&scratch, "client", client);
    authority.issue(&scratch, "server", server);
    let (admin, outside, inside, astray) = (free(), free(), free(), free());
    let application = greeter("hello");
    let told = scratch.0.join("access.log");
    let log = format!(
        "{{name: file, typed_config: {{\"@type\": \
         type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: {}, \
         log_format: {{text_format_source: {{inline_string: \"%RESPONSE_FLAGS% \
         %RESPONSE_CODE_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON%\\n\"}}}}}}}}",
        told.display()
    );
    let listeners = [
        listener("outside", outside, "secure", ""),
        listener("astray", astray, "plain", "").replace(
            "cluster: plain",
            &format!("cluster: plain\n          access_log: [{log}]"),
        ),
        listener(
            "inside",
            inside,
            "application",
            &context(&scratch, "Downstream", "server", client),
        ),
    ];
    let clusters = [
        cluster(
            "secure",
            inside,
            &context(&scratch, "Upstream", "client", server),
        ),
        cluster("plain", inside, ""),
        cluster("application", application, ""),
    ];
    let path = scratch.write("bootstrap.yaml", &bootstrap(admin, &listeners, &clusters));
    let process = Process::start(&path, admin);
    let mut stream = greeting(outside, "hello");
    echoed(&mut stream, "through two proxies");
    drop(stream);
    let server_address = inside;
    let inside = inside.to_string().replace(':', "_");
    process.counted(&format!("listener.{inside}.ssl.handshake"), "1");
    process.counted("cluster.secure.ssl.handshake", "1");
    // The caller of plaintext gets nothing, and the server counts it.
    let mut stream = connect(astray);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"hello"));
    process.counted(&format!("listener.{inside}.ssl.plaintext_refused"), "1");
    // The log of the caller names the cause.
    drop(stream);
    let line = until("the log of the caller", || {
        process.ask("POST", "/reopen_logs");
        fs::read_to_string(&told)
            .ok()
            .filter(|text| !text.is_empty())
    });
    let expected = format!("UC upstream_requires_mtls {server_address}: peer requires mTLS: ");
    assert!(line.starts_with(&expected), "{line}");
}

#[test]
fn attempts_go_on_to_the_next_endpoint() {
    let scratch = Scratch::new("attempts");
    let (admin, address) = (free(), free());
    let (nobody, somebody) = (free(), greeter("somebody"));
    let endpoints = format!(
        "- name: both\n    type: STATIC\n    connect_timeout: 1s\n    load_assignment: \
         {{cluster_name: both, endpoints: [{{priority: 0, lb_endpoints: [{{endpoint: {{address: \
         {}}}}}, {{endpoint: {{address: {}}}}}]}}]}}",
        socket(nobody),
        socket(somebody)
    );
    let listener = listener("l", address, "both", "").replace(
        "cluster: both",
        "cluster: both\n          max_connect_attempts: 2",
    );
    let text = bootstrap(admin, &[listener], &[format!("\n  {endpoints}")]);
    let process = Process::start(&scratch.write("bootstrap.yaml", &text), admin);
    for _ in 0..4 {
        greeting(address, "somebody");
    }
    let page = process.ask("GET", "/stats?filter=cluster.both.upstream_cx_connect_fail");
    let failed = page
        .lines()
        .find(|line| line.starts_with("cluster.both.upstream_cx_connect_fail"));
    assert!(failed.is_some_and(|line| !line.ends_with(": 0")), "{page}");
}

#[test]
fn policies_decide_before_anything_is_said() {
    let scratch = Scratch::new("policies");
    let (admin, open, closed) = (free(), free(), free());
    let upstream = greeter("hello");
    let guarded = |name: &str, address: SocketAddr, from: &str| {
        let rbac = format!(
            r#"filters:
      - name: rbac
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC
          stat_prefix: {name}.
          rules: {{policies: {{near: {{permissions: [{{any: true}}], principals: [{{direct_remote_ip: {{address_prefix: {from}, prefix_len: 8}}}}]}}}}}}"#
        );
        listener(name, address, "a", "").replacen("filters:", &rbac, 1)
    };
    let listeners = [
        guarded("open", open, "127.0.0.0"),
        guarded("closed", closed, "10.0.0.0"),
    ];
    let text = bootstrap(admin, &listeners, &[cluster("a", upstream, "")]);
    let process = Process::start(&scratch.write("bootstrap.yaml", &text), admin);
    // The server speaks first: nobody waits for the client.
    greeting(open, "hello");
    let mut found = Vec::new();
    // Refused without a word, by an end.
    connect(closed).read_to_end(&mut found).unwrap();
    assert_eq!(found, b"");
    process.counted("open.rbac.allowed", "1");
    process.counted("closed.rbac.denied", "1");
    process.counted("cluster.a.upstream_cx_total", "1");
    process.counted("cluster.a.upstream_cx_active", "0");
}
