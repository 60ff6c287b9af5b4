//! The life of the process: start everything or nothing, run, drain, end.

mod sockets;

use std::{
    io::{self, Write},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use fairlead_runtime::{
    drain, log,
    server::{self, BindError},
    signal::Termination,
};
use tokio::{
    net::TcpListener,
    select,
    sync::mpsc,
    time::{interval, timeout},
};
use tracing::{info, warn};

use self::sockets::Sockets;
use crate::{
    access_log,
    admin::{self, Admin},
    arguments::Ports,
    config::Config,
    connection::Settings,
    descriptors,
    destination::CapturePorts,
    direction::Direction,
    health,
    lifecycle::{Lifecycle, Stop},
    listener::ListenError,
    metrics::Sources,
    original_dst::Redirect,
    workers::{self, Workers},
};

/// Between two looks at the number of open connections while draining.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

/// How long answers of the admin and health ports may go on at the end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Why the process could not start; nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A port is taken, or its sockets cannot be made as they must be.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The kernel gives no thread, descriptor or signal.
    #[error("start {what}")]
    Resource {
        /// What.
        what: &'static str,
        /// The kernel's words.
        source: io::Error,
    },
}

/// The process cannot go on: a worker panicked.
#[derive(Debug, thiserror::Error)]
#[error("a worker has ended by the panic told above: the process cannot go on without it")]
pub struct WorkerEnded;

/// The running process.
#[derive(Debug)]
pub struct Sidecar {
    admin: Arc<Admin>,
    workers: Workers,
    writer: access_log::Writer,
    termination: Termination,
    asked: mpsc::Receiver<Stop>,
    servers: drain::Signal,
}

impl Sidecar {
    /// Takes all ports and starts all threads. Access-log lines go to `lines`.
    ///
    /// # Errors
    /// Something could not be started, and nothing runs.
    pub async fn start(
        mut config: Config,
        log: Option<log::Control>,
        redirect: Arc<dyn Redirect>,
        lines: impl Write + Send + 'static,
    ) -> Result<Self, StartError> {
        let failed = |what| move |source| StartError::Resource { what, source };
        descriptors::raise_limit();
        let termination = Termination::listen().map_err(failed("signal handling"))?;
        let sockets = Sockets::bind(
            config.ports,
            config.workers.into(),
            config.interception_mode,
        )
        .await?;
        config.ports = sockets.ports;
        let (access_log, writer) =
            access_log::start(lines).map_err(failed("the writer of the access log"))?;
        let settings = settings(&config, redirect);
        let workers = workers::start(sockets.captured, &settings, &access_log)
            .map_err(failed("the workers"))?;
        let (lifecycle, asked) = Lifecycle::new();
        let admin = Arc::new(Admin {
            sources: Sources {
                workers: workers.statistics().to_vec(),
                listeners: [
                    (Direction::Outbound, config.ports.outbound),
                    (Direction::Inbound, config.ports.inbound),
                ],
                node: config.node.clone(),
                access_log: writer.counts(),
                lifecycle: lifecycle.clone(),
            },
            config,
            log,
        });
        let (servers, ending) = drain::channel();
        for (listeners, router) in [
            (sockets.admin, admin::router(admin.clone())),
            (sockets.status, health::status(admin.clone())),
            (sockets.health, health::health(admin.clone())),
            (sockets.metrics, health::metrics(admin.clone())),
        ] {
            serve(listeners, &router, &ending);
        }
        lifecycle.workers_started();
        Ok(Self {
            admin,
            workers,
            writer,
            termination,
            asked,
            servers,
        })
    }

    /// The ports that it listens on.
    pub fn ports(&self) -> Ports {
        self.admin.config.ports
    }

    /// Runs until a signal or an operator ends it, and the drain is over.
    ///
    /// # Errors
    /// A worker is lost.
    pub async fn run(mut self) -> Result<(), WorkerEnded> {
        info!(
            node = self.admin.config.node.id(),
            workers = self.admin.config.workers,
            outbound = self.ports().outbound,
            inbound = self.ports().inbound,
            "ready"
        );
        let result = self.live().await;
        let cut = self.workers.active();
        self.workers.stop();
        self.writer.flush();
        if cut > 0 {
            warn!(
                connections = cut,
                "ended with open connections: they were reset"
            );
        }
        // The last answers, to whoever asked for the end; what is left ends with the runtime.
        let _ = timeout(LAST_ANSWERS, self.servers.drain()).await;
        info!("ended");
        result
    }

    /// Carries traffic until the end is asked for and the drain is over.
    async fn live(&mut self) -> Result<(), WorkerEnded> {
        let stop = select! {
            signal = self.termination.received() => {
                info!(signal, "asked to end");
                Stop::Gracefully
            }
            stop = asked(&mut self.asked) => {
                info!(?stop, "asked to end on an admin port");
                stop
            }
            () = self.workers.failed() => return Err(WorkerEnded),
        };
        if stop == Stop::AtOnce {
            return Ok(());
        }
        let config = &self.admin.config;
        let after = config.proxy.termination_drain_duration;
        self.admin.sources.lifecycle.drain();
        info!(connections = self.workers.active(), at_most = ?after, "draining");
        select! {
            drained = timeout(after, idle(config.exit_on_zero_connections, &self.workers)) => {
                if drained.is_err() {
                    info!("the time to drain is over");
                }
            }
            signal = self.termination.received() => info!(signal, "asked again: ending now"),
            () = at_once(&mut self.asked) => info!("asked on an admin port to end now"),
        }
        Ok(())
    }
}

fn settings(config: &Config, redirect: Arc<dyn Redirect>) -> Settings {
    Settings {
        ports: CapturePorts {
            outbound: config.ports.outbound,
            inbound: config.ports.inbound,
        },
        interception_mode: config.interception_mode,
        connect_timeout: config.proxy.connect_timeout,
        access_log: config.proxy.access_log,
        access_log_encoding: config.proxy.access_log_encoding,
        redirect,
    }
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

async fn asked(requests: &mut mpsc::Receiver<Stop>) -> Stop {
    match requests.recv().await {
        Some(stop) => stop,
        // The senders live as long as the process.
        None => std::future::pending().await,
    }
}

async fn at_once(requests: &mut mpsc::Receiver<Stop>) {
    while asked(requests).await != Stop::AtOnce {}
}

fn serve(listeners: Vec<TcpListener>, router: &Router, ending: &drain::Watch) {
    for listener in listeners {
        tokio::spawn(server::serve(listener, router.clone(), ending.clone()));
    }
}
