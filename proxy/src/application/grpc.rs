//! One health check: `grpc.health.v1.Health/Check`, as the kubelet makes it.

use std::net::{IpAddr, SocketAddr};

use fairlead_api::app_probes::Grpc;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Version,
    header::{self, HeaderValue},
};
use tokio::time::Duration;

use super::client::{self, AskError};
use crate::grpc_health::{self, Unhealthy};

/// Why the application does not count as healthy.
#[derive(Debug, thiserror::Error)]
pub(super) enum CheckError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("{address} answers gRPC with HTTP status {status}")]
    Status {
        address: SocketAddr,
        status: hyper::StatusCode,
    },
    #[error("{address} gave no whole gRPC answer: {reason}")]
    Body { address: SocketAddr, reason: String },
    #[error("{address} {}", .unhealthy.words(.service))]
    Unhealthy {
        address: SocketAddr,
        service: String,
        unhealthy: Unhealthy,
    },
}

/// Asks; the caller bounds the wait.
pub(super) async fn check(
    ip: IpAddr,
    grpc: &Grpc,
    user_agent: Option<&HeaderValue>,
    within: Duration,
) -> Result<(), CheckError> {
    let address = SocketAddr::new(ip, grpc.port);
    let tcp = client::dial(address, within)
        .await
        .map_err(AskError::from)?;
    let mut request = Request::post(format!("http://{address}{}", grpc_health::PATH))
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers");
    if let Some(user_agent) = user_agent {
        request = request.header(header::USER_AGENT, user_agent);
    }
    let request = request
        .body(Full::from(grpc_health::request(&grpc.service)))
        .map_err(AskError::from)?;
    let mut reply = client::send(address, tcp, Version::HTTP_2, request).await?;
    if !reply.response.status().is_success() {
        let status = reply.response.status();
        return Err(CheckError::Status { address, status });
    }
    let judge = |said: Result<(), Unhealthy>| {
        said.map_err(|unhealthy| CheckError::Unhealthy {
            address,
            service: grpc.service.clone(),
            unhealthy,
        })
    };
    judge(grpc_health::status(reply.response.headers()))?;
    let body = Limited::new(reply.response.body_mut(), grpc_health::MAX_BODY)
        .collect()
        .await
        .map_err(|error| CheckError::Body {
            address,
            reason: error.to_string(),
        })?;
    if let Some(trailers) = body.trailers() {
        judge(grpc_health::status(trailers))?;
    }
    judge(grpc_health::response(&body.to_bytes()))
}
