//! Passes bytes between streams of which one at least is encrypted, so that nothing can be spliced.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    BUFFER, Broken, Failure, Meter, Side, TURN_BYTES,
    farewell::{Flushed, Recent},
};

/// What is written at once. The kernel sends up to 64 KiB, headers of all records included, as one
/// segment that is cut late or never; a little more would be a second one.
const GATHERED_BYTES: usize = 62 * 1024;

/// Passes bytes until both sides have said that they are done, as [`pass`](super::pass) does.
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
        if let Poll::Ready(Err(side)) = requested {
            return Poll::Ready(Err(match side {
                End::From(error) => Broken::Downstream(error),
                End::To(error) => Broken::Upstream(error),
            }));
        }
        let responded = response.poll(cx, Pin::new(&mut *upstream), Pin::new(&mut *downstream));
        if let Poll::Ready(Err(side)) = responded {
            return Poll::Ready(Err(match side {
                End::From(error) => Broken::Upstream(error),
                End::To(error) => Broken::Downstream(error),
            }));
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
    passed.await.map_err(|broken| {
        let recent = match broken {
            Broken::Downstream(_) => request.recent,
            Broken::Upstream(_) => response.recent,
        };
        Failure {
            broken,
            farewell: recent.farewell(Flushed::Nothing),
        }
    })
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
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    Open,
    Ending,
    Ended,
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
        }
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
                Poll::Ready(0) => self.state = State::Ending,
                Poll::Ready(read) => turn += read,
                Poll::Pending => {
                    self.recent.fresh = false;
                    return self.poll_flush(cx, to);
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
            match ready!(to.poll_shutdown(cx)) {
                // It had closed altogether before we could say that there is no more.
                Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                    return Poll::Ready(Err(End::To(error)));
                }
                Ok(()) | Err(_) => {}
            }
            self.state = State::Ended;
            self.recent.ended = true;
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

    /// Sends what the encryption still holds, while there is nothing to read.
    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        to: Pin<&mut impl AsyncWrite>,
    ) -> Poll<Result<(), End>> {
        if self.unflushed {
            ready!(to.poll_flush(cx)).map_err(End::To)?;
            self.unflushed = false;
        }
        Poll::Pending
    }

    fn passed(&mut self, bytes: usize) {
        self.meter.passed(bytes);
        self.unflushed = true;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex, split},
        join,
    };

    use super::*;
    use crate::stats::Counter;

    const BYTES: usize = 3 * 1024 * 1024;

    fn meter(counter: &Counter) -> Meter<'_> {
        Meter {
            connection: counter,
            totals: &[],
            opening: None,
        }
    }

    #[tokio::test]
    async fn a_large_stream_passes_both_ways() {
        // Small, so that writes are short.
        let (client, mut downstream) = duplex(1000);
        let (mut upstream, server) = duplex(700);
        let (received, sent) = (Counter::default(), Counter::default());
        let data: Vec<u8> = (0..BYTES).map(|index| (index % 251) as u8).collect();
        let exchange = |stream| {
            let data = data.clone();
            async move {
                let (mut read, mut write) = split(stream);
                let sending = async move {
                    write.write_all(&data).await.unwrap();
                    write.shutdown().await.unwrap();
                };
                let mut found = Vec::new();
                let (_, read) = join!(sending, read.read_to_end(&mut found));
                read.unwrap();
                found
            }
        };
        let relaying = relay(
            &mut downstream,
            &mut upstream,
            meter(&received),
            meter(&sent),
        );
        let (passed, at_client, at_server) = join!(relaying, exchange(client), exchange(server));
        passed.unwrap();
        assert!(at_client == data && at_server == data);
        assert_eq!([received.value(), sent.value()], [BYTES as u64; 2]);
    }

    #[tokio::test]
    async fn an_end_is_passed_on_while_the_other_direction_goes_on() {
        let (mut client, mut downstream) = duplex(1000);
        let (mut upstream, mut server) = duplex(1000);
        let counter = Counter::default();
        let relaying = relay(
            &mut downstream,
            &mut upstream,
            meter(&counter),
            meter(&counter),
        );
        let exchange = async {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut question = String::new();
            server.read_to_string(&mut question).await.unwrap();
            server.write_all(b"answer").await.unwrap();
            server.shutdown().await.unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            (question, answer)
        };
        let (passed, (question, answer)) = join!(relaying, exchange);
        passed.unwrap();
        assert_eq!((&*question, &*answer), ("question", "answer"));
    }

    #[tokio::test]
    async fn the_side_that_broke_is_named() {
        let (client, mut downstream) = duplex(1000);
        let (mut upstream, mut server) = duplex(1000);
        let counter = Counter::default();
        let relaying = relay(
            &mut downstream,
            &mut upstream,
            meter(&counter),
            meter(&counter),
        );
        // Nobody is there to take the answer.
        drop(client);
        let answering = async { server.write_all(b"answer").await.unwrap() };
        let (passed, ()) = join!(relaying, answering);
        assert!(matches!(passed.unwrap_err().broken, Broken::Downstream(_)));
    }
}
