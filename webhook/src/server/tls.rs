//! The accept loop: TLS with a certificate that changes while it runs, HTTP/1.1 and HTTP/2.

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use axum::Router;
use fairlead_runtime::drain;
use hyper::service::{Service, service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::{
    ServerConfig,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{Instrument, debug, info_span, warn};

use super::connections::{Connections, Place};

/// A handshake takes two round trips.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(3);
/// A client that keeps a connection open without a request is closed after this. API servers close one
/// after 90 seconds; theirs must come first, for only they know that no request is on its way.
const HEADER_DEADLINE: Duration = Duration::from_secs(120);
/// How long a connection that gives way to another may take to send what it owes.
const PARTING: Duration = Duration::from_secs(1);
/// The head of a request of the API server has 1 KiB, and what has arrived of a body is read at once.
const HTTP1_BUFFER: usize = 32 << 10;
/// What a client may send of the bodies on one connection before they are read.
const HTTP2_WINDOW: u32 = 256 << 10;
/// A failing accept, of too many open files for instance, does not heal at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// API servers keep a few connections each, and open some hundred when many pods are created at once.
pub const CONNECTIONS: usize = 1024;
/// How long connections are still accepted once the drain has begun, and how long each may take to
/// send its first request before it is told to go elsewhere.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// The certificate that is served, replaced while the server runs.
#[derive(Clone, Debug, Default)]
pub struct Certificate {
    current: Arc<ArcSwapOption<CertifiedKey>>,
}

impl Certificate {
    /// Serves this one from the next handshake on.
    pub fn replace(&self, certified_key: Arc<CertifiedKey>) {
        self.current.store(Some(certified_key));
    }

    /// The one that is served.
    pub fn current(&self) -> Option<Arc<CertifiedKey>> {
        self.current.load_full()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current()
    }
}

/// The TLS side of the server.
pub fn tls_config(certificate: Certificate) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // The API server keeps its connections for hours; sessions to resume would only take room.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// Serves until the drain begins; then each connection is told to go elsewhere, its open requests
/// are answered, and connections that arrive a moment too late are served too.
///
/// Of more than `most` connections, idle ones give way.
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    mut drain: drain::Watch,
    most: usize,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = Connections::new(most);
    let held = drain.clone();
    let end = async {
        drain.started().await;
        sleep(STRAGGLERS).await;
    };
    tokio::pin!(end);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut end => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = connections.enter() else {
            warn!(%peer, "closed a connection: {most} are at work already");
            continue;
        };
        let connection = Connection {
            acceptor: acceptor.clone(),
            router: router.clone(),
            drain: held.clone(),
            place: Arc::new(place),
        };
        tokio::spawn(
            connection
                .serve(stream)
                .instrument(info_span!("https", %peer)),
        );
    }
}

struct Connection {
    acceptor: TlsAcceptor,
    router: Router,
    drain: drain::Watch,
    place: Arc<Place>,
}

impl Connection {
    async fn serve(mut self, stream: TcpStream) {
        let accepted = Instant::now();
        let place = Arc::clone(&self.place);
        let handshake = tokio::select! {
            handshake = timeout(HANDSHAKE_DEADLINE, self.handshake(stream)) => handshake,
            () = place.lost() => return debug!("too many connections: closed before the handshake"),
        };
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%error, "the handshake failed"),
            Err(_) => return debug!("the handshake took too long"),
        };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE)
            .max_buf_size(HTTP1_BUFFER);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HEADER_DEADLINE)
            .initial_stream_window_size(HTTP2_WINDOW)
            .initial_connection_window_size(HTTP2_WINDOW)
            .max_concurrent_streams(128);
        let pages = TowerToHyperService::new(self.router);
        let service = service_fn(|request| {
            let busy = place.busy();
            let answer = pages.call(request);
            async move {
                let answer = answer.await;
                drop(busy);
                answer
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let leave = async {
            self.drain.started().await;
            sleep_until(accepted + STRAGGLERS).await;
        };
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = leave => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = place.lost() => {
                debug!("too many connections: this one has been idle for longest");
                connection.as_mut().graceful_shutdown();
                timeout(PARTING, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            debug!(error, "the connection ended");
        }
    }

    async fn handshake(
        &self,
        stream: TcpStream,
    ) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        self.acceptor.accept(stream).await
    }
}
