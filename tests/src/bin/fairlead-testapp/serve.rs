//! The server: HTTP/1.1, and a protocol in which the server speaks first.

use std::{
    convert::Infallible,
    env,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::Context;
use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Path},
    http::header,
    response::IntoResponse,
    routing::get,
};
use futures_util::stream;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use crate::{health, pattern};

pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the server listens.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Addresses {
    /// Where HTTP/1.1 is served.
    #[arg(long, default_value = "[::]:8080")]
    http: SocketAddr,
    /// Where a greeting is sent before anything is read, then each line is echoed.
    #[arg(long, default_value = "[::]:9000")]
    greeting: SocketAddr,
    /// Where `/healthz` is served over HTTPS, with a certificate of its own making.
    #[arg(long)]
    https: Option<SocketAddr>,
    /// Where gRPC's health check is served, of the server and of the service `testapp`.
    #[arg(long)]
    grpc: Option<SocketAddr>,
}

pub(crate) async fn serve(addresses: Addresses) -> anyhow::Result<()> {
    let Addresses {
        http,
        greeting,
        https,
        grpc,
    } = addresses;
    let http_listener = bind(http).await?;
    let greeting_listener = bind(greeting).await?;
    if let Some(address) = https {
        health::https(address).await?;
    }
    if let Some(address) = grpc {
        health::grpc(address).await?;
    }
    println!("serving HTTP on {http} and greetings on {greeting}");
    tokio::spawn(greet_each(greeting_listener));
    let router = Router::new()
        .route("/", get(who))
        .route("/bytes/{length}", get(bytes))
        .route("/metrics", get(metrics));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        served = async { axum::serve(http_listener, service).await } => Ok(served?),
        ended = until_terminated() => ended,
    }
}

/// Returns at SIGTERM.
pub(crate) async fn until_terminated() -> anyhow::Result<()> {
    signal(SignalKind::terminate())?.recv().await;
    Ok(())
}

pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("bind {address}"))
}

/// How often `/` was asked.
static GREETED: AtomicU64 = AtomicU64::new(0);

async fn metrics() -> String {
    let greeted = GREETED.load(Ordering::Relaxed);
    format!(
        "# TYPE testapp_requests_total counter\ntestapp_requests_total{{path=\"/\"}} {greeted}\n"
    )
}

async fn who(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> String {
    GREETED.fetch_add(1, Ordering::Relaxed);
    let name = env::var("HOSTNAME").unwrap_or_else(|_| "an unnamed host".to_owned());
    format!(
        "hello from {name}, called from {}",
        peer.ip().to_canonical()
    )
}

async fn bytes(Path(length): Path<u64>) -> impl IntoResponse {
    let chunks = pattern::chunks(length).map(Ok::<_, Infallible>);
    (
        [(header::CONTENT_LENGTH, length)],
        Body::from_stream(stream::iter(chunks)),
    )
}

async fn greet_each(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((connection, _)) => {
                tokio::spawn(async move {
                    if let Err(error) = greet(connection).await {
                        eprintln!("greeting: {error}");
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

async fn greet(connection: TcpStream) -> std::io::Result<()> {
    let (reader, mut writer) = connection.into_split();
    writer.write_all(b"220 the server speaks first\n").await?;
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        writer
            .write_all(format!("echo {line}\n").as_bytes())
            .await?;
    }
    // The reader has ended; what is still to be written goes out before this side ends.
    writer.shutdown().await
}
