//! The process that runs an Envoy bootstrap: starts everything or nothing, takes other configurations,
//! drains and ends.

mod apply;
mod flush;
mod next;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use fairlead_runtime::{drain, log, server, signal::Termination};
use fairlead_xds::envoy::config::bootstrap::v3::Bootstrap;
use tokio::{
    select,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::{interval, sleep, timeout},
};
use tracing::{error, info, warn};

use self::{
    apply::{ApplyError, Running},
    flush::Flusher,
    next::Next,
};
use crate::{
    access_log::{self, Outputs, Sinks, Surroundings as LogSurroundings, Writer},
    admin::served::{Served, router},
    compile::{Findings, values::socket_address},
    configuration::{self, ConfigurationError, KeptBootstrap, Source, Stamp, read_secrets},
    descriptors,
    lifecycle::{Lifecycle, Stop},
    listener::config::Surroundings,
    network_filter::local_ratelimit::SharedTokenBuckets,
    original_dst::Redirect,
    snapshot::Snapshot,
    stats::{StatsConfig, Store},
    threads::Threads,
    tls::{self, Contexts},
};

/// Between two looks at the file.
const POLL: Duration = Duration::from_secs(1);

/// How long answers of the admin port may go on at the end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

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
    fn new(bootstrap: &Bootstrap, sinks: Sinks, store: Arc<Store>) -> Self {
        let secrets = bootstrap.static_resources.as_ref();
        let secrets = secrets.map(|resources| resources.secrets.clone());
        Self {
            contexts: Arc::new(Contexts::new(
                |name| std::env::var(name).ok(),
                read_secrets,
                secrets.unwrap_or_default().into(),
            )),
            sinks,
            outputs: Outputs::new(),
            hostname: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            buckets: SharedTokenBuckets::default(),
            store,
        }
    }

    fn compile(
        &self,
        bootstrap: &Bootstrap,
        before: &[Arc<crate::listener::config::Listener>],
    ) -> Result<Snapshot, ConfigurationError> {
        let findings = Findings::default();
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
    let store = Arc::new(Store::new(stats_config(&bootstrap)?));
    admin_address(&bootstrap)?;
    Compiler::new(&bootstrap, sinks, store).compile(&bootstrap, &[])?;
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
    admin: drain::Signal,
    writer: Writer,
    seen: Stamp,
}

impl Server {
    /// Reads the configuration, and starts all that it asks for.
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
        let seen = stamp(&options.source);
        let (bootstrap, warnings) = options.source.read()?;
        for warning in warnings {
            warn!("{warning}");
        }
        let (sinks, writer) =
            Sinks::start(options.file_flush_interval).map_err(failed("the access log"))?;
        let store = Arc::new(Store::new(stats_config(&bootstrap)?));
        let admin_address = admin_address(&bootstrap)?;
        let (reopen, lines) = (sinks.reopen(), sinks.counts());
        let layers = bootstrap.layered_runtime.as_ref();
        let layers = layers.map_or(0, |runtime| runtime.layers.len());
        let compiler = Compiler::new(&bootstrap, sinks, store.clone());
        let snapshot = compiler.compile(&bootstrap, &[])?;
        let (lifecycle, asked) = Lifecycle::new();
        let threads = Threads::start(options.concurrency).map_err(failed("the workers"))?;
        let mut running = Running::new(
            options.concurrency,
            options.drain_time,
            redirect,
            store.clone(),
        );
        let admin = match admin_address {
            Some(address) => Some(server::bind("admin", address).await?),
            None => None,
        };
        let next = running.prepare(&snapshot, &bootstrap, None)?;
        next.warm().await;
        running.put(&threads, next)?;
        let (signal, watch) = drain::channel();
        if let Some(listener) = admin {
            let served = Arc::new(Served {
                store: store.clone(),
                lifecycle: lifecycle.clone(),
                log,
                contexts: compiler.contexts.clone(),
                plane: running.plane(),
                bootstrap: KeptBootstrap::new(&bootstrap),
                reopen,
                flush: snapshot.flush,
                concurrency: options.concurrency,
                started: SystemTime::now(),
            });
            running.show(served.clone());
            tokio::spawn(server::serve(listener, router(served), watch.clone()));
        }
        drop(watch);
        let contexts = compiler.contexts.clone();
        tokio::spawn(tls::watch(contexts, |reloaded| info!("{reloaded:?}")));
        lifecycle.workers_started();
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
            admin: signal,
            writer,
            seen,
        })
    }

    /// Runs until a signal or an operator ends it.
    ///
    /// # Errors
    /// A worker is lost, or signals cannot be had.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut looks = interval(POLL);
        let mut pending: Option<Pending> = None;
        info!(concurrency = self.options.concurrency, "ready");
        let result = loop {
            select! {
                signal = self.termination.received() => {
                    info!(signal, "asked to end");
                    break Ok(());
                }
                stop = self.asked.recv() => {
                    info!(?stop, "asked to end on the admin port");
                    break Ok(());
                }
                () = self.threads.failed() => {
                    break Err(anyhow::anyhow!(
                        "a worker has ended by the panic told above: the process cannot go on"
                    ));
                }
                _ = hang_up.recv() => self.reload(&mut pending),
                () = warm(pending.as_ref()) => {
                    if let Some(warmed) = pending.take() {
                        self.put(warmed);
                    }
                }
                _ = looks.tick() => {
                    let now = stamp(&self.options.source);
                    if now.is_some() && now != self.seen {
                        self.reload(&mut pending);
                    }
                }
            }
        };
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
        threads.stop();
        // What is left ends with the runtime.
        let _ = timeout(LAST_ANSWERS, admin.drain()).await;
        drop(running);
        drop(compiler);
        writer.flush();
        result
    }

    /// Takes the configuration as it is now; a faulty one changes nothing.
    fn reload(&mut self, pending: &mut Option<Pending>) {
        self.seen = stamp(&self.options.source);
        match self.prepare(pending.as_ref()) {
            Ok(next) => *pending = Some(next),
            Err(cause) => error!("the configuration in use stays: {cause}"),
        }
    }

    fn prepare(&self, earlier: Option<&Pending>) -> Result<Pending, StartError> {
        let (bootstrap, warnings) = self.options.source.read()?;
        for warning in warnings {
            warn!("{warning}");
        }
        let running = &self.running;
        running.warn_of_what_needs_a_restart(&bootstrap);
        let snapshot = self.compiler.compile(&bootstrap, &running.listeners())?;
        let earlier = earlier.map(|pending| &pending.next);
        let next = running.prepare(&snapshot, &bootstrap, earlier)?;
        Ok(Pending { next, bootstrap })
    }

    fn put(&mut self, pending: Pending) {
        let Pending { next, bootstrap } = pending;
        match self.running.put(&self.threads, next) {
            Ok(()) => {
                self.running.showing(&bootstrap);
                info!("another configuration is in use");
            }
            Err(cause) => error!("the configuration in use stays: {cause}"),
        }
    }
}

/// A configuration that is in force as soon as its clusters have found their endpoints.
struct Pending {
    next: Next,
    bootstrap: Bootstrap,
}

async fn warm(pending: Option<&Pending>) {
    match pending {
        Some(pending) => pending.next.warm().await,
        None => std::future::pending().await,
    }
}

fn stamp(source: &Source) -> Stamp {
    configuration::stamp(source.path.as_ref()?)
}

/// Waits before what is not configured any more is closed.
pub(crate) async fn later(drain_time: Duration, close: impl FnOnce()) {
    sleep(drain_time).await;
    close();
}
