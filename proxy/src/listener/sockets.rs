//! The sockets of a listener that is configured.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use fairlead_runtime::server::BindError;
use socket2::{Domain, Protocol, Socket, Type};

use super::ListenError;
use crate::socket_options::{Keepalive, SocketOptions, freebind, transparent};

/// An address to listen on, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binding {
    /// The address; port 0 takes any that is free.
    pub address: SocketAddr,
    /// An IPv6 socket takes IPv4 connections, too.
    pub ipv4_compat: bool,
    /// Connections that were going elsewhere may come; as the kernel has it, if nothing is said.
    pub transparent: Option<bool>,
    /// The address need not be there; as [`transparent`](Self::transparent).
    pub freebind: Option<bool>,
    /// Each worker has a socket of its own, among which the kernel spreads the connections.
    pub reuse_port: bool,
    /// Connections that may wait for a worker; the kernel lowers it to `net.core.somaxconn`.
    pub backlog: u32,
    /// Probes of connections that are idle.
    pub keepalive: Keepalive,
    /// What else is set.
    pub options: SocketOptions,
}

impl Binding {
    /// Takes the address: a socket for each worker, of which each accepts some of the connections.
    ///
    /// # Errors
    /// The address is taken, also by another process that shares its ports; it is not ours; or the
    /// process may not have the socket as it must be.
    pub fn bind(&self, listener: &str, workers: usize) -> Result<Vec<TcpListener>, ListenError> {
        let purpose = format!("listener {listener}");
        let failed = |source| ListenError::from(BindError::new(&*purpose, self.address, source));
        let shared = self.reuse_port && workers > 1;
        if shared && self.address.port() != 0 {
            // A socket that does not share finds out whether anybody has the port: one that
            // shares would split the connections with whoever is there.
            self.socket(&purpose, false)?;
        }
        let first = self.socket(&purpose, shared)?;
        let mut sockets = vec![self.listen(first).map_err(failed)?];
        let bound = Self {
            address: sockets[0].local_addr().map_err(failed)?,
            ..self.clone()
        };
        while sockets.len() < workers {
            sockets.push(if shared {
                let socket = bound.socket(&purpose, true)?;
                self.listen(socket).map_err(failed)?
            } else {
                sockets[0].try_clone().map_err(failed)?
            });
        }
        Ok(sockets)
    }

    fn socket(&self, purpose: &str, shared: bool) -> Result<Socket, ListenError> {
        let address = self.address;
        let failed = |source| ListenError::from(BindError::new(purpose, address, source));
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )
        .map_err(failed)?;
        if let Some(on) = self.transparent {
            transparent(&socket, on).map_err(|source| ListenError::Transparent {
                purpose: purpose.into(),
                address,
                source,
            })?;
        }
        self.prepare(&socket, shared).map_err(failed)?;
        socket.bind(&address.into()).map_err(failed)?;
        Ok(socket)
    }

    fn prepare(&self, socket: &Socket, shared: bool) -> io::Result<()> {
        if self.address.is_ipv6() {
            socket.set_only_v6(!self.ipv4_compat)?;
        }
        if let Some(on) = self.freebind {
            freebind(socket, on)?;
        }
        // Connections of an earlier process that still linger do not hold the port.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared)?;
        self.options.apply(socket)
    }

    fn listen(&self, socket: Socket) -> io::Result<TcpListener> {
        // Accepted sockets inherit both, which saves two calls for each.
        socket.set_tcp_nodelay(true)?;
        self.keepalive.apply(&socket)?;
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(address: &str) -> Binding {
        Binding {
            address: address.parse().unwrap(),
            ipv4_compat: false,
            transparent: None,
            freebind: None,
            reuse_port: true,
            backlog: 128,
            keepalive: Keepalive::DEFAULT,
            options: SocketOptions::default(),
        }
    }

    #[test]
    fn each_worker_gets_a_socket_of_one_port() {
        for reuse_port in [true, false] {
            let binding = Binding {
                reuse_port,
                ..binding("127.0.0.1:0")
            };
            let sockets = binding.bind("l", 3).unwrap();
            assert_eq!(sockets.len(), 3);
            let ports = sockets
                .iter()
                .map(|socket| socket.local_addr().unwrap().port());
            let ports: std::collections::BTreeSet<u16> = ports.collect();
            assert_eq!(ports.len(), 1, "{ports:?}");
        }
    }

    #[test]
    fn a_port_of_another_is_taken_even_if_that_shares() {
        let first = binding("127.0.0.1:0").bind("first", 2).unwrap();
        let address = first[0].local_addr().unwrap().to_string();
        for workers in [1, 2] {
            let error = binding(&address).bind("second", workers).unwrap_err();
            let words = error.to_string();
            let expected = format!("listener second on {address}: the port is taken");
            assert!(words.contains(&expected), "{words}");
        }
    }

    #[test]
    fn an_address_that_is_not_there_needs_freebind() {
        let elsewhere = binding("192.0.2.1:0");
        assert!(elsewhere.bind("l", 1).is_err());
        let free = Binding {
            freebind: Some(true),
            ..elsewhere
        };
        free.bind("l", 1).unwrap();
    }
}
