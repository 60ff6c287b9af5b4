use std::time::Duration;

use clap::Parser;

use super::*;
use crate::arguments::{Arguments, Command};

fn read(
    environment: &[(&str, &str)],
    arguments: &[&str],
    files: &PodFiles,
) -> Result<Config, ConfigError> {
    let line = ["fairlead-proxy", "sidecar"].iter().chain(arguments);
    let Some(Command::Sidecar(arguments)) = Arguments::parse_from(line).command else {
        unreachable!("the command line says sidecar");
    };
    let lookup = |name: &str| {
        let (_, value) = environment.iter().find(|(key, _)| *key == name)?;
        Some((*value).to_owned())
    };
    let names = environment.iter().map(|(name, _)| (*name).to_owned());
    Config::from_lookup(lookup, names, &arguments, files)
}

#[track_caller]
fn check_workers(environment: &[(&str, &str)], expected: u16) {
    let config = read(environment, &[], &PodFiles::default()).unwrap();
    assert_eq!(config.workers, expected);
}

#[test]
fn an_empty_environment_is_the_defaults() {
    let config = read(&[], &[], &PodFiles::default()).unwrap();
    assert_eq!(config.proxy, ProxyConfig::default());
    assert_eq!(config.log_level, LogLevel::Info);
    assert!(config.exit_on_zero_connections);
    assert_eq!(
        config.node.id(),
        "sidecar~127.0.0.1~unknown.default~default.svc.cluster.local"
    );
}

