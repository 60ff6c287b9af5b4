//! The sockets of a listener that is configured.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::fd::BorrowedFd,
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
    /// The same, and where any port is wanted, the one that another address of the listener got.
    pub fn at_port_of(&self, first: Option<&SocketAddr>) -> Self {
        let mut binding = self.clone();
        if let (Some(first), 0) = (first, self.address.port()) {
            binding.address.set_port(first.port());
        }
        binding
    }

    /// Takes the address: a socket for each worker, of which each gets some of the connections once
    /// they [listen](Self::listen).
    ///
    /// # Errors
    /// The address is taken, also by another process that shares its ports; it is not ours; or the
    /// process may not have the socket as it must be.
    pub fn bind(&self, listener: &str, workers: usize) -> Result<Vec<Socket>, ListenError> {
        let purpose = purpose(listener);
        let failed = |source| self.failed(listener, source);
        let shared = self.reuse_port && workers > 1;
        if shared && self.address.port() != 0 {
            // A socket that does not share finds out whether anybody has the port: one that
            // shares would split the connections with whoever is there.
            self.socket(&purpose, false)?;
        }
        let mut sockets = vec![self.socket(&purpose, shared)?];
        let address = sockets[0].local_addr().map_err(failed)?;
        let bound = Self {
            address: address.as_socket().unwrap_or(self.address),
            ..self.clone()
        };
        while sockets.len() < workers {
            sockets.push(if shared {
                bound.socket(&purpose, true)?
            } else {
                sockets[0].try_clone().map_err(failed)?
            });
        }
        Ok(sockets)
    }

    /// Whether sockets of the other binding can become this one's: what cannot be changed of a socket
    /// is the same.
    pub fn can_adopt(&self, other: &Self) -> bool {
        let fixed = |binding: &Self| {
            (
                binding.ipv4_compat,
                binding.reuse_port,
                binding.transparent,
                binding.freebind,
            )
        };
        fixed(self) == fixed(other)
    }

    /// Other handles of sockets that listen at this address already, as this binding wants them. The
    /// connections that wait there stay where they are.
    ///
    /// # Errors
    /// The process has no descriptors left, or may not have the sockets as they must be.
    pub fn adopt<'a>(
        &self,
        listener: &str,
        sockets: impl Iterator<Item = BorrowedFd<'a>>,
    ) -> Result<Vec<Socket>, ListenError> {
        let purpose = purpose(listener);
        sockets
            .map(|socket| {
                let socket = socket.try_clone_to_owned();
                let socket = Socket::from(socket.map_err(|source| self.failed(listener, source))?);
                self.prepare(&socket, &purpose)?;
                Ok(socket)
            })
            .collect()
    }

    /// Lets connections come. Sockets that listened before go on.
    ///
    /// # Errors
    /// The kernel's words, if it does not let them.
    pub fn listen(
        &self,
        listener: &str,
        sockets: Vec<Socket>,
    ) -> Result<Vec<TcpListener>, ListenError> {
        let backlog = i32::try_from(self.backlog).unwrap_or(i32::MAX);
        for socket in &sockets {
            // Of handles of one socket each but the first says the same again.
            let listens = socket.listen(backlog);
            listens.map_err(|source| self.failed(listener, source))?;
        }
        Ok(sockets.into_iter().map(TcpListener::from).collect())
    }

    fn failed(&self, listener: &str, source: io::Error) -> ListenError {
        BindError::new(purpose(listener), self.address, source).into()
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
        if address.is_ipv6() {
            socket.set_only_v6(!self.ipv4_compat).map_err(failed)?;
        }
        // Connections of an earlier process that still linger do not hold the port.
        socket.set_reuse_address(true).map_err(failed)?;
        socket.set_reuse_port(shared).map_err(failed)?;
        self.prepare(&socket, purpose)?;
        socket.bind(&address.into()).map_err(failed)?;
        Ok(socket)
    }

    /// What can be changed of a socket at any time. Accepted sockets inherit it, which saves calls for
    /// each.
    fn prepare(&self, socket: &Socket, purpose: &str) -> Result<(), ListenError> {
        if let Some(on) = self.transparent {
            transparent(socket, on).map_err(|source| ListenError::Transparent {
                purpose: purpose.into(),
                address: self.address,
                source,
            })?;
        }
        let prepare = || {
            if let Some(on) = self.freebind {
                freebind(socket, on)?;
            }
            self.options.apply(socket)?;
            socket.set_tcp_nodelay(true)?;
            self.keepalive.apply(socket)
        };
        prepare().map_err(|source| BindError::new(purpose, self.address, source).into())
    }
}

fn purpose(listener: &str) -> String {
    format!("listener {listener}")
}

#[cfg(test)]
mod tests {
    use std::{net::TcpStream, os::fd::AsFd};

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

    fn listening(binding: &Binding, workers: usize) -> Vec<TcpListener> {
        let sockets = binding.bind("l", workers).unwrap();
        binding.listen("l", sockets).unwrap()
    }

    #[test]
    fn each_worker_gets_a_socket_of_one_port() {
        for reuse_port in [true, false] {
            let binding = Binding {
                reuse_port,
                ..binding("127.0.0.1:0")
            };
            let sockets = listening(&binding, 3);
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
        let first = listening(&binding("127.0.0.1:0"), 2);
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

    #[test]
    fn a_connection_waits_while_its_socket_changes_hands() {
        for (reuse_port, workers) in [(true, 2), (false, 2), (true, 1)] {
            let first = Binding {
                reuse_port,
                ..binding("127.0.0.1:0")
            };
            let sockets = listening(&first, workers);
            let address = sockets[0].local_addr().unwrap();
            let clients: Vec<_> = (0..8)
                .map(|_| TcpStream::connect(address).unwrap())
                .collect();
            let second = Binding {
                backlog: 64,
                ..first.clone()
            };
            assert!(second.can_adopt(&first));
            let adopted = second.adopt("m", sockets.iter().map(AsFd::as_fd)).unwrap();
            let adopted = second.listen("m", adopted).unwrap();
            drop(sockets);
            let accepted: usize = adopted
                .iter()
                .map(|socket| std::iter::from_fn(|| socket.accept().ok()).count())
                .sum();
            assert_eq!(accepted, clients.len());
        }
    }
}
