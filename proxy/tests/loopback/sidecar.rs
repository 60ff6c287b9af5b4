//! The whole process: ports, drain, admin and health answers.

use std::{
    collections::BTreeMap,
    future::Future,
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use fairlead_api::{
    app_metrics::AppMetrics,
    proxy_config::{AccessLog, ProxyConfig},
    values::{InterceptionMode, LogLevel},
};
use fairlead_proxy::{
    arguments::Ports,
    client,
    config::{Config, Node},
    original_dst::Redirect,
    sidecar::Sidecar,
};
use hyper::{Method, StatusCode};

use crate::rig::{DEADLINE, Leads, Log, accept, connect, expect, expect_reset, until, upstream};

/// A sidecar in a thread of its own, on free ports.
pub(crate) struct Running {
    pub(crate) ports: Ports,
    log: Log,
    thread: JoinHandle<()>,
}

const FREE: Ports = Ports {
    outbound: 0,
    inbound: 0,
    admin: 0,
    status: 0,
    no_status: false,
    health: 0,
    metrics: 0,
};

pub(crate) fn config(drain: Duration) -> Config {
    Config {
        node: Node {
            name: "cart-1".to_owned(),
            namespace: "shop".to_owned(),
            ip: Ipv4Addr::LOCALHOST.into(),
            service_account: String::new(),
            domain: "shop.svc.cluster.local".to_owned(),
            metadata: BTreeMap::new(),
            labels: [("app".to_owned(), "cart".to_owned())].into(),
            annotations: BTreeMap::new(),
        },
        workers: 2,
        proxy: ProxyConfig {
            access_log: AccessLog::All,
            termination_drain_duration: drain,
            ..ProxyConfig::default()
        },
        ports: FREE,
        interception_mode: InterceptionMode::Redirect,
        access_log_file: "/dev/stdout".to_owned(),
        log_level: LogLevel::Info,
        exit_on_zero_connections: true,
        app_probes: BTreeMap::new(),
        app_metrics: AppMetrics::default(),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn start(config: Config, upstream: SocketAddr) -> Running {
    start_with(config, Leads(Some(upstream)))
}

pub(crate) fn start_with(mut config: Config, redirect: impl Redirect + 'static) -> Running {
    let (tell, told) = std::sync::mpsc::channel();
    let log = Log::new();
    config.access_log_file = log.path().display().to_string();
    let thread = std::thread::spawn(move || {
        block_on(async {
            let sidecar = Sidecar::start(config, None, Arc::new(redirect))
                .await
                .unwrap();
            tell.send(sidecar.ports()).unwrap();
            sidecar.run().await.unwrap();
        });
    });
    Running {
        ports: told.recv_timeout(DEADLINE).unwrap(),
        log,
        thread,
    }
}

impl Running {
    fn outbound(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.outbound).into()
    }

    /// The value of a statistic.
    #[track_caller]
    pub(crate) fn statistic(&self, name: &str) -> u64 {
        let (_, page) = get("/stats", self.ports.admin);
        let value = page.lines().find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(": ")?;
            value.parse().ok()
        });
        value.unwrap_or_else(|| panic!("{name} is not in {page}"))
    }

    /// Ends it at once; what it has logged.
    pub(crate) fn end(self) -> String {
        ask(Method::POST, "/quitquitquit", self.ports.admin);
        self.thread.join().unwrap();
        self.log.text()
    }
}

#[track_caller]
fn ask(method: Method, path: &str, port: u16) -> (StatusCode, String) {
    let (status, body) = block_on(client::request(method, path, port)).unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[track_caller]
pub(crate) fn get(path: &str, port: u16) -> (StatusCode, String) {
    ask(Method::GET, path, port)
}

#[test]
fn the_drain_carries_what_is_open_and_ends_with_it() {
    let (listener, address) = upstream();
    let running = start(config(DEADLINE), address);
    let Ports { health, status, .. } = running.ports;
    assert_eq!(
        get("/healthz/ready", health),
        (StatusCode::OK, String::new())
    );
    let mut first = connect(running.outbound());
    let (mut first_server, _) = accept(&listener);
    let (code, _) = ask(Method::POST, "/quitquitquit", status);
    assert_eq!(code, StatusCode::OK);
    let (code, words) = until("the drain", || {
        let answer = get("/healthz/ready", health);
        (answer.0 != StatusCode::OK).then_some(answer)
    });
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(words, "not ready: the proxy is draining\n");
    // The application still works during the drain, and may make new connections.
    first.write_all(b"old").unwrap();
    expect(&mut first_server, "old");
    let mut second = connect(running.outbound());
    let (mut second_server, _) = accept(&listener);
    second.write_all(b"new").unwrap();
    expect(&mut second_server, "new");
    assert!(!running.thread.is_finished());
    drop((first, first_server, second, second_server));
    running.thread.join().unwrap();
    let log = running.log.text();
    assert_eq!(log.lines().count(), 2, "{log}");
    assert!(!log.contains(" LR "), "{log}");
}

#[test]
fn the_drain_ends_in_time_with_connections_open() {
    let (listener, address) = upstream();
    let running = start(config(Duration::from_millis(100)), address);
    let mut client = connect(running.outbound());
    let (mut server, _) = accept(&listener);
    let begun = Instant::now();
    ask(Method::POST, "/quitquitquit", running.ports.status);
    running.thread.join().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(100));
    expect_reset(&mut client);
    expect_reset(&mut server);
    let log = running.log.text();
    assert!(log.contains(" LR proxy_ended "), "{log}");
}

