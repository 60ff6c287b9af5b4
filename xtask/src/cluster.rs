//! A real one-node Kubernetes on this machine, for the demo, the tests and development.
//!
//! The daemons are the real ones: etcd, containerd and runc from Debian, Kubernetes and CoreDNS
//! built from source. A cluster has one directory for its files, one network namespace for its
//! traffic and one control group for its containers; whatever ends it, these three lead to all that
//! is left.

mod certificates;
mod configuration;
mod control_groups;
mod daemons;
mod network;
mod process;
mod startup;
mod state;
mod teardown;
pub(crate) mod verbs;

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::configuration::DAEMONS;
pub(crate) use self::configuration::PAUSE_IMAGE;
use self::state::{Name, Record, State};
use crate::command::Program;
use crate::images::Image;
use crate::packages::Needed;
use crate::tools::{KUBERNETES_VERSION, Tools};
use crate::{cache, images, packages, progress};

/// The name of the cluster that people and the demo use.
pub(crate) const DEFAULT_NAME: &str = "dev";

/// What the daemons are, and what they call.
pub(crate) const PACKAGES: [Needed; 11] = [
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("buildah", "buildah"),
    ("conntrack", "conntrack"),
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("etcd", "etcd-server"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("runc", "runc"),
];

/// Each of the daemons is back in a few seconds.
const RESTART_DEADLINE: Duration = Duration::from_secs(60);

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    name: Name,
    state: State,
}

/// How one part of a cluster is.
#[derive(Debug)]
pub(crate) struct Condition {
    /// A daemon, or what the daemons together make.
    pub(crate) part: &'static str,
    /// Whether it works.
    pub(crate) healthy: bool,
    /// One line for a person.
    pub(crate) detail: String,
}

impl Cluster {
    /// Makes the cluster run: starts it, or leaves one that is ready as it is. A half-made or
    /// damaged one is cleared away first.
    pub(crate) fn up(name: &str) -> Result<Self> {
        let cluster = Self::named(name)?;
        require_root()?;
        packages::ensure(&PACKAGES)?;
        let tools = Tools::ensure()?;
        let _lock = cluster.lock()?;
        if let Some(record) = cluster.state.record()? {
            if record.complete && record.tools == tools.directory() && cluster.is_ready(&record)? {
                return Ok(cluster);
            }
            progress::say(&format!(
                "cluster {name} is damaged, half-made or of another version: starting anew"
            ));
        }
        teardown::remove(&cluster.name, &cluster.state)?;
        let images = images::cluster_images(&tools)?;
        let title = format!("starting Kubernetes {KUBERNETES_VERSION} (cluster {name})");
        progress::step(&title, || startup::start(&cluster, &tools, &images))?;
        Ok(cluster)
    }

