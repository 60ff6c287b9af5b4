//! The process that runs an Envoy bootstrap: starts everything or nothing, takes other configurations,
//! drains and ends.

mod apply;
mod at_start;
mod flush;
mod next;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use fairlead_runtime::{drain, log, server, signal::Termination};
use fairlead_xds::{bootstrap::Pieces, envoy::config::bootstrap::v3::Bootstrap};
use tokio::{
    select,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Interval, interval, sleep, timeout},
};
use tracing::{error, info, warn};

use self::{
    apply::{ApplyError, Running},
    at_start::AtStart,
    flush::Flusher,
    next::Next,
};
use crate::{
    access_log::{self, Counts, Outputs, Reopen, Sinks, Surroundings as LogSurroundings, Writer},
    admin::served::{Served, router},
    compile::{Findings, values::socket_address},
    configuration::{self, ConfigurationError, KeptBootstrap, Source, Stamp, read_secrets},
    descriptors,
    lifecycle::{Lifecycle, State, Stop},
    listener::config::Surroundings,
    network_filter::local_ratelimit::SharedTokenBuckets,
    original_dst::Redirect,
    plane::Plane,
    snapshot::Snapshot,
    stats::{Given, StatsConfig, Store},
    telemetry::Telemetry,
    threads::Threads,
    tls::{self, Contexts},
};

/// Between two looks at the file.
const POLL: Duration = Duration::from_secs(1);

/// How long answers of the admin port may go on at the end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Between two looks at the number of open connections while draining.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

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

/// What configurations are compiled with.
struct Compiler {
    contexts: Arc<Contexts>,
    sinks: Sinks,
    outputs: Outputs,
    hostname: String,
    buckets: SharedTokenBuckets,
    store: Arc<Store>,
}

impl Compiler {
    fn new(
        bootstrap: &Pieces,
        sinks: Sinks,
        store: Arc<Store>,
    ) -> Result<Self, ConfigurationError> {
        Ok(Self {
            contexts: Arc::new(Contexts::new(
                |name| std::env::var(name).ok(),
                read_secrets,
                configuration::secrets(bootstrap)?,
            )),
            sinks,
            outputs: Outputs::new(),
            hostname: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            buckets: SharedTokenBuckets::default(),
            store,
        })
    }

    fn compile(
        &self,
        bootstrap: &Pieces,
        before: &[Arc<crate::listener::config::Listener>],
    ) -> Result<Snapshot, ConfigurationError> {
        let findings = Findings::default();
        self.contexts.look_at_files();
        let with = Surroundings {
            contexts: &self.contexts,
            logs: LogSurroundings {
                sinks: Some(&self.sinks),
                outputs: &self.outputs,
                environment: &|name| std::env::var(name).ok(),
                hostname: &self.hostname,
            },
            token_buckets: &self.buckets,
            store: &self.store,
            before,
            now: Instant::now(),
        };
        let snapshot = Snapshot::compile(&findings, bootstrap, &with);
        for found in findings.unsupported() {
            warn!("{found}");
        }
        snapshot.ok_or_else(|| ConfigurationError::of(&findings))
    }
}

/// Says whether the configuration could be run, without running it.
///
/// # Errors
/// All of its faults.
pub fn validate(source: &Source) -> Result<(), StartError> {
    let (bootstrap, warnings) = source.read()?;
    for warning in warnings {
        warn!("{warning}");
    }
    let failed = |what| move |source| StartError::Resource { what, source };
    let (sinks, _writer) =
        Sinks::start(access_log::FLUSH_INTERVAL).map_err(failed("the access log"))?;
    let store = Arc::new(Store::new(stats_config(&bootstrap.bootstrap)?));
    admin_address(&bootstrap.bootstrap)?;
    Compiler::new(&bootstrap, sinks, store)?.compile(&bootstrap, &[])?;
    Ok(())
}

fn stats_config(bootstrap: &Bootstrap) -> Result<StatsConfig, ConfigurationError> {
    let Some(message) = &bootstrap.stats_config else {
        return Ok(StatsConfig::default());
    };
    let findings = Findings::default();
    StatsConfig::compile(&findings.at("stats_config"), message)
        .ok_or_else(|| ConfigurationError::of(&findings))
}

