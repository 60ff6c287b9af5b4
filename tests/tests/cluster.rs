//! What a user sees on a real cluster with the chart installed by Helm.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use fairlead_tests::binary;
use fairlead_tests::kube::workloads::{CLIENT, PROBED, SERVER};
use fairlead_tests::kube::{
    RELEASE, RELEASE_NAMESPACE, TestNamespace, container_process, helm, install, kubectl_with,
    object, try_kubectl, until,
};
use serde_json::Value;
use std::{path::Path, process::Command};

const INJECTED: &str = "istio-injection=enabled";

fn names(containers: &Value) -> Vec<&str> {
    let items = containers.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(|container| container["name"].as_str())
        .collect()
}

fn ready_column(namespace: &TestNamespace, app: &str) -> String {
    let line = try_kubectl(
        &format!(
            "get pods --namespace={} --selector=app={app} --no-headers",
            namespace.name()
        ),
        None,
    );
    line.unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

#[test]
#[ignore = "needs root"]
fn pods_of_a_labelled_namespace_get_the_sidecar_unless_they_opt_out() {
    let namespace = TestNamespace::new("test-inject", INJECTED);
    let opted_out = CLIENT.replace("client", "opted-out").replace(
        "    spec:\n",
        "      annotations: {sidecar.istio.io/inject: \"false\"}\n    spec:\n",
    );
    let by_label = CLIENT.replace("{app: client}", "{app: by-label}").replacen(
        "labels: {app: by-label}",
        "labels: {app: by-label, sidecar.istio.io/inject: \"false\"}",
        1,
    );
    let by_label = by_label.replace("name: client", "name: by-label");
    namespace.deploy(&format!("{SERVER}---{CLIENT}---{opted_out}---{by_label}"));

    assert_eq!(ready_column(&namespace, "server"), "2/2");
    assert_eq!(ready_column(&namespace, "opted-out"), "1/1");
    assert_eq!(ready_column(&namespace, "by-label"), "1/1");
    let pod = namespace.pod("server");
    assert_eq!(
        names(&pod["spec"]["initContainers"]),
        ["istio-init", "istio-proxy"]
    );
    assert_eq!(names(&pod["spec"]["containers"]), ["server"]);
}

#[test]
#[ignore = "needs root"]
fn a_second_dry_run_of_an_injected_pod_adds_nothing() {
    let namespace = TestNamespace::new("test-again", INJECTED);
    namespace.deploy(CLIENT);
    let pod = namespace.pod("client");
    let mut again = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "again", "generateName": pod["metadata"]["generateName"],
            "namespace": namespace.name(),
            "ownerReferences": pod["metadata"]["ownerReferences"],
            "labels": pod["metadata"]["labels"], "annotations": pod["metadata"]["annotations"],
        },
        "spec": pod["spec"],
    });
    let created = kubectl_with(
        "create --dry-run=server --output=json --filename=-",
        &again.to_string(),
    );
    let created: Value = serde_json::from_str(&created).unwrap();
    assert_eq!(created["metadata"]["labels"], again["metadata"]["labels"]);
    assert_eq!(
        created["metadata"]["annotations"],
        again["metadata"]["annotations"]
    );
    assert_eq!(created["spec"], again["spec"].take());
}

#[test]
#[ignore = "needs root"]
fn the_rules_in_the_pod_are_the_default_set() {
    let namespace = TestNamespace::new("test-rules", INJECTED);
    namespace.deploy(CLIENT);
    let process = container_process(&namespace.pod("client"), "istio-proxy").to_string();
    for (program, loopback, source) in [
        ("iptables", "127.0.0.1/32", "127.0.0.6/32"),
        ("ip6tables", "::1/128", "::6/128"),
    ] {
        let output = Command::new("nsenter")
            .args(["--net", "--target", &process, program, "-t", "nat", "-S"])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let installed = String::from_utf8(output.stdout).unwrap();
        let installed: Vec<&str> = installed.lines().filter(|l| l.contains("ISTIO_")).collect();
        assert_eq!(installed, default_rules(loopback, source), "{program}");
    }
}

