//! Tells how the process itself is, and ends the intervals of histograms.

use std::{sync::Arc, time::Duration};

use tokio::time::interval;

use crate::{
    access_log::Counts,
    lifecycle::{Lifecycle, State},
    stats::{
        Flush, Scope, Shared, SharedCounter, Store,
        sets::server::{FilesystemStatistics, RuntimeStatistics, ServerStatistics},
    },
};

/// How often the process tells how it is, where intervals end when somebody asks.
const TOLD: Duration = Duration::from_secs(5);

/// What of the process is told.
pub(super) struct Flusher {
    store: Arc<Store>,
    lifecycle: Lifecycle,
    concurrency: usize,
    lines: Counts,
    server: Arc<Scope<Shared<ServerStatistics>>>,
    filesystem: Arc<Scope<Shared<FilesystemStatistics>>>,
    // Held, so that it is shown.
    _runtime: Arc<Scope<Shared<RuntimeStatistics>>>,
}

impl Flusher {
    /// Of a process that starts with so many workers, and so many layers of runtime values.
    pub(super) fn new(
        store: Arc<Store>,
        lifecycle: Lifecycle,
        concurrency: usize,
        layers: usize,
        lines: Counts,
    ) -> Self {
        let runtime = store.runtime();
        runtime.set().load_success.increment();
        runtime.set().num_layers.set(layers as u64);
        let flusher = Self {
            server: store.server(),
            filesystem: store.filesystem(),
            _runtime: runtime,
            store,
            lifecycle,
            concurrency,
            lines,
        };
        // Whoever asks first is told of a process that lives.
        flusher.tell();
        flusher
    }

    /// Does it as long as the process runs.
    pub(super) async fn run(self, flush: Flush) {
        let (every, latches) = match flush {
            Flush::Every(every) => (every, true),
            Flush::OnAdmin => (TOLD, false),
        };
        let mut flushes = interval(every);
        loop {
            flushes.tick().await;
            self.tell();
            if latches {
                self.store.latch();
            }
        }
    }

    fn tell(&self) {
        let server = self.server.set();
        server
            .live
            .set(u64::from(self.lifecycle.state() == State::Live));
        server.state.set(self.lifecycle.state().number());
        server
            .uptime
            .set(self.lifecycle.started().elapsed().as_secs());
        server.concurrency.set(self.concurrency as u64);
        let filesystem = self.filesystem.set();
        for (name, value) in self.lines.filesystem() {
            let counter = match name {
                "flushed_by_timer" => &filesystem.flushed_by_timer,
                "reopen_failed" => &filesystem.reopen_failed,
                "write_buffered" => &filesystem.write_buffered,
                "write_completed" => &filesystem.write_completed,
                _ => &filesystem.write_failed,
            };
            catch_up(counter, value);
        }
        let waiting = self.lines.write_total_buffered();
        filesystem.write_total_buffered.set(waiting);
    }
}

/// Raises a counter to what was counted elsewhere.
fn catch_up(counter: &SharedCounter, value: u64) {
    counter.add(value.saturating_sub(counter.value()));
}