#[test]
fn workers_follow_the_configuration_then_the_cpu_limit() {
    check_workers(&[], 2);
    check_workers(&[("ISTIO_CPU_LIMIT", "")], 2);
    check_workers(&[("ISTIO_CPU_LIMIT", "4")], 4);
    check_workers(&[("ISTIO_CPU_LIMIT", "65536")], 512);
    let concurrency = ("PROXY_CONFIG", r#"{"concurrency":3}"#);
    check_workers(&[("ISTIO_CPU_LIMIT", "4"), concurrency], 3);
    let automatic = ("PROXY_CONFIG", r#"{"concurrency":0}"#);
    check_workers(&[("ISTIO_CPU_LIMIT", "4"), automatic], 4);
}

#[test]
fn a_pod_tells_who_it_is() {
    let files = PodFiles {
        labels: "app=\"cart\"\nversion=\"v2\"\n".to_owned(),
        annotations: "note=\"a \\\"b\\\" \\u00e9\\n\\x01\"".to_owned(),
    };
    let environment = [
        ("POD_NAME", "cart-1"),
        ("POD_NAMESPACE", "shop"),
        ("INSTANCE_IP", "fd00::7"),
        ("SERVICE_ACCOUNT", "cart"),
        ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
        ("ISTIO_META_WORKLOAD_NAME", "cart"),
        ("PATH", "/bin"),
    ];
    let arguments = ["--domain", "shop.svc.example", "--proxyLogLevel=debug"];
    let config = read(&environment, &arguments, &files).unwrap();
    let node = &config.node;
    assert_eq!(node.id(), "sidecar~fd00::7~cart-1.shop~shop.svc.example");
    assert_eq!(node.cluster(), "cart.shop");
    assert_eq!(node.canonical_revision(), "v2");
    assert_eq!(node.annotations["note"], "a \"b\" é\n\x01");
    assert_eq!(config.log_level, LogLevel::Debug);
    assert_eq!(
        node.metadata(),
        serde_json::json!({
            "ANNOTATIONS": { "note": "a \"b\" é\n\x01" },
            "CLUSTER_ID": "Kubernetes",
            "INSTANCE_IPS": "fd00::7",
            "LABELS": { "app": "cart", "version": "v2" },
            "NAME": "cart-1",
            "NAMESPACE": "shop",
            "SERVICE_ACCOUNT": "cart",
            "WORKLOAD_NAME": "cart",
        })
    );
}

#[test]
fn the_mesh_configures_the_proxy() {
    let json = r#"{"accessLog":"all","connectTimeout":"3s","terminationDrainDuration":"1m"}"#;
    let environment = [
        ("PROXY_CONFIG", json),
        ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "false"),
    ];
    let config = read(&environment, &[], &PodFiles::default()).unwrap();
    assert_eq!(config.proxy.connect_timeout, Duration::from_secs(3));
    assert!(!config.exit_on_zero_connections);
}

#[test]
fn inbound_connections_come_as_the_pod_says() {
    for (environment, expected) in [
        (&[][..], InterceptionMode::Redirect),
        (&[(MODE, "")], InterceptionMode::Redirect),
        (&[(MODE, "REDIRECT")], InterceptionMode::Redirect),
        (&[(MODE, "TPROXY")], InterceptionMode::Tproxy),
        (&[(MODE, "NONE")], InterceptionMode::None),
    ] {
        let config = read(environment, &[], &PodFiles::default()).unwrap();
        assert_eq!(config.interception_mode, expected);
    }
}

const MODE: &str = "ISTIO_META_INTERCEPTION_MODE";

const PAGES: &str = "ISTIO_PROMETHEUS_ANNOTATIONS";
const PROBES: &str = "ISTIO_KUBE_APP_PROBERS";

#[test]
fn the_pod_tells_what_the_application_is_asked() {
    let probes = r#"{"/app-health/web/readyz":{"tcpSocket":{"port":80}}}"#;
    let config = read(&[(PROBES, probes)], &[], &PodFiles::default()).unwrap();
    assert_eq!(config.app_probes.len(), 1);
    let config = read(&[(PROBES, "")], &[], &PodFiles::default()).unwrap();
    assert!(config.app_probes.is_empty());
    let pages = r#"{"scrape":"true","port":"8080"}"#;
    let config = read(&[(PAGES, pages)], &[], &PodFiles::default()).unwrap();
    assert_eq!(config.app_metrics.targets[0].port, 8080);
}

#[test]
fn the_status_port_may_move_or_be_left_out() {
    let ports = |arguments: &[&str]| read(&[], arguments, &PodFiles::default()).map(|c| c.ports);
    let moved = ports(&["--status-port", "16020"]).unwrap();
    assert_eq!((moved.status, moved.no_status), (16020, false));
    let none = ports(&["--no-status-port", "--metrics-port", "15020"]).unwrap();
    assert!(none.no_status);
    assert!(ports(&["--metrics-port", "15020"]).is_err());
}

#[test]
fn every_fault_is_told_at_once() {
    let files = PodFiles {
        labels: "app=cart".to_owned(),
        annotations: String::new(),
    };
    let environment = [
        ("PROXY_CONFIG", r#"{"accesLog":"all"}"#),
        ("ISTIO_CPU_LIMIT", "100m"),
        ("INSTANCE_IP", "pod"),
        ("EXIT_ON_ZERO_ACTIVE_CONNECTIONS", "maybe"),
        (MODE, "none"),
        (PROBES, r#"{"/app-health/web/readyz":{}}"#),
        (PAGES, r#"{"scrape":"true","port":"http"}"#),
    ];
    let arguments = ["--inbound-port", "15001", "--health-port", "15001"];
    let error = read(&environment, &arguments, &files)
        .unwrap_err()
        .to_string();
    for words in [
        "PROXY_CONFIG: unknown field `accesLog`",
        "ISTIO_CPU_LIMIT: '100m' is wrong: whole cores, such as 2 is accepted",
        "port 15001 is given to outbound and inbound and health at once",
        "INSTANCE_IP: 'pod' is wrong: an IP address is accepted",
        "/etc/istio/pod/labels: 'app=cart' is wrong",
        "EXIT_ON_ZERO_ACTIVE_CONNECTIONS: 'maybe' is wrong: true or false is accepted",
        "ISTIO_META_INTERCEPTION_MODE: 'none' is wrong: REDIRECT, TPROXY or NONE is accepted",
        "ISTIO_PROMETHEUS_ANNOTATIONS: 'http' is not a port",
        "ISTIO_KUBE_APP_PROBERS: exactly one of httpGet, tcpSocket and grpc is accepted",
    ] {
        assert!(error.contains(words), "{words} is not in {error}");
    }
}

#[test]
fn a_configuration_is_an_object() {
    for text in ["[]", r#"[1,"off"]"#, "null"] {
        let error = read(&[("PROXY_CONFIG", text)], &[], &PodFiles::default()).unwrap_err();
        assert!(error.to_string().contains("a JSON object"), "{error}");
    }
}

#[test]
fn too_many_workers_are_refused() {
    let environment = [("PROXY_CONFIG", r#"{"concurrency":5000}"#)];
    let error = read(&environment, &[], &PodFiles::default()).unwrap_err();
    assert!(error.to_string().contains("5000 worker threads"), "{error}");
}