    /// The cluster of this name, which must be up.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let cluster = Self::named(name)?;
        if !cluster
            .state
            .record()?
            .is_some_and(|record| record.complete)
        {
            bail!(
                "there is no cluster {name}; start it with `cargo xtask cluster up --name {name}`"
            );
        }
        Ok(cluster)
    }

    /// Removes the cluster with all that is left of it, in whatever state it is.
    pub(crate) fn down(name: &str) -> Result<()> {
        let cluster = Self::named(name)?;
        require_root()?;
        let _lock = cluster.lock()?;
        if !cluster.state.root().exists() {
            progress::say(&format!(
                "there is no cluster {name}; looking for traces of one"
            ));
        }
        progress::step(&format!("stopping cluster {name}"), || {
            teardown::remove(&cluster.name, &cluster.state)
        })
    }

    /// Kills a daemon and starts it again, as after a crash; returns when the cluster works as before.
    pub(crate) fn restart(name: &str, daemon: &str) -> Result<()> {
        let cluster = Self::open(name)?;
        let _lock = cluster.lock()?;
        let Some(daemon) = DAEMONS.into_iter().find(|known| *known == daemon) else {
            bail!("daemon {daemon:?}: want one of {}", DAEMONS.join(", "));
        };
        let record = cluster.state.record()?;
        let mut record = record.with_context(|| format!("cluster {name} keeps no record"))?;
        let runs = record.daemons.remove(daemon);
        let runs = runs.filter(|process| process.runs(daemon));
        process::kill(runs.as_slice())?;
        let prefixed = cluster.name.prefixed();
        let again = configuration::daemon(daemon, &cluster.state, record.network, &prefixed);
        daemons::start(&again, &cluster.state, &mut record, &prefixed)?;
        daemons::wait(
            &format!("the restart of {daemon}"),
            RESTART_DEADLINE,
            &cluster.state,
            &record,
            || cluster.is_ready(&record),
        )
    }

    /// The file that makes kubectl, Helm and every client library the administrator of this
    /// cluster.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.kubeconfig("admin")
    }

    /// The directory that holds `kubectl` and `helm`.
    pub(crate) fn programs(&self) -> PathBuf {
        self.state.path("bin")
    }

    /// The socket of containerd, for `ctr --address`.
    pub(crate) fn containerd_socket(&self) -> PathBuf {
        self.state.containerd_socket()
    }

    /// kubectl on this cluster.
    pub(crate) fn kubectl<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Program {
        Program::new(self.state.program("kubectl"))
            .args(args)
            .env("KUBECONFIG", self.kubeconfig())
    }

    /// Helm on this cluster. Its own files stay with the cluster too: none of the user's
    /// repositories is needed.
    pub(crate) fn helm<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Program {
        Program::new(self.state.program("helm"))
            .args(args)
            .env("KUBECONFIG", self.kubeconfig())
            .env("HELM_CACHE_HOME", self.state.path("helm/cache"))
            .env("HELM_CONFIG_HOME", self.state.path("helm/config"))
            .env("HELM_DATA_HOME", self.state.path("helm/data"))
    }

    /// Gives the node images from OCI archives; pods use them with `imagePullPolicy: IfNotPresent`
    /// or `Never`.
    pub(crate) fn load_images(&self, images: &[Image]) -> Result<()> {
        images
            .iter()
            .try_for_each(|image| self.load_archive(&image.archive))
    }

    /// Gives the node one image from an OCI archive.
    pub(crate) fn load_archive(&self, archive: &Path) -> Result<()> {
        self.ctr(&["images", "import"]).arg(archive).run()
    }

    /// The process on this machine that is the container of a pod; its namespaces lead into the
    /// pod.
    pub(crate) fn container_process(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<u32> {
        let namespace = format!("--namespace={namespace}");
        let id_in =
            |list: &str| format!(r#"{{.status.{list}[?(@.name=="{container}")].containerID}}"#);
        let ids = ["initContainerStatuses", "containerStatuses"]
            .map(id_in)
            .concat();
        let ids = format!("--output=jsonpath={ids}");
        let id = self
            .kubectl(["get", "pod", pod, &namespace, &ids])
            .output()?;
        let id = id.trim().trim_start_matches("containerd://");
        let tasks = self.ctr(&["tasks", "list"]).output()?;
        process_of_task(&tasks, id)
            .with_context(|| format!("container {container} of pod {pod} does not run"))
    }

    /// How each part is, daemons first.
    pub(crate) fn conditions(&self) -> Result<Vec<Condition>> {
        let record = self.state.record()?;
        let daemon = |name: &'static str| {
            let process = record.as_ref().and_then(|record| record.daemons.get(name));
            match process.filter(|process| process.runs(name)) {
                Some(process) => Condition {
                    part: name,
                    healthy: true,
                    detail: format!("process {}", process.id),
                },
                None => {
                    let detail = format!("does not run; see {}", self.state.log(name).display());
                    Condition {
                        part: name,
                        healthy: false,
                        detail,
                    }
                }
            }
        };
        let mut conditions: Vec<_> = DAEMONS.into_iter().map(daemon).collect();
        conditions.push(self.node_condition()?);
        conditions.push(self.dns_condition()?);
        Ok(conditions)
    }

    fn named(name: &str) -> Result<Self> {
        let name = Name::parse(name)?;
        let state = State::of(&name)?;
        Ok(Self { name, state })
    }

    fn lock(&self) -> Result<File> {
        cache::lock(
            &self.state.lock_file(),
            &format!("another run that starts or stops cluster {}", self.name),
        )
    }

    fn is_ready(&self, record: &Record) -> Result<bool> {
        let run = DAEMONS.iter().all(|name| {
            record
                .daemons
                .get(*name)
                .is_some_and(|process| process.runs(name))
        });
        Ok(run && self.node_condition()?.healthy && self.dns_condition()?.healthy)
    }

    fn node_condition(&self) -> Result<Condition> {
        let node = format!("node/{}", self.name.prefixed());
        let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        self.condition("node", &[&node, "--output", ready], "True")
    }

    fn dns_condition(&self) -> Result<Condition> {
        let ready = "jsonpath={.status.readyReplicas}";
        self.condition(
            "CoreDNS",
            &[
                "--namespace=kube-system",
                "deployment/coredns",
                "--output",
                ready,
            ],
            "1",
        )
    }

    fn condition(
        &self,
        part: &'static str,
        question: &[&str],
        healthy_answer: &str,
    ) -> Result<Condition> {
        let output = self
            .kubectl(["get", "--request-timeout=5s"])
            .args(question)
            .finish()?;
        let answer = String::from_utf8_lossy(&output.stdout);
        if output.status.success() && answer.trim() == healthy_answer {
            return Ok(Condition {
                part,
                healthy: true,
                detail: "ready".to_owned(),
            });
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let detail = complaint
            .lines()
            .next_back()
            .unwrap_or("not ready")
            .to_owned();
        Ok(Condition {
            part,
            healthy: false,
            detail,
        })
    }

    fn ctr(&self, args: &[&str]) -> Program {
        Program::new("ctr")
            .arg("--address")
            .arg(self.containerd_socket())
            .arg("--namespace=k8s.io")
            .args(args)
    }
}

/// Reads the table of `ctr tasks list`: TASK, PID, STATUS.
fn process_of_task(tasks: &str, id: &str) -> Option<u32> {
    let rows = tasks
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() == 3 && row[0] == id)
        .find_map(|row| row[1].parse().ok())
}

fn require_root() -> Result<()> {
    if !packages::is_root() {
        bail!(
            "a cluster needs root, for network namespaces, mounts and control groups: run this as root, for example with\n    \
             sudo --preserve-env=PATH,HOME,CARGO_HOME,RUSTUP_HOME cargo xtask ..."
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_of_a_container_is_in_the_second_column() {
        let tasks = "TASK    PID     STATUS\nab12    4711    RUNNING\nab123   4712    RUNNING\n";
        assert_eq!(process_of_task(tasks, "ab123"), Some(4712));
        assert_eq!(process_of_task(tasks, "ab"), None);
    }
}
