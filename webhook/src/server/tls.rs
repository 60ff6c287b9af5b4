//! The accept loop: TLS with a certificate that changes while it runs, HTTP/1.1 and HTTP/2.

use std::{io, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use axum::Router;
use fairlead_runtime::drain;
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
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{Instrument, debug, info_span, warn};

/// A handshake takes two round trips.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(3);
/// A client that keeps a connection open without a request is closed after this.
const HEADER_DEADLINE: Duration = Duration::from_secs(90);
/// A failing accept, of too many open files for instance, does not heal at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// API servers keep a few connections each.
const CONNECTIONS: usize = 1024;
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
pub async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    router: Router,
    mut drain: drain::Watch,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
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
        match (accepted, Arc::clone(&connections).try_acquire_owned()) {
            (Ok((stream, peer)), Ok(permit)) => {
                let connection = Connection {
                    acceptor: acceptor.clone(),
                    router: router.clone(),
                    drain: held.clone(),
                    _permit: permit,
                };
                tokio::spawn(
                    connection
                        .serve(stream)
                        .instrument(info_span!("https", %peer)),
                );
            }
            (Ok((_, peer)), Err(_)) => {
                warn!(%peer, "closed a connection: {CONNECTIONS} are open already");
            }
            (Err(error), _) => {
                warn!(%error, "accept failed");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

struct Connection {
    acceptor: TlsAcceptor,
    router: Router,
    drain: drain::Watch,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(mut self, stream: TcpStream) {
        let accepted = Instant::now();
        let handshake = timeout(HANDSHAKE_DEADLINE, self.handshake(stream)).await;
        let stream = match handshake {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return debug!(%error, "the handshake failed"),
            Err(_) => return debug!("the handshake took too long"),
        };
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_DEADLINE);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HEADER_DEADLINE)
            .max_concurrent_streams(128);
        let service = TowerToHyperService::new(self.router);
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
