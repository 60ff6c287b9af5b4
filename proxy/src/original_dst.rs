//! Asks where a connection was going before the redirect.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::destination::canonical;

/// What the proxy asks its network namespace; a test answers with addresses of its own.
pub trait Redirect: fmt::Debug + Send + Sync {
    /// The address that the downstream had connected to.
    ///
    /// # Errors
    /// The kernel's; [`io::ErrorKind::NotFound`] when the connection was not redirected.
    fn original_dst(&self, downstream: &TcpStream) -> io::Result<SocketAddr>;

    /// Whether the address is one of this network namespace.
    fn is_local(&self, address: IpAddr) -> bool;
}

/// The kernel's connection tracking.
#[derive(Clone, Copy, Debug)]
pub struct Conntrack;

impl Redirect for Conntrack {
    fn original_dst(&self, downstream: &TcpStream) -> io::Result<SocketAddr> {
        let socket = SockRef::from(downstream);
        let address = match canonical(downstream.local_addr()?) {
            SocketAddr::V4(_) => socket.original_dst_v4()?,
            SocketAddr::V6(_) => socket.original_dst_v6()?,
        };
        address.as_socket().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "not an address of TCP over IP")
        })
    }

    fn is_local(&self, address: IpAddr) -> bool {
        // The kernel lets a socket be bound to the addresses of its namespace alone.
        UdpSocket::bind((address, 0)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn loopback_is_local_and_a_documentation_address_is_not() {
        assert!(Conntrack.is_local(Ipv4Addr::LOCALHOST.into()));
        assert!(!Conntrack.is_local(Ipv4Addr::new(192, 0, 2, 1).into()));
    }
}
