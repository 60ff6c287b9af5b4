//! The worker threads: each a runtime of its own with its own listeners, sharing nothing.

use std::{
    io,
    net::TcpListener,
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Runtime},
    select,
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{
    access_log::AccessLog,
    connection::{Settings, Shared},
    direction::Direction,
    listener,
    pace::Pace,
    statistics::Statistics,
    tcp::PipePool,
};

/// The sockets of one worker, of any number of addresses.
#[derive(Debug)]
pub struct Listeners {
    /// Of `virtualOutbound`.
    pub outbound: Vec<TcpListener>,
    /// Of `virtualInbound`.
    pub inbound: Vec<TcpListener>,
}

/// The running workers.
#[derive(Debug)]
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
    statistics: Vec<Arc<Statistics>>,
    stop: watch::Sender<bool>,
    ended: mpsc::Receiver<()>,
}

/// Starts one thread for each set of listeners.
///
/// # Errors
/// The kernel gives no thread or no descriptor; what was started ends again.
pub fn start(
    listeners: Vec<Listeners>,
    settings: &Settings,
    access_log: &AccessLog,
) -> io::Result<Workers> {
    let (stop, stopped) = watch::channel(false);
    let (running, ended) = mpsc::channel(1);
    let mut workers = Workers {
        threads: Vec::new(),
        statistics: Vec::new(),
        stop,
        ended,
    };
    for (number, listeners) in listeners.into_iter().enumerate() {
        let statistics = Arc::new(Statistics::default());
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            statistics: statistics.clone(),
            pipes: Arc::new(PipePool::default()),
            access_log: access_log.clone(),
            warnings: Pace::default(),
        });
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut accepting = accept(&runtime, listeners, &shared)?;
        let mut stopped = stopped.clone();
        let alarm = Alarm(running.clone());
        let thread = thread::Builder::new()
            .name(format!("worker_{number}"))
            .spawn(move || {
                runtime.block_on(async {
                    select! {
                        // An error means that the owner is gone: stop too.
                        _ = stopped.wait_for(|stop| *stop) => {}
                        // Only a panic ends one; a worker that does not accept is none.
                        _ = accepting.join_next() => {}
                    }
                });
                // All connections end here.
                drop(runtime);
                drop(alarm);
            })?;
        workers.threads.push(thread);
        workers.statistics.push(statistics);
    }
    Ok(workers)
}

fn accept(
    runtime: &Runtime,
    listeners: Listeners,
    shared: &Arc<Shared>,
) -> io::Result<JoinSet<()>> {
    let _context = runtime.enter();
    let mut accepting = JoinSet::new();
    for (direction, listeners) in [
        (Direction::Outbound, listeners.outbound),
        (Direction::Inbound, listeners.inbound),
    ] {
        for listener in listeners {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            accepting.spawn(listener::accept(listener, direction, shared.clone()));
        }
    }
    Ok(accepting)
}

/// Tells that its thread has ended, also by a panic.
struct Alarm(mpsc::Sender<()>);

impl Drop for Alarm {
    fn drop(&mut self) {
        // One is enough, and when nobody listens the process is ending.
        let _ = self.0.try_send(());
    }
}

impl Workers {
    /// The counters of each worker.
    pub fn statistics(&self) -> &[Arc<Statistics>] {
        &self.statistics
    }

    /// Connections that are open now.
    pub fn active(&self) -> u64 {
        self.statistics.iter().map(|worker| worker.active()).sum()
    }

    /// Returns when a worker has ended, which none does before [`stop`](Self::stop).
    pub async fn failed(&mut self) {
        self.ended.recv().await;
    }

    /// Ends all workers, and with them the connections that are left.
    pub fn stop(self) {
        self.stop.send_replace(true);
        for thread in self.threads {
            // A worker that panicked has told so on standard error.
            let _ = thread.join();
        }
    }
}
