//! One HTTP request to the application: connects as the proxy does for a peer, asks, follows.

pub(crate) mod location;

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use fairlead_api::app_probes::Scheme;
use http_body_util::Full;
use hyper::{
    HeaderMap, Request, Response, StatusCode, Version,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header::{self, HeaderName, HeaderValue},
    http::uri::PathAndQuery,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::AbortHandle,
};

use self::location::Location;
use super::tls;
use crate::{
    connect::{self, ConnectError, Upstream},
    direction::{Direction, SOURCE_V4, SOURCE_V6},
};

/// The kubelet's: the answer to the tenth request may not be one more redirect.
const REQUESTS: usize = 10;

/// What belongs to one connection and is not passed on to the next.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A request to the application.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) port: u16,
    pub(super) scheme: Scheme,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    /// The `Host` that the asker chose; none: the address.
    pub(super) host: Option<HeaderValue>,
}

/// What the application says.
#[derive(Debug)]
pub(super) enum Answer {
    /// An answer, perhaps after redirects.
    Here(Reply),
    /// A redirect to another host, which is not ours to ask.
    Elsewhere(String),
}

/// An answer whose body is still to come; the connection ends with it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) response: Response<Incoming>,
    _connection: Driver,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("TLS with {address} failed: {cause} (does the application speak HTTPS on that port?)")]
    Tls {
        address: SocketAddr,
        cause: io::Error,
    },
    #[error("{address} gave no HTTP answer: {}", with_cause(.cause))]
    Http {
        address: SocketAddr,
        cause: hyper::Error,
    },
    #[error("make the request")]
    Request(#[from] hyper::http::Error),
    #[error("{address} redirects to '{location}', which is no HTTP address")]
    Location {
        address: SocketAddr,
        location: String,
    },
    #[error("{address} answered {REQUESTS} requests with a redirect each: the last is to {last}")]
    Redirects { address: SocketAddr, last: String },
    #[error("the body from {address} broke off: {}", with_cause(.cause))]
    Body {
        address: SocketAddr,
        cause: hyper::Error,
    },
    #[error("{address} gave no whole answer within {}", humantime::format_duration(*.after))]
    TimedOut {
        address: SocketAddr,
        after: Duration,
    },
}

/// hyper tells the reason in the cause alone.
fn with_cause(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Sends the request, and follows redirects within the pod. The caller bounds the wait; `within`
/// bounds that for a connection, so that its failure has words of its own.
pub(super) async fn ask(
    ip: IpAddr,
    mut question: Question,
    within: Duration,
) -> Result<Answer, AskError> {
    for header in HOP_BY_HOP {
        question.headers.remove(header);
    }
    question.headers.remove(header::HOST);
    let mut last = String::new();
    for _ in 0..REQUESTS {
        let reply = ask_once(ip, &question, within).await?;
        let Some(text) = location(&reply.response) else {
            return Ok(Answer::Here(reply));
        };
        match Location::read(&text, question.scheme, &question.path) {
            Some(Location::Same(path)) => question.path = path,
            Some(Location::At {
                scheme,
                host,
                port,
                path,
            }) => {
                if host.trim_matches(['[', ']']).parse() != Ok(ip) {
                    return Ok(Answer::Elsewhere(text));
                }
                question = Question {
                    port,
                    scheme,
                    path,
                    host: None,
                    ..question
                };
            }
            None => {
                return Err(AskError::Location {
                    address: (ip, question.port).into(),
                    location: text,
                });
            }
        }
        last = text;
    }
    Err(AskError::Redirects {
        address: (ip, question.port).into(),
        last,
    })
}

/// Where a redirect leads; one without a location is an answer like any other.
fn location(response: &Response<Incoming>) -> Option<String> {
    let follows = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let location = response.headers().get(header::LOCATION)?.as_bytes();
    (follows && !location.is_empty()).then(|| String::from_utf8_lossy(location).into_owned())
}

async fn ask_once(ip: IpAddr, question: &Question, within: Duration) -> Result<Reply, AskError> {
    let address = SocketAddr::new(ip, question.port);
    let tcp = dial(address, within).await?;
    let (stream, version): (Box<dyn Stream>, _) = match question.scheme {
        Scheme::Http => (Box::new(tcp), Version::HTTP_11),
        Scheme::Https => {
            let stream = tls::connect(ip, tcp)
                .await
                .map_err(|cause| AskError::Tls { address, cause })?;
            let version = if tls::is_http2(&stream) {
                Version::HTTP_2
            } else {
                Version::HTTP_11
            };
            (Box::new(stream), version)
        }
    };
    send(
        address,
        stream,
        version,
        question.request(address, version)?,
    )
    .await
}

/// Connects as the proxy does on behalf of a peer: past the redirect.
pub(super) async fn dial(address: SocketAddr, within: Duration) -> Result<TcpStream, ConnectError> {
    let source: IpAddr = match address {
        SocketAddr::V4(_) => SOURCE_V4.into(),
        SocketAddr::V6(_) => SOURCE_V6.into(),
    };
    let upstream = Upstream {
        direction: Direction::Inbound,
        address,
        source: Some((source, 0).into()),
    };
    connect::connect(upstream, within).await
}

impl Question {
    fn request(
        &self,
        address: SocketAddr,
        version: Version,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let authority = match &self.host {
            Some(host) => host.clone(),
            None => HeaderValue::try_from(address.to_string())?,
        };
        let mut request = Request::builder().version(version);
        let mut headers = self.headers.clone();
        if version == Version::HTTP_2 {
            request = request.uri(
                hyper::Uri::builder()
                    .scheme(self.scheme.as_str())
                    .authority(authority.as_bytes())
                    .path_and_query(self.path.clone())
                    .build()?,
            );
        } else {
            request = request.uri(self.path.as_str());
            headers.insert(header::HOST, authority);
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let mut request = request.body(Full::default())?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// Asks on a connection that is open.
pub(super) async fn send(
    address: SocketAddr,
    stream: impl Stream + 'static,
    version: Version,
    request: Request<Full<Bytes>>,
) -> Result<Reply, AskError> {
    let http = |cause| AskError::Http { address, cause };
    let io = TokioIo::new(stream);
    let (response, connection) = if version == Version::HTTP_2 {
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io)
            .await
            .map_err(http)?;
        let connection = Driver::spawn(connection);
        (
            sender.send_request(request).await.map_err(http)?,
            connection,
        )
    } else {
        let (mut sender, connection) = http1::handshake(io).await.map_err(http)?;
        let connection = Driver::spawn(connection);
        (
            sender.send_request(request).await.map_err(http)?,
            connection,
        )
    };
    Ok(Reply {
        response,
        _connection: connection,
    })
}

/// What HTTP is spoken on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The task that drives a connection; ends with whoever asked. Its failure is the answer's.
struct Driver(AbortHandle);

impl Driver {
    fn spawn(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Self {
        Self(tokio::spawn(connection).abort_handle())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver")
    }
}
