//! Asks an endpoint, on a connection that is kept for the next check if it may be.

use std::{future::Future, io, net::SocketAddr, ops::RangeInclusive};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Request, Response, Version,
    body::{Bytes, Incoming},
    client::conn::{http1, http2},
    header::{self, HeaderValue},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    task::AbortHandle,
    time::timeout,
};

use super::{
    progress::Outcome,
    settings::{Exchange, Http, Question, Settings},
};
use crate::grpc_health;

/// How Envoy calls itself in a health check; servers know it by that.
const USER_AGENT: HeaderValue = HeaderValue::from_static("Envoy/HC");

/// The service that answers.
const SERVICE: &str = "x-envoy-upstream-healthchecked-cluster";

/// The endpoint would rather not be used.
const DEGRADED: &str = "x-envoy-degraded";

/// More than any TCP answer that is looked for.
const MAX_ANSWER: usize = 64 * 1024;

/// What is known of the endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Where it is asked.
    pub address: SocketAddr,
    /// Its name, or that of its cluster.
    pub host: &'a str,
}

/// What one check found, in a word and in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// For [`Progress`](super::progress::Progress).
    pub outcome: Outcome,
    /// Why it did not pass.
    pub words: Option<String>,
}

impl Finding {
    fn passed(degraded: bool) -> Self {
        Self {
            outcome: Outcome::Passed { degraded },
            words: None,
        }
    }

    fn failed(outcome: Outcome, words: impl Into<String>) -> Self {
        Self {
            outcome,
            words: Some(words.into()),
        }
    }

    fn unreachable(words: impl Into<String>) -> Self {
        Self::failed(Outcome::Unreachable { timed_out: false }, words)
    }
}

/// The checks of one endpoint.
#[derive(Debug, Default)]
pub struct Probe {
    open: Option<Open>,
}

/// What is kept; with the driver the connection ends.
#[derive(Debug)]
#[expect(dead_code, reason = "the driver is there to be dropped")]
enum Open {
    Tcp(Box<dyn Stream>),
    Http(Sender, Driver),
}

#[derive(Debug)]
enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// What a check is made over.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> Stream for T {}

impl Probe {
    /// Asks once, within the time that the settings give. `connect` makes a connection, of which a
    /// failure tells the reason.
    pub async fn ask<C>(
        &mut self,
        settings: &Settings,
        target: Target<'_>,
        connect: impl FnOnce() -> C,
    ) -> Finding
    where
        C: Future<Output = io::Result<Box<dyn Stream>>>,
    {
        // Whatever goes wrong, the next check starts anew.
        let open = self.open.take().filter(|open| open.is_usable());
        let asking = async {
            let open = match open {
                Some(open) => open,
                None => Open::start(connect().await?, &settings.question)
                    .await
                    .map_err(io::Error::other)?,
            };
            open.ask(&settings.question, target).await
        };
        match timeout(settings.time_out, asking).await {
            Ok(Ok((finding, open))) => {
                self.open = open.filter(|_| settings.reuse_connection);
                finding
            }
            Ok(Err(error)) => Finding::unreachable(error.to_string()),
            Err(_) => Finding::failed(
                Outcome::Unreachable { timed_out: true },
                format!(
                    "no answer within {}",
                    humantime::format_duration(settings.time_out)
                ),
            ),
        }
    }
}

impl Open {
    async fn start(stream: Box<dyn Stream>, question: &Question) -> hyper::Result<Self> {
        let http2 = match question {
            Question::Tcp(_) => return Ok(Self::Tcp(stream)),
            Question::Http(http) => http.http2,
            Question::Grpc { .. } => true,
        };
        let io = TokioIo::new(stream);
        Ok(if http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            Self::Http(Sender::Http2(sender), Driver::spawn(connection))
        } else {
            let (sender, connection) = http1::handshake(io).await?;
            Self::Http(Sender::Http1(sender), Driver::spawn(connection))
        })
    }

    /// Whether it was not closed meanwhile; of a plain connection the next exchange tells.
    fn is_usable(&self) -> bool {
        match self {
            Self::Tcp(_) => true,
            Self::Http(Sender::Http1(sender), _) => !sender.is_closed(),
            Self::Http(Sender::Http2(sender), _) => !sender.is_closed(),
        }
    }

    async fn ask(
        mut self,
        question: &Question,
        target: Target<'_>,
    ) -> io::Result<(Finding, Option<Self>)> {
        let finding = match (&mut self, question) {
            (Self::Tcp(stream), Question::Tcp(exchange)) => {
                let finding = exchange.run(stream).await?;
                // Where nothing is expected, the connection itself was the question.
                if exchange.receive.is_empty() {
                    return Ok((finding, None));
                }
                finding
            }
            (Self::Http(sender, _), Question::Http(http)) => {
                let request = http.request(target).map_err(io::Error::other)?;
                let response = sender.send(request).await.map_err(io::Error::other)?;
                http.judge(response).await.map_err(io::Error::other)?
            }
            (
                Self::Http(sender, _),
                Question::Grpc {
                    service,
                    authority,
                    metadata,
                },
            ) => {
                let request = grpc_request(target, service, authority, metadata);
                let request = request.map_err(io::Error::other)?;
                let response = sender.send(request).await.map_err(io::Error::other)?;
                judge_grpc(response, service)
                    .await
                    .map_err(io::Error::other)?
            }
            // The question is another than the one it was opened for.
            (_, _) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        Ok((finding, Some(self)))
    }
}

