//! Drains and ends the process.

use std::time::Duration;

use tokio::{
    select,
    sync::mpsc,
    time::{interval, timeout},
};
use tracing::{info, warn};

use super::{Server, apply::Running, asked};
use crate::lifecycle::Stop;

/// How long answers of the admin port may go on at the end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Between two looks at the number of open connections while draining.
const DRAIN_LOOK: Duration = Duration::from_millis(10);

impl Server {
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

async fn at_once(requests: &mut mpsc::Receiver<Stop>) {
    while asked(requests).await != Stop::AtOnce {}
}
