//! What `istioctl proxy-config` prints of our admin port is what it prints of Envoy's, for the same
//! bootstrap.

use std::{
    collections::BTreeMap,
    env, fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use bytes::Bytes;
use fairlead_tests::{binary, wait};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SerialNumber, date_time_ymd,
};

/// How long a program may take until it says that it is ready.
const START: Duration = Duration::from_secs(30);

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(20);

/// What is printed, and of which page.
const COMMANDS: [(&str, Page); 5] = [
    ("listeners", Page::ConfigDump),
    ("clusters", Page::ConfigDump),
    ("secret", Page::ConfigDump),
    ("eds", Page::ConfigDump),
    ("endpoints", Page::Clusters),
];

/// What the tool asks of the admin port.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Page {
    ConfigDump,
    Clusters,
}

impl Page {
    fn path(self) -> &'static str {
        match self {
            Self::ConfigDump => "/config_dump?include_eds=true",
            Self::Clusters => "/clusters?format=json",
        }
    }
}

fn program(variable: &str) -> PathBuf {
    let path = env::var_os(variable).map(PathBuf::from);
    let path = path.unwrap_or_else(|| {
        panic!("{variable} is unset: run through `cargo xtask test`, which gets the program and sets it")
    });
    assert!(path.is_file(), "{} is no program", path.display());
    path
}

/// Ends with the test, or when its turn is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has told then.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory that is gone after the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("fairlead-istioctl-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("make a directory");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).expect("write a file");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs of a test do no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Asks the admin port; none as long as it does not answer 200.
fn ask(admin: SocketAddr, path: &str) -> Result<Option<Bytes>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(admin).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = Request::get(path)
            .header(HOST, "admin")
            .body(Empty::<Bytes>::new())?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status == StatusCode::OK).then_some(body))
    })
}