impl Sender {
    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

impl Exchange {
    async fn run(&self, stream: &mut Box<dyn Stream>) -> io::Result<Finding> {
        if !self.send.is_empty() {
            stream.write_all(&self.send).await?;
            stream.flush().await?;
        }
        let mut answer = Vec::new();
        while !holds(&answer, &self.receive) {
            if answer.len() > MAX_ANSWER {
                let words = "its answer does not hold what is expected";
                return Ok(Finding::unreachable(words));
            }
            if stream.read_buf(&mut answer).await? == 0 {
                let words = "it closed the connection without the answer that is expected";
                return Ok(Finding::unreachable(words));
            }
        }
        Ok(Finding::passed(false))
    }
}

/// Whether the parts come one after the other in the answer, whatever else is between them.
fn holds(answer: &[u8], parts: &[Box<[u8]>]) -> bool {
    let mut rest = answer;
    for part in parts {
        let mut places = rest.windows(part.len().max(1));
        let Some(place) = places.position(|window| *window == **part) else {
            return false;
        };
        rest = &rest[place + part.len()..];
    }
    true
}

impl Http {
    fn request(&self, target: Target<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let host = if self.host.is_empty() {
            target.host
        } else {
            &self.host
        };
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, USER_AGENT);
        let mut request = Request::builder().method(&self.method);
        if self.http2 {
            request = request.version(Version::HTTP_2).uri(
                hyper::Uri::builder()
                    .scheme("http")
                    .authority(host)
                    .path_and_query(self.path.clone())
                    .build()?,
            );
        } else {
            request = request.uri(self.path.as_str());
            headers.insert(header::HOST, HeaderValue::try_from(host)?);
        }
        headers.extend(self.add.clone());
        for name in &self.remove {
            headers.remove(name);
        }
        let mut request = request.body(Full::from(self.body.to_vec()))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    async fn judge(&self, mut response: Response<Incoming>) -> hyper::Result<Finding> {
        let status = response.status().as_u16();
        let degraded = response.headers().contains_key(DEGRADED);
        let service = response.headers().get(SERVICE).cloned();
        // To its end, lest the next answer be mixed with it; a long one costs the connection.
        let mut body = Vec::new();
        let most = match self.response_bytes {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        while let Some(frame) = response.frame().await {
            if let Ok(data) = frame?.into_data() {
                let room = most.saturating_sub(body.len());
                body.extend_from_slice(&data[..data.len().min(room)]);
            }
        }
        let within =
            |ranges: &[RangeInclusive<u16>]| ranges.iter().any(|range| range.contains(&status));
        if !within(&self.expected) {
            let outcome = if within(&self.retriable) {
                Outcome::Retriable
            } else {
                Outcome::Denied
            };
            return Ok(Finding::failed(
                outcome,
                format!("it answers with {status}"),
            ));
        }
        if !holds(&body, &self.receive) {
            let words = "its answer does not hold what is expected";
            return Ok(Finding::failed(Outcome::Denied, words));
        }
        if let Some(matcher) = &self.service {
            let name = service.as_ref().and_then(|name| name.to_str().ok());
            if !name.is_some_and(|name| matcher.matches(name)) {
                let name = name.unwrap_or("no service");
                let words = format!("{name} answers in its place");
                return Ok(Finding::failed(Outcome::Denied, words));
            }
        }
        Ok(Finding::passed(degraded))
    }
}

fn grpc_request(
    target: Target<'_>,
    service: &str,
    authority: &str,
    metadata: &HeaderMap,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let authority = if authority.is_empty() {
        target.host
    } else {
        authority
    };
    let uri = hyper::Uri::builder()
        .scheme("http")
        .authority(authority)
        .path_and_query(grpc_health::PATH)
        .build()?;
    let mut request = Request::post(uri)
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, USER_AGENT)
        .body(Full::from(grpc_health::request(service)))?;
    request.headers_mut().extend(metadata.clone());
    Ok(request)
}

async fn judge_grpc(
    mut response: Response<Incoming>,
    service: &str,
) -> Result<Finding, Box<dyn std::error::Error + Send + Sync>> {
    let status = response.status();
    if !status.is_success() {
        let words = format!("it answers gRPC with HTTP status {status}");
        return Ok(Finding::failed(Outcome::Denied, words));
    }
    let mut said = grpc_health::status(response.headers());
    let body = Limited::new(response.body_mut(), grpc_health::MAX_BODY);
    let body = body.collect().await?;
    if let Some(trailers) = body.trailers() {
        said = said.and(grpc_health::status(trailers));
    }
    let said = said.and_then(|()| grpc_health::response(&body.to_bytes()));
    Ok(match said {
        Ok(()) => Finding::passed(false),
        Err(unhealthy) => {
            Finding::failed(Outcome::Denied, format!("it {}", unhealthy.words(service)))
        }
    })
}

/// The task that drives a connection; ends with it.
#[derive(Debug)]
struct Driver(AbortHandle);

impl Driver {
    fn spawn(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Self {
        // Its failure is that of the question.
        Self(tokio::spawn(connection).abort_handle())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests;