fn admin_address(bootstrap: &Bootstrap) -> Result<Option<SocketAddr>, ConfigurationError> {
    let Some(address) = bootstrap
        .admin
        .as_ref()
        .and_then(|admin| admin.address.as_ref())
    else {
        return Ok(None);
    };
    let findings = Findings::default();
    match socket_address(&findings.at("admin.address"), address) {
        Some(address) => Ok(Some(address)),
        None => Err(ConfigurationError::of(&findings)),
    }
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
    /// Reads the configuration, takes all addresses that it names, and answers at the admin port. Traffic
    /// is carried from now on if no cluster has to look for its endpoints, or else when they are found.
    ///
    /// # Errors
    /// Something could not be started, and nothing runs.
    pub async fn start(
        options: Options,
        log: Option<log::Control>,
        redirect: Arc<dyn Redirect>,
    ) -> Result<Self, StartError> {
        let failed = |what| move |source| StartError::Resource { what, source };
        descriptors::raise_limit();
        let termination = Termination::listen().map_err(failed("signal handling"))?;
        let hang_up = signal(SignalKind::hangup()).map_err(failed("signal handling"))?;
        let user = signal(SignalKind::user_defined1()).map_err(failed("signal handling"))?;
        let seen = stamp(&options.source);
        let (bootstrap, warnings) = options.source.read()?;
        for warning in warnings {
            warn!("{warning}");
        }
        let (sinks, writer) =
            Sinks::start(options.file_flush_interval).map_err(failed("the access log"))?;
        // Before anything is made of it, which then takes the memory that packing needed.
        let kept = KeptBootstrap::new(&bootstrap);
        let at_start = AtStart::of(&bootstrap);
        let store = Arc::new(Store::new(stats_config(&bootstrap.bootstrap)?));
        let admin_address = admin_address(&bootstrap.bootstrap)?;
        let (reopen, lines) = (sinks.reopen(), sinks.counts());
        let layers = bootstrap.bootstrap.layered_runtime.as_ref();
        let layers = layers.map_or(0, |runtime| runtime.layers.len());
        let compiler = Compiler::new(&bootstrap, sinks, store.clone())?;
        let snapshot = compiler.compile(&bootstrap, &[])?;
        let (lifecycle, asked) = Lifecycle::new();
        let threads = Threads::start(options.concurrency).map_err(failed("the workers"))?;
        let mut running = Running::new(
            options.concurrency,
            options.drain_time,
            redirect,
            store.clone(),
            options.telemetry.clone(),
        );
        let admin = match admin_address {
            Some(address) => Some(server::bind("admin", address).await?),
            None => None,
        };
        let admin_port = admin.as_ref().and_then(|admin| admin.local_addr().ok());
        let admin_port = admin_port.map(|address| address.port());
        provide(&store, &running.plane(), writer.counts());
        let next = running.prepare(&snapshot, &bootstrap.bootstrap, None)?;
        let pending = if next.is_warm() {
            running.put(&threads, next)?;
            lifecycle.workers_started();
            None
        } else {
            running.show_clusters(&next);
            // What was read is kept for operators.
            Some(Pending {
                next,
                bootstrap: None,
            })
        };
        let (signal, watch) = drain::channel();
        if let Some(listener) = admin {
            let mut shown = options.clone();
            // It is kept in its smaller form.
            shown.source.built_in = Bootstrap::default();
            let served = Arc::new(Served {
                store: store.clone(),
                lifecycle: lifecycle.clone(),
                log,
                contexts: compiler.contexts.clone(),
                plane: running.plane(),
                bootstrap: kept,
                reopen: reopen.clone(),
                flush: snapshot.flush,
                options: shown,
                started: SystemTime::now(),
            });
            running.show(served.clone());
            tokio::spawn(server::serve(listener, router(served), watch.clone()));
        }
        drop(watch);
        let contexts = compiler.contexts.clone();
        tokio::spawn(tls::watch(contexts, tls::log));
        let flusher = Flusher::new(
            store.clone(),
            lifecycle.clone(),
            options.concurrency,
            layers,
            lines,
        );
        tokio::spawn(flusher.run(snapshot.flush));
        Ok(Self {
            options,
            compiler,
            running,
            threads,
            lifecycle,
            asked,
            termination,
            hang_up,
            user,
            reopen,
            store,
            admin: signal,
            admin_port,
            writer,
            seen,
            at_start,
            looks: interval(POLL),
            pending,
        })
    }

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

    /// Wants no more traffic, but carries what comes, until the time is over, somebody asks again, or
    /// no connection is left, if that ends it.
    pub async fn drain(&mut self, at_most: Duration, until_idle: bool) {
        self.lifecycle.drain();
        self.tell_state();
        let connections = self.running.connections();
        info!(connections, ?at_most, "draining");
        select! {
            drained = timeout(at_most, idle(until_idle, &self.running)) => {
                if drained.is_err() {
                    info!("the time to drain is over");
                }
            }
            signal = self.termination.received() => info!(signal, "asked again: ending now"),
            () = at_once(&mut self.asked) => info!("asked on an admin port to end now"),
        }
    }

    /// Ends all threads, and the connections that are left with them.
    pub async fn end(self) {
        self.lifecycle.drain();
        let Self {
            mut running,
            threads,
            admin,
            writer,
            compiler,
            ..
        } = self;
        running.stop();
        let cut = running.connections();
        threads.stop();
        if cut > 0 {
            warn!(
                connections = cut,
                "ended with open connections: they were reset"
            );
        }
        // What is left ends with the runtime.
        let _ = timeout(LAST_ANSWERS, admin.drain()).await;
        drop(running);
        drop(compiler);
        writer.flush();
    }

    /// At once, not only when the process next tells how it is.
    fn tell_state(&self) {
        let state = self.lifecycle.state();
        let server = self.store.server();
        server.set().state.set(state.number());
        server.set().live.set(u64::from(state == State::Live));
    }

    /// Takes the configuration as it is now; a faulty one changes nothing.
    fn reload(&mut self) {
        self.seen = stamp(&self.options.source);
        if let (Some(path), None) = (&self.options.source.path, &self.seen) {
            error!(
                "the configuration in use stays: {} is no file that can be read",
                path.display()
            );
            return;
        }
        match self.prepare() {
            Ok(next) => self.pending = Some(next),
            Err(cause) => error!("the configuration in use stays: {cause}"),
        }
    }

    fn prepare(&self) -> Result<Pending, StartError> {
        let (bootstrap, warnings) = self.options.source.read()?;
        for warning in warnings {
            warn!("{warning}");
        }
        let running = &self.running;
        for field in self.at_start.changed(&bootstrap) {
            warn!("{field} has changed, which needs a restart: the one in use stays");
        }
        let snapshot = self.compiler.compile(&bootstrap, &running.listeners())?;
        let earlier = self.pending.as_ref().map(|pending| &pending.next);
        let next = running.prepare(&snapshot, &bootstrap.bootstrap, earlier)?;
        Ok(Pending {
            next,
            bootstrap: Some(bootstrap),
        })
    }

    fn put(&mut self, pending: Pending) -> Result<(), ApplyError> {
        let Pending { next, bootstrap } = pending;
        match self.running.put(&self.threads, next) {
            Ok(()) => {
                if let Some(bootstrap) = &bootstrap {
                    self.running.showing(bootstrap);
                }
                if self.is_live() {
                    info!("another configuration is in use");
                } else {
                    self.lifecycle.workers_started();
                    self.tell_state();
                }
            }
            Err(cause) if self.is_live() => error!("the configuration in use stays: {cause}"),
            Err(cause) => return Err(cause),
        }
        Ok(())
    }
}

