//! An encrypted connection.
//!
//! Its halves end one by one, as those of TCP do: the peer's `close_notify` is the end of what is read,
//! and shutting it down sends ours; the other direction goes on. A connection that ends without
//! `close_notify` was cut, which is an error of the kind `UnexpectedEof`.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustls::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::{
    error::{Ends, TlsCause, TlsError},
    parameters::Role,
};

/// A connection after its handshake.
///
/// A server of TLS 1.3 refuses a client's certificate after the client's handshake is done. So an error
/// of reading may be a [`TlsError`], which [`tls_error`] finds.
#[derive(Debug)]
pub struct Stream<IO> {
    inner: TlsStream<IO>,
    ends: Ends,
    has_certificate: bool,
}

/// The cause of an error of reading or writing, if it is one of TLS.
pub fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

impl<IO> Stream<IO> {
    pub(super) fn new(inner: TlsStream<IO>, ends: Ends, has_certificate: bool) -> Self {
        Self {
            inner,
            ends,
            has_certificate,
        }
    }

    /// What lies below.
    pub fn io(&self) -> &IO {
        self.inner.get_ref().0
    }

    fn explain(&self, error: io::Error) -> io::Error {
        if !error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
            return error;
        }
        let role = match self.inner {
            TlsStream::Client(_) => Role::Client,
            TlsStream::Server(_) => Role::Server,
        };
        let kind = error.kind();
        let cause = TlsCause::of_io(error, role, self.has_certificate);
        let ends = self.ends;
        io::Error::new(kind, TlsError { role, ends, cause })
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.inner).poll_read(cx, buffer));
        Poll::Ready(result.map_err(|error| self.explain(error)))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes));
        Poll::Ready(result.map_err(|error| self.explain(error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.inner).poll_flush(cx));
        Poll::Ready(result.map_err(|error| self.explain(error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.inner).poll_shutdown(cx));
        Poll::Ready(result.map_err(|error| self.explain(error)))
    }
}
