//! A real cluster with the chart installed, driven with kubectl and Helm as a user would.
//!
//! `cargo xtask test` starts the cluster and names it in the environment: `KUBECONFIG`, `PATH` with kubectl and Helm,
//! `FAIRLEAD_CHART` (the chart's directory) and `FAIRLEAD_CONTAINERD` (the node's containerd).

pub mod brought;
pub mod workloads;

use std::{
    env,
    io::Write,
    net::{SocketAddr, TcpStream},
    ops::ControlFlow,
    process::{Command, Output, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::wait::until_within;

/// The chart's release.
pub const RELEASE: &str = "fairlead";
/// The namespace of the release.
pub const RELEASE_NAMESPACE: &str = "fairlead-system";
/// The webhook's Deployment.
pub const WEBHOOK: &str = "fairlead-webhook";

/// Long enough for a pod to start on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks at the cluster, each of which runs kubectl.
const PAUSE: Duration = Duration::from_millis(100);

/// The chart, installed once for all tests of this process.
static INSTALLED: LazyLock<()> = LazyLock::new(|| {
    helm(&install_arguments());
});

/// Installs the chart unless this process has done so.
pub fn install() {
    LazyLock::force(&INSTALLED);
}

/// What `helm` is called with to install or upgrade the chart as the tests want it.
pub fn install_arguments() -> Vec<String> {
    let chart = chart();
    let namespace = RELEASE_NAMESPACE;
    format!(
        "upgrade --install {RELEASE} {chart} --namespace {namespace} --create-namespace --wait \
         --timeout 120s --set meshConfig.defaultConfig.accessLog=all"
    )
    .split_whitespace()
    .map(ToOwned::to_owned)
    .collect()
}

/// The chart's directory.
pub fn chart() -> String {
    required("FAIRLEAD_CHART")
}

/// Runs kubectl; panics with its words unless it succeeds.
#[track_caller]
pub fn kubectl(arguments: &str) -> String {
    succeeded(
        "kubectl",
        arguments,
        &run("kubectl", &words(arguments), None),
    )
}

/// Runs kubectl with a manifest on its standard input; panics unless it succeeds.
#[track_caller]
pub fn kubectl_with(arguments: &str, input: &str) -> String {
    succeeded(
        "kubectl",
        arguments,
        &run("kubectl", &words(arguments), Some(input)),
    )
}

/// Runs kubectl, whatever the end.
pub fn try_kubectl(arguments: &str, input: Option<&str>) -> Result<String, String> {
    outcome(&run("kubectl", &words(arguments), input))
}

/// Runs Helm; panics with its words unless it succeeds.
#[track_caller]
pub fn helm<S: AsRef<str>>(arguments: &[S]) -> String {
    succeeded("helm", "", &run("helm", arguments, None))
}

/// Runs Helm, whatever the end.
pub fn try_helm<S: AsRef<str>>(arguments: &[S]) -> Result<String, String> {
    outcome(&run("helm", arguments, None))
}

/// An object as JSON.
#[track_caller]
pub fn object(arguments: &str) -> Value {
    let text = kubectl(&format!("get {arguments} --output=json"));
    serde_json::from_str(&text).expect("kubectl prints JSON when asked to")
}

/// [`wait::until`](crate::wait::until) at the pace of a cluster.
#[track_caller]
pub fn until<T>(what: &str, answer: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, PAUSE, what, answer)
}

/// Calls `work` at a fixed rate until it breaks off: a load, not a way to wait for something.
pub fn at_rate(period: Duration, count: u32, mut work: impl FnMut(u32) -> ControlFlow<()>) {
    let start = Instant::now();
    for turn in 0..count {
        thread::sleep((period * turn).saturating_sub(start.elapsed()));
        if work(turn).is_break() {
            return;
        }
    }
}

/// A namespace of the cluster, deleted on drop.
#[derive(Debug)]
pub struct TestNamespace(&'static str);

impl TestNamespace {
    /// Creates the namespace with its labels, `key=value` separated by blanks.
    #[track_caller]
    pub fn new(name: &'static str, labels: &str) -> Self {
        install();
        // What a killed run left has pods of an older build.
        kubectl(&format!(
            "delete namespace {name} --ignore-not-found --wait"
        ));
        kubectl(&format!("create namespace {name}"));
        if !labels.is_empty() {
            kubectl(&format!("label namespace {name} {labels}"));
        }
        Self(name)
    }

    /// Applies a manifest in this namespace and waits until its Deployments and Services work.
    #[track_caller]
    pub fn deploy(&self, manifest: &str) {
        kubectl_with(
            &format!("apply --namespace={} --filename=-", self.0),
            manifest,
        );
        kubectl(&format!(
            "wait --namespace={} --for=condition=Available deployment --all --timeout=120s",
            self.0
        ));
        self.await_services();
    }

    /// Waits until the node leads each Service to an endpoint, which it does a moment after a pod
    /// is ready.
    #[track_caller]
    fn await_services(&self) {
        let services = object(&format!("services --namespace={}", self.0));
        for service in services["items"].as_array().into_iter().flatten() {
            let address = service["spec"]["clusterIP"].as_str().unwrap_or_default();
            for port in service["spec"]["ports"].as_array().into_iter().flatten() {
                let target = format!("{address}:{}", port["port"]);
                let target: SocketAddr = target.parse().expect("a Service has an address");
                until(&format!("the way to {target}"), || {
                    TcpStream::connect_timeout(&target, Duration::from_secs(1)).ok()
                });
            }
        }
    }

    /// The running pod with the label `app`.
    #[track_caller]
    pub fn pod(&self, app: &str) -> Value {
        let pods = object(&format!("pods --namespace={} --selector=app={app}", self.0));
        let running = |pod: &&Value| {
            pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let items = pods["items"].as_array().expect("a list has items");
        items
            .iter()
            .find(running)
            .unwrap_or_else(|| panic!("{app} has no running pod"))
            .clone()
    }

    /// Runs the test application in the client's pod; its output, or what went wrong.
    pub fn client(&self, arguments: &str) -> Result<String, String> {
        let namespace = self.0;
        try_kubectl(
            &format!(
                "exec --namespace={namespace} deployment/client --container=client -- \
                 fairlead-testapp {arguments}"
            ),
            None,
        )
    }

    /// What a container of an app's pod printed.
    #[track_caller]
    pub fn logs(&self, app: &str, container: &str) -> String {
        let namespace = self.0;
        kubectl(&format!(
            "logs --namespace={namespace} deployment/{app} --container={container}"
        ))
    }

    /// The namespace's name.
    pub fn name(&self) -> &str {
        self.0
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        // The cluster goes away after the tests; a failure to clean up must not hide a test's own.
        drop(try_kubectl(
            &format!("delete namespace {} --wait=false", self.0),
            None,
        ));
    }
}

/// The process on this machine that is the container of a pod.
#[track_caller]
pub fn container_process(pod: &Value, container: &str) -> u32 {
    let statuses = ["initContainerStatuses", "containerStatuses"]
        .iter()
        .filter_map(|key| pod["status"][*key].as_array())
        .flatten();
    let id = statuses
        .filter(|status| status["name"] == container)
        .find_map(|status| {
            status["containerID"]
                .as_str()?
                .strip_prefix("containerd://")
        })
        .unwrap_or_else(|| panic!("{container} does not run"));
    let arguments = [
        "--address",
        &required("FAIRLEAD_CONTAINERD"),
        "--namespace=k8s.io",
        "tasks",
        "list",
    ];
    let tasks = succeeded("ctr", "tasks list", &run("ctr", &arguments, None));
    let task = tasks
        .lines()
        .find(|line| line.starts_with(id))
        .expect("a running container is a task");
    let process = task
        .split_whitespace()
        .nth(1)
        .and_then(|word| word.parse().ok());
    process.expect("ctr prints the process in its second column")
}

/// The webhook's pods that are ready and not about to end, oldest first.
#[track_caller]
pub fn webhook_pods() -> Vec<Value> {
    let pods = object(&format!(
        "pods --namespace={RELEASE_NAMESPACE} --selector=app.kubernetes.io/name=fairlead \
         --sort-by=.metadata.creationTimestamp"
    ));
    let ready = |pod: &&Value| {
        let conditions = pod["status"]["conditions"].as_array();
        pod["metadata"]["deletionTimestamp"].is_null()
            && conditions.is_some_and(|conditions| {
                conditions
                    .iter()
                    .any(|c| c["type"] == "Ready" && c["status"] == "True")
            })
    };
    let items = pods["items"].as_array().expect("a list has items");
    items.iter().filter(ready).cloned().collect()
}

fn words(arguments: &str) -> Vec<&str> {
    arguments.split_whitespace().collect()
}

#[track_caller]
fn run<S: AsRef<str>>(program: &str, arguments: &[S], input: Option<&str>) -> Output {
    required("KUBECONFIG");
    let mut child = Command::new(program)
        .args(arguments.iter().map(AsRef::as_ref))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {program}: {error}; run through `cargo xtask test`"));
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early closes the pipe; its exit status tells the reason.
        drop(stdin.write_all(input.unwrap_or_default().as_bytes()));
    }
    child
        .wait_with_output()
        .unwrap_or_else(|error| panic!("wait for {program}: {error}"))
}

fn outcome(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

#[track_caller]
fn succeeded(program: &str, arguments: &str, output: &Output) -> String {
    match outcome(output) {
        Ok(printed) => printed,
        Err(error) => panic!("{program} {arguments}: {error}"),
    }
}

#[track_caller]
fn required(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is unset: run through `cargo xtask test`"))
}
