//! Each path of the admin port.

use std::net::TcpStream;

use super::{Process, Scratch, bootstrap, cluster, context, free, greeter, greeting, listener};
use crate::rig::until;

/// What is asked, and the status and some words of the answer.
const ANSWERS: [(&str, &str, u16, &str); 55] = [
    ("GET", "/", 200, "<form action='/stats' method='get'>"),
    (
        "GET",
        "/nope",
        404,
        "invalid path. admin commands are:\n  /: ",
    ),
    (
        "GET",
        "/help",
        200,
        "\n  /drain_listeners (POST): drain listeners\n      graceful: ",
    ),
    ("POST", "/allocprofiler?enable=y", 501, "not recorded"),
    (
        "GET",
        "/allocprofiler",
        405,
        "Method GET not allowed, POST required.",
    ),
    ("GET", "/certs", 200, "server.crt\""),
    (
        "GET",
        "/clusters",
        200,
        "\na::default_priority::max_connections::1024\n",
    ),
    ("GET", "/clusters", 200, "::cx_total::0\n"),
    ("GET", "/clusters?filter=nope", 200, ""),
    ("GET", "/clusters?filter=(", 400, "Invalid re2 regex"),
    (
        "GET",
        "/clusters?format=json",
        200,
        "\"eds_health_status\": \"HEALTHY\"",
    ),
    (
        "GET",
        "/config_dump",
        200,
        "envoy.admin.v3.BootstrapConfigDump",
    ),
    ("GET", "/config_dump", 200, "\"filename\": \"[redacted]\""),
    (
        "GET",
        "/config_dump?include_eds",
        200,
        "envoy.admin.v3.EndpointsConfigDump",
    ),
    (
        "GET",
        "/config_dump?mask=static_listeners",
        200,
        "\"name\": \"open\"",
    ),
    (
        "GET",
        "/config_dump?mask=nope",
        400,
        "FieldMask nope could not be successfully applied to any configs.",
    ),
    (
        "GET",
        "/config_dump?resource=static_clusters&mask=cluster.name",
        200,
        "ClustersConfigDump.StaticCluster",
    ),
    (
        "GET",
        "/config_dump?resource=nope",
        404,
        "nope not found in config dump",
    ),
    (
        "GET",
        "/config_dump?resource=bootstrap",
        400,
        "bootstrap is not a repeated field.",
    ),
    (
        "GET",
        "/config_dump?name_regex=(",
        400,
        "Error while parsing name_regex from (: ",
    ),
    ("GET", "/contention", 200, "Mutex contention is not traced"),
    ("POST", "/cpuprofiler", 400, "?enable=<y|n>"),
    ("POST", "/cpuprofiler?enable=y", 501, "perf record"),
    ("GET", "/heap_dump", 501, "not recorded"),
    ("POST", "/heapprofiler", 501, "not recorded"),
    ("GET", "/peak_heap_dump", 501, "not recorded"),
    ("GET", "/memory/tcmalloc", 501, "not recorded"),
    ("GET", "/hot_restart_version", 200, "disabled"),
    ("GET", "/init_dump", 200, "{}"),
    ("GET", "/listeners", 200, "open::127."),
    (
        "GET",
        "/listeners?format=json",
        200,
        "\"listener_statuses\": [",
    ),
    ("POST", "/logging", 404, "this process has no log"),
    ("GET", "/memory", 200, "\"total_physical_bytes\": \""),
    ("GET", "/ready", 200, "LIVE"),
    ("POST", "/reopen_logs", 200, "OK\n"),
    ("POST", "/reset_counters", 200, "OK\n"),
    ("GET", "/runtime", 200, "\"final_value\": \"7\""),
    (
        "POST",
        "/runtime_modify",
        400,
        "usage: /runtime_modify?key1=value1",
    ),
    (
        "POST",
        "/runtime_modify?a=1",
        503,
        "No admin layer specified",
    ),
    ("GET", "/server_info", 200, "\"state\": \"LIVE\""),
    (
        "GET",
        "/server_info",
        200,
        "\"user_agent_name\": \"fairlead-proxy\"",
    ),
    ("GET", "/stats?filter=server.live", 200, "server.live: "),
    (
        "GET",
        "/stats?filter=server.live&invert_filter",
        200,
        "server.uptime: ",
    ),
    ("GET", "/stats?format=json&type=Gauges", 200, "{\"stats\":["),
    ("GET", "/stats?format=html", 200, "server.live: "),
    (
        "GET",
        "/stats?format=prometheus",
        200,
        "# TYPE envoy_server_live gauge",
    ),
    (
        "GET",
        "/stats/prometheus",
        200,
        "# TYPE envoy_server_live gauge",
    ),
    ("GET", "/stats/recentlookups", 200, "total: 0"),
    ("POST", "/stats/recentlookups/clear", 200, "OK\n"),
    ("POST", "/stats/recentlookups/disable", 200, "OK\n"),
    (
        "POST",
        "/stats/recentlookups/enable",
        501,
        "there are no lookups",
    ),
    ("GET", "/stats/recentlookups/enable", 405, "POST required."),
    ("POST", "/tap", 501, "nothing to tap"),
    ("GET", "/quitquitquit", 405, "POST required."),
    ("GET", "/drain_listeners", 405, "POST required."),
];

