//! Passes bytes between streams of which one at least is encrypted, so that nothing can be spliced.

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    BUFFER, Broken, Failure, Meter, Side, TURN_BYTES,
    farewell::{Flushed, Recent, flush},
};

/// What is written at once. The kernel sends up to 64 KiB, headers of all records included, as one
/// segment that is cut late or never; a little more would be a second one.
const GATHERED_BYTES: usize = 62 * 1024;

/// Passes bytes until both sides have said that they are done, as [`pass`](super::pass) does: what a
/// side had sent before it broke is passed on too.
///
/// # Errors
/// Which side broke, and how the other is to be ended.
pub async fn relay<D, U>(
    downstream: &mut D,
    upstream: &mut U,
    received: Meter<'_>,
    sent: Meter<'_>,
) -> Result<Side, Failure>
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = Direction::new(received);
    let mut response = Direction::new(sent);
    let passed = poll_fn(|cx| {
        let answered = response.state == State::Ended;
        let requested = request.poll(cx, Pin::new(&mut *downstream), Pin::new(&mut *upstream));
        if let Poll::Ready(Err(end)) = requested {
            return Poll::Ready(Err(Failed::Request(end)));
        }
        let responded = response.poll(cx, Pin::new(&mut *upstream), Pin::new(&mut *downstream));
        if let Poll::Ready(Err(end)) = responded {
            return Poll::Ready(Err(Failed::Response(end)));
        }
        if requested.is_ready() && responded.is_ready() {
            return Poll::Ready(Ok(if answered {
                Side::Downstream
            } else {
                Side::Upstream
            }));
        }
        Poll::Pending
    });
    let failed = match passed.await {
        Ok(last) => return Ok(last),
        Err(failed) => failed,
    };
    // A write shows that its sink broke; a read has taken all that the source had sent. Boxed, as all
    // that is rare here.
    let (broken, recent, flushed) = match failed {
        Failed::Request(End::From(error)) => {
            (Broken::Downstream(error), request.recent, Flushed::Nothing)
        }
        Failed::Request(End::To(error)) => {
            let flushed = Box::pin(response.flush(upstream, downstream)).await;
            (Broken::Upstream(error), response.recent, flushed)
        }
        Failed::Response(End::From(error)) => {
            (Broken::Upstream(error), response.recent, Flushed::Nothing)
        }
        Failed::Response(End::To(error)) => {
            let flushed = Box::pin(request.flush(downstream, upstream)).await;
            (Broken::Downstream(error), request.recent, flushed)
        }
    };
    Err(Failure {
        broken,
        farewell: recent.farewell(flushed),
    })
}

/// The direction that failed, and where.
enum Failed {
    Request(End),
    Response(End),
}

/// The end of a direction that failed.
enum End {
    From(io::Error),
    To(io::Error),
}

struct Direction<'a> {
    meter: Meter<'a>,
    state: State,
    /// What was read and cannot be written now.
    rest: Vec<u8>,
    written: usize,
    unflushed: bool,
    recent: Recent,
    /// What was met behind the last that was read.
    end: Option<io::Result<()>>,
    /// The source was found broken by the other direction.
    failed: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    Open,
    Ending,
    Ended,
    /// The source has no more, for it broke.
    Cut,
}

impl<'a> Direction<'a> {
    fn new(meter: Meter<'a>) -> Self {
        Self {
            meter,
            state: State::Open,
            rest: Vec::new(),
            written: 0,
            unflushed: false,
            recent: Recent::default(),
            end: None,
            failed: false,
        }
    }

