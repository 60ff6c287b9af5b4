//! The thread that writes what comes through the queue.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{Places, counts::Counts, target::Target};

/// Lines that may wait; at some 400 bytes each this bounds the memory to less than a megabyte.
pub(super) const QUEUE: usize = 2048;

/// How long the end of the process waits for a reader of the output that does not read.
const END: Duration = Duration::from_secs(2);

/// Between two tries to tell the thread of the end, while its queue is full.
const TRY: Duration = Duration::from_millis(5);

/// What comes through the queue.
#[derive(Debug)]
pub(super) enum Message {
    /// A line on its way.
    Line { target: Arc<Target>, line: String },
    /// What came before is to be written, and nothing more.
    End,
}

/// The writing thread.
#[derive(Debug)]
pub struct Writer {
    queue: SyncSender<Message>,
    ended: Receiver<()>,
    counts: Counts,
}

impl Writer {
    pub(super) fn new(queue: SyncSender<Message>, ended: Receiver<()>, counts: Counts) -> Self {
        Self {
            queue,
            ended,
            counts,
        }
    }

    /// What became of the lines so far.
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Has all lines written that came so far, and ends the thread: lines that come later are dropped.
    pub fn flush(self) {
        let end = Instant::now() + END;
        while let Err(TrySendError::Full(_)) = self.queue.try_send(Message::End)
            && Instant::now() < end
        {
            thread::sleep(TRY);
        }
        let left = end.saturating_duration_since(Instant::now());
        if self.ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
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
    let mut ends = false;
    loop {
        let left = due.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(first) => {
                let generation = places.generation();
                // What waits already goes out in one write.
                for message in std::iter::once(first).chain(lines.try_iter().take(QUEUE)) {
                    let Message::Line { target, line } = message else {
                        ends = true;
                        break;
                    };
                    target.append(&line, generation, counts);
                    if !waiting.iter().any(|known| Arc::ptr_eq(known, &target)) {
                        waiting.push(target);
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
            Err(RecvTimeoutError::Disconnected) => ends = true,
        }
        if ends {
            for target in &waiting {
                target.flush(counts);
            }
            return;
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
