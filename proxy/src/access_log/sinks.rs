//! Where lines go: files, and the standard streams of the process.
//!
//! One thread writes them all. A stream gets its lines at once; a file when 64 KB have gathered, or
//! when the time has come.

mod counts;
mod target;
mod writer;

use std::{
    io::{self, Write},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, SyncSender},
    },
    thread,
    time::Duration,
};

pub use self::{counts::Counts, writer::Writer};
use self::{
    target::{Output, Target},
    writer::{Message, QUEUE},
};

/// After this time a file has its lines, if nothing else is configured.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// A file cannot be written to.
#[derive(Debug, thiserror::Error)]
#[error("the file '{path}' cannot be opened")]
pub struct OpenError {
    /// The file.
    pub path: String,
    /// What the kernel said.
    pub source: io::Error,
}

/// All places that lines go to. A path that is named twice is one place.
#[derive(Clone, Debug)]
pub struct Sinks {
    queue: SyncSender<Message>,
    targets: Targets,
    counts: Counts,
}

/// The places that are in use; no worker looks here.
type Targets = Arc<Places>;

#[derive(Debug, Default)]
struct Places {
    open: Mutex<Vec<Weak<Target>>>,
    /// How often files were to be opened anew.
    generation: AtomicU64,
}

impl Places {
    fn live(&self) -> Vec<Arc<Target>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|target| target.strong_count() > 0);
        open.iter().filter_map(Weak::upgrade).collect()
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// Has the files opened anew, after somebody moved them away.
#[derive(Clone, Debug)]
pub struct Reopen(Targets);

impl Reopen {
    /// Asks for it; it is done before the next line is written, or within the flush interval.
    pub fn ask(&self) {
        self.0.generation.fetch_add(1, Ordering::Release);
    }
}

impl Sinks {
    /// Starts the thread that writes. It ends when the writer is flushed.
    ///
    /// # Errors
    /// The kernel gives no thread.
    pub fn start(flush_interval: Duration) -> io::Result<(Self, Writer)> {
        let (queue, lines) = mpsc::sync_channel(QUEUE);
        let (end, ended) = mpsc::sync_channel(1);
        let sinks = Self {
            queue,
            targets: Targets::default(),
            counts: Counts::default(),
        };
        let writer = Writer::new(sinks.queue.clone(), ended, sinks.counts.clone());
        let (targets, counts) = (sinks.targets.clone(), sinks.counts.clone());
        thread::Builder::new()
            .name("access_log".to_owned())
            .spawn(move || {
                writer::run(&lines, &targets, &counts, flush_interval);
                // Nobody may be waiting.
                let _ = end.send(());
            })?;
        Ok((sinks, writer))
    }

    /// What became of the lines so far.
    pub fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// What has files opened anew.
    pub fn reopen(&self) -> Reopen {
        Reopen(self.targets.clone())
    }

    /// The file of this path, which is made if there is none. `/dev/stdout` and `/dev/stderr` are
    /// the streams of this process, which need no permission to be opened.
    ///
    /// # Errors
    /// The file cannot be written to.
    pub fn open(&self, path: &str) -> Result<AccessLog, OpenError> {
        let found = self
            .targets
            .live()
            .into_iter()
            .find(|target| target.path() == path);
        if let Some(target) = found {
            return Ok(self.log(target));
        }
        let output = match path {
            "/dev/stdout" => Output::Stream(Box::new(io::stdout())),
            "/dev/stderr" => Output::Stream(Box::new(io::stderr())),
            path => Output::file(Path::new(path)).map_err(|source| OpenError {
                path: path.to_owned(),
                source,
            })?,
        };
        Ok(self.add(path, output))
    }

    /// A stream, which gets its lines at once.
    pub fn stream(&self, name: &str, stream: impl Write + Send + 'static) -> AccessLog {
        self.add(name, Output::Stream(Box::new(stream)))
    }

    fn add(&self, path: &str, output: Output) -> AccessLog {
        let target = Arc::new(Target::new(path, output, self.targets.generation()));
        let mut open = self
            .targets
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        open.push(Arc::downgrade(&target));
        drop(open);
        self.log(target)
    }

    fn log(&self, target: Arc<Target>) -> AccessLog {
        AccessLog {
            queue: self.queue.clone(),
            target,
            counts: self.counts.clone(),
        }
    }
}

/// Where a worker leaves its lines.
#[derive(Clone, Debug)]
pub struct AccessLog {
    queue: SyncSender<Message>,
    target: Arc<Target>,
    counts: Counts,
}

impl AccessLog {
    /// Leaves a line, or drops it when the writer is too far behind. Never waits.
    pub fn write(&self, line: String) {
        let message = Message::Line {
            target: self.target.clone(),
            line,
        };
        if self.queue.try_send(message).is_err() {
            self.counts.add_dropped(1);
        }
    }

    /// The path, as it was configured.
    pub fn path(&self) -> &str {
        self.target.path()
    }
}

#[cfg(test)]
mod tests;
