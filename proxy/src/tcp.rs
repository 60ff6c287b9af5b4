//! Passes bytes between two sockets, both ways, until each side is done.
//!
//! Little data is copied through a buffer that all connections of a worker share. When a read
//! fills that buffer the rest of the burst is moved with `splice(2)` through a pipe, which costs no
//! copy. Neither is held by a connection that waits, so idle connections stay small.

mod pipe;

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Poll, ready},
};

use rustix::io::Errno;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::tcp::{ReadHalf, WriteHalf},
    task::yield_now,
    try_join,
};

use self::pipe::Pipe;
pub use self::pipe::PipePool;
use crate::{statistics::Counter, stream::Stream};

/// What one read copies at most. A message that fits is copied faster than it is spliced.
const COPY_BYTES: usize = 16 * 1024;

/// A splice of less ends the burst: what follows is copied until a read fills the buffer again.
const SMALL_SPLICE: usize = 4 * 1024;

/// What one direction moves before other connections of the worker get their turn.
const TURN_BYTES: usize = 1024 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; COPY_BYTES].into());
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
    pipes: &PipePool,
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
    pipes: &'a PipePool,
    meter: Meter<'a>,
}

/// What came of one look at the source.
enum Copied {
    /// The source has no more, for good.
    End,
    /// A message, passed on.
    Some,
    /// A full buffer, passed on: there is likely more.
    Full,
}

/// What came of splicing.
enum Spliced {
    /// The source has no more, for good.
    End,
    /// The source has no more for now.
    Drained,
    /// The source has little at a time.
    Trickle,
    /// No pipe is to be had, or the kernel cannot splice these sockets.
    Impossible,
}

impl OneWay<'_> {
    async fn run(mut self) -> Result<(), Broken> {
        let mut spliceable = true;
        loop {
            match self.copy().await? {
                Copied::End => break,
                Copied::Some => {}
                Copied::Full if spliceable => match self.splice().await? {
                    Spliced::End => break,
                    Spliced::Drained | Spliced::Trickle => {}
                    Spliced::Impossible => spliceable = false,
                },
                Copied::Full => {}
            }
        }
        match self.to.shutdown().await {
            // It had closed altogether before we could say that there is no more.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result.map_err(self.to_broken),
        }
    }

    /// Waits for data, and passes on one buffer of it.
    async fn copy(&mut self) -> Result<Copied, Broken> {
        let mut rest = Vec::new();
        let (read, written) = std::future::poll_fn(|cx| {
            BUFFER.with_borrow_mut(|buffer| {
                let mut buffer = ReadBuf::new(buffer);
                if let Err(error) = ready!(Pin::new(&mut self.from).poll_read(cx, &mut buffer)) {
                    return Poll::Ready(Err((self.from_broken)(error)));
                }
                let filled = buffer.filled();
                if filled.is_empty() {
                    return Poll::Ready(Ok((0, 0)));
                }
                let written = match Pin::new(&mut self.to).poll_write(cx, filled) {
                    Poll::Ready(Ok(written)) => written,
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err((self.to_broken)(error)));
                    }
                    Poll::Pending => 0,
                };
                rest.extend_from_slice(&filled[written..]);
                Poll::Ready(Ok((filled.len(), written)))
            })
        })
        .await?;
        self.meter.passed(written);
        if !rest.is_empty() {
            self.to.write_all(&rest).await.map_err(self.to_broken)?;
            self.meter.passed(rest.len());
        }
        Ok(match read {
            0 => Copied::End,
            COPY_BYTES => Copied::Full,
            _ => Copied::Some,
        })
    }

    /// Moves a burst through a pipe, until the source has no more for now.
    async fn splice(&mut self) -> Result<Spliced, Broken> {
        let Some(pipe) = self.pipes.take() else {
            return Ok(Spliced::Impossible);
        };
        let mut turn = 0;
        loop {
            let filled = match self
                .from
                .as_ref()
                .try_io(Interest::READABLE, || pipe.fill(self.from.as_ref()))
            {
                Ok(filled) => filled,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.pipes.give_back(pipe);
                    return Ok(Spliced::Drained);
                }
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                    self.pipes.give_back(pipe);
                    return Ok(Spliced::Impossible);
                }
                Err(error) => return Err((self.from_broken)(error)),
            };
            self.empty(&pipe, filled).await?;
            turn += filled;
            if filled < SMALL_SPLICE {
                self.pipes.give_back(pipe);
                return Ok(if filled == 0 {
                    Spliced::End
                } else {
                    Spliced::Trickle
                });
            }
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
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    to.writable().await.map_err(self.to_broken)?;
                }
                Err(error) => return Err((self.to_broken)(error)),
            }
        }
        Ok(())
    }
}
