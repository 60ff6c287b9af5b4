//! The ports that the kubelet and Prometheus reach from outside of the pod: 15021, 15020, 15090.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use crate::{
    admin::{Admin, stats},
    application::{self, probe},
    destination::canonical,
    inbound,
    lifecycle::Stop,
};

/// 15021: readiness.
pub fn health(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/healthz/ready", get(ready))
        .with_state(admin)
}

/// 15090: the proxy's metrics.
pub fn metrics(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/stats/prometheus", get(prometheus))
        .route("/metrics", get(prometheus))
        .with_state(admin)
}

/// 15020: readiness, the metrics of proxy and application, the application's probes and hooks, and
/// what only the pod itself may ask.
pub fn status(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/quitquitquit", post(quit))
        .route("/drain", post(drain))
        .route("/app-health/{*probe}", get(probe::answer))
        .route("/app-lifecycle/{*hook}", get(probe::answer))
        .route("/stats/prometheus", get(merged))
        .route("/metrics", get(merged))
        .with_state(admin.clone())
        .merge(health(admin))
}

async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let pending = admin.sources.lifecycle.readiness().pending();
    if pending.is_empty() {
        return StatusCode::OK.into_response();
    }
    let words = format!("not ready: {}\n", pending.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, words).into_response()
}

async fn prometheus(
    State(admin): State<Arc<Admin>>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    stats::prometheus(&admin.sources, &parameters)
}

async fn merged(
    State(admin): State<Arc<Admin>>,
    Query(parameters): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let config = &admin.config;
    let pages = application::metrics::pages(config.node.ip, &config.app_metrics, &headers).await;
    stats::prometheus_with(&admin.sources, &parameters, &pages)
}

async fn quit(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Response {
    from_the_pod(peer, || admin.sources.lifecycle.stop(Stop::Gracefully))
}

async fn drain(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
) -> Response {
    from_the_pod(peer, || admin.sources.lifecycle.drain())
}

/// The port is open to the network, but ending the proxy is for the pod alone.
fn from_the_pod(peer: SocketAddr, deed: impl FnOnce()) -> Response {
    let ip = canonical(peer).ip();
    // What this proxy passes on from elsewhere comes from an address of loopback too.
    if !ip.is_loopback() || ip == inbound::SOURCE_V4 {
        let words = "Only requests from localhost are allowed\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    deed();
    "OK\n".into_response()
}
