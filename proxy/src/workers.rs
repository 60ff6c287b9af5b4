//! The workers: each a thread with its own listeners, sharing nothing.

use std::{io, net::TcpListener, sync::Arc};

use crate::{
    access_log::AccessLog,
    connection::{Settings, Shared},
    direction::Direction,
    listener,
    pace::Pace,
    statistics::Statistics,
    tcp::PipePool,
    threads::Threads,
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
    threads: Threads,
    statistics: Vec<Arc<Statistics>>,
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
    let threads = Threads::start(listeners.len())?;
    let mut statistics = Vec::new();
    for (worker, listeners) in listeners.into_iter().enumerate() {
        let shared = Arc::new(Shared {
            settings: settings.clone(),
            statistics: Arc::default(),
            pipes: Arc::new(PipePool::default()),
            access_log: access_log.clone(),
            warnings: Pace::default(),
        });
        statistics.push(shared.statistics.clone());
        for (direction, listeners) in [
            (Direction::Outbound, listeners.outbound),
            (Direction::Inbound, listeners.inbound),
        ] {
            let _context = threads.runtime(worker).enter();
            for listener in listeners {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                threads.spawn(
                    worker,
                    listener::accept(listener, direction, shared.clone()),
                );
            }
        }
    }
    Ok(Workers {
        threads,
        statistics,
    })
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

    /// Returns when a worker accepts no more, by a panic.
    pub async fn failed(&mut self) {
        self.threads.failed().await;
    }

    /// Ends all workers, and with them the connections that are left.
    pub fn stop(self) {
        self.threads.stop();
    }
}
