//! Tell every task to finish, and wait until each has.

use tokio::sync::{mpsc, watch};

/// Makes the two ends: one signal, and a watch to clone into each task.
pub fn channel() -> (Signal, Watch) {
    let (start, started) = watch::channel(false);
    let (held, released) = mpsc::channel(1);
    (Signal { start, released }, Watch { started, held })
}

/// The end that starts the drain.
#[derive(Debug)]
pub struct Signal {
    start: watch::Sender<bool>,
    released: mpsc::Receiver<()>,
}

impl Signal {
    /// Tells every watch that the drain has begun, and returns when all of them are dropped.
    ///
    /// The caller bounds the wait: what is still held after a deadline is cut by dropping its task.
    pub async fn drain(mut self) {
        self.start.send_replace(true);
        // Nothing is ever sent: the channel ends when the last watch is dropped.
        self.released.recv().await;
    }

    /// Tells every watch that the drain has begun, without waiting.
    pub fn start(&self) {
        self.start.send_replace(true);
    }
}

/// The end that a task holds for as long as it has work.
#[derive(Clone, Debug)]
pub struct Watch {
    started: watch::Receiver<bool>,
    // Held, never used: its drop is the message.
    held: mpsc::Sender<()>,
}

impl Watch {
    /// Returns when the drain begins, or at once if it has. Safe to cancel.
    pub async fn started(&mut self) {
        // An error means that the signal is gone, and with it the process's owner: drain too.
        let _ = self.started.wait_for(|started| *started).await;
    }

    /// Whether the drain has begun.
    pub fn has_started(&self) -> bool {
        *self.started.borrow()
    }

    /// How many watches there are, this one included: an upper bound of the tasks at work.
    pub fn holders(&self) -> usize {
        self.held.strong_count()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn the_drain_ends_when_the_last_watch_is_dropped() {
        let (signal, watch) = channel();
        let mut other = watch.clone();
        let task = tokio::spawn(async move {
            other.started().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        });
        drop(watch);
        assert!(timeout(LONG, signal.drain()).await.is_ok());
        assert!(task.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_held_watch_holds_the_drain() {
        let (signal, watch) = channel();
        assert!(timeout(LONG, signal.drain()).await.is_err());
        assert!(watch.has_started());
    }
}
