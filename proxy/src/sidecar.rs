//! The life of the process: bind everything or nothing, run, drain, end.

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use axum::Router;
use fairlead_runtime::{
    drain, log,
    server::{self, BindError},
    signal::Termination,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    select,
    sync::mpsc,
    task::JoinSet,
    time::{interval, timeout},
};
use tracing::{error, info, warn};

use crate::{
    access_log,
    admin::{self, Admin},
    config::Config,
    connection::Settings,
    destination::CapturePorts,
    direction::Direction,
    health,
    lifecycle::{Lifecycle, Stop},
    listener,
    metrics::Sources,
    original_dst::Redirect,
    workers::{self, Listeners, Workers},
};

/// Between two looks at the number of open connections while draining.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// How long answers of the admin and health ports may go on at the end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Why the process could not start, or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A port is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The kernel gives no thread, descriptor or signal.
    #[error("start {what}")]
    Start {
        /// What.
        what: &'static str,
        /// The kernel's words.
        source: io::Error,
    },
    /// A worker panicked.
    #[error("a worker has ended: its panic is logged above; the process cannot go on without it")]
    WorkerEnded,
}

/// Runs until a signal or an operator ends it.
///
/// # Errors
/// Something could not be started, and nothing runs; or a worker is lost.
pub async fn run(
    mut config: Config,
    log: Option<log::Control>,
    redirect: Arc<dyn Redirect>,
) -> Result<(), RunError> {
    let start = |what| move |source| RunError::Start { what, source };
    raise_descriptor_limit();
    let mut termination = Termination::listen().map_err(start("signal handling"))?;
    let sockets = Sockets::bind(&mut config).await?;
    let (lines, writer) =
        access_log::start(io::stdout()).map_err(start("the writer of the access log"))?;
    let settings = Settings {
        ports: CapturePorts {
            outbound: config.ports.outbound,
            inbound: config.ports.inbound,
        },
        connect_timeout: config.proxy.connect_timeout,
        access_log: config.proxy.access_log,
        access_log_encoding: config.proxy.access_log_encoding,
        redirect,
    };
    let mut workers =
        workers::start(sockets.captured, &settings, &lines).map_err(start("the workers"))?;
    drop(lines);
    let (lifecycle, mut asked) = Lifecycle::new();
    let admin = Arc::new(Admin {
        sources: Sources {
            workers: workers.statistics().to_vec(),
            listeners: [
                (
                    Direction::Outbound,
                    format!("0.0.0.0_{}", config.ports.outbound),
                ),
                (
                    Direction::Inbound,
                    format!("0.0.0.0_{}", config.ports.inbound),
                ),
            ],
            node: config.node.clone(),
            access_log: writer.counts(),
            lifecycle: lifecycle.clone(),
        },
        config,
        log,
    });
    let (end, ending) = drain::channel();
    let mut servers = JoinSet::new();
    for (listeners, router) in [
        (sockets.admin, admin::router(admin.clone())),
        (sockets.status, health::status(admin.clone())),
        (sockets.health, health::health(admin.clone())),
        (sockets.metrics, health::metrics(admin.clone())),
    ] {
        serve(&mut servers, listeners, &router, &ending);
    }
    drop(ending);
    lifecycle.workers_started();
    info!(
        node = admin.config.node.id(),
        workers = admin.config.workers,
        outbound = admin.config.ports.outbound,
        inbound = admin.config.ports.inbound,
        "ready"
    );
    let result = live(&admin, &mut workers, &mut termination, &mut asked).await;
    let cut = workers.active();
    workers.stop();
    writer.flush();
    if cut > 0 {
        warn!(
            connections = cut,
            "ended with open connections: they were reset"
        );
    }
    // The last answers, to whoever asked for the end.
    let _ = timeout(LAST_ANSWERS, end.drain()).await;
    info!("ended");
    result
}

