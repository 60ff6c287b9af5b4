//! The process that runs an Envoy bootstrap: starts everything or nothing, takes other configurations,
//! drains and ends.

mod apply;
mod at_start;
mod compiler;
mod flush;
mod next;
mod reload;
mod start;
mod stop;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use fairlead_runtime::{drain, server, signal::Termination};
use tokio::{
    select,
    signal::unix::Signal,
    sync::mpsc,
    time::{Interval, sleep},
};
use tracing::info;

pub use self::compiler::validate;
use self::{
    apply::{ApplyError, Running},
    at_start::AtStart,
    compiler::Compiler,
    reload::{Pending, stamp, warm},
};
use crate::{
    access_log::{Reopen, Writer},
    configuration::{ConfigurationError, Source, Stamp},
    lifecycle::{Lifecycle, State, Stop},
    stats::Store,
    telemetry::Telemetry,
    threads::Threads,
};

/// Between two looks at the file.
const POLL: Duration = Duration::from_secs(1);

/// What a process is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the configuration comes from.
    pub source: Source,
    /// How many workers.
    pub concurrency: usize,
    /// How long connections of what is not configured any more may go on.
    pub drain_time: Duration,
    /// How often buffered access logs are written.
    pub file_flush_interval: Duration,
    /// What a sidecar counts besides.
    pub telemetry: Option<Arc<Telemetry>>,
}

/// Why the process could not start; nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// What it asks for cannot be had.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The admin port.
    #[error(transparent)]
    Admin(#[from] server::BindError),
    /// The kernel gives no thread, descriptor or signal.
    #[error("start {what}")]
    Resource {
        /// What.
        what: &'static str,
        /// The kernel's words.
        source: io::Error,
    },
}

/// The running process.
pub struct Server {
    options: Options,
    compiler: Compiler,
    running: Running,
    threads: Threads,
    lifecycle: Lifecycle,
    asked: mpsc::Receiver<Stop>,
    termination: Termination,
    hang_up: Signal,
    user: Signal,
    reopen: Reopen,
    store: Arc<Store>,
    admin: drain::Signal,
    admin_port: Option<u16>,
    writer: Writer,
    seen: Stamp,
    at_start: AtStart,
    looks: Interval,
    /// What is in force as soon as its clusters have found their endpoints; at the start, nothing is
    /// before that.
    pending: Option<Pending>,
}

impl Server {
    /// The port that a listener got.
    pub fn port(&self, listener: &str) -> Option<u16> {
        let plane = self.running.plane();
        let listeners = plane.listeners.load();
        let mut all = listeners.all.iter();
        let active = all.find(|active| *active.current().name == *listener)?;
        active.addresses.first().map(SocketAddr::port)
    }

    /// The port of the admin pages, if there are any.
    pub fn admin_port(&self) -> Option<u16> {
        self.admin_port
    }

    /// The state of the process.
    pub fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    /// All that is counted.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Runs until a signal or an operator ends it.
    ///
    /// # Errors
    /// A worker is lost, or what was prepared cannot be started.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let stop = match self.initialize().await {
            Ok(None) => {
                info!(concurrency = self.options.concurrency, "ready");
                self.live().await
            }
            Ok(Some(stop)) => Ok(stop),
            Err(cause) => Err(cause),
        };
        self.end().await;
        stop.map(|_| ())
    }

    /// Returns when traffic is carried, or before that, if somebody asks for the end.
    ///
    /// # Errors
    /// A worker is lost, or what was prepared cannot be started.
    pub async fn initialize(&mut self) -> anyhow::Result<Option<Stop>> {
        if !self.is_live() {
            info!("no traffic is carried before the clusters have found their endpoints");
        }
        while !self.is_live() {
            if let Some(stop) = self.next().await? {
                return Ok(Some(stop));
            }
        }
        Ok(None)
    }

    /// Carries traffic until somebody asks for the end.
    ///
    /// # Errors
    /// A worker is lost.
    pub async fn live(&mut self) -> anyhow::Result<Stop> {
        loop {
            if let Some(stop) = self.next().await? {
                return Ok(stop);
            }
        }
    }

    /// Whether a configuration is in force.
    fn is_live(&self) -> bool {
        self.lifecycle.state() != State::PreInitializing
    }

    /// Waits for what happens next, and does what is to be done then; whether that is to end.
    async fn next(&mut self) -> anyhow::Result<Option<Stop>> {
        select! {
            signal = self.termination.received() => {
                info!(signal, "asked to end");
                return Ok(Some(Stop::Gracefully));
            }
            stop = asked(&mut self.asked) => {
                info!(?stop, "asked to end on an admin port");
                return Ok(Some(stop));
            }
            () = self.threads.failed() => anyhow::bail!(
                "a worker has ended by the panic told above: the process cannot go on without it"
            ),
            _ = self.hang_up.recv() => self.reload(),
            _ = self.user.recv() => self.reopen.ask(),
            () = warm(self.pending.as_ref()) => {
                if let Some(warmed) = self.pending.take() {
                    self.put(warmed)?;
                }
            }
            _ = self.looks.tick() => {
                let now = stamp(&self.options.source);
                if now.is_some() && now != self.seen {
                    self.reload();
                }
            }
        }
        Ok(None)
    }

    /// At once, not only when the process next tells how it is.
    fn tell_state(&self) {
        let state = self.lifecycle.state();
        let server = self.store.server();
        server.set().state.set(state.number());
        server.set().live.set(u64::from(state == State::Live));
    }
}

async fn asked(requests: &mut mpsc::Receiver<Stop>) -> Stop {
    match requests.recv().await {
        Some(stop) => stop,
        // The senders live as long as the process.
        None => std::future::pending().await,
    }
}

/// Waits before what is not configured any more is closed.
pub(crate) async fn later(drain_time: Duration, close: impl FnOnce()) {
    sleep(drain_time).await;
    close();
}