/// What the tool prints of the program, line by line, in the order of the lines.
fn rows(command: &mut Command, scratch: &Scratch, admin: SocketAddr) -> Result<Rows> {
    let log = fs::File::create(scratch.0.join("log"))?;
    let running = command
        .arg("-c")
        .arg(scratch.0.join("bootstrap.yaml"))
        .args(["--concurrency", "1"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let _running = Running(running);
    wait::until_within(START, PAUSE, &format!("{command:?}"), || {
        ask(admin, "/ready").ok().flatten()
    });
    let tool = program("FAIRLEAD_ISTIOCTL");
    let mut rows = Rows::new();
    for (what, page) in COMMANDS {
        let body = ask(admin, page.path())?.context("the admin port refuses to answer")?;
        let file = scratch.0.join(format!("{page:?}.json"));
        fs::write(&file, body)?;
        rows.insert(what, print(&tool, what, &file)?);
    }
    Ok(rows)
}

type Rows = BTreeMap<&'static str, Vec<String>>;

fn print(tool: &Path, what: &str, file: &Path) -> io::Result<Vec<String>> {
    let output = Command::new(tool)
        .args(["proxy-config", what, "--file"])
        .arg(file)
        // It looks for the configuration of a cluster, which there is none of.
        .env("HOME", env::temp_dir())
        .env_remove("KUBECONFIG")
        .output()?;
    let mut lines: Vec<String> = [&output.stdout, &output.stderr]
        .into_iter()
        .flat_map(|text| {
            String::from_utf8_lossy(text)
                .lines()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .map(|line| line.trim_end().to_owned())
        .collect();
    lines.sort();
    Ok(lines)
}

/// Runs the bootstrap with either program. `HOST` in it is an address of loopback that no other test
/// has, `DIR` the directory of its files; `expected` is how many lines each command prints at least.
#[track_caller]
fn check(name: &str, host: u8, bootstrap: &str, files: &[(&str, String)], expected: [usize; 5]) {
    let scratch = Scratch::new(name);
    let host = format!("127.0.41.{host}");
    let directory = scratch.0.display().to_string();
    let fill = |text: &str| text.replace("HOST", &host).replace("DIR", &directory);
    for (name, text) in files {
        scratch.write(name, &fill(text));
    }
    let whole = format!(
        "node: {{id: me, cluster: ours}}\n\
         admin: {{address: {{socket_address: {{address: HOST, port_value: 9901}}}}}}\n{bootstrap}"
    );
    scratch.write("bootstrap.yaml", &fill(&whole));
    let admin = format!("{host}:9901").parse().expect("an address");
    let mut envoy = Command::new(program("FAIRLEAD_ENVOY"));
    envoy.args(["--disable-hot-restart", "--log-level", "warning"]);
    let envoys = rows(&mut envoy, &scratch, admin).expect("ask Envoy");
    for ((command, _), expected) in COMMANDS.iter().zip(expected) {
        let lines = &envoys[command];
        assert!(lines.len() >= expected, "Envoy's {command}: {lines:#?}");
    }
    let mut ours = Command::new(binary("fairlead-proxy"));
    let ours = rows(&mut ours, &scratch, admin).expect("ask ours");
    for (command, lines) in &envoys {
        assert_eq!(&ours[command], lines, "{command}");
    }
}

fn tcp_proxy(cluster: &str) -> String {
    format!(
        r#"filters: [{{name: tcp, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: a, {cluster}}}}}]"#
    )
}

#[test]
#[ignore = "needs Envoy and istioctl"]
fn listeners_are_the_same() {
    let one = tcp_proxy("cluster: one");
    let weighted = tcp_proxy(
        "weighted_clusters: {clusters: [{name: one, weight: 1}, {name: \"outbound|80||two.shop.svc.cluster.local\", weight: 3}]}",
    );
    let bootstrap = format!(
        r#"
static_resources:
  listeners:
  - name: plain
    address: {{socket_address: {{address: HOST, port_value: 10000}}}}
    filter_chains: [{{{one}}}]
  - name: matched
    traffic_direction: INBOUND
    address: {{socket_address: {{address: HOST, port_value: 10001}}}}
    listener_filters:
    - {{name: envoy.filters.listener.tls_inspector, typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector}}}}
    filter_chains:
    - {{filter_chain_match: {{destination_port: 8080, transport_protocol: tls, application_protocols: [istio, istio-http/1.1]}}, {one}}}
    - {{filter_chain_match: {{server_names: [a.example, "*.b.example"]}}, {weighted}}}
    - {{filter_chain_match: {{prefix_ranges: [{{address_prefix: 10.0.0.0, prefix_len: 8}}, {{address_prefix: 192.168.1.1, prefix_len: 32}}]}}, {one}}}
    - {{name: raw, filter_chain_match: {{transport_protocol: raw_buffer}}, {one}}}
    default_filter_chain: {{{weighted}}}
  - name: virtualOutbound
    traffic_direction: OUTBOUND
    use_original_dst: true
    address: {{socket_address: {{address: HOST, port_value: 15001}}}}
    additional_addresses: [{{address: {{socket_address: {{address: HOST, port_value: 15002}}}}}}]
    filter_chains: [{{name: virtualOutbound-catchall-tcp, {one}}}]
  - name: 0.0.0.0_7000
    bind_to_port: false
    address: {{socket_address: {{address: 0.0.0.0, port_value: 7000}}}}
    filter_chains: [{{{one}}}]
  clusters: [{{name: one, type: STATIC}}]
"#
    );
    check("listeners", 1, &bootstrap, &[], [7, 2, 1, 1, 1]);
}

#[test]
#[ignore = "needs Envoy and istioctl"]
fn clusters_and_endpoints_are_the_same() {
    let bootstrap = r#"
static_resources:
  clusters:
  - name: "outbound|8000|v1|httpbin.foo.svc.cluster.local"
    type: STATIC
    metadata: {filter_metadata: {istio: {config: /apis/networking.istio.io/v1/namespaces/foo/destination-rule/httpbin}}}
    load_assignment:
      cluster_name: a
      endpoints:
      - locality: {region: r, zone: z, sub_zone: s}
        load_balancing_weight: 2
        lb_endpoints:
        - {endpoint: {address: {socket_address: {address: 127.9.0.1, port_value: 80}}, hostname: h}, load_balancing_weight: 3}
        - {endpoint: {address: {socket_address: {address: 127.9.0.2, port_value: 80}}}, health_status: DRAINING}
        - {endpoint: {address: {socket_address: {address: 127.9.0.3, port_value: 80}}}, health_status: UNHEALTHY}
        - {endpoint: {address: {socket_address: {address: 127.9.0.4, port_value: 80}}}, health_status: DEGRADED}
        - {endpoint: {address: {socket_address: {address: 127.9.0.5, port_value: 80}}}, health_status: TIMEOUT}
      - priority: 1
        lb_endpoints:
        - {endpoint: {address: {socket_address: {address: "::1", port_value: 81}}}, health_status: HEALTHY}
  - {name: "inbound|8080||", type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED}
  - name: "outbound|9000||file.foo.svc.cluster.local"
    type: EDS
    outlier_detection: {consecutive_5xx: 3}
    eds_cluster_config: {service_name: service, eds_config: {path_config_source: {path: DIR/eds.json}}}
  - name: named
    type: STRICT_DNS
    dns_lookup_family: V4_ONLY
    load_assignment:
      cluster_name: named
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: localhost, port_value: 82}}}}]}]
  - name: logical
    type: LOGICAL_DNS
    dns_lookup_family: V4_ONLY
    load_assignment:
      cluster_name: logical
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: localhost, port_value: 83}}}}]}]
  - name: unhealthy
    type: STATIC
    health_checks: [{timeout: 0.1s, interval: 60s, unhealthy_threshold: 1, healthy_threshold: 1, tcp_health_check: {}}]
    load_assignment:
      cluster_name: unhealthy
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: HOST, port_value: 84}}}}]}]
"#;
    let eds = r#"{"version_info":"v1","resources":[{"@type":"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment","cluster_name":"service","endpoints":[{"locality":{"region":"x"},"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"127.9.1.1","port_value":90}}}}]}]}]}"#;
    let files = [("eds.json", eds.to_owned())];
    check("clusters", 2, bootstrap, &files, [1, 7, 1, 10, 10]);
}

