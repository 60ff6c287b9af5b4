//! A server that notes who arrived, and where they wanted to go.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use super::{Namespace, User};
use crate::wait::DEADLINE;

/// More connections than a test makes at once.
const BACKLOG: i32 = 128;

/// One accepted connection.
#[derive(Debug)]
pub struct Arrival {
    /// Who connected.
    pub peer: SocketAddr,
    /// Where the connection was before a redirect; its own address when there was none.
    pub original_destination: SocketAddr,
    /// The connection itself.
    pub stream: TcpStream,
}

/// A listener in a namespace that hands out its connections one by one.
#[derive(Debug)]
pub struct Arrivals {
    local: SocketAddr,
    listener: TcpListener,
    arrivals: Receiver<Arrival>,
}

impl Arrivals {
    /// Listens on an address (`10.0.0.2:80`, `[::]:15001`; port 0 takes a free one) as root.
    #[track_caller]
    pub fn listen(namespace: &Namespace, address: &str) -> Self {
        Self::listen_as(User::ROOT, namespace, address)
    }

    /// Listens as another user, whose answers the `owner` match then sees.
    #[track_caller]
    pub fn listen_as(user: User, namespace: &Namespace, address: &str) -> Self {
        match namespace.run_as(user, || TcpListener::bind(address)) {
            Ok(listener) => Self::accept(listener),
            Err(error) => panic!("listen on {address} in {}: {error}", namespace.name()),
        }
    }

    /// Listens as another user at a transparent socket: it also gets the connections that TPROXY
    /// hands to it, which keep their addresses.
    #[track_caller]
    pub fn listen_transparently_as(user: User, namespace: &Namespace, address: SocketAddr) -> Self {
        let listen = || -> io::Result<TcpListener> {
            // Who makes a socket is its owner for good; the option is for the privileged.
            let domain = Domain::for_address(address);
            let socket = namespace.run_as(user, || Socket::new(domain, Type::STREAM, None))?;
            if address.is_ipv4() {
                socket.set_ip_transparent_v4(true)?;
            } else {
                socket.set_ip_transparent_v6(true)?;
            }
            socket.set_reuse_address(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        };
        match listen() {
            Ok(listener) => Self::accept(listener),
            Err(error) => panic!("listen on {address} in {}: {error}", namespace.name()),
        }
    }

    #[track_caller]
    fn accept(listener: TcpListener) -> Self {
        let local = match listener.local_addr() {
            Ok(local) => local,
            Err(error) => panic!("address of {listener:?}: {error}"),
        };
        let (sender, arrivals) = mpsc::channel();
        let accepting = match listener.try_clone() {
            Ok(accepting) => accepting,
            Err(error) => panic!("clone {listener:?}: {error}"),
        };
        thread::spawn(move || {
            while let Ok((stream, peer)) = accepting.accept() {
                // A connection that is gone already has not arrived.
                let Ok(original_destination) = original_destination(&stream) else {
                    continue;
                };
                let arrival = Arrival {
                    peer,
                    original_destination,
                    stream,
                };
                if sender.send(arrival).is_err() {
                    return;
                }
            }
        });
        Self {
            local,
            listener,
            arrivals,
        }
    }

    /// Where it listens.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The next connection, waited for no longer than the kit's deadline.
    #[track_caller]
    pub fn next(&self) -> Arrival {
        match self.arrivals.recv_timeout(DEADLINE) {
            Ok(arrival) => arrival,
            Err(_) => panic!(
                "no connection arrived at {} within {DEADLINE:?}",
                self.local
            ),
        }
    }

    /// Whether a connection is waiting now; ask after one elsewhere has shown to be complete.
    pub fn is_empty(&self) -> bool {
        self.arrivals.recv_timeout(Duration::ZERO).is_err()
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        // Wakes the accepting thread, which then gives up the port. It fails only if that happened.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
    }
}

/// Where a connection was going before netfilter redirected it here.
///
/// # Errors
/// When the socket is no longer connected.
pub fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    let local = stream.local_addr()?;
    let original = if local.is_ipv4() || is_mapped(local) {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    match original {
        Ok(address) => Ok(address.as_socket().unwrap_or(local)),
        // Connection tracking knows nothing of it: it was not redirected.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(local),
        Err(error)
            if error.raw_os_error() == Some(rustix::io::Errno::NOPROTOOPT.raw_os_error()) =>
        {
            Ok(local)
        }
        Err(error) => Err(error),
    }
}

fn is_mapped(address: SocketAddr) -> bool {
    matches!(address, SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some())
}