    /// Passes on what the source had sent before the other direction found it broken.
    async fn flush(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> Flushed {
        self.failed = true;
        let meter = self.meter;
        let rest = poll_fn(|cx| self.poll(cx, Pin::new(&mut *from), Pin::new(&mut *to)));
        flush(pin!(rest), meter).await
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut impl AsyncRead>,
        mut to: Pin<&mut impl AsyncWrite>,
    ) -> Poll<Result<(), End>> {
        let mut turn = 0;
        while self.state == State::Open {
            ready!(self.poll_rest(cx, to.as_mut()))?;
            match self.poll_copy(cx, from.as_mut(), to.as_mut())? {
                // The error was taken by the failed write, so this looks like an end; it is none.
                Poll::Ready(0) if self.failed => self.state = State::Cut,
                Poll::Ready(0) => self.state = State::Ending,
                Poll::Ready(read) => turn += read,
                Poll::Pending => {
                    self.recent.fresh = false;
                    ready!(self.poll_flush(cx, to))?;
                    return Poll::Pending;
                }
            }
            self.recent.at = Some(Instant::now());
            if turn >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        if self.state == State::Ending {
            ready!(self.poll_rest(cx, to.as_mut()))?;
            match ready!(to.as_mut().poll_shutdown(cx)) {
                // It had closed altogether before we could say that there is no more.
                Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                    return Poll::Ready(Err(End::To(error)));
                }
                Ok(()) | Err(_) => {}
            }
            self.state = State::Ended;
            self.recent.ended = true;
        }
        if self.state == State::Cut {
            ready!(self.poll_flush(cx, to))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        mut to: Pin<&mut impl AsyncWrite>,
    ) -> Poll<Result<(), End>> {
        while self.written < self.rest.len() {
            let written =
                ready!(to.as_mut().poll_write(cx, &self.rest[self.written..])).map_err(End::To)?;
            if written == 0 {
                return Poll::Ready(Err(End::To(io::ErrorKind::WriteZero.into())));
            }
            self.passed(written);
            self.written += written;
        }
        // So that a connection that waits holds no memory.
        self.rest = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads what is there into the shared buffer, and writes it at once; returns how much it was.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        mut from: Pin<&mut impl AsyncRead>,
        to: Pin<&mut impl AsyncWrite>,
    ) -> Result<Poll<usize>, End> {
        if let Some(end) = self.end.take() {
            return end.map(|()| Poll::Ready(0)).map_err(End::From);
        }
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(&mut buffer[..GATHERED_BYTES]);
            // A read brings one record of TLS, where a write of several costs little more than of one.
            while buffer.remaining() > 0 {
                let before = buffer.filled().len();
                let end = match from.as_mut().poll_read(cx, &mut buffer) {
                    Poll::Ready(Ok(())) if buffer.filled().len() > before => continue,
                    Poll::Ready(Ok(())) => Ok(()),
                    // A peer that closes without a word of TLS has ended all the same: what stands
                    // in the stream must tell whether it is whole.
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                        Ok(())
                    }
                    Poll::Ready(Err(error)) => Err(error),
                    Poll::Pending if before == 0 => return Ok(Poll::Pending),
                    Poll::Pending => break,
                };
                if before == 0 {
                    return end.map(|()| Poll::Ready(0)).map_err(End::From);
                }
                self.end = Some(end);
                break;
            }
            let filled = buffer.filled();
            self.meter.read(filled);
            let written = match to.poll_write(cx, filled) {
                Poll::Ready(Ok(written)) => written,
                Poll::Ready(Err(error)) => return Err(End::To(error)),
                Poll::Pending => 0,
            };
            self.passed(written);
            self.recent.fresh = true;
            self.rest.extend_from_slice(&filled[written..]);
            Ok(Poll::Ready(filled.len()))
        })
    }

    /// Sends what the encryption still holds, when there is nothing to read.
    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        to: Pin<&mut impl AsyncWrite>,
    ) -> Poll<Result<(), End>> {
        if self.unflushed {
            ready!(to.poll_flush(cx)).map_err(End::To)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn passed(&mut self, bytes: usize) {
        self.meter.passed(bytes);
        self.unflushed = true;
    }
}

#[cfg(test)]
mod tests;
