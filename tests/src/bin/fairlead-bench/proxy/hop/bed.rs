//! The namespaces, the rules and the proxy.

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};
use fairlead_tests::{
    binary,
    netns::{Namespace, Process, User},
};

use crate::{
    process,
    proxy::{CONGESTION_CONTROL, traffic::Server},
};

const POD: &str = "10.99.0.1";
const PEER: &str = "10.99.0.2";

/// How a connection goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Path {
    /// Between two namespaces without rules.
    Direct,
    /// From an application through its sidecar to the peer.
    Outbound,
    /// From the peer through the sidecar to its application.
    Inbound,
}

impl Path {
    pub(super) const ALL: [Self; 3] = [Self::Direct, Self::Outbound, Self::Inbound];
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        })
    }
}

/// Two namespaces joined by a cable.
struct Pair {
    pod: Namespace,
    peer: Namespace,
}

impl Pair {
    fn new() -> Self {
        let pair = Self {
            pod: Namespace::new(),
            peer: Namespace::new(),
        };
        let (pod, peer) = (format!("{POD}/24"), format!("{PEER}/24"));
        pair.pod.connect(&[&pod], &pair.peer, &[&peer]);
        pair
    }
}

pub(super) struct Bed {
    /// Before the namespaces, so that it ends before they do.
    proxy: Process,
    bare: Pair,
    meshed: Pair,
}

impl Bed {
    /// Makes the namespaces, programs one pod and starts its proxy.
    pub(super) fn new() -> anyhow::Result<Self> {
        let (bare, meshed) = (Pair::new(), Pair::new());
        let mut init = Command::new(binary("fairlead-init"));
        init.args(["-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT"])
            .args(["-i", "*", "-b", "*", "-d", "15090,15021,15020"]);
        run(&meshed.pod, init)?;

        let mut sidecar = Command::new(binary("fairlead-proxy"));
        sidecar
            .args(["sidecar", "--proxyLogLevel", "error"])
            .env("POD_NAME", "bench")
            .env("POD_NAMESPACE", "bench")
            .env("INSTANCE_IP", POD)
            .stdin(Stdio::null());
        let proxy = meshed.pod.spawn_as(User::PROXY, sidecar);
        let mut wait = Command::new(binary("fairlead-proxy"));
        wait.args(["wait", "--timeout", "10s"]);
        run(&meshed.pod, wait)?;
        Ok(Self {
            proxy,
            bare,
            meshed,
        })
    }

    /// Chooses how the connections that are made from now on share their path (`tcp(7)`).
    pub(super) fn use_congestion_control(&self, name: &str) -> anyhow::Result<()> {
        for Pair { pod, peer } in [&self.bare, &self.meshed] {
            for namespace in [pod, peer] {
                namespace
                    .run(|| fs::write(CONGESTION_CONTROL, name))
                    .with_context(|| format!("write {name} to {CONGESTION_CONTROL}"))?;
            }
        }
        Ok(())
    }

    /// Serves where the path ends.
    pub(super) fn serve(
        &self,
        path: Path,
        port: u16,
        at_once: usize,
        serve: fn(TcpStream) -> std::io::Result<()>,
    ) -> anyhow::Result<Server> {
        let namespace = match path {
            Path::Direct => &self.bare.peer,
            Path::Outbound => &self.meshed.peer,
            Path::Inbound => &self.meshed.pod,
        };
        Server::start(namespace, port, at_once, serve)
            .with_context(|| format!("serve port {port} at the end of {path}"))
    }

    /// Runs a client where the path begins, as an application's user.
    pub(super) fn on_client<T: Send>(&self, path: Path, work: impl FnOnce() -> T + Send) -> T {
        let namespace = match path {
            Path::Direct => &self.bare.pod,
            Path::Outbound => &self.meshed.pod,
            Path::Inbound => &self.meshed.peer,
        };
        namespace.run_as(User::APPLICATION, work)
    }

    /// What a client on the path connects to.
    pub(super) fn address(&self, path: Path, port: u16) -> SocketAddr {
        let host: IpAddr = match path {
            Path::Direct | Path::Outbound => PEER,
            Path::Inbound => POD,
        }
        .parse()
        .expect("the addresses of this file are addresses");
        SocketAddr::new(host, port)
    }

    pub(super) fn resident_megabytes(&self) -> f64 {
        self.proxy.resident_kib() as f64 * 1024.0 / 1e6
    }

    /// What the proxy has used so far, all threads, in user mode and in the kernel.
    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        process::cpu_seconds(self.proxy.id())
    }
}

/// Runs a program that must succeed.
fn run(namespace: &Namespace, command: Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let output = namespace.output(command);
    ensure!(
        output.status.success(),
        "{shown}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
