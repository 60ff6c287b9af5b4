//! The application beside the proxy: real servers on loopback.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{Extension, Router};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    runtime::Runtime,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer},
};

/// A server, until it is dropped.
pub(crate) struct Application {
    pub(crate) port: u16,
    _runtime: Runtime,
}

/// Who asks, for the router's handlers.
#[derive(Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Application {
    /// HTTP/1.1, or HTTP/2 where the client begins with it.
    pub(crate) fn http(router: Router) -> Self {
        Self::start(router, None)
    }

    /// HTTPS with a certificate of its own making, and the protocols that it agrees to.
    pub(crate) fn https(router: Router, protocols: &[&[u8]]) -> Self {
        let own = rcgen::generate_simple_self_signed(["nobody.example".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Self::start(router, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn start(router: Router, tls: Option<TlsAcceptor>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
            .unwrap();
        let port = listener.local_addr().unwrap().port();
        runtime.spawn(async move {
            loop {
                let (tcp, peer) = listener.accept().await.unwrap();
                let router = router.clone().layer(Extension(Peer(peer)));
                let tls = tls.clone();
                tokio::spawn(async move {
                    match tls {
                        None => serve(tcp, router).await,
                        // A client that breaks the handshake off has seen what it wanted.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                serve(stream, router).await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            port,
            _runtime: runtime,
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, router: Router) {
    let service = TowerToHyperService::new(router);
    // The client may go when it has seen enough.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
