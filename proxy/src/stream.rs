//! A socket that is reset, not closed, unless its connection came to its end; and the peer's reset.

use std::io;

use tokio::{io::Interest, net::TcpStream};

/// One side of a connection.
///
/// Dropped early, whether by a failure, by the end of the process or by a panic, it sends a reset:
/// the peer must not take a stream that was cut for one that is complete.
#[derive(Debug)]
pub struct Stream {
    tcp: TcpStream,
    complete: bool,
}

impl Stream {
    /// Takes a connected socket.
    pub fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            complete: false,
        }
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
    pub fn close(mut self) {
        self.complete = true;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.complete {
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
