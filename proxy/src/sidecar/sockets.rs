//! Every socket that the process listens on, all taken before anything runs.

use std::{io, net::Ipv4Addr};

use fairlead_api::values::InterceptionMode;
use fairlead_runtime::server;
use tokio::net::TcpListener;

use super::StartError;
use crate::{arguments::Ports, listener, workers::Listeners};

/// What an ordinary socket serves: only inbound connections can come in another way.
const REDIRECT: InterceptionMode = InterceptionMode::Redirect;

/// The sockets, and the ports that they got.
pub(super) struct Sockets {
    pub(super) ports: Ports,
    pub(super) captured: Vec<Listeners>,
    pub(super) admin: Vec<TcpListener>,
    pub(super) status: Vec<TcpListener>,
    pub(super) health: Vec<TcpListener>,
    pub(super) metrics: Vec<TcpListener>,
}

impl Sockets {
    /// Takes all ports or none.
    pub(super) async fn bind(
        mut ports: Ports,
        workers: usize,
        mode: InterceptionMode,
    ) -> Result<Self, StartError> {
        let captured = |direction, port, mode| listener::bind(direction, port, workers, mode);
        let outbound = captured("captured outbound connections", ports.outbound, REDIRECT)?;
        let inbound = captured("captured inbound connections", ports.inbound, mode)?;
        for (port, shares) in [
            (&mut ports.outbound, &outbound),
            (&mut ports.inbound, &inbound),
        ] {
            if let Some(listener) = shares.iter().flatten().next() {
                *port = bound_port("captured connections", listener.local_addr())?;
            }
        }
        let captured = outbound
            .into_iter()
            .zip(inbound)
            .map(|(outbound, inbound)| Listeners { outbound, inbound })
            .collect();
        let admin = server::bind("admin", (Ipv4Addr::LOCALHOST, ports.admin).into()).await?;
        ports.admin = bound_port("admin", admin.local_addr())?;
        Ok(Self {
            captured,
            admin: vec![admin],
            status: if ports.no_status {
                Vec::new()
            } else {
                open("status", &mut ports.status)?
            },
            health: open("health", &mut ports.health)?,
            metrics: open("metrics", &mut ports.metrics)?,
            ports,
        })
    }
}

/// Takes a port on all addresses, for this thread's runtime.
fn open(what: &'static str, port: &mut u16) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners = Vec::new();
    for listener in listener::bind(what, *port, 1, REDIRECT)?
        .into_iter()
        .flatten()
    {
        *port = bound_port(what, listener.local_addr())?;
        let listener = TcpListener::from_std(listener)
            .map_err(|source| StartError::Resource { what, source })?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn bound_port(
    what: &'static str,
    address: io::Result<std::net::SocketAddr>,
) -> Result<u16, StartError> {
    match address {
        Ok(address) => Ok(address.port()),
        Err(source) => Err(StartError::Resource { what, source }),
    }
}