/// Carries traffic until the end is asked for and the drain is over.
async fn live(
    admin: &Admin,
    workers: &mut Workers,
    termination: &mut Termination,
    asked: &mut mpsc::Receiver<Stop>,
) -> Result<(), RunError> {
    let stop = select! {
        signal = termination.received() => {
            info!(signal, "asked to end");
            Stop::Gracefully
        }
        stop = asked.recv() => {
            info!(?stop, "asked to end on an admin port");
            stop.unwrap_or(Stop::Gracefully)
        }
        () = workers.failed() => {
            error!("a worker has ended");
            return Err(RunError::WorkerEnded);
        }
    };
    if stop == Stop::AtOnce {
        return Ok(());
    }
    let after = admin.config.proxy.termination_drain_duration;
    admin.sources.lifecycle.drain();
    info!(connections = workers.active(), at_most = ?after, "draining");
    select! {
        drained = timeout(after, idle(admin.config.exit_on_zero_connections, workers)) => {
            if drained.is_err() {
                info!("the drain is over");
            }
        }
        signal = termination.received() => info!(signal, "asked again: ending now"),
        () = at_once(asked) => info!("asked on an admin port to end now"),
    }
    Ok(())
}

/// Returns when no connection is open, if that ends the drain.
async fn idle(ends: bool, workers: &Workers) {
    let mut look = interval(DRAIN_LOOK);
    loop {
        look.tick().await;
        if ends && workers.active() == 0 {
            return;
        }
    }
}

async fn at_once(asked: &mut mpsc::Receiver<Stop>) {
    loop {
        match asked.recv().await {
            Some(Stop::AtOnce) => return,
            Some(Stop::Gracefully) => {}
            None => std::future::pending().await,
        }
    }
}

/// Every socket that the process listens on.
struct Sockets {
    captured: Vec<Listeners>,
    admin: Vec<TcpListener>,
    status: Vec<TcpListener>,
    health: Vec<TcpListener>,
    metrics: Vec<TcpListener>,
}

impl Sockets {
    /// Takes every port before anything runs; writes the ports that were free ones into the
    /// configuration.
    async fn bind(config: &mut Config) -> Result<Self, RunError> {
        let ports = &mut config.ports;
        let workers = usize::from(config.workers);
        let mut captured = Vec::new();
        let outbound = listener::bind("captured outbound connections", ports.outbound, workers)?;
        let inbound = listener::bind("captured inbound connections", ports.inbound, workers)?;
        for (port, shares) in [
            (&mut ports.outbound, &outbound),
            (&mut ports.inbound, &inbound),
        ] {
            if let Some(address) = shares
                .first()
                .and_then(|share| share.first()?.local_addr().ok())
            {
                *port = address.port();
            }
        }
        for (outbound, inbound) in outbound.into_iter().zip(inbound) {
            captured.push(Listeners { outbound, inbound });
        }
        let admin = server::bind("admin", (Ipv4Addr::LOCALHOST, ports.admin).into()).await?;
        if let Ok(address) = admin.local_addr() {
            ports.admin = address.port();
        }
        Ok(Self {
            captured,
            admin: vec![admin],
            status: open("status", &mut ports.status)?,
            health: open("health", &mut ports.health)?,
            metrics: open("metrics", &mut ports.metrics)?,
        })
    }
}

/// Takes a port on all addresses, for this thread's runtime.
fn open(purpose: &'static str, port: &mut u16) -> Result<Vec<TcpListener>, RunError> {
    let mut listeners = Vec::new();
    for listener in listener::bind(purpose, *port, 1)?.into_iter().flatten() {
        let mut register = |listener: std::net::TcpListener| {
            *port = listener.local_addr()?.port();
            TcpListener::from_std(listener)
        };
        let what = purpose;
        listeners.push(register(listener).map_err(|source| RunError::Start { what, source })?);
    }
    Ok(listeners)
}

fn serve(
    servers: &mut JoinSet<()>,
    listeners: Vec<TcpListener>,
    router: &Router,
    ending: &drain::Watch,
) {
    for listener in listeners {
        servers.spawn(server::serve(listener, router.clone(), ending.clone()));
    }
}

/// Each connection takes two descriptors, and container runtimes often start with a soft limit of
/// 1024 below a hard one of a million.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, limit = ?limit.current, "the limit of file descriptors stays as it is");
    }
}
