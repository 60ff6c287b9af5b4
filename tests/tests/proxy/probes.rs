//! The status port, asked from the node as the kubelet and Prometheus do, past a real redirect.

use std::{
    io::Write,
    net::TcpStream,
    process::{Command, Stdio},
};

use fairlead_tests::{
    netns::{Namespace, Process, User},
    wait,
};

use crate::{
    pod::{CALLED, Pod, bounded, cable, rest, sidecar, socket_address, two_namespaces},
    tproxy,
};

const PROBES: &str = r#"{
    "/app-health/app/startupz": { "httpGet": { "port": 8080, "path": "/" } },
    "/app-health/app/livez": { "httpGet": { "port": 8443, "path": "/healthz", "scheme": "HTTPS" } },
    "/app-health/app/readyz": { "grpc": { "port": 9001, "service": "testapp" } },
    "/app-health/sidecar/livez": { "tcpSocket": { "port": 9000 } },
    "/app-health/sidecar/readyz": { "tcpSocket": { "port": 7000 } }
}"#;
const METRICS: &str = r#"{ "scrape": "true", "port": "8080", "path": "/metrics" }"#;

/// The test application, with all that it serves.
fn application(pod: &Namespace) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fairlead-testapp"));
    command.args(["serve", "--https", "[::]:8443", "--grpc", "[::]:9001"]);
    let process = pod.spawn_as(User::APPLICATION, command);
    for port in [8080, 8443, 9000, 9001] {
        wait::for_listener(pod, port);
    }
    process
}

/// The sidecar of the called pod, by its address.
fn proxy(address: &str) -> Command {
    let mut command = sidecar();
    command
        .env("INSTANCE_IP", address)
        .env("ISTIO_KUBE_APP_PROBERS", PROBES)
        .env("ISTIO_PROMETHEUS_ANNOTATIONS", METRICS)
        .stdout(Stdio::piped());
    command
}

/// Status and body.
#[track_caller]
fn ask(node: &Namespace, address: &str, path: &str) -> (String, String) {
    let address = socket_address(address, 15020);
    // On a node nothing is captured.
    let connected = node.run_as(User::PROXY, || {
        TcpStream::connect_timeout(&address, wait::DEADLINE)
    });
    let mut stream = match connected {
        Ok(stream) => bounded(stream),
        Err(error) => panic!("connect to {address}: {error}"),
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: pod:15020\r\nConnection: close\r\n\r\n");
    let sent = stream.write_all(request.as_bytes());
    assert!(sent.is_ok(), "{sent:?}");
    let answer = rest(&mut stream);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    (head.chars().skip(9).take(3).collect(), body.to_owned())
}

/// Asks for everything, at one address of the pod.
#[track_caller]
fn check(node: &Namespace, address: &str, source: &str) {
    let (status, body) = ask(node, address, "/app-health/app/startupz");
    assert_eq!(status, "200", "{body}");
    let words = format!("called from {source}");
    assert!(body.contains(&words), "{words} is not in {body}");
    for path in ["app/livez", "app/readyz", "sidecar/livez"] {
        let (status, body) = ask(node, address, &format!("/app-health/{path}"));
        assert_eq!(status, "200", "{path}: {body}");
    }
    let (status, body) = ask(node, address, "/app-health/sidecar/readyz");
    assert_eq!(status, "500");
    assert!(
        body.contains("no application in this pod listens"),
        "{body}"
    );
    let (_, page) = ask(node, address, "/stats/prometheus");
    for line in [
        "envoy_server_live{} 1",
        "testapp_requests_total{path=\"/\"}",
    ] {
        assert!(page.contains(line), "{line} is not in {page}");
    }
}

/// The pod's addresses, and those that the proxy asks from.
const FAMILIES: [(&str, &str); 2] = [(CALLED[0], "127.0.0.6"), (CALLED[1], "::6")];

#[test]
#[ignore = "needs root"]
fn the_status_port_asks_the_application_past_the_redirect() {
    let (node, called) = two_namespaces();
    let _application = application(&called);
    let mut pod = Pod::start_command(called, proxy(CALLED[0]));
    for (address, source) in FAMILIES {
        pod.start_proxy(proxy(address));
        check(&node, address, source);
    }
    // None of it was captured: the proxy that asks is not a peer.
    assert_eq!(pod.log(), Vec::<String>::new());
}

#[test]
#[ignore = "needs root"]
fn a_transparent_proxys_status_port_asks_the_application_too() {
    for (address, source) in FAMILIES {
        let (node, called) = cable();
        let called = tproxy::redirect(called);
        let _application = application(&called);
        let command = tproxy::transparent(&proxy(address));
        let pod = Pod::start_as(tproxy::TRANSPARENT, called, command);
        check(&node, address, source);
        assert_eq!(pod.log(), Vec::<String>::new());
    }
}
