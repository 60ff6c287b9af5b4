//! The two pods of a subject, and the ways between them.

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path as FilePath,
    process::Command,
};

use anyhow::{Context, ensure};
use fairlead_tests::{
    binary,
    netns::{Namespace, User},
};

use super::{
    Rig,
    running::{self, Running},
    subject::Subject,
};
use crate::{
    pin::Cpu,
    proxy::{
        CONGESTION_CONTROL, UNPACED,
        traffic::{Keeper, Server},
    },
};

const CLIENT: &str = "10.98.0.1";
/// `sidecar.yaml` has mutual TLS for the second and the third.
const SERVER: [&str; 3] = ["10.98.0.2", "10.98.0.3", "10.98.0.4"];

/// The server's ports from here on are not captured there. There are as many as one rule takes.
const UNCAPTURED: u16 = 7000;
const UNCAPTURED_COUNT: u16 = 11;
const CAPTURED: u16 = 8000;

/// How a connection goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Path {
    /// By no sidecar. It is the same for both: what its ratio differs from 1 is chance.
    Direct,
    /// By the client's sidecar alone.
    OneHop,
    TwoSidecars,
    /// Two sidecars that resume sessions.
    MutualTls,
    /// Two sidecars with a full handshake each time.
    MutualTlsFull,
}

impl Path {
    fn is_captured_at_server(self) -> bool {
        !matches!(self, Self::Direct | Self::OneHop)
    }

    pub(super) fn has_tls(self) -> bool {
        matches!(self, Self::MutualTls | Self::MutualTlsFull)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "no sidecar",
            Self::OneHop => "one hop",
            Self::TwoSidecars => "two sidecars",
            Self::MutualTls => "mTLS",
            Self::MutualTlsFull => "mTLS, full handshake",
        })
    }
}

/// Fields in the order in which they end.
#[derive(Debug)]
struct Pod {
    proxy: Running,
    namespace: Namespace,
    cpu: Cpu,
}

/// Two pods joined by a cable.
#[derive(Debug)]
pub(super) struct Bed {
    subject: Subject,
    client: Pod,
    server: Pod,
}

impl Bed {
    /// Makes the pods, programs both and starts their proxies, with the bootstrap or, without one,
    /// as passthrough sidecars.
    pub(super) fn new(
        rig: &Rig,
        subject: Subject,
        bootstrap: Option<&FilePath>,
    ) -> anyhow::Result<Self> {
        let Rig {
            programs,
            cpus,
            scratch,
            ..
        } = rig;
        let [client, server] = [Namespace::new(), Namespace::new()];
        let addresses = SERVER.map(|address| format!("{address}/24"));
        let addresses = addresses.each_ref().map(String::as_str);
        client.connect(&[&format!("{CLIENT}/24")], &server, &addresses);
        let pod = |namespace: Namespace, cpu, address, name| {
            redirect(&namespace)?;
            namespace
                .run(|| fs::write(CONGESTION_CONTROL, UNPACED))
                .with_context(|| format!("write {UNPACED} to {CONGESTION_CONTROL}"))?;
            let command = match bootstrap {
                Some(bootstrap) => programs.command(subject, bootstrap),
                None => programs.passthrough(address),
            };
            let log = running::log_in(scratch.path(), &format!("{subject}-{name}"));
            let proxy = Running::start(&namespace, cpu, command, &log)?;
            anyhow::Ok(Pod {
                proxy,
                namespace,
                cpu,
            })
        };
        Ok(Self {
            subject,
            client: pod(client, cpus[0], CLIENT, "client")?,
            server: pod(server, cpus[1], SERVER[0], "server")?,
        })
    }

    pub(super) fn subject(&self) -> Subject {
        self.subject
    }

    /// Serves on port number `index` of those that the server's sidecar gets, or of the others.
    pub(super) fn serve(
        &self,
        captured: bool,
        index: u16,
        at_once: usize,
        serve: fn(TcpStream) -> std::io::Result<()>,
    ) -> anyhow::Result<Server> {
        let port = port(captured, index);
        let start = || Server::start(&self.server.namespace, port, at_once, serve);
        self.server
            .cpu
            .run(start)?
            .with_context(|| format!("serve port {port}"))
    }

    /// Serves by keeping whatever connects.
    pub(super) fn keep(&self, index: u16) -> anyhow::Result<Keeper> {
        let port = port(true, index);
        let start = || Keeper::start(&self.server.namespace, port);
        self.server
            .cpu
            .run(start)?
            .with_context(|| format!("serve port {port}"))
    }

    /// Runs a client beside the client's sidecar, as an application's user or, where its connections are
    /// not to be captured, as the proxy's.
    pub(super) fn on_client<T: Send>(
        &self,
        path: Path,
        work: impl FnOnce() -> T + Send,
    ) -> anyhow::Result<T> {
        let Pod { namespace, cpu, .. } = &self.client;
        let user = if path == Path::Direct {
            User::PROXY
        } else {
            User::APPLICATION
        };
        cpu.run(|| namespace.run_as(user, work))
    }

    /// What a client connects to.
    pub(super) fn address(&self, path: Path, index: u16) -> SocketAddr {
        let host = match path {
            Path::Direct | Path::OneHop | Path::TwoSidecars => SERVER[0],
            Path::MutualTls => SERVER[1],
            Path::MutualTlsFull => SERVER[2],
        };
        let host: IpAddr = host
            .parse()
            .expect("the addresses of this file are addresses");
        SocketAddr::new(host, port(path.is_captured_at_server(), index))
    }

    /// Of the sidecars on the path, together.
    pub(super) fn cpu_seconds(&self, path: Path) -> anyhow::Result<f64> {
        let [client, server] = [&self.client.proxy, &self.server.proxy];
        match path {
            Path::Direct => Ok(0.0),
            Path::OneHop => client.cpu_seconds(),
            Path::TwoSidecars | Path::MutualTls | Path::MutualTlsFull => {
                Ok(client.cpu_seconds()? + server.cpu_seconds()?)
            }
        }
    }

    /// Of both sidecars.
    pub(super) fn resident_megabytes(&self) -> anyhow::Result<[f64; 2]> {
        let of = |pod: &Pod| pod.proxy.resident_megabytes();
        Ok([of(&self.client)?, of(&self.server)?])
    }

    /// A statistic of the client's sidecar.
    pub(super) fn client_statistic(&self, name: &str) -> anyhow::Result<u64> {
        running::statistic(&self.client.namespace, name)
    }

    /// Which statistics of the client's sidecar below this prefix have counted.
    pub(super) fn client_statistics_below(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        running::statistics_below(&self.client.namespace, prefix)
    }
}

fn port(captured: bool, index: u16) -> u16 {
    let first = if captured { CAPTURED } else { UNCAPTURED };
    first + index
}

/// The rules of an injected pod, but for the ports that the first hop alone leads to.
fn redirect(namespace: &Namespace) -> anyhow::Result<()> {
    let uncaptured = (UNCAPTURED..UNCAPTURED + UNCAPTURED_COUNT).map(|port| port.to_string());
    let excluded = ["15090", "15021", "15020"].map(str::to_owned);
    let excluded: Vec<String> = excluded.into_iter().chain(uncaptured).collect();
    let mut init = Command::new(binary("fairlead-init"));
    init.args(["-p", "15001", "-z", "15006", "-u", "1337", "-m", "REDIRECT"])
        .args(["-i", "*", "-b", "*", "-d", &excluded.join(",")]);
    let output = namespace.output(init);
    ensure!(
        output.status.success(),
        "fairlead-init: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
