//! The thread that writes what comes through the queue.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use tracing::warn;

use super::{Places, counts::Counts, target::Target};

/// Lines that may wait; at some 400 bytes each this bounds the memory to less than a megabyte.
pub(super) const QUEUE: usize = 2048;

/// How long the end of the process waits for a reader of the output that does not read.
const END: Duration = Duration::from_secs(2);

/// A line on its way.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) target: Arc<Target>,
    pub(super) line: String,
}

/// The writing thread.
#[derive(Debug)]
pub struct Writer {
    ended: Receiver<()>,
    counts: Counts,
}

impl Writer {
    pub(super) fn new(ended: Receiver<()>, counts: Counts) -> Self {
        Self { ended, counts }
    }

    /// What became of the lines so far.
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Waits until all lines are written, after each place and each handle was dropped.
    pub fn flush(self) {
        if self.ended.recv_timeout(END) == Err(RecvTimeoutError::Timeout) {
            warn!("the reader of an access log does not read: its lines are lost");
        }
    }
}

/// Writes until no more lines can come.
pub(super) fn run(
    lines: &Receiver<Message>,
    places: &Places,
    counts: &Counts,
    flush_interval: Duration,
) {
    // Places with lines that wait; held, so that none is dropped with its lines.
    let mut waiting: Vec<Arc<Target>> = Vec::new();
    let mut due = Instant::now() + flush_interval;
    loop {
        let left = due.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(first) => {
                let generation = places.generation();
                // What waits already goes out in one write.
                for message in std::iter::once(first).chain(lines.try_iter().take(QUEUE)) {
                    message.target.append(&message.line, generation, counts);
                    if !waiting
                        .iter()
                        .any(|known| Arc::ptr_eq(known, &message.target))
                    {
                        waiting.push(message.target);
                    }
                }
                waiting.retain(|target| {
                    if !target.is_file() {
                        target.flush(counts);
                    }
                    target.is_file()
                });
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                for target in &waiting {
                    target.flush(counts);
                }
                return;
            }
        }
        let now = Instant::now();
        if now < due {
            continue;
        }
        due = now + flush_interval;
        for target in waiting.drain(..) {
            if target.flush(counts) {
                counts.flushed_by_timer();
            }
        }
        for target in places.live() {
            target.follow(places.generation(), counts);
        }
    }
}
