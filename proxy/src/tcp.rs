//! Passes bytes between two sockets, both ways, until each side is done.
//!
//! Little data is copied through a buffer that all connections of a worker share. After a read that
//! shows that there is more, data is moved with `splice(2)` through a pipe, which costs no copy, until it
//! becomes little again. Neither is held by a connection that waits for data, so idle connections
//! stay small.

mod pipe;

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::io::Errno;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::tcp::{ReadHalf, WriteHalf},
    select,
    task::yield_now,
    try_join,
};

use self::pipe::Pipe;
pub use self::pipe::PipePool;
use crate::{
    statistics::Counter,
    stream::{Stream, reset},
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

/// A side that broke before its time.
#[derive(Debug)]
pub enum Broken {
    /// The one that had connected to us.
    Downstream(io::Error),
    /// The one that we had connected to.
    Upstream(io::Error),
}

/// Counts of one direction: of the connection, and of all its kind.
#[derive(Clone, Copy, Debug)]
pub struct Meter<'a> {
    /// Of the connection.
    pub connection: &'a Counter,
    /// Of the cluster.
    pub cluster: &'a Counter,
}

impl Meter<'_> {
    fn passed(self, bytes: usize) {
        self.connection.add(bytes as u64);
        self.cluster.add(bytes as u64);
    }
}

/// Passes bytes until both sides have said that they are done: an end on one side is passed on
/// while the other direction goes on.
///
/// # Errors
/// Which side broke. The streams then are to be dropped, which resets both.
pub async fn pass(
    downstream: &mut Stream,
    upstream: &mut Stream,
    pipes: &Arc<PipePool>,
    received: Meter<'_>,
    sent: Meter<'_>,
) -> Result<(), Broken> {
    let (from_downstream, to_downstream) = downstream.tcp_mut().split();
    let (from_upstream, to_upstream) = upstream.tcp_mut().split();
    let request = OneWay {
        from: from_downstream,
        to: to_upstream,
        from_broken: Broken::Downstream,
        to_broken: Broken::Upstream,
        pipes,
        meter: received,
    };
    let response = OneWay {
        from: from_upstream,
        to: to_downstream,
        from_broken: Broken::Upstream,
        to_broken: Broken::Downstream,
        pipes,
        meter: sent,
    };
    try_join!(request.run(), response.run()).map(|((), ())| ())
}

struct OneWay<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    from_broken: fn(io::Error) -> Broken,
    to_broken: fn(io::Error) -> Broken,
    pipes: &'a Arc<PipePool>,
    meter: Meter<'a>,
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
    async fn run(mut self) -> Result<(), Broken> {
        let mut splice = false;
        let mut most = COPY_BYTES;
        loop {
            if splice {
                match self.splice().await? {
                    Spliced::End => break,
                    Spliced::Burst => {}
                    Spliced::Trickle => splice = false,
                    Spliced::Impossible => {
                        splice = false;
                        most = BUFFER_BYTES;
                    }
                }
            } else {
                match self.copy(most).await? {
                    Copied::End => break,
                    Copied::Message => {}
                    Copied::Full => splice = most == COPY_BYTES,
                }
            }
        }
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
            if let Err(error) = ready!(Pin::new(&mut self.from).poll_read(cx, &mut buffer)) {
                return Poll::Ready(Err((self.from_broken)(error)));
            }
            let filled = buffer.filled();
            if filled.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let written = match Pin::new(&mut self.to).poll_write(cx, filled) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Poll::Ready(Err((self.to_broken)(error))),
                Poll::Pending => 0,
            };
            self.meter.passed(written);
            rest.extend_from_slice(&filled[written..]);
            Poll::Ready(Ok(filled.len()))
        })
    }

    /// Waits for data, and moves it through a pipe until the source has no more for now.
    async fn splice(&self) -> Result<Spliced, Broken> {
        let from = self.from.as_ref();
        from.readable().await.map_err(self.from_broken)?;
        let Some(pipe) = self.pipes.take() else {
            return Ok(Spliced::Impossible);
        };
        let mut turn = 0;
        loop {
            let filled = match from.try_io(Interest::READABLE, || pipe.fill(from)) {
                Ok(filled) => filled,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
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

    async fn empty(&self, pipe: &Pipe, mut filled: usize) -> Result<(), Broken> {
        let to = self.to.as_ref();
        while filled > 0 {
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

    /// Waits until the sink takes more, which may be long: so the source is watched meanwhile.
    async fn writable(&self) -> Result<(), Broken> {
        select! {
            biased;
            writable = self.to.writable() => writable.map_err(self.to_broken),
            error = reset(self.from.as_ref()) => Err((self.from_broken)(error)),
        }
    }
}

#[cfg(test)]
mod tests;
