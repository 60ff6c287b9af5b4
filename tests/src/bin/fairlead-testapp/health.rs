//! What a kubelet asks of the application besides plain HTTP: HTTPS with a certificate of its own
//! making, and gRPC's health check.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use crate::serve::{ACCEPT_PAUSE, bind};

/// The one service that the gRPC server knows besides itself.
const SERVICE: &[u8] = b"testapp";

/// Serves `/healthz` over HTTPS.
pub(crate) async fn https(address: SocketAddr) -> anyhow::Result<()> {
    let own = rcgen::generate_simple_self_signed(["testapp.example".to_owned()])?;
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der())
        .map_err(|reason| anyhow::anyhow!("read the key just made: {reason}"))?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .context("take the certificate just made")?;
    let listener = bind(address).await?;
    let router = Router::new().route("/healthz", get("ok\n"));
    tokio::spawn(accept(
        listener,
        router,
        Some(TlsAcceptor::from(Arc::new(config))),
    ));
    Ok(())
}

/// Serves `grpc.health.v1.Health/Check`.
pub(crate) async fn grpc(address: SocketAddr) -> anyhow::Result<()> {
    let listener = bind(address).await?;
    let router = Router::new().route("/grpc.health.v1.Health/Check", post(check));
    tokio::spawn(accept(listener, router, None));
    Ok(())
}

async fn accept(listener: TcpListener, router: Router, tls: Option<TlsAcceptor>) {
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => {
                let (router, tls) = (router.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(tcp, router).await,
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(stream) => serve(stream, router).await,
                            Err(error) => eprintln!("handshake: {error}"),
                        },
                    }
                });
            }
            Err(error) => {
                eprintln!("accept: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, router: Router) {
    let service = TowerToHyperService::new(router);
    let connection = auto::Builder::new(TokioExecutor::new());
    if let Err(error) = connection
        .serve_connection(TokioIo::new(stream), service)
        .await
    {
        eprintln!("a client broke off: {error}");
    }
}

/// Reads and writes the two messages by hand: a name in field 1, and the number 1 for SERVING.
async fn check(request: Bytes) -> Response {
    let grpc = (
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    let service = request.get(7..).unwrap_or_default();
    if !service.is_empty() && service != SERVICE {
        const NOT_FOUND: &str = "5";
        return ([grpc], [("grpc-status", NOT_FOUND)]).into_response();
    }
    let message = Full::new(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1]));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = message.with_trailers(async move { Some(Ok(trailers)) });
    ([grpc], Body::new(body)).into_response()
}
