//! The HTTPS pages: reviews under `/inject`, health beside them.
//!
//! Nothing that a client does may take longer than its deadline or more room than its limit, and
//! each refusal says why.

mod connections;
mod tls;
mod turns;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Version, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use fairlead_runtime::{metrics, readiness::Readiness};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::{sync::watch, time::timeout};
use tracing::{debug, info};

pub use self::tls::{CONNECTIONS, Certificate, serve, tls_config};
use self::turns::Turns;
use crate::{
    events::Events,
    metrics::Metrics,
    review::{self, ReviewError, Verdict},
    settings::Settings,
    surroundings::Surroundings,
};

/// The API server's objects are at most 3 MiB, and a review holds up to two; Istio's limit.
const BODY_LIMIT: usize = 6 << 20;
/// A review arrives from the same network in a few packets.
const READ_DEADLINE: Duration = Duration::from_secs(2);
/// How long the body of an ordinary review may take when others wait for its turn: a few round trips
/// through whatever tunnel the API server is behind.
const GRACE: Duration = Duration::from_millis(250);
/// As above, of a large one.
const LARGE_GRACE: Duration = Duration::from_secs(1);
/// How long a request waits for its turn before the server says that it is overloaded. With the
/// read deadline it stays below the API server's five seconds, so that the reason arrives.
const TURN_DEADLINE: Duration = Duration::from_secs(2);
/// Reviews of ordinary size at once, from their first byte to the answer. One takes a fraction of a
/// millisecond once it has arrived, so what exceeds this is a flood, or clients that send slowly.
const TURNS: usize = 256;
/// What is larger, or does not say how large it is, has turns of its own: large bodies cannot fill the
/// memory, and do not make ordinary pods wait.
const LARGE: usize = 64 << 10;
/// Turns for these.
const LARGE_TURNS: usize = 6;

/// What a review needs.
#[derive(Clone, Debug)]
pub struct Injector {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    surroundings: Surroundings,
    metrics: Metrics,
    events: Events,
    turns: Turns,
    large_turns: Turns,
}

