//! Pipes to splice through, shared by the connections of one worker.

use std::{
    io, mem,
    os::fd::{AsFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use rustix::{
    io::retry_on_intr,
    pipe::{PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice},
};
use tokio::time::sleep;
use tracing::debug;

/// How much a pipe holds: a larger one saves little more (measured, 1 MiB a tenth).
///
/// The kernel counts the capacity of all pipes of one user, on all pods of a node together
/// (`fs.pipe-user-pages-soft`, 64 MiB by default), so they are few and do not stay.
const CAPACITY: usize = 256 * 1024;

/// What is moved through it at once: whole segments, of which each holds nearly the 64 KiB that the
/// kernel lets it hold for any common MTU. A pipe that is full would end in a small one, which costs
/// as much (a tenth of all, measured).
const MOVED: usize = 4 * 62_000;

/// What a pipe must hold to be better than copying; the kernel gives two pages to a user over the
/// limit.
const MIN_CAPACITY: usize = 64 * 1024;

/// Pipes of one worker, in use or not; connections beyond copy. A pipe is in use only while data
/// moves, or while its receiver takes none.
const MOST: usize = 32;

/// When an unused pipe is closed.
const UNUSED: Duration = Duration::from_secs(1);

/// How long to copy instead, after a pipe could not be made.
const PAUSE: Duration = Duration::from_secs(1);

/// The pipes that are not in use.
#[derive(Debug, Default)]
pub struct PipePool {
    idle: Mutex<Idle>,
    // One count for each pipe, and one for the pool.
    made: Arc<()>,
}

#[derive(Debug, Default)]
struct Idle {
    pipes: Vec<Pipe>,
    none_until: Option<Instant>,
    used: bool,
    watched: bool,
}

impl PipePool {
    /// An empty pipe; none when there are enough or the kernel gives none, which the caller meets
    /// by copying.
    pub(super) fn take(&self) -> Option<Pipe> {
        let mut idle = self.idle();
        idle.used = true;
        if let Some(pipe) = idle.pipes.pop() {
            return Some(pipe);
        }
        if Arc::strong_count(&self.made) > MOST
            || idle.none_until.is_some_and(|end| Instant::now() < end)
        {
            return None;
        }
        match Pipe::new(self.made.clone()) {
            Ok(pipe) => Some(pipe),
            Err(error) => {
                debug!(%error, "no pipe to splice through: copying instead");
                idle.none_until = Some(Instant::now() + PAUSE);
                None
            }
        }
    }

    /// Takes back a pipe that is empty. One that is not must be dropped instead.
    pub(super) fn give_back(self: &Arc<Self>, pipe: Pipe) {
        let mut idle = self.idle();
        idle.pipes.push(pipe);
        idle.used = true;
        if !idle.watched {
            idle.watched = true;
            tokio::spawn(close_unused(Arc::downgrade(self)));
        }
    }

    #[cfg(test)]
    pub(super) fn idle_pipes(&self) -> usize {
        self.idle().pipes.len()
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes all idle pipes when none was used for a while.
async fn close_unused(pool: Weak<PipePool>) {
    loop {
        sleep(UNUSED).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle();
        if !mem::take(&mut idle.used) {
            idle.pipes.clear();
            idle.watched = false;
            return;
        }
    }
}

/// A pipe between two sockets.
#[derive(Debug)]
pub(super) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    capacity: usize,
    // Held, never used: the pool counts it.
    _made: Arc<()>,
}

impl Pipe {
    fn new(made: Arc<()>) -> io::Result<Self> {
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
            _made: made,
        })
    }

    /// Moves what a socket has into the empty pipe; 0 means its end.
    pub(super) fn fill(&self, from: impl AsFd) -> io::Result<usize> {
        let most = self.capacity.min(MOVED);
        let moved = retry_on_intr(|| splice(&from, None, &self.writer, None, most, flags()))?;
        Ok(moved)
    }

    /// Moves up to `bytes` of what the pipe holds into a socket.
    pub(super) fn empty(&self, to: impl AsFd, bytes: usize) -> io::Result<usize> {
        // A signal to the process may be taken by this thread, and splice looks for one even where
        // it need not wait.
        let moved = retry_on_intr(|| splice(&self.reader, None, &to, None, bytes, flags()))?;
        Ok(moved)
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pipes_are_kept_while_they_are_used() {
        let pool = Arc::new(PipePool::default());
        let first = pool.take().unwrap();
        let number = first.reader.as_raw_fd();
        pool.give_back(first);
        for _ in 0..10 {
            sleep(UNUSED / 2).await;
            let again = pool.take().unwrap();
            assert_eq!(again.reader.as_raw_fd(), number);
            pool.give_back(again);
        }
        sleep(UNUSED * 3).await;
        assert!(pool.idle().pipes.is_empty());
        assert_eq!(Arc::strong_count(&pool.made), 1);
        // And again from the start.
        pool.give_back(pool.take().unwrap());
        sleep(UNUSED * 3).await;
        assert!(pool.idle().pipes.is_empty());
    }

    #[tokio::test]
    async fn there_are_never_more_than_enough() {
        let pool = Arc::new(PipePool::default());
        let mut pipes: Vec<Pipe> = (0..MOST).map_while(|_| pool.take()).collect();
        assert_eq!(pipes.len(), MOST);
        assert!(pool.take().is_none());
        // One that is dropped with data in it makes room for another.
        pipes.pop();
        assert!(pool.take().is_some());
    }
}