fn default_rules(loopback: &str, source: &str) -> Vec<String> {
    let mut rules: Vec<String> = [
        "-N ISTIO_INBOUND",
        "-N ISTIO_IN_REDIRECT",
        "-N ISTIO_OUTPUT",
        "-N ISTIO_REDIRECT",
        "-A PREROUTING -p tcp -j ISTIO_INBOUND",
        "-A OUTPUT -j ISTIO_OUTPUT",
        "-A ISTIO_INBOUND -p tcp -m tcp --dport 15008 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -m tcp --dport 15021 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -m tcp --dport 15020 -j RETURN",
        "-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
        "-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006",
    ]
    .map(ToOwned::to_owned)
    .to_vec();
    rules.push(format!("-A ISTIO_OUTPUT -s {source} -o lo -j RETURN"));
    for owner in ["uid-owner 1337", "gid-owner 1337"] {
        rules.push(format!(
            "-A ISTIO_OUTPUT ! -d {loopback} -o lo -p tcp -m tcp ! --dport 15008 -m owner --{owner} -j ISTIO_IN_REDIRECT"
        ));
        rules.push(format!(
            "-A ISTIO_OUTPUT -o lo -m owner ! --{owner} -j RETURN"
        ));
        rules.push(format!("-A ISTIO_OUTPUT -m owner --{owner} -j RETURN"));
    }
    rules.push(format!("-A ISTIO_OUTPUT -d {loopback} -j RETURN"));
    rules.push("-A ISTIO_OUTPUT -j ISTIO_REDIRECT".to_owned());
    rules.push("-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001".to_owned());
    rules
}

#[test]
#[ignore = "needs root"]
fn a_call_through_the_service_passes_both_sidecars() {
    let namespace = TestNamespace::new("test-call", INJECTED);
    namespace.deploy(&format!("{SERVER}---{CLIENT}"));
    let answer = namespace
        .client("get http://server/")
        .unwrap_or_else(|error| panic!("{error}\n{}", namespace.logs("client", "istio-proxy")));
    assert!(answer.contains("hello from server"), "{answer}");
    assert!(answer.contains("called from 127.0.0.6"), "{answer}");

    let greeting = namespace.client("greet server:9000 ahoy").unwrap();
    assert_eq!(greeting.trim(), "220 the server speaks first\necho ahoy");

    // The line is written when the connection has ended, a moment after the answer.
    for (app, cluster) in [
        ("client", " PassthroughCluster "),
        ("server", " InboundPassthroughCluster "),
    ] {
        until(&format!("the log line of the {app}'s sidecar"), || {
            namespace
                .logs(app, "istio-proxy")
                .contains(cluster)
                .then_some(())
        });
    }
}

#[test]
#[ignore = "needs root"]
fn a_refused_connection_is_explained_by_the_callers_sidecar() {
    let namespace = TestNamespace::new("test-refused", INJECTED);
    namespace.deploy(&format!("{SERVER}---{CLIENT}"));
    let address = namespace.pod("server")["status"]["podIP"]
        .as_str()
        .unwrap()
        .to_owned();
    // The server's sidecar accepts, finds that nobody listens, and says so.
    assert!(
        namespace
            .client(&format!("get http://{address}:81/"))
            .is_err()
    );
    let line = until("the log line of the failure", || {
        let log = namespace.logs("server", "istio-proxy");
        log.lines()
            .find(|line| line.contains(" UF,URX "))
            .map(ToOwned::to_owned)
    });
    assert!(line.contains(&format!("{address}:81")), "{line}");
    assert!(line.contains("refused"), "{line}");
}

