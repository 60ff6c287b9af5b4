//! The ports that the kubelet and Prometheus reach from outside of the pod: 15021, 15020, 15090.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use crate::{
    application::{self, probe},
    config::Config,
    destination::canonical,
    direction::SOURCE_V4,
    lifecycle::{Lifecycle, Stop},
    stats::{
        Store,
        export::{self, Page, Refusal},
    },
};

/// What the answers are made of.
#[derive(Debug)]
pub struct Answers {
    /// The settings of the sidecar.
    pub config: Config,
    /// The state of the process.
    pub lifecycle: Lifecycle,
    /// All that is counted.
    pub store: Arc<Store>,
}

/// 15021: readiness.
pub fn health(answers: Arc<Answers>) -> Router {
    Router::new()
        .route("/healthz/ready", get(ready))
        .with_state(answers)
}

/// 15090: the proxy's metrics.
pub fn metrics(answers: Arc<Answers>) -> Router {
    Router::new()
        .route("/stats/prometheus", get(prometheus))
        .route("/metrics", get(prometheus))
        .with_state(answers)
}

/// 15020: readiness, the metrics of proxy and application, the application's probes and hooks, and
/// what only the pod itself may ask.
pub fn status(answers: Arc<Answers>) -> Router {
    Router::new()
        .route("/quitquitquit", post(quit))
        .route("/drain", post(drain))
        .route("/app-health/{*probe}", get(probe::answer))
        .route("/app-lifecycle/{*hook}", get(probe::answer))
        .route("/stats/prometheus", get(merged))
        .route("/metrics", get(merged))
        .with_state(answers.clone())
        .merge(health(answers))
}

async fn ready(State(answers): State<Arc<Answers>>) -> Response {
    let pending = answers.lifecycle.readiness().pending();
    if pending.is_empty() {
        return StatusCode::OK.into_response();
    }
    let words = format!("not ready: {}\n", pending.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
}

async fn prometheus(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    export::prometheus(&answers.store, Vec::new(), &parameters)
}

async fn merged(
    State(answers): State<Arc<Answers>>,
    Query(parameters): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let config = &answers.config;
    let pages = application::metrics::pages(config.node.ip, &config.app_metrics, &headers).await;
    let page = match export::Query::prometheus(&parameters) {
        Ok(query) => Page::new(&answers.store, Vec::new(), query),
        Err(Refusal(words)) => return (StatusCode::BAD_REQUEST, words).into_response(),
    };
    let content_type = page.content_type();
    let mut text: String = page.collect();
    application::metrics::join(&mut text, &pages);
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

async fn quit(
    State(answers): State<Arc<Answers>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Response {
    from_the_pod(peer, || answers.lifecycle.stop(Stop::Gracefully))
}

async fn drain(
    State(answers): State<Arc<Answers>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Response {
    from_the_pod(peer, || answers.lifecycle.drain())
}

/// The port is open to the network, but ending the proxy is for the pod alone.
fn from_the_pod(peer: SocketAddr, deed: impl FnOnce()) -> Response {
    let ip = canonical(peer).ip();
    // What this proxy passes on from elsewhere comes from an address of loopback too.
    if !ip.is_loopback() || ip == SOURCE_V4 {
        let words = "Only requests from localhost are allowed\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    deed();
    "OK\n".into_response()
}
