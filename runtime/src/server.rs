//! Bind and serve an axum router: admin, health and metrics pages over plain HTTP.

use std::{collections::VecDeque, io, net::SocketAddr, pin::pin, time::Duration};

use axum::{Extension, Router, extract::ConnectInfo};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::sleep,
};
use tracing::{debug, warn};

use crate::drain;

/// Scrapers, probes and operators are few; more at once is a flood.
const CONNECTIONS: usize = 256;
/// How long a request's head may take, and an idle connection may stay.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// After accept failed, as it does while descriptors are out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Some other socket has it.
    #[error("bind {purpose} on {address}: the port is taken; end the other process or move one")]
    Taken {
        /// What the port is for.
        purpose: Box<str>,
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's words.
        source: io::Error,
    },
    /// Anything else.
    #[error("bind {purpose} on {address}")]
    Other {
        /// What the port is for.
        purpose: Box<str>,
        /// The address asked for.
        address: SocketAddr,
        /// The kernel's words.
        source: io::Error,
    },
}

impl BindError {
    /// Sorts what `bind(2)` or `listen(2)` said.
    pub fn new(purpose: impl Into<Box<str>>, address: SocketAddr, source: io::Error) -> Self {
        let purpose = purpose.into();
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
/// Handlers may take the peer's address as `ConnectInfo<SocketAddr>`. These ports are open to the
/// network, so a peer may not be slow with its request, and where there are too many connections the
/// oldest is closed: a probe's is short and new, those of a flood are long and old.
pub async fn serve(listener: TcpListener, router: Router, mut drain: drain::Watch) {
    let mut open = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.started() => return,
        };
        match accepted {
            Ok((tcp, peer)) => {
                make_room(&mut open);
                let served = serve_connection(tcp, peer, router.clone(), drain.clone());
                open.push_back(tokio::spawn(served).abort_handle());
            }
            Err(error) => {
                warn!(%error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn make_room(open: &mut VecDeque<AbortHandle>) {
    if open.len() < CONNECTIONS {
        return;
    }
    open.retain(|connection| !connection.is_finished());
    if open.len() >= CONNECTIONS
        && let Some(oldest) = open.pop_front()
    {
        oldest.abort();
    }
}

async fn serve_connection(
    tcp: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut drain: drain::Watch,
) {
    let service = TowerToHyperService::new(router.layer(Extension(ConnectInfo(peer))));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE)
            .serve_connection(TokioIo::new(tcp), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.started() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "a client of a plain page broke off");
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_asks_is_let_go() {
        let listener = bind("admin", (Ipv4Addr::LOCALHOST, 0).into())
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (_signal, watch) = drain::channel();
        tokio::spawn(serve(listener, Router::new(), watch));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        let mut answer = Vec::new();
        // The paused clock jumps to the deadline as soon as nothing else is left to do.
        client.read_to_end(&mut answer).await.unwrap();
        assert!(!String::from_utf8_lossy(&answer).contains("200"));
    }

    #[tokio::test]
    async fn a_flood_of_half_requests_does_not_keep_a_probe_out() {
        let listener = bind("health", (Ipv4Addr::LOCALHOST, 0).into())
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (_signal, watch) = drain::channel();
        tokio::spawn(serve(listener, Router::new(), watch));
        let mut flood = Vec::new();
        for _ in 0..=CONNECTIONS {
            let mut half = TcpStream::connect(address).await.unwrap();
            half.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            flood.push(half);
        }
        let mut probe = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        probe.write_all(request).await.unwrap();
        let mut answer = [0; 12];
        probe.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404");
    }

    #[tokio::test]
    async fn the_drain_ends_idle_connections() {
        let listener = bind("admin", (Ipv4Addr::LOCALHOST, 0).into())
            .await
            .unwrap();
        let address = listener.local_addr().unwrap();
        let (signal, watch) = drain::channel();
        let server = tokio::spawn(serve(listener, Router::new(), watch));
        let mut client = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        client.write_all(request).await.unwrap();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 404");
        signal.drain().await;
        server.await.unwrap();
    }
}