#[test]
fn an_operator_may_end_the_drain() {
    let (listener, address) = upstream();
    let running = start(config(Duration::from_secs(3600)), address);
    let _client = connect(running.outbound());
    let _server = accept(&listener);
    ask(Method::POST, "/quitquitquit", running.ports.status);
    ask(Method::POST, "/quitquitquit", running.ports.admin);
    running.thread.join().unwrap();
}

#[test]
fn a_taken_port_is_named_and_nothing_runs() {
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    for (purpose, ports) in [
        (
            "listener virtualOutbound",
            Ports {
                outbound: port,
                ..FREE
            },
        ),
        (
            "listener virtualInbound",
            Ports {
                inbound: port,
                ..FREE
            },
        ),
        (
            "admin",
            Ports {
                admin: port,
                ..FREE
            },
        ),
        (
            "listener status",
            Ports {
                status: port,
                ..FREE
            },
        ),
        (
            "listener health",
            Ports {
                health: port,
                ..FREE
            },
        ),
        (
            "listener metrics",
            Ports {
                metrics: port,
                ..FREE
            },
        ),
    ] {
        let mut config = config(Duration::ZERO);
        config.ports = ports;
        let leads = Arc::new(Leads(None));
        let Err(error) = block_on(Sidecar::start(config, None, leads)) else {
            panic!("{purpose} was not taken");
        };
        let words = error.to_string();
        assert!(words.starts_with(&format!("bind {purpose} on ")), "{words}");
        assert!(
            words.contains(&format!(":{port}: the port is taken")),
            "{words}"
        );
    }
}

#[test]
fn the_admin_port_answers_as_envoys() {
    let (_listener, address) = upstream();
    let running = start(config(Duration::ZERO), address);
    let Ports {
        admin,
        status,
        health,
        metrics,
        outbound,
        inbound,
        ..
    } = running.ports;
    let (code, help) = get("/help", admin);
    assert_eq!(code, StatusCode::OK);
    assert!(help.starts_with("admin commands are:\n"), "{help}");
    let (_, home) = get("/", admin);
    assert!(
        home.contains("<form action='/ready' method='get'>"),
        "{home}"
    );
    let (code, words) = get("/nothing", admin);
    assert_eq!(code, StatusCode::NOT_FOUND);
    assert_eq!(words, format!("invalid path. {help}"));
    assert_eq!(get("/ready", admin), (StatusCode::OK, "LIVE\n".to_owned()));
    let (_, listeners) = get("/listeners", admin);
    for (name, port) in [("virtualOutbound", outbound), ("virtualInbound", inbound)] {
        let line = format!("{name}::0.0.0.0:{port}");
        assert!(listeners.lines().any(|found| found == line), "{listeners}");
    }
    let (_, clusters) = get("/clusters", admin);
    for name in [
        "BlackHoleCluster",
        "InboundPassthroughCluster",
        "PassthroughCluster",
    ] {
        let line = format!("{name}::observability_name::{name}\n");
        assert!(clusters.contains(&line), "{clusters}");
    }
    for path in ["/logging", "/quitquitquit"] {
        let (code, words) = get(path, admin);
        assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(words, "Method GET not allowed, POST required.");
    }
    for (path, port) in [
        ("/stats/prometheus", admin),
        ("/stats?format=prometheus", admin),
        ("/stats/prometheus", metrics),
        ("/metrics", metrics),
        ("/stats/prometheus", status),
        ("/metrics", status),
    ] {
        let (code, text) = get(path, port);
        assert_eq!(code, StatusCode::OK);
        assert!(text.contains("\nenvoy_server_live{} 1\n"), "{path}: {text}");
    }
    for port in [status, health] {
        assert_eq!(get("/healthz/ready", port).0, StatusCode::OK);
    }
    // What it runs, as a proxy that was given it by a file.
    let (_, dump) = get("/config_dump", admin);
    for part in [
        "\"virtualInbound\"",
        "\"127.0.0.6\"",
        "\"sidecar~127.0.0.1~cart-1.shop~shop.svc.cluster.local\"",
    ] {
        assert!(dump.contains(part), "{part}: {dump}");
    }
    for format in [
        "/server_info",
        "/clusters?format=json",
        "/listeners?format=json",
    ] {
        let (_, text) = get(format, admin);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(json.is_object(), "{format}: {text}");
    }
    ask(Method::POST, "/quitquitquit", admin);
    running.thread.join().unwrap();
}

