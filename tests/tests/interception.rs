//! Every way to intercept, in injected pods: REDIRECT and TPROXY, by iptables and by nftables.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{
    process::Command,
    sync::{Mutex, PoisonError},
};

use fairlead_tests::binary;
use fairlead_tests::kube::workloads::{CLIENT, SERVER};
use fairlead_tests::kube::{
    RELEASE_NAMESPACE, TestNamespace, container_process, helm, install, install_arguments, object,
    until,
};
use serde_json::Value;

/// The backend is a setting of the whole mesh.
static ALONE: Mutex<()> = Mutex::new(());

/// What the rules of a pod are made by.
struct Rules {
    iptables: String,
    nftables: String,
}

impl Rules {
    fn of(pod: &Value) -> Self {
        let process = container_process(pod, "istio-proxy").to_string();
        let run = |program: &[&str]| {
            let output = Command::new("nsenter")
                .args(["--net", "--target", &process])
                .args(program)
                .output()
                .unwrap();
            assert!(output.status.success(), "{program:?}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        Self {
            iptables: run(&["iptables-save"]) + &run(&["ip6tables-save"]),
            // The program warns about tables of iptables, which it lists all the same.
            nftables: run(&["nft", "list", "tables"]),
        }
    }
}

#[test]
#[ignore = "needs root"]
fn iptables_redirects() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let rules = rules_of_a_called_pod("test-redirect", "REDIRECT");
    assert!(rules.iptables.contains("-j REDIRECT --to-ports 15006"));
    assert!(!rules.iptables.contains("TPROXY"));
    assert!(
        !rules.nftables.contains("istio-proxy"),
        "{}",
        rules.nftables
    );
}

#[test]
#[ignore = "needs root"]
fn iptables_hands_over_with_addresses_unchanged() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let rules = rules_of_a_called_pod("test-tproxy", "TPROXY");
    assert!(rules.iptables.contains("-j TPROXY --on-port 15006"));
    let redirected = "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT";
    assert!(!rules.iptables.contains(redirected));
    assert!(
        !rules.nftables.contains("istio-proxy"),
        "{}",
        rules.nftables
    );
}

#[test]
#[ignore = "needs root"]
fn nftables_does_both() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    set_native("true");
    for (namespace, mode, tables) in [
        ("test-native", "REDIRECT", &["nat"][..]),
        ("test-native-tproxy", "TPROXY", &["mangle", "nat"]),
    ] {
        let rules = rules_of_a_called_pod(namespace, mode);
        assert!(!rules.iptables.contains("ISTIO_"), "{}", rules.iptables);
        for table in tables {
            let table = format!("table inet istio-proxy-{table}");
            assert!(rules.nftables.contains(&table), "{}", rules.nftables);
        }
    }
    set_native("false");
}

/// Upgrades the installation, and waits until only replicas with the new setting answer: one that
/// ends does so for a while, with the old one.
fn set_native(value: &str) {
    let pods = || {
        let pods = object(&format!("pods --namespace={RELEASE_NAMESPACE}"));
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        pods.iter()
            .map(|pod| pod["metadata"]["name"].to_string())
            .collect::<Vec<_>>()
    };
    let before = pods();
    let setting = format!("injection.nativeNftables={value}");
    let mut arguments = install_arguments();
    arguments.extend(["--set".to_owned(), setting, "--wait".to_owned()]);
    helm(&arguments);
    until("the end of the old replicas", || {
        pods()
            .iter()
            .all(|name| !before.contains(name))
            .then_some(())
    });
}

/// A client calls a server, both with this mode, through the Service; the server's sidecar saw the
/// client's address.
fn rules_of_a_called_pod(namespace: &'static str, mode: &str) -> Rules {
    let namespace = TestNamespace::new(namespace, "istio-injection=enabled");
    let annotated = |manifest: &str| {
        let annotation = format!(
            "      annotations: {{sidecar.istio.io/interceptionMode: {mode}}}\n    spec:\n"
        );
        manifest.replacen("    spec:\n", &annotation, 1)
    };
    namespace.deploy(&format!("{}---{}", annotated(SERVER), annotated(CLIENT)));
    let answer = namespace
        .client("get http://server/")
        .unwrap_or_else(|error| panic!("{error}\n{}", namespace.logs("client", "istio-proxy")));
    assert!(answer.contains("called from 127.0.0.6"), "{answer}");
    let client = namespace.pod("client")["status"]["podIP"]
        .as_str()
        .unwrap()
        .to_owned();
    until("the log line of the server's sidecar", || {
        let log = namespace.logs("server", "istio-proxy");
        log.lines()
            .any(|line| {
                line.contains(" InboundPassthroughCluster ") && line.contains(&format!("{client}:"))
            })
            .then_some(())
    });
    explain(&namespace, mode, &client);
    Rules::of(&namespace.pod("server"))
}

/// What the pod's rules do is also what is told of them.
fn explain(namespace: &TestNamespace, mode: &str, client: &str) {
    let server = namespace.pod("server");
    let word = |path: &str| server.pointer(path).and_then(Value::as_str).unwrap();
    let (name, address) = (word("/metadata/name"), word("/status/podIP"));
    let inbound = format!("--direction inbound --source {client} --destination {address}:8080");
    let captured = match mode {
        "TPROXY" => "captured by TPROXY to port 15006",
        _ => "captured: goes to the proxy's port 15006 (REDIRECT)",
    };
    for (packet, verdict) in [
        (inbound.as_str(), captured),
        (
            "--destination 10.96.0.1:443 --uid 1000",
            "captured: goes to the proxy's port 15001 (REDIRECT)",
        ),
        (
            "--destination 10.96.0.1:443 --uid 1337 --gid 1337",
            "not captured",
        ),
    ] {
        let output = Command::new(binary("fairlead"))
            .args([
                "explain-packet",
                "--pod",
                name,
                "--namespace",
                namespace.name(),
            ])
            .args(packet.split(' '))
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{output:?}");
        assert!(told.contains(verdict), "{mode} {packet}: {told}");
    }
}