#[test]
#[ignore = "needs root"]
fn traffic_resumes_after_the_sidecar_is_killed() {
    let namespace = TestNamespace::new("test-kill", INJECTED);
    namespace.deploy(&format!("{SERVER}---{CLIENT}"));
    let process = container_process(&namespace.pod("server"), "istio-proxy");
    let killed = Command::new("kill")
        .args(["-KILL", &process.to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    until("the restart of the sidecar", || {
        let pod = namespace.pod("server");
        let statuses = pod["status"]["initContainerStatuses"].as_array()?;
        let proxy = statuses
            .iter()
            .find(|status| status["name"] == "istio-proxy")?;
        (proxy["restartCount"].as_u64()? == 1 && proxy["ready"] == true).then_some(())
    });
    until("an answer after the restart", || {
        namespace.client("get http://server/").ok()
    });
}

#[test]
#[ignore = "needs root"]
fn a_gigabyte_arrives_unchanged() {
    const LENGTH: u64 = 1 << 30;
    let namespace = TestNamespace::new("test-bytes", INJECTED);
    namespace.deploy(&format!("{SERVER}---{CLIENT}"));
    let expected = namespace.client(&format!("digest {LENGTH}")).unwrap();
    let url = format!("http://server/bytes/{LENGTH}");
    assert_eq!(
        namespace
            .client(&format!("get {url} --digest --timeout 120"))
            .unwrap(),
        expected
    );
}

#[test]
#[ignore = "needs root"]
fn every_kind_of_probe_passes_the_sidecar_and_both_metrics_are_shown() {
    let namespace = TestNamespace::new("test-probes", INJECTED);
    namespace.deploy(&format!("{PROBED}---{CLIENT}"));
    assert_eq!(ready_column(&namespace, "probed"), "3/3");
    let address = namespace.pod("probed")["status"]["podIP"]
        .as_str()
        .unwrap()
        .to_owned();
    let page = |port: u16| {
        let url = format!("http://{address}:{port}/stats/prometheus");
        namespace.client(&format!("get {url}")).unwrap()
    };
    let merged = page(15020);
    for metric in ["envoy_server_live", "testapp_requests_total"] {
        assert!(merged.contains(metric), "{metric} in {merged}");
    }
    assert!(!page(15090).contains("testapp_requests_total"));
    // A liveness probe that failed would have restarted it.
    let pod = namespace.pod("probed");
    let statuses = pod["status"]["containerStatuses"].as_array().unwrap();
    assert!(statuses.iter().all(|status| status["restartCount"] == 0));
}

#[test]
#[ignore = "needs root"]
fn a_bad_annotation_is_refused_with_every_fault_on_the_replica_set() {
    let namespace = TestNamespace::new("test-refuse", INJECTED);
    let bad = CLIENT.replace(
        "    spec:\n",
        "      annotations:\n        traffic.sidecar.istio.io/excludeInboundPorts: \"70000\"\n        \
         sidecar.istio.io/proxyMemory: \"lots\"\n    spec:\n",
    );
    kubectl_with(
        &format!("apply --namespace={} --filename=-", namespace.name()),
        &bad,
    );
    let described = until("the event on the ReplicaSet", || {
        let described = try_kubectl(
            &format!("describe replicaset --namespace={}", namespace.name()),
            None,
        )
        .ok()?;
        described.contains("FailedCreate").then_some(described)
    });
    for part in [
        "70000",
        "excludeInboundPorts",
        "1 to 65535",
        "lots",
        "proxyMemory",
        "64Mi",
    ] {
        assert!(described.contains(part), "{part} in {described}");
    }
}

#[test]
#[ignore = "needs root"]
fn the_api_server_accepts_what_is_injected_offline() {
    install();
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/tests/corpus/server");
    let mut files = 0;
    for file in std::fs::read_dir(corpus).unwrap() {
        let path = file.unwrap().path();
        let output = Command::new(binary("fairlead"))
            .args(["inject", "--filename"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{path:?}: {output:?}");
        let injected = String::from_utf8(output.stdout).unwrap();
        kubectl_with("apply --dry-run=server --filename=-", &injected);
        files += 1;
    }
    assert!(files > 5, "{files} files");
}

#[test]
#[ignore = "needs root"]
fn host_network_pods_and_other_namespaces_are_left_alone() {
    let labelled = TestNamespace::new("test-host", INJECTED);
    let plain = TestNamespace::new("test-plain", "");
    let pod = |namespace: &TestNamespace, spec: &str, labels: &str| {
        let manifest = format!(
            r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "pod", "labels": {{{labels}}}}},
                 "spec": {{{spec} "containers": [{{"name": "a", "image": "a"}}]}}}}"#
        );
        let arguments = format!(
            "create --namespace={} --dry-run=server --output=json --filename=-",
            namespace.name()
        );
        let created: Value = serde_json::from_str(&kubectl_with(&arguments, &manifest)).unwrap();
        names(&created["spec"]["initContainers"]).len()
    };
    assert_eq!(pod(&labelled, "", ""), 2);
    assert_eq!(pod(&labelled, r#""hostNetwork": true,"#, ""), 0);
    assert_eq!(pod(&plain, "", ""), 0);
    assert_eq!(pod(&plain, "", r#""sidecar.istio.io/inject": "true""#), 2);
}

#[test]
#[ignore = "needs root"]
fn the_chart_tests_itself() {
    install();
    let printed = helm(&["test", RELEASE, "--namespace", RELEASE_NAMESPACE]);
    assert!(printed.contains("Succeeded"), "{printed}");
    let left = object(&format!(
        "pods,serviceaccounts,roles --namespace={RELEASE_NAMESPACE}"
    ));
    let items = left["items"].as_array().unwrap();
    let leftover = items
        .iter()
        .filter_map(|item| item["metadata"]["name"].as_str());
    assert_eq!(leftover.filter(|name| name.contains("test")).count(), 0);
}
