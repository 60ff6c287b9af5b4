//! The sockets that the kubelet and Prometheus reach, all taken before anything runs.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use fairlead_runtime::server::BindError;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

use crate::{
    arguments::Ports,
    listener::{ListenError, sockets::Binding},
    socket_options::{Keepalive, SocketOptions},
};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;

/// The sockets; the ports that they got are those of the settings from here on.
pub(super) struct Sockets {
    pub(super) status: Vec<TcpListener>,
    pub(super) health: Vec<TcpListener>,
    pub(super) metrics: Vec<TcpListener>,
}

impl Sockets {
    /// Takes all ports or none.
    pub(super) fn bind(ports: &mut Ports) -> Result<Self, ListenError> {
        Ok(Self {
            status: if ports.no_status {
                Vec::new()
            } else {
                open("status", &mut ports.status)?
            },
            health: open("health", &mut ports.health)?,
            metrics: open("metrics", &mut ports.metrics)?,
        })
    }
}

/// Whether this network namespace has IPv6.
pub(super) fn is_ipv6_there() -> bool {
    let probe = Socket::new(Domain::IPV6, Type::STREAM, None);
    let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    probe.is_ok_and(|probe| probe.bind(&any.into()).is_ok())
}

/// Takes a port on all addresses of both families, for this thread's runtime.
fn open(name: &'static str, port: &mut u16) -> Result<Vec<TcpListener>, ListenError> {
    let mut addresses = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, *port))];
    if is_ipv6_there() {
        addresses.push((Ipv6Addr::UNSPECIFIED, *port).into());
    }
    let mut listeners = Vec::new();
    for mut address in addresses {
        address.set_port(*port);
        let failed = |source| BindError::new(name, address, source);
        let binding = binding(address);
        for socket in binding.listen(name, binding.bind(name, 1)?)? {
            *port = socket.local_addr().map_err(failed)?.port();
            listeners.push(TcpListener::from_std(socket).map_err(failed)?);
        }
    }
    Ok(listeners)
}

fn binding(address: SocketAddr) -> Binding {
    Binding {
        address,
        ipv4_compat: false,
        transparent: None,
        freebind: None,
        reuse_port: false,
        backlog: BACKLOG,
        keepalive: Keepalive::DEFAULT,
        options: SocketOptions::default(),
    }
}