#[test]
fn statistics_tell_what_happened() {
    let (listener, address) = upstream();
    let running = start(config(Duration::ZERO), address);
    let admin = running.ports.admin;
    let mut client = connect(running.outbound());
    let (mut server, _) = accept(&listener);
    client.write_all(b"question").unwrap();
    expect(&mut server, "question");
    let used = until("the bytes to be counted", || {
        let filter = "%5C.(upstream%7Cdownstream)_cx_(total%7Cactive%7C.x_bytes_total)$";
        let (_, used) = get(&format!("/stats?usedonly&filter={filter}"), admin);
        used.contains("tx_bytes_total").then_some(used)
    });
    for line in [
        "cluster.PassthroughCluster.upstream_cx_active: 1",
        "cluster.PassthroughCluster.upstream_cx_total: 1",
        "cluster.PassthroughCluster.upstream_cx_tx_bytes_total: 8",
        "listener.0.0.0.0_0.downstream_cx_active: 1",
        "listener.0.0.0.0_0.downstream_cx_total: 1",
        "tcp.PassthroughCluster.downstream_cx_rx_bytes_total: 8",
        "tcp.PassthroughCluster.downstream_cx_total: 1",
    ] {
        assert!(used.lines().any(|found| found == line), "{line}: {used}");
    }
    assert!(!used.contains("InboundPassthroughCluster"), "{used}");
    let (_, prometheus) = get("/stats/prometheus?filter=received_bytes", admin);
    assert!(
        prometheus.starts_with(
            "# TYPE istio_tcp_received_bytes_total counter\n\
             istio_tcp_received_bytes_total{reporter=\"source\",source_workload=\"cart-1\",\
             source_canonical_service=\"cart\",source_canonical_revision=\"latest\",\
             source_workload_namespace=\"shop\","
        ),
        "{prometheus}"
    );
    assert!(
        prometheus.ends_with(
            "request_protocol=\"tcp\",response_flags=\"-\",\
             connection_security_policy=\"unknown\"} 8\n"
        ),
        "{prometheus}"
    );
    let (_, json) = get("/stats?format=json&filter=server.live", admin);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json,
        serde_json::json!({ "stats": [{ "name": "server.live", "value": 1 }] })
    );
    let (code, words) = get("/stats?filter=(", admin);
    assert_eq!(code, StatusCode::BAD_REQUEST);
    assert!(words.starts_with("Invalid re2 regex: "), "{words}");
    drop((client, server));
    ask(Method::POST, "/quitquitquit", admin);
    running.thread.join().unwrap();
}

#[test]
fn a_proxy_to_which_nothing_is_redirected_is_ready() {
    let (_, address) = upstream();
    let config = Config {
        interception_mode: InterceptionMode::None,
        ..config(DEADLINE)
    };
    let running = start(config, address);
    let answer = get("/healthz/ready", running.ports.health);
    assert_eq!(answer, (StatusCode::OK, String::new()));
    running.end();
}

#[test]
fn waiting_ends_when_the_proxy_is_ready_or_the_time_is_over() {
    let (_listener, address) = upstream();
    let running = start(config(Duration::ZERO), address);
    let uri = |port| {
        format!("http://localhost:{port}/healthz/ready")
            .parse::<hyper::Uri>()
            .unwrap()
    };
    let period = Duration::from_millis(1);
    block_on(client::wait(&uri(running.ports.health), DEADLINE, period)).unwrap();
    ask(Method::POST, "/quitquitquit", running.ports.admin);
    running.thread.join().unwrap();
    let nobody = uri(running.ports.health);
    let error = block_on(client::wait(&nobody, Duration::from_millis(50), period)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "not ready after 50ms: connect to 127.0.0.1:{} (is the proxy running?): Connection \
             refused (os error 111)",
            running.ports.health
        )
    );
    let named = "http://proxy.example/".parse().unwrap();
    let error = block_on(client::wait(&named, Duration::from_millis(50), period)).unwrap_err();
    assert!(
        error.to_string().contains("IP address or localhost"),
        "{error}"
    );
}
