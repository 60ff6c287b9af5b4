//! An encrypted connection.
//!
//! Its halves end one by one, as those of TCP do: the peer's `close_notify` is the end of what is read,
//! and shutting it down sends ours; the other direction goes on. A connection that ends without
//! `close_notify` was cut, which is an error of the kind `UnexpectedEof`.

use std::{
    future::poll_fn,
    io::{self, BufRead, Read, Write},
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustls::{Connection, Error, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    error::{Ends, TlsCause, TlsError},
    parameters::Role,
    witness::{Seen, observe},
};

/// A connection, in its handshake or after it.
///
/// A server of TLS 1.3 refuses a client's certificate after the client's handshake is done. So an error
/// of reading may be a [`TlsError`], which [`tls_error`] finds.
#[derive(Debug)]
pub struct Stream<IO> {
    connection: Connection,
    io: IO,
    ends: Ends,
    has_certificate: bool,
    has_closed: bool,
}

/// The cause of an error of reading or writing, if it is one of TLS.
pub fn tls_error(error: &io::Error) -> Option<&TlsError> {
    error.get_ref()?.downcast_ref()
}

impl<IO> Stream<IO> {
    pub(super) fn new(connection: Connection, io: IO, ends: Ends, has_certificate: bool) -> Self {
        Self {
            connection,
            io,
            ends,
            has_certificate,
            has_closed: false,
        }
    }

    /// What lies below.
    pub fn io(&self) -> &IO {
        &self.io
    }

    /// The stream beneath, with nothing more said in TLS.
    pub fn into_io(self) -> IO {
        self.io
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    fn role(&self) -> Role {
        match self.connection {
            Connection::Client(_) => Role::Client,
            Connection::Server(_) => Role::Server,
        }
    }

    fn explain(&self, error: Error) -> io::Error {
        let cause = TlsCause::of(error, self.role(), self.has_certificate);
        let error = TlsError::new(self.role(), self.ends, cause);
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Stream<IO> {
    /// Does the handshake, and keeps what is seen in it. After an error the peer is told by an alert.
    pub(super) async fn shake_hands(&mut self, seen: &mut Seen) -> Result<(), TlsCause> {
        poll_fn(|cx| self.poll_handshake(cx, seen)).await
    }

    fn poll_handshake(
        &mut self,
        cx: &mut Context<'_>,
        seen: &mut Seen,
    ) -> Poll<Result<(), TlsCause>> {
        let (role, has_certificate) = (self.role(), self.has_certificate);
        let of_io = |error| TlsCause::of_io(error, role, has_certificate);
        loop {
            let is_done = !self.connection.is_handshaking();
            if is_done && self.has_only_a_ticket_to_send() {
                return Poll::Ready(Ok(()));
            }
            while self.wants_write() {
                ready!(self.poll_send(cx)).map_err(of_io)?;
            }
            if is_done {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_receive(cx)).map_err(of_io)? == 0 {
                return Poll::Ready(Err(TlsCause::Closed));
            }
            if let Err(error) = observe(seen, || self.connection.process_new_packets()) {
                self.send_what_can_be_sent(cx);
                return Poll::Ready(Err(TlsCause::of(error, role, has_certificate)));
            }
        }
    }

    /// A ticket goes with the first bytes, of which one packet is made then: the client has no use for
    /// it before its next connection.
    fn has_only_a_ticket_to_send(&self) -> bool {
        matches!(self.connection, Connection::Server(_))
            && self.connection.protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    /// An alert, say, to a peer that may be gone and is not waited for.
    fn send_what_can_be_sent(&mut self, cx: &mut Context<'_>) {
        while self.wants_write() && matches!(self.poll_send(cx), Poll::Ready(Ok(_))) {}
    }

    fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut io = Io {
            io: &mut self.io,
            cx,
        };
        match self.connection.write_tls(&mut io) {
            Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut io = Io {
            io: &mut self.io,
            cx,
        };
        match self.connection.read_tls(&mut io) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
            result => Poll::Ready(result),
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            let mut reader = this.connection.reader();
            match reader.fill_buf() {
                // The end of what the peer sends, if it is empty.
                Ok(bytes) => {
                    let length = bytes.len().min(buffer.remaining());
                    buffer.put_slice(&bytes[..length]);
                    reader.consume(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(this.poll_receive(cx))?;
            if let Err(error) = this.connection.process_new_packets() {
                this.send_what_can_be_sent(cx);
                return Poll::Ready(Err(this.explain(error)));
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        while written < bytes.len() {
            // As much as the library's buffer takes.
            written += self.connection.writer().write(&bytes[written..])?;
            while self.wants_write() {
                match self.poll_send(cx)? {
                    Poll::Ready(_) => {}
                    Poll::Pending if written == 0 => return Poll::Pending,
                    Poll::Pending => return Poll::Ready(Ok(written)),
                }
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.wants_write() {
            ready!(self.poll_send(cx))?;
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.has_closed {
            self.has_closed = true;
            self.connection.send_close_notify();
        }
        while self.wants_write() {
            ready!(self.poll_send(cx))?;
        }
        match ready!(Pin::new(&mut self.io).poll_shutdown(cx)) {
            // It had closed altogether before we could.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}

/// What lies below, as the library reads and writes it.
struct Io<'a, 'b, IO> {
    io: &'a mut IO,
    cx: &'a mut Context<'b>,
}

fn or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<IO: AsyncRead + Unpin> Read for Io<'_, '_, IO> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(bytes);
        or_would_block(Pin::new(&mut *self.io).poll_read(self.cx, &mut buffer))?;
        Ok(buffer.filled().len())
    }
}

impl<IO: AsyncWrite + Unpin> Write for Io<'_, '_, IO> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.io).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        or_would_block(Pin::new(&mut *self.io).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        or_would_block(Pin::new(&mut *self.io).poll_flush(self.cx))
    }
}
