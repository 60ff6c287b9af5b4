//! `wait` and `request`: one HTTP request to the proxy of this pod.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Method, Request, StatusCode, Uri, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout, timeout_at},
};

/// An answer that is larger is no answer of ours.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// How long one attempt of `wait` may take: the proxy is on the same machine.
const ATTEMPT: Duration = Duration::from_secs(1);

/// How long the answer to `request` may take.
const REQUEST: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The host is a name.
    #[error("{uri}: the host is to be an IP address or localhost: names are not looked up")]
    Host {
        /// What was asked for.
        uri: Uri,
    },
    /// Nobody answers there.
    #[error("connect to {address} (is the proxy running?)")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// The kernel's words.
        source: io::Error,
    },
    /// It is no request that HTTP knows.
    #[error("make the request")]
    Request(#[from] hyper::http::Error),
    /// The answer is not HTTP, or broke off.
    #[error("read the answer of {address}")]
    Http {
        /// Who.
        address: SocketAddr,
        /// What is wrong with it.
        source: hyper::Error,
    },
    /// The body broke off or is too large.
    #[error("read the body from {address}")]
    Body {
        /// Who.
        address: SocketAddr,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer in time.
    #[error("no answer from {address} within {}", humantime::format_duration(*.after))]
    TimedOut {
        /// Who.
        address: SocketAddr,
        /// The time-out.
        after: Duration,
    },
}

/// Sends one request to the admin port.
///
/// # Errors
/// There is no whole answer.
pub async fn request(
    method: Method,
    path: &str,
    port: u16,
) -> Result<(StatusCode, Bytes), RequestError> {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let exchange = exchange(address, method, &path);
    let after = REQUEST;
    timeout(after, exchange)
        .await
        .unwrap_or(Err(RequestError::TimedOut { address, after }))
}

/// The proxy was not ready in time.
#[derive(Debug, thiserror::Error)]
#[error("not ready after {}: {last}", humantime::format_duration(*.after))]
pub struct WaitError {
    after: Duration,
    last: String,
}

/// Asks until the answer is 200.
///
/// # Errors
/// It is not within the time-out; tells the last answer.
pub async fn wait(uri: &Uri, within: Duration, period: Duration) -> Result<(), WaitError> {
    let end = Instant::now() + within;
    let mut last = "there was no time to ask".to_owned();
    let asked = timeout_at(end, async {
        loop {
            match timeout(ATTEMPT, get(uri)).await {
                Ok(Ok((StatusCode::OK, _))) => return,
                Ok(Ok((status, body))) => {
                    let body = String::from_utf8_lossy(&body);
                    last = format!("{uri} answers {status} {}", body.trim_end());
                }
                Ok(Err(error)) => last = with_causes(&error),
                Err(_) => last = format!("{uri} does not answer"),
            }
            sleep(period).await;
        }
    })
    .await;
    asked.map_err(|_| WaitError {
        after: within,
        last,
    })
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

/// Reads a URL that [`wait`] can ask.
///
/// # Errors
/// It is not plain HTTP, or its host is a name: a static program looks none up.
pub fn parse_url(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    if uri.scheme_str() != Some("http") {
        return Err("http://… is accepted".to_owned());
    }
    if ip(&uri).is_none() {
        return Err(RequestError::Host { uri }.to_string());
    }
    Ok(uri)
}

fn ip(uri: &Uri) -> Option<IpAddr> {
    match uri.host()? {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        host => host.trim_matches(['[', ']']).parse().ok(),
    }
}

async fn get(uri: &Uri) -> Result<(StatusCode, Bytes), RequestError> {
    let Some(ip) = ip(uri) else {
        return Err(RequestError::Host { uri: uri.clone() });
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    exchange((ip, uri.port_u16().unwrap_or(80)).into(), Method::GET, path).await
}

async fn exchange(
    address: SocketAddr,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), RequestError> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|source| RequestError::Connect { address, source })?;
    let http = |source| RequestError::Http { address, source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string())
        .body(Empty::<Bytes>::new())?;
    // Drives the exchange; it ends with the sender below, and its failure is the answer's.
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(http)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_BODY)
        .collect()
        .await
        .map_err(|source| RequestError::Body { address, source })?;
    connection.abort();
    Ok((status, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_can_never_be_asked_are_refused() {
        for good in [
            "http://127.0.0.1:15021/",
            "http://localhost/a",
            "http://[::1]:80/",
        ] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://foo.bar/",
            "https://127.0.0.1/",
            "/healthz",
            "127.0.0.1",
        ] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }
}
