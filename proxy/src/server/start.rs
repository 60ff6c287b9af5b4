//! Starts everything that a bootstrap names, or nothing.

use std::{sync::Arc, time::SystemTime};

use fairlead_runtime::{drain, log, server, signal::Termination};
use fairlead_xds::envoy::config::bootstrap::v3::Bootstrap;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::interval,
};
use tracing::warn;

use super::{
    Options, POLL, Server, StartError,
    apply::Running,
    at_start::AtStart,
    compiler::{Compiler, admin_address, stats_config},
    flush::Flusher,
    reload::{Pending, stamp},
};
use crate::{
    access_log::{Counts, Sinks},
    admin::served::{Served, router},
    configuration::KeptBootstrap,
    descriptors,
    lifecycle::Lifecycle,
    original_dst::Redirect,
    plane::Plane,
    stats::{Given, Store},
    threads::Threads,
    tls,
};

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
