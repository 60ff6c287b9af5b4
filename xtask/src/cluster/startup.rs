//! From nothing to a cluster that resolves names: the order in which things start.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::configuration::{self, DAEMONS};
use super::network::Network;
use super::state::{Record, State};
use super::{Cluster, certificates, control_groups, daemons};
use crate::command::Program;
use crate::tools::Tools;
use crate::{cache, packages};

/// Where the CNI programs may lie: Debian's place, and the one everybody else uses.
const CNI_DIRECTORIES: [&str; 2] = ["/usr/lib/cni", "/opt/cni/bin"];

/// Kernel modules that pods need but may not load themselves.
const MODULES: [&str; 7] = [
    "overlay",
    "veth",
    "nf_tables",
    "nft_chain_nat",
    "nf_conntrack",
    "iptable_nat",
    "ip6table_nat",
];

/// Each shim and each log that is followed takes one; the kernel's default of 128 is made for
/// desktops.
const INOTIFY_INSTANCES: u32 = 4096;

/// A cold start on a busy machine of two cores takes a quarter of this.
const DEADLINE: Duration = Duration::from_secs(120);

/// Starts a cluster of which nothing is there yet.
pub(super) fn start(cluster: &Cluster, tools: &Tools, images: &[PathBuf]) -> Result<()> {
    let state = &cluster.state;
    let prefixed = cluster.name.prefixed();
    prepare_kernel()?;
    state.create()?;
    let mut record = choose_network(state, tools)?;
    let network = record.network;
    network.create(&prefixed)?;
    control_groups::create(&prefixed)?;
    link_programs(state, tools)?;
    certificates::create(state, network, &prefixed)?;
    write_configuration(state, network, &prefixed)?;

    let start = |names: &[&'static str], record: &mut Record| {
        names.iter().try_for_each(|name| {
            let daemon = configuration::daemon(name, state, network, &prefixed);
            daemons::start(&daemon, state, record, &prefixed)
        })
    };
    let (first, rest) = DAEMONS.split_at(3);
    start(first, &mut record)?;
    let answers = |program: Program| Ok(program.finish()?.status.success());
    daemons::wait("starting containerd", DEADLINE, state, &record, || {
        answers(cluster.ctr(&["version"]))
    })?;
    images
        .iter()
        .try_for_each(|archive| cluster.load_archive(archive))?;
    daemons::wait("starting the apiserver", DEADLINE, state, &record, || {
        answers(cluster.kubectl(["get", "--raw", "/readyz"]))
    })?;
    start(rest, &mut record)?;
    cluster
        .kubectl(["apply", "--filename=-"])
        .input(configuration::coredns(network))
        .run()?;
    daemons::wait("the node's start", DEADLINE, state, &record, || {
        Ok(cluster.node_condition()?.healthy)
    })?;
    daemons::wait("the start of CoreDNS", DEADLINE, state, &record, || {
        Ok(cluster.dns_condition()?.healthy)
    })?;
    record.complete = true;
    state.write_record(&record)
}

/// Takes a network and records it before another cluster can choose the same.
fn choose_network(state: &State, tools: &Tools) -> Result<Record> {
    let lock = cache::state_directory()?.join("networks.lock");
    let _lock = cache::lock(&lock, "another cluster to choose its network")?;
    let network = Network::choose(&State::taken_slots()?)?;
    let tools = tools.directory().to_owned();
    let record = Record {
        tools,
        network,
        daemons: Default::default(),
        complete: false,
    };
    state.write_record(&record)?;
    Ok(record)
}

fn prepare_kernel() -> Result<()> {
    if packages::find("modprobe").is_some() {
        // Fails for what is built in on some systems; what is really missing is named by whoever
        // misses it.
        Program::new("modprobe")
            .arg("--all")
            .args(["--quiet"])
            .args(MODULES)
            .finish()?;
    }
    let filesystems = fs::read_to_string("/proc/filesystems").context("read /proc/filesystems")?;
    if !filesystems
        .lines()
        .any(|line| line.trim_start_matches("nodev").trim() == "overlay")
    {
        bail!(
            "this kernel has no overlayfs, on which containers run (CONFIG_OVERLAY_FS; `modprobe overlay`)"
        );
    }
    let limit = Path::new("/proc/sys/fs/inotify/max_user_instances");
    let current = fs::read_to_string(limit).with_context(|| format!("read {}", limit.display()))?;
    if current
        .trim()
        .parse()
        .is_ok_and(|current: u32| current < INOTIFY_INSTANCES)
    {
        fs::write(limit, INOTIFY_INSTANCES.to_string())
            .with_context(|| format!("raise {}", limit.display()))?;
    }
    Ok(())
}

fn link_programs(state: &State, tools: &Tools) -> Result<()> {
    let kubernetes = DAEMONS.iter().filter(|name| name.starts_with("kube"));
    let links = kubernetes
        .chain(&["kubectl"])
        .map(|name| (*name, tools.kube()));
    for (name, target) in links.chain([("helm", tools.helm())]) {
        let link = state.program(name);
        symlink(&target, &link)
            .with_context(|| format!("link {} to {}", link.display(), target.display()))?;
    }
    Ok(())
}

fn write_configuration(state: &State, network: Network, prefixed: &str) -> Result<()> {
    state.write(
        "containerd.toml",
        &configuration::containerd(state, &cni_programs()?),
    )?;
    state.write(
        "cni/10-pods.conflist",
        &configuration::pod_network(state, network, prefixed),
    )?;
    state.write(
        "kubelet.json",
        &configuration::kubelet(state, network, prefixed),
    )?;
    // Pods that ask for the node's own name servers get one that is not there: the cluster has no
    // way out.
    state.write("resolv.conf", "nameserver 127.0.0.1\n")
}

/// The directory with the programs the pod network needs.
pub(super) fn cni_programs() -> Result<PathBuf> {
    let complete = |directory: &&&str| {
        ["ptp", "host-local", "loopback"]
            .iter()
            .all(|program| Path::new(directory).join(program).exists())
    };
    let found = CNI_DIRECTORIES.iter().find(complete);
    found.map(PathBuf::from).with_context(|| {
        format!(
            "no CNI programs in {}; Debian has them in the package containernetworking-plugins",
            CNI_DIRECTORIES.join(" or ")
        )
    })
}
