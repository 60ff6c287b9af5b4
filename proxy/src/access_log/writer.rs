//! The queue, and the thread that writes what comes through it.

use std::{
    io::{self, BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    },
    thread,
    time::Duration,
};

use tracing::warn;

/// Lines that may wait; at some 400 bytes each this bounds the memory to less than a megabyte.
const QUEUE: usize = 2048;

/// How long the end of the process waits for a reader of the output that does not read.
const FLUSH: Duration = Duration::from_secs(2);

/// Where a worker leaves its lines.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: SyncSender<String>,
    counts: Counts,
}

impl AccessLog {
    /// Leaves a line, or drops it when the writer is too far behind. Never waits.
    pub fn write(&self, line: String) {
        if self.queue.try_send(line).is_err() {
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What became of the lines.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    written: Arc<AtomicU64>,
    dropped: Arc<AtomicU64>,
}

impl Counts {
    /// Lines that were written.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Lines that were lost, to a full queue or a closed output.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// The writing thread.
#[derive(Debug)]
pub struct Writer {
    ended: Receiver<()>,
    counts: Counts,
}

/// Starts the thread that writes to `output`.
///
/// # Errors
/// The kernel gives no thread.
pub fn start(output: impl Write + Send + 'static) -> io::Result<(AccessLog, Writer)> {
    let (queue, lines) = mpsc::sync_channel(QUEUE);
    let (end, ended) = mpsc::sync_channel(1);
    let counts = Counts::default();
    let log = AccessLog {
        queue,
        counts: counts.clone(),
    };
    let writer = Writer {
        ended,
        counts: counts.clone(),
    };
    thread::Builder::new()
        .name("access_log".to_owned())
        .spawn(move || {
            write_all(&lines, output, &counts);
            // Nobody may be waiting.
            let _ = end.send(());
        })?;
    Ok((log, writer))
}

impl Writer {
    /// What became of the lines so far.
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Waits until all lines are written, after each [`AccessLog`] was dropped.
    pub fn flush(self) {
        if self.ended.recv_timeout(FLUSH) == Err(RecvTimeoutError::Timeout) {
            warn!("the reader of standard output does not read: access-log lines are lost");
        }
    }
}

fn write_all(lines: &Receiver<String>, output: impl Write, counts: &Counts) {
    let mut output = BufWriter::new(output);
    let mut broken = false;
    while let Ok(first) = lines.recv() {
        let mut batch = 0;
        let mut result = Ok(());
        // What waits already goes out in one write.
        for line in std::iter::once(first).chain(lines.try_iter().take(QUEUE)) {
            batch += 1;
            result = result.and_then(|()| output.write_all(line.as_bytes()));
        }
        match result.and_then(|()| output.flush()) {
            Ok(()) => {
                counts.written.fetch_add(batch, Ordering::Relaxed);
                broken = false;
            }
            Err(error) => {
                counts.dropped.fetch_add(batch, Ordering::Relaxed);
                if !broken {
                    warn!(%error, "write the access log");
                }
                broken = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn all_lines_are_written_at_the_end() {
        let output = Shared::default();
        let (log, writer) = start(output.clone()).unwrap();
        let counts = writer.counts();
        for number in 0..1000 {
            log.write(format!("{number}\n"));
        }
        drop(log);
        writer.flush();
        let written = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let expected: String = (0..1000).map(|number| format!("{number}\n")).collect();
        assert_eq!(written, expected);
        assert_eq!((counts.written(), counts.dropped()), (1000, 0));
    }

    /// Blocks in its first write until it is told to go on.
    struct Stuck(Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_are_dropped_and_counted_when_nobody_reads() {
        let (go_on, stuck) = mpsc::channel();
        let (log, writer) = start(Stuck(stuck)).unwrap();
        let counts = writer.counts();
        let sent = 4 * QUEUE as u64;
        for _ in 0..sent {
            log.write("line\n".to_owned());
        }
        let dropped = counts.dropped();
        assert!(dropped >= sent - 2 * QUEUE as u64 - 1, "{dropped} dropped");
        drop((log, go_on));
        writer.flush();
        assert_eq!(counts.written() + counts.dropped(), sent);
    }
}