#[test]
fn each_path_is_answered_as_envoy_answers_it() {
    let scratch = Scratch::new("admin");
    let authority = super::Authority::new();
    authority.issue(&scratch, "server", "spiffe://a/server");
    scratch.write("ca.crt", &authority.0.pem());
    let (admin, open, encrypted) = (free(), free(), free());
    let endpoint = greeter("hello");
    let tls = context(&scratch, "Downstream", "server", "spiffe://a/client");
    let listeners = [
        listener("open", open, "a", ""),
        listener("encrypted", encrypted, "a", &tls),
    ];
    let text = bootstrap(admin, &listeners, &[cluster("a", endpoint, "")]);
    let runtime = "layered_runtime: {layers: [{name: one, static_layer: {x: {y: 7}}}]}\n";
    let path = scratch.write("bootstrap.yaml", &(text + runtime));
    let process = Process::start(&path, admin);
    for (method, path, status, words) in ANSWERS {
        let answer = process.ask(method, path);
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{method} {path}: {answer}");
        assert!(answer.contains(words), "{method} {path}: {answer}");
        assert!(answer.contains("\r\ncache-control: no-cache, max-age=0\r\n"));
    }
    // What a connection leaves behind.
    greeting(open, "hello");
    let line = format!("a::{endpoint}::cx_total::1\n");
    assert!(process.ask("GET", "/clusters").contains(&line));
    // Health checks fail while connections are carried.
    assert!(process.ask("POST", "/healthcheck/fail").ends_with("OK\n"));
    let answer = process.ask("GET", "/ready");
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("DRAINING\n"));
    process.counted("server.live", "0");
    greeting(open, "hello");
    assert!(process.ask("POST", "/healthcheck/ok").ends_with("OK\n"));
    assert!(process.ask("GET", "/ready").starts_with("HTTP/1.1 200 "));
    process.counted("server.live", "1");
    // Neither stops what listens: the first for nothing is inbound, the second as it says.
    for path in ["/drain_listeners?inboundonly", "/drain_listeners?skip_exit"] {
        assert!(process.ask("POST", path).ends_with("OK\n"));
        greeting(open, "hello");
    }
    let mut carried = greeting(open, "hello");
    assert!(process.ask("POST", "/drain_listeners").ends_with("OK\n"));
    until("the listener's end", || TcpStream::connect(open).err());
    process.counted("listener_manager.listener_stopped", "2");
    super::echoed(&mut carried, "still here");
}
