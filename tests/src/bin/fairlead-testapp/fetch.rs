//! The client. Names go through hickory: in an image without NSS nothing else resolves them.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, bail, ensure};
use hickory_resolver::{Resolver, TokioResolver, net::runtime::TokioRuntimeProvider};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Uri, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use crate::pattern::Digest;

const GREETING_DEADLINE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy)]
pub(crate) enum Show {
    Body,
    Digest,
}

/// The body of one GET, or its digest; an error for any status but 200.
pub(crate) async fn get(url: &Uri, deadline: Duration, show: Show) -> anyhow::Result<String> {
    timeout(deadline, get_unbounded(url, show))
        .await
        .with_context(|| format!("{url} took longer than {deadline:?}"))?
}

async fn get_unbounded(url: &Uri, show: Show) -> anyhow::Result<String> {
    let authority = url
        .authority()
        .with_context(|| format!("{url} has no host"))?;
    let connection = connect(authority.host(), authority.port_u16().unwrap_or(80)).await?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(connection)).await?;
    let driver = tokio::spawn(driver);
    let request = Request::get(url.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, authority.as_str())
        .body(Empty::<Bytes>::new())?;
    let mut response = sender
        .send_request(request)
        .await
        .with_context(|| format!("GET {url}"))?;
    ensure!(response.status() == 200, "GET {url}: {}", response.status());
    let (mut digest, mut body) = (Digest::new(), Vec::new());
    while let Some(frame) = response.frame().await {
        let frame = frame.with_context(|| format!("body of {url}"))?;
        if let Some(chunk) = frame.data_ref() {
            match show {
                Show::Body => body.extend_from_slice(chunk),
                Show::Digest => digest.update(chunk),
            }
        }
    }
    driver.abort();
    Ok(match show {
        Show::Body => String::from_utf8_lossy(&body).into_owned(),
        Show::Digest => digest.to_string(),
    })
}

/// Greeting and echo of a server-first server, one a line.
pub(crate) async fn greet(address: &str, line: &str) -> anyhow::Result<String> {
    let talk = async {
        let (host, port) = address.rsplit_once(':').context("HOST:PORT is wanted")?;
        let mut connection = BufReader::new(connect(host, port.parse()?).await?);
        let mut heard = String::new();
        connection
            .read_line(&mut heard)
            .await
            .context("read the greeting")?;
        connection.write_all(format!("{line}\n").as_bytes()).await?;
        connection.shutdown().await?;
        connection
            .read_to_string(&mut heard)
            .await
            .context("read the echo")?;
        Ok(heard.trim_end().to_owned())
    };
    timeout(GREETING_DEADLINE, talk)
        .await
        .with_context(|| format!("{address} took longer than {GREETING_DEADLINE:?}"))?
}

async fn connect(host: &str, port: u16) -> anyhow::Result<TcpStream> {
    let mut last = None;
    for address in resolve(host.trim_matches(['[', ']'])).await? {
        match TcpStream::connect(SocketAddr::new(address, port)).await {
            Ok(connection) => return Ok(connection),
            Err(error) => {
                last = Some(anyhow::Error::new(error).context(format!("connect {address}:{port}")));
            }
        }
    }
    match last {
        Some(error) => Err(error),
        None => bail!("{host} has no address"),
    }
}

async fn resolve(host: &str) -> anyhow::Result<Vec<std::net::IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let resolver: TokioResolver = Resolver::builder(TokioRuntimeProvider::default())
        .context("read /etc/resolv.conf")?
        .build()?;
    let found = resolver
        .lookup_ip(host)
        .await
        .with_context(|| format!("resolve {host}"))?;
    Ok(found.iter().collect())
}