/// A configuration that is in force as soon as its clusters have found their endpoints.
struct Pending {
    next: Next,
    /// What it was read from, if that is not shown yet.
    bootstrap: Option<Pieces>,
}

async fn warm(pending: Option<&Pending>) {
    match pending {
        Some(pending) => pending.next.warm().await,
        None => std::future::pending().await,
    }
}

/// Shows what we count besides Envoy's statistics.
fn provide(store: &Store, plane: &Arc<Plane>, lines: Counts) {
    // The plane itself holds the store.
    let plane = Arc::downgrade(plane);
    store.provide(move || {
        let failed = plane.upgrade().map(|plane| plane.accept_failed.value());
        vec![
            Given::own_counter("access_log.lines_written", lines.written()),
            Given::own_counter("access_log.lines_dropped", lines.dropped()),
            Given::own_counter("accept_failed", failed.unwrap_or_default()),
        ]
    });
}

/// Returns when no connection is open, if that ends the drain.
async fn idle(ends: bool, running: &Running) {
    let mut look = interval(DRAIN_LOOK);
    loop {
        look.tick().await;
        if ends && running.connections() == 0 {
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

fn stamp(source: &Source) -> Stamp {
    configuration::stamp(source.path.as_ref()?)
}

/// Waits before what is not configured any more is closed.
pub(crate) async fn later(drain_time: Duration, close: impl FnOnce()) {
    sleep(drain_time).await;
    close();
}
