//! Bind and serve an axum router: admin, health and metrics pages over plain HTTP.

use std::{io, net::SocketAddr};

use axum::Router;
use tokio::net::TcpListener;

use crate::drain;

/// A port could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Some other socket has it.
    #[error("bind {purpose} on {address}: the port is taken; end the other process or move one")]
    Taken {
        /// What the port is for.
        purpose: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's words.
        source: io::Error,
    },
    /// Anything else.
    #[error("bind {purpose} on {address}")]
    Other {
        /// What the port is for.
        purpose: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's words.
        source: io::Error,
    },
}

impl BindError {
    /// Sorts what `bind(2)` or `listen(2)` said.
    pub fn new(purpose: &'static str, address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken {
                purpose,
                address,
                source,
            },
            _ => Self::Other {
                purpose,
                address,
                source,
            },
        }
    }
}

/// Takes a port; port 0 takes a free one.
///
/// # Errors
/// The address is taken or not ours.
pub async fn bind(purpose: &'static str, address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError::new(purpose, address, source))
}

/// Serves until the drain begins, then lets open requests finish.
///
/// Handlers may take the peer's address as `ConnectInfo<SocketAddr>`.
pub async fn serve(listener: TcpListener, router: Router, mut drain: drain::Watch) {
    // The drain waits for open requests too, so a watch lives as long as they do.
    let held = drain.clone();
    let shutdown = async move { drain.started().await };
    // axum's serve never returns an error: it pauses and goes on when accept fails.
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let _ = axum::serve(listener, service)
        .with_graceful_shutdown(shutdown)
        .await;
    drop(held);
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = bind("admin", (Ipv4Addr::LOCALHOST, 0).into())
            .await
            .unwrap();
        let address = first.local_addr().unwrap();
        let error = bind("admin", address).await.unwrap_err().to_string();
        assert!(
            error.contains(&address.to_string()) && error.contains("taken"),
            "{error}"
        );
    }
}
