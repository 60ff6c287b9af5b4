//! Passes bytes between two sockets, both ways, until each side is done.
//!
//! Little data is copied through a buffer that all connections of a worker share. After a read that
//! shows that there is more, data is moved with `splice(2)` through a pipe, which costs no copy, until it
//! becomes little again. Neither is held by a connection that waits for data, so idle connections
//! stay small.

mod farewell;
mod opening;
mod pipe;
pub mod relay;

use std::{
    cell::RefCell,
    future::poll_fn,
    io, mem,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use rustix::io::Errno;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::tcp::{ReadHalf, WriteHalf},
    select,
    task::yield_now,
    time::timeout,
};

use self::{
    farewell::{Flushed, Recent, STALL, flush},
    pipe::Pipe,
};
pub use self::{opening::Opening, pipe::PipePool};
use crate::{
    connect::acknowledge,
    stats::Counter,
    stream::{Farewell, Stream, reset},
};

/// A read of so much is likely followed by more, and splice takes over. Less is copied faster than
/// it is spliced.
const COPY_BYTES: usize = 16 * 1024;

/// What one read copies where splice is impossible.
const BUFFER_BYTES: usize = 64 * 1024;

/// A splice of less ends the burst: what follows is copied until a read fills the buffer again.
const SMALL_SPLICE: usize = 4 * 1024;

/// What one direction moves before other connections of the worker get their turn.
const TURN_BYTES: usize = 1024 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into());
}

/// One side of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The one that had connected to us.
    Downstream,
    /// The one that we had connected to.
    Upstream,
}

/// A side that broke before its time.
#[derive(Debug)]
pub enum Broken {
    /// The one that had connected to us.
    Downstream(io::Error),
    /// The one that we had connected to.
    Upstream(io::Error),
}

/// A connection that came to no good end.
#[derive(Debug)]
pub struct Failure {
    /// The side that broke.
    pub broken: Broken,
    /// What the other side is due.
    pub farewell: Farewell,
}

/// Counts of one direction: of the connection, and of all its kind.
#[derive(Clone, Copy, Debug)]
pub struct Meter<'a> {
    /// Of the connection.
    pub connection: &'a Counter,
    /// Of all its kind: of the cluster, of the filter.
    pub totals: &'a [&'a Counter],
    /// Where the first bytes are noted, if somebody asks for them.
    pub opening: Option<&'a Opening>,
}

impl Meter<'_> {
    fn read(self, bytes: &[u8]) {
        if let Some(opening) = self.opening {
            opening.note(bytes);
        }
    }

    fn passed(self, bytes: usize) {
        self.connection.add(bytes as u64);
        for total in self.totals {
            total.add(bytes as u64);
        }
    }
}

/// Passes bytes until both sides have said that they are done: an end on one side is passed on
/// while the other direction goes on. What a side had sent before it broke is passed on too.
///
/// Returns who was done last.
///
/// # Errors
/// Which side broke, and how the other is to be ended.
pub async fn pass(
    downstream: &mut Stream,
    upstream: &mut Stream,
    pipes: &Arc<PipePool>,
    received: Meter<'_>,
    sent: Meter<'_>,
) -> Result<Side, Failure> {
    let failed = AtomicBool::new(false);
    let (from_downstream, to_downstream) = downstream.tcp_mut().split();
    let (from_upstream, to_upstream) = upstream.tcp_mut().split();
    let mut request = OneWay {
        from: from_downstream,
        to: to_upstream,
        from_broken: Broken::Downstream,
        to_broken: Broken::Upstream,
        pipes,
        meter: received,
        failed: &failed,
        recent: Recent::default(),
        reset: None,
        unacknowledged: true,
    };
    let mut response = OneWay {
        from: from_upstream,
        to: to_downstream,
        from_broken: Broken::Upstream,
        to_broken: Broken::Downstream,
        pipes,
        meter: sent,
        failed: &failed,
        recent: Recent::default(),
        reset: None,
        unacknowledged: false,
    };
    let mut flushed = Flushed::Nothing;
    let passed = {
        let mut requesting = pin!(request.run());
        let mut responding = pin!(response.run());
        select! {
            passed = &mut requesting => match passed {
                Ok(()) => responding.await.map(|()| Side::Upstream),
                Err(broken) => {
                    if matches!(broken, Broken::Upstream(_)) {
                        failed.store(true, Ordering::Relaxed);
                        flushed = Box::pin(flush(responding, sent)).await;
                    }
                    Err(broken)
                }
            },
            passed = &mut responding => match passed {
                Ok(()) => requesting.await.map(|()| Side::Downstream),
                Err(broken) => {
                    if matches!(broken, Broken::Downstream(_)) {
                        failed.store(true, Ordering::Relaxed);
                        flushed = Box::pin(flush(requesting, received)).await;
                    }
                    Err(broken)
                }
            },
        }
    };
    passed.map_err(|broken| {
        let recent = match broken {
            Broken::Downstream(_) => request.recent,
            Broken::Upstream(_) => response.recent,
        };
        Failure {
            broken,
            farewell: recent.farewell(flushed),
        }
    })
}

struct OneWay<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    from_broken: fn(io::Error) -> Broken,
    to_broken: fn(io::Error) -> Broken,
    pipes: &'a Arc<PipePool>,
    meter: Meter<'a>,
    // The source was found broken by the other direction.
    failed: &'a AtomicBool,
    recent: Recent,
    // Of the source, taken from its socket before all of its data was.
    reset: Option<io::Error>,
    // The sink may wait for what it is sent to learn that it is connected.
    unacknowledged: bool,
}

/// What came of copying.
enum Copied {
    /// The source has no more, for good.
    End,
    /// A message was passed on.
    Message,
    /// A full buffer was passed on: there is likely more.
    Full,
}

