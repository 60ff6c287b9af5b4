//! A socket that is reset, not closed, unless its connection came to its end; and the peer's reset.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Interest, ReadBuf},
    net::TcpStream,
    time::{sleep, timeout},
};

/// How long the kernel is given to bring what was passed on to the peer before a reset, which
/// discards what the peer has not acknowledged. Many round trips within a cluster.
pub const SETTLE: Duration = Duration::from_millis(100);

/// How long a peer that was told the end may go on sending. Closing earlier would reset it, and
/// discard what it has not taken yet.
pub const LINGER: Duration = Duration::from_secs(2);

/// What is due to the side that did not break.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Farewell {
    /// Everything that the broken side had sent arrived only just now: an end behind it, so that
    /// none of it is discarded.
    Finish,
    /// Nothing was left to deliver: a reset.
    Reset {
        /// What was passed on may be on its way for so long.
        after: Duration,
    },
}

/// One side of a connection.
///
/// Dropped early, whether by a failure, by the end of the process or by a panic, it sends a reset:
/// the peer must not take a stream that was cut for one that is complete. One that is refused before
/// anything was passed on has nothing that could be cut, and is closed in order, as Envoy does.
#[derive(Debug)]
pub struct Stream {
    tcp: TcpStream,
    complete: Cell<bool>,
}

impl Stream {
    /// Takes a connected socket.
    pub fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            complete: Cell::new(false),
        }
    }

    /// Takes a connected socket on which nothing is said yet, so that it is closed in order until
    /// [`Stream::begin`].
    pub fn silent(tcp: TcpStream) -> Self {
        let stream = Self::new(tcp);
        stream.complete();
        stream
    }

    /// The socket.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// The socket, to be split.
    pub fn tcp_mut(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// Closes in order: the kernel sends what it still has, then FIN.
    pub fn close(self) {
        self.complete();
    }

    /// From now on it is closed in order when it is dropped.
    pub fn complete(&self) {
        self.complete.set(true);
    }

    /// From now on it is reset when it is dropped.
    pub fn begin(&self) {
        self.complete.set(false);
    }

    /// Ends the side that did not break.
    pub async fn end(mut self, farewell: Farewell) {
        match farewell {
            Farewell::Finish => {
                self.complete();
                // Fails only for a socket that the peer has reset meanwhile.
                if self.tcp.shutdown().await.is_ok() {
                    // Either it ended, or it had its time.
                    let _ = timeout(LINGER, discard(&self.tcp)).await;
                }
            }
            Farewell::Reset { after } if after.is_zero() => {}
            Farewell::Reset { after } => sleep(after).await,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Takes what the peer sends until it sends no more.
pub async fn discard(tcp: &TcpStream) {
    loop {
        if tcp.readable().await.is_err() {
            return;
        }
        match tcp.try_read(&mut [0; 8 * 1024]) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.complete.get() {
            // Fails only for a socket that the peer has already reset.
            let _ = self.tcp.set_zero_linger();
        }
    }
}

/// Returns when the peer has reset the connection; an end of its data is none.
pub async fn reset(tcp: &TcpStream) -> io::Error {
    loop {
        match tcp.ready(Interest::ERROR).await {
            Ok(ready) if ready.is_error() => {
                let taken = tcp.take_error().unwrap_or_else(Some);
                return taken.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
            }
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}
