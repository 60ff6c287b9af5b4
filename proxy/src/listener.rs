//! Binds the captured ports, and accepts.

pub mod active;
pub mod config;
pub mod sockets;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use fairlead_api::{annotations::INTERCEPTION_MODE, values::InterceptionMode};
use fairlead_runtime::server::BindError;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::warn;

use crate::{
    connection::{self, Shared},
    direction::Direction,
    pace::Pace,
    socket_options::Keepalive,
};

/// Connections that wait for a worker; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// After a failed accept. The usual cause is that descriptors are exhausted, and those come back
/// when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// It is taken, or not ours.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The kernel does not let this process have connections to other addresses.
    #[error(
        "make {purpose} on {address} transparent, as interception mode TPROXY needs it: add the \
         capability NET_ADMIN to the container istio-proxy, which then runs as user 0 (the \
         injector does so), or set the annotation {INTERCEPTION_MODE}: REDIRECT and create the pod \
         again"
    )]
    Transparent {
        /// What the port is for.
        purpose: Box<str>,
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's words.
        source: io::Error,
    },
}

/// Takes a port on all addresses of both families; of IPv4 alone where IPv6 is switched off.
///
/// With several `shares` each of the families gets as many sockets, among which the kernel spreads
/// the connections. The result has one entry a share. For the interception mode TPROXY the sockets
/// are transparent: they also get connections that were going elsewhere.
///
/// # Errors
/// The port is taken, also by another process that shares its ports; or the process may not make
/// sockets transparent.
pub fn bind(
    purpose: &'static str,
    port: u16,
    shares: usize,
    mode: InterceptionMode,
) -> Result<Vec<Vec<TcpListener>>, ListenError> {
    let mut port = port;
    let mut listeners: Vec<Vec<TcpListener>> = Vec::new();
    listeners.resize_with(shares, Vec::new);
    for address in [
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    ] {
        let mut address = address;
        let failed = |address, source| BindError::new(purpose, address, source).into();
        address.set_port(port);
        if port != 0 {
            // A socket that does not share finds out whether anybody has the port: one that
            // shares would split the connections with whoever is there.
            match socket(address, false) {
                Ok(_) => {}
                Err(error) if address.is_ipv6() && is_family_missing(&error) => continue,
                Err(error) => return Err(failed(address, error)),
            }
        }
        for share in &mut listeners {
            let socket = match socket(address, shares > 1) {
                Ok(socket) => socket,
                Err(error) if address.is_ipv6() && is_family_missing(&error) => break,
                Err(error) => return Err(failed(address, error)),
            };
            // Before it listens, lest a connection find it as it must not be.
            intercept(&socket, address, mode).map_err(|source| ListenError::Transparent {
                purpose: purpose.into(),
                address,
                source,
            })?;
            let listener = listen(socket).map_err(|error| failed(address, error))?;
            let bound = listener.local_addr();
            port = bound.map_err(|error| failed(address, error))?.port();
            address.set_port(port);
            share.push(listener);
        }
    }
    Ok(listeners)
}

fn is_family_missing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
    )
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier process that still linger do not hold the port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Accepted sockets inherit it.
fn intercept(socket: &Socket, address: SocketAddr, mode: InterceptionMode) -> io::Result<()> {
    match (mode, address) {
        (InterceptionMode::Redirect | InterceptionMode::None, _) => Ok(()),
        (InterceptionMode::Tproxy, SocketAddr::V4(_)) => socket.set_ip_transparent_v4(true),
        (InterceptionMode::Tproxy, SocketAddr::V6(_)) => socket.set_ip_transparent_v6(true),
    }
}

fn listen(socket: Socket) -> io::Result<TcpListener> {
    // Accepted sockets inherit both, which saves two calls for each.
    socket.set_tcp_nodelay(true)?;
    Keepalive::DEFAULT.apply(&socket)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts for as long as it is polled; one task a connection.
pub async fn accept(listener: tokio::net::TcpListener, direction: Direction, shared: Arc<Shared>) {
    let pace = Pace::default();
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                tokio::spawn(connection::serve(shared.clone(), direction, tcp, peer));
            }
            // The peer was faster.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                shared.statistics.of(direction).accept_failed.add(1);
                if pace.is_due() {
                    let listener = direction.listener();
                    warn!(listener, %error, "accept failed: trying again every {ACCEPT_PAUSE:?}");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODE: InterceptionMode = InterceptionMode::Redirect;

    #[test]
    fn the_shares_of_a_port_are_as_many_as_asked_for() {
        let shares = bind("virtualOutbound", 0, 3, MODE).unwrap();
        assert_eq!(shares.len(), 3);
        let port = shares[0][0].local_addr().unwrap().port();
        for listener in shares.iter().flatten() {
            assert_eq!(listener.local_addr().unwrap().port(), port);
        }
    }

    #[test]
    fn a_shared_port_of_another_is_taken() {
        let first = bind("virtualInbound", 0, 2, MODE).unwrap();
        let port = first[0][0].local_addr().unwrap().port();
        let error = bind("virtualInbound", port, 2, MODE)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!(
                "virtualInbound on 0.0.0.0:{port}: the port is taken"
            )),
            "{error}"
        );
    }
}