/// What came of splicing.
enum Spliced {
    /// The source has no more, for good.
    End,
    /// All that the source had was passed on.
    Burst,
    /// The source has little at a time.
    Trickle,
    /// No pipe is to be had, or the kernel cannot splice these sockets.
    Impossible,
}

impl OneWay<'_> {
    async fn run(&mut self) -> Result<(), Broken> {
        let mut splice = false;
        let mut most = COPY_BYTES;
        loop {
            if splice {
                let spliced = self.splice().await?;
                self.recent.at = Some(Instant::now());
                match spliced {
                    Spliced::End => break,
                    Spliced::Burst => {}
                    Spliced::Trickle => splice = false,
                    Spliced::Impossible => {
                        splice = false;
                        most = BUFFER_BYTES;
                    }
                }
            } else {
                let copied = self.copy(most).await?;
                self.recent.at = Some(Instant::now());
                match copied {
                    Copied::End => break,
                    Copied::Message => {}
                    Copied::Full => splice = most == COPY_BYTES,
                }
            }
        }
        if let Some(error) = self.reset.take() {
            return Err((self.from_broken)(error));
        }
        if self.failed.load(Ordering::Relaxed) {
            // The error was taken by a failed write, so this looks like an end; it is none.
            return Ok(());
        }
        self.recent.ended = true;
        match self.to.shutdown().await {
            // It had closed altogether before we could say that there is no more.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result.map_err(self.to_broken),
        }
    }

    /// Waits for data, and passes on up to `most` bytes of it.
    async fn copy(&mut self, most: usize) -> Result<Copied, Broken> {
        let mut rest = Vec::new();
        let read = poll_fn(|cx| self.poll_copy(cx, most, &mut rest)).await?;
        let mut unwritten = rest.as_slice();
        while !unwritten.is_empty() {
            self.writable().await?;
            match self.to.try_write(unwritten) {
                Ok(written) => {
                    self.meter.passed(written);
                    unwritten = &unwritten[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err((self.to_broken)(error)),
            }
        }
        Ok(if read == 0 {
            Copied::End
        } else if read == most {
            Copied::Full
        } else {
            Copied::Message
        })
    }

    /// Reads into the shared buffer and writes at once, so that only what cannot be written now
    /// takes memory of its own. Returns how much was read.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        rest: &mut Vec<u8>,
    ) -> Poll<Result<usize, Broken>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(&mut buffer[..most]);
            match Pin::new(&mut self.from).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err((self.from_broken)(error))),
                Poll::Pending => {
                    self.recent.fresh = false;
                    if mem::take(&mut self.unacknowledged) {
                        acknowledge(self.to.as_ref());
                    }
                    return Poll::Pending;
                }
            }
            self.unacknowledged = false;
            let filled = buffer.filled();
            if filled.is_empty() {
                return Poll::Ready(Ok(0));
            }
            self.meter.read(filled);
            let written = match Pin::new(&mut self.to).poll_write(cx, filled) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err((self.to_broken)(error))),
                Poll::Pending => 0,
            };
            self.meter.passed(written);
            self.recent.fresh = true;
            rest.extend_from_slice(&filled[written..]);
            Poll::Ready(Ok(filled.len()))
        })
    }

    /// Waits for data, and moves it through a pipe until the source has no more for now.
    async fn splice(&mut self) -> Result<Spliced, Broken> {
        self.from.readable().await.map_err(self.from_broken)?;
        let Some(pipe) = self.pipes.take() else {
            return Ok(Spliced::Impossible);
        };
        let mut turn = 0;
        loop {
            let from = self.from.as_ref();
            let filled = match from.try_io(Interest::READABLE, || pipe.fill(from)) {
                Ok(filled) => filled,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.recent.fresh = false;
                    self.pipes.give_back(pipe);
                    return Ok(Spliced::Burst);
                }
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                    self.pipes.give_back(pipe);
                    return Ok(Spliced::Impossible);
                }
                Err(error) => return Err((self.from_broken)(error)),
            };
            self.empty(&pipe, filled).await?;
            self.recent.fresh |= filled > 0;
            if filled < SMALL_SPLICE {
                self.pipes.give_back(pipe);
                return Ok(if filled == 0 {
                    Spliced::End
                } else {
                    Spliced::Trickle
                });
            }
            turn += filled;
            if turn >= TURN_BYTES {
                turn = 0;
                yield_now().await;
            }
        }
    }

    async fn empty(&mut self, pipe: &Pipe, mut filled: usize) -> Result<(), Broken> {
        while filled > 0 {
            let to = self.to.as_ref();
            match to.try_io(Interest::WRITABLE, || pipe.empty(to, filled)) {
                Ok(moved) => {
                    self.meter.passed(moved);
                    filled -= moved;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err((self.to_broken)(error)),
            }
        }
        Ok(())
    }

    /// Waits until the sink takes more, which may be long: so the source is watched meanwhile. What
    /// a source sent before it was reset is passed on, unless the sink stalls.
    async fn writable(&mut self) -> Result<(), Broken> {
        let error = match self.reset.take() {
            Some(error) => error,
            None => select! {
                biased;
                writable = self.to.writable() => return writable.map_err(self.to_broken),
                error = reset(self.from.as_ref()) => error,
            },
        };
        // Boxed, as all that is rare here: each connection has room for what is not.
        if let Ok(writable) = Box::pin(timeout(STALL, self.to.writable())).await {
            self.reset = Some(error);
            return writable.map_err(self.to_broken);
        }
        self.recent.short = true;
        Err((self.from_broken)(error))
    }
}

#[cfg(test)]
mod tests;
