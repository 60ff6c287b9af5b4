//! Pipes to splice through, shared by the connections of one worker.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::{
    io::retry_on_intr,
    pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice},
};
use tracing::debug;

/// How much a pipe holds. The kernel counts the pages of all pipes of one user, on all pods of a
/// node together (`fs.pipe-user-pages-soft`, 64 MiB by default), so they are few and not large.
const CAPACITY: usize = 256 * 1024;

/// What a pipe must hold to be better than copying; the kernel gives two pages to a user over the
/// limit.
const MIN_CAPACITY: usize = 64 * 1024;

/// Pipes kept for the next burst. More than this in use at once are closed afterwards.
const IDLE: usize = 4;

/// How long to copy instead, after a pipe could not be made.
const PAUSE: Duration = Duration::from_secs(1);

/// The pipes that are not in use.
#[derive(Debug, Default)]
pub struct PipePool(Mutex<Idle>);

#[derive(Debug, Default)]
struct Idle {
    pipes: Vec<Pipe>,
    none_until: Option<Instant>,
}

impl PipePool {
    /// An empty pipe; none when the kernel gives none, which the caller meets by copying.
    pub fn take(&self) -> Option<Pipe> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipe) = idle.pipes.pop() {
            return Some(pipe);
        }
        if idle.none_until.is_some_and(|end| Instant::now() < end) {
            return None;
        }
        match Pipe::new() {
            Ok(pipe) => Some(pipe),
            Err(error) => {
                debug!(%error, "no pipe to splice through: copying instead");
                idle.none_until = Some(Instant::now() + PAUSE);
                None
            }
        }
    }

    /// Takes back a pipe that is empty. One that is not must be dropped instead.
    pub fn give_back(&self, pipe: Pipe) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.pipes.len() < IDLE {
            idle.pipes.push(pipe);
        }
    }
}

/// A pipe between two sockets.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    capacity: usize,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Over the user's limit the pipe stays as it was made.
        let capacity = match fcntl_setpipe_size(&writer, CAPACITY) {
            Ok(capacity) => capacity,
            Err(_) => fcntl_getpipe_size(&writer)?,
        };
        if capacity < MIN_CAPACITY {
            return Err(io::Error::other(format!(
                "the user's pipes hold too much (fs.pipe-user-pages-soft): {capacity} bytes left"
            )));
        }
        Ok(Self {
            reader,
            writer,
            capacity,
        })
    }

    /// Moves what a socket has into the empty pipe; 0 means its end.
    pub fn fill(&self, from: impl AsFd) -> io::Result<usize> {
        let moved =
            retry_on_intr(|| splice(&from, None, &self.writer, None, self.capacity, flags()))?;
        Ok(moved)
    }

    /// Moves up to `bytes` of what the pipe holds into a socket.
    pub fn empty(&self, to: impl AsFd, bytes: usize) -> io::Result<usize> {
        // A signal to the process may be taken by this thread, and splice looks for one even where
        // it need not wait.
        let moved = retry_on_intr(|| splice(&self.reader, None, &to, None, bytes, flags()))?;
        Ok(moved)
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}