#[test]
#[ignore = "needs Envoy and istioctl"]
fn secrets_are_the_same() {
    let [(server, server_key), (root, _)] = ["server", "root"].map(|name| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(vec![1, 2, 3]));
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2100, 1, 1);
        if name == "root" {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let key = KeyPair::generate().expect("make a key");
        let certificate = params.self_signed(&key).expect("make a certificate");
        (certificate.pem(), key.serialize_pem())
    });
    let sds = |name: &str, secret: serde_json::Value| {
        let mut resource = serde_json::json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            "name": name,
        });
        for (key, value) in secret.as_object().expect("an object") {
            resource[key] = value.clone();
        }
        serde_json::json!({ "version_info": "v1", "resources": [resource] }).to_string()
    };
    let files = [
        ("server.crt", server.clone()),
        ("server.key", server_key.clone()),
        (
            "inline.json",
            sds(
                "default",
                serde_json::json!({ "tls_certificate": {
                    "certificate_chain": { "inline_string": server },
                    "private_key": { "inline_string": server_key },
                } }),
            ),
        ),
        (
            "named.json",
            sds(
                "named",
                serde_json::json!({ "tls_certificate": {
                    "certificate_chain": { "filename": "DIR/server.crt" },
                    "private_key": { "filename": "DIR/server.key" },
                } }),
            ),
        ),
        (
            "root.json",
            sds(
                "ROOTCA",
                serde_json::json!({ "validation_context": {
                    "trusted_ca": { "inline_string": root },
                } }),
            ),
        ),
    ];
    let proxy = tcp_proxy("cluster: one");
    let bootstrap = format!(
        r#"
static_resources:
  listeners:
  - name: encrypted
    address: {{socket_address: {{address: HOST, port_value: 10000}}}}
    filter_chains:
    - {proxy}
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificate_sds_secret_configs:
            - {{name: default, sds_config: {{path_config_source: {{path: DIR/inline.json}}}}}}
            - {{name: named, sds_config: {{path_config_source: {{path: DIR/named.json}}}}}}
            validation_context_sds_secret_config: {{name: ROOTCA, sds_config: {{path_config_source: {{path: DIR/root.json}}}}}}
  clusters: [{{name: one, type: STATIC}}]
  secrets:
  - name: given
    tls_certificate:
      certificate_chain: {{filename: DIR/server.crt}}
      private_key: {{filename: DIR/server.key}}
"#
    );
    check("secrets", 3, &bootstrap, &files, [2, 2, 4, 1, 1]);
}