impl Injector {
    /// Nothing is injected until the surroundings are known.
    pub fn new(
        settings: Settings,
        surroundings: Surroundings,
        metrics: Metrics,
        events: Events,
    ) -> Self {
        let inner = Inner {
            settings,
            surroundings,
            metrics,
            events,
            turns: Turns::new(TURNS, GRACE),
            large_turns: Turns::new(LARGE_TURNS, LARGE_GRACE),
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

/// The pages of the HTTPS port.
///
/// Once `leaving` is true, clients are asked with each answer to go elsewhere.
pub fn router(injector: Injector, readiness: Readiness, leaving: watch::Receiver<bool>) -> Router {
    Router::new()
        .route("/inject", post(inject))
        // Istio's clients append settings of their environment to the path.
        .route("/inject/{*environment}", post(inject))
        .with_state(injector)
        .merge(health(readiness))
        .fallback(unknown)
        .layer(from_fn_with_state(leaving, part))
}

/// Parts from HTTP/1.1 clients between two of their requests, where nothing can get lost.
///
/// API servers call with HTTP/1.1 and keep connections for the next call. One that is closed while
/// idle may be taken for a call at that very moment, and a POST is not sent twice (RFC 9112, section
/// 9.5). HTTP/2 has GOAWAY for this.
async fn part(
    State(leaving): State<watch::Receiver<bool>>,
    request: Request,
    next: Next,
) -> Response {
    let persistent = request.version() < Version::HTTP_2;
    let mut response = next.run(request).await;
    if persistent && *leaving.borrow() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// The pages of the plain port.
pub fn plain_router(readiness: Readiness, registry: Arc<Registry>) -> Router {
    let metrics = move || async move { metrics::page(&registry) };
    Router::new()
        .route("/metrics", get(metrics))
        .merge(health(readiness))
        .fallback(unknown_plain)
}

fn health(readiness: Readiness) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(readiness)
}

#[derive(Deserialize)]
struct ReadyQuery {
    verbose: Option<String>,
}

async fn ready(State(readiness): State<Readiness>, Query(query): Query<ReadyQuery>) -> Response {
    let mut text = String::new();
    let lines = readiness.lines();
    for (open, line) in &lines {
        if !open || query.verbose.is_some() {
            text += &format!("{line}\n");
        }
    }
    if lines.iter().all(|(open, _)| *open) {
        text += "ready\n";
        text.into_response()
    } else {
        text += "not ready\n";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

async fn unknown() -> Response {
    let text = "no such page; there are POST /inject, GET /healthz and GET /readyz\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn unknown_plain() -> Response {
    let text = "no such page; there are /metrics, /healthz and /readyz\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn inject(State(injector): State<Injector>, request: Request) -> Response {
    let Inner {
        settings,
        surroundings,
        metrics,
        events,
        turns,
        large_turns,
    } = &*injector.inner;
    let answer = async {
        let (parts, body) = request.into_parts();
        let turns = match check_head(&parts.headers)? {
            Some(length) if length <= LARGE => turns,
            _ => large_turns,
        };
        let turn = turns.take(TURN_DEADLINE).await;
        let turn = turn.ok_or(Rejection::Overloaded(turns.most()))?;
        let body = tokio::select! {
            biased;
            body = read(body) => body?,
            () = turn.displaced() => return Err(Rejection::Displaced),
        };
        let started = Instant::now();
        let review = review::Request::parse(&body).map_err(Rejection::Review)?;
        let known = surroundings.of(&review, settings.native_sidecar).await;
        let known = known.ok_or(Rejection::Starting)?;
        let answer = review.answer(settings, &known.place(review.namespace()));
        log(&review, &answer);
        events.reviewed(&review, &answer);
        let response = review.respond(&answer).map_err(Rejection::Review)?;
        metrics.answered(&answer.verdict, started.elapsed());
        Ok::<_, Rejection>(response)
    };
    match answer.await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(rejection) => {
            metrics.rejected(rejection.status().as_u16(), rejection.reason());
            rejection.into_response()
        }
    }
}

fn log(review: &review::Request, answer: &review::Answer) {
    let (namespace, pod) = review.pod_name();
    match &answer.verdict {
        Verdict::Injected(_) => debug!(namespace, pod, "injected"),
        Verdict::Skipped(reason) => debug!(namespace, pod, %reason, "skipped"),
        Verdict::Refused(refusal) => {
            info!(
                namespace,
                pod,
                refusal = refusal.lines().join("; "),
                "refused"
            );
        }
    }
}

/// How long the body will be, if it says so.
fn check_head(headers: &HeaderMap) -> Result<Option<usize>, Rejection> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let media_type = content_type
        .and_then(|v| v.split(';').next())
        .unwrap_or("")
        .trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let found = content_type.unwrap_or("none").to_owned();
        return Err(Rejection::ContentType(found));
    }
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok());
    match length.and_then(|length| length.parse::<usize>().ok()) {
        Some(length) if length > BODY_LIMIT => Err(Rejection::TooLarge),
        length => Ok(length),
    }
}

async fn read(body: Body) -> Result<Bytes, Rejection> {
    let collected = timeout(READ_DEADLINE, Limited::new(body, BODY_LIMIT).collect()).await;
    match collected {
        Err(_) => Err(Rejection::Slow),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Rejection::TooLarge),
        Ok(Err(error)) => Err(Rejection::Broken(error.to_string())),
    }
}

/// Why a request gets an HTTP error instead of a review.
#[derive(Debug, thiserror::Error)]
enum Rejection {
    #[error("content type application/json is expected, not {0}")]
    ContentType(String),
    #[error("the body is larger than {} MiB, more than any review needs", BODY_LIMIT >> 20)]
    TooLarge,
    #[error("the body did not arrive within {} s", READ_DEADLINE.as_secs())]
    Slow,
    #[error("the body has not arrived yet, and others wait; try again")]
    Displaced,
    #[error("the body broke off: {0}")]
    Broken(String),
    #[error("{0} reviews of this size are at work already; try again")]
    Overloaded(usize),
    #[error("the API server has not yet told its version and the mesh's configuration; try again")]
    Starting,
    #[error(transparent)]
    Review(ReviewError),
}

impl Rejection {
    fn status(&self) -> StatusCode {
        match self {
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow | Self::Displaced => StatusCode::REQUEST_TIMEOUT,
            Self::Overloaded(_) | Self::Starting => StatusCode::SERVICE_UNAVAILABLE,
            Self::Review(ReviewError::Patch(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Broken(_) | Self::Review(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// The value of the metric's label `reason`.
    fn reason(&self) -> &'static str {
        match self {
            Self::ContentType(_) => "content_type",
            Self::TooLarge => "too_large",
            Self::Slow | Self::Displaced => "slow",
            Self::Broken(_) => "broken",
            Self::Overloaded(_) => "overloaded",
            Self::Starting => "starting",
            Self::Review(_) => "malformed",
        }
    }

    fn into_response(self) -> Response {
        debug!(reason = %self, "rejected a request");
        (self.status(), format!("{self}\n")).into_response()
    }
}

#[cfg(test)]
mod tests;
