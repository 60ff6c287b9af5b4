//! `/app-health/…` and `/app-lifecycle/…`: the application's probes and hooks.
//!
//! The webhook points the kubelet here and tells in the environment what to ask. The proxy then
//! does what the kubelet would have done, and answers with the outcome. So probes pass the redirect,
//! and whatever the mesh asks of its own connections.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use fairlead_api::app_probes::{AppProbe, Check, Grpc, Handler, HttpGet, TcpSocket};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, StatusCode,
    header::{self, HeaderValue},
    http::uri::Authority,
};
use tokio::time::timeout;
use tracing::debug;

use super::{
    client::{self, Answer, AskError, Question, location::path_and_query},
    grpc::{self, CheckError},
};
use crate::health::Answers;

/// Kubernetes' default.
const PROBE_SECONDS: u32 = 1;

/// A hook has no time-out: the kubelet goes away when the pod's grace period is over, and the wait
/// ends with it. This is longer than any.
const HOOK: Duration = Duration::from_secs(3600);

/// The kubelet reads no more of a body.
const MAX_BODY: usize = 10 * 1024;

/// Answers the kubelet.
pub async fn answer(State(answers): State<Arc<Answers>>, request: Request) -> Response {
    let path = request.uri().path();
    let probes = &answers.config.app_probes;
    let (Some(probe), Some(check)) = (probes.get(path), Check::of_path(path)) else {
        return unknown(path, probes.keys());
    };
    let within = match probe.timeout_seconds {
        Some(seconds) => Duration::from_secs(seconds.into()),
        None if check.is_hook() => HOOK,
        None => Duration::from_secs(u64::from(PROBE_SECONDS)),
    };
    let asker = Asker {
        ip: answers.config.node.ip,
        status_port: answers.config.ports.status,
        within,
    };
    match asker.ask(probe, request.headers()).await {
        Ok(answer) => answer,
        Err(words) => {
            debug!(
                path,
                reason = words,
                "a probe or hook of the application failed"
            );
            failed(check, words)
        }
    }
}

fn unknown<'a>(path: &str, known: impl Iterator<Item = &'a String>) -> Response {
    let mut words = format!("{path} is no probe or hook of this pod; known are:\n");
    for path in known {
        words.push_str(&format!("  {path}\n"));
    }
    (StatusCode::BAD_REQUEST, words).into_response()
}

/// Without an answer of the application a probe fails, and a hook does too.
///
/// The kubelet takes any answer to a hook for success: it has to be one that it cannot follow.
fn failed(check: Check, words: String) -> Response {
    let words = words + "\n";
    if check.is_hook() {
        let nowhere = [(header::LOCATION, "fairlead-hook-failed:see-the-body")];
        return (StatusCode::TEMPORARY_REDIRECT, nowhere, words).into_response();
    }
    (StatusCode::INTERNAL_SERVER_ERROR, words).into_response()
}

struct Asker {
    ip: IpAddr,
    status_port: u16,
    within: Duration,
}

impl Asker {
    async fn ask(&self, probe: &AppProbe, headers: &HeaderMap) -> Result<Response, String> {
        match &probe.handler {
            Handler::HttpGet(http) => self.http(http, headers).await,
            Handler::TcpSocket(tcp) => self.tcp(*tcp).await,
            Handler::Grpc(grpc) => self.grpc(grpc, headers).await,
        }
    }

    async fn http(&self, http: &HttpGet, headers: &HeaderMap) -> Result<Response, String> {
        let Some(path) = path_and_query(&http.path) else {
            return Err(format!("'{}' is no path of HTTP", http.path));
        };
        let question = Question {
            port: http.port,
            scheme: http.scheme,
            path,
            headers: headers.clone(),
            host: self.host(headers.get(header::HOST), http.port),
        };
        let exchange = async {
            match client::ask(self.ip, question, self.within).await? {
                Answer::Here(mut reply) => {
                    let status = reply.response.status();
                    let address = (self.ip, http.port).into();
                    let body = read(reply.response.body_mut())
                        .await
                        .map_err(|cause| AskError::Body { address, cause })?;
                    Ok((status, body))
                }
                // The kubelet does not follow either, and counts it as success.
                Answer::Elsewhere(location) => {
                    let words = format!("redirected to another host, '{location}'\n");
                    Ok((StatusCode::OK, words.into_bytes()))
                }
            }
        };
        let answer = timeout(self.within, exchange).await;
        let answer: Result<_, AskError> = answer.unwrap_or_else(|_| Err(self.too_late(http.port)));
        let (status, body) = answer.map_err(|error| error.to_string())?;
        Ok((status, body).into_response())
    }

    /// The kubelet names this port, where it would have named the application's; what the pod's author
    /// chose stays.
    fn host(&self, host: Option<&HeaderValue>, port: u16) -> Option<HeaderValue> {
        let host = host?;
        let authority = host
            .to_str()
            .ok()
            .and_then(|text| text.parse::<Authority>().ok());
        match authority {
            Some(authority) if authority.port_u16() == Some(self.status_port) => {
                HeaderValue::try_from(format!("{}:{port}", authority.host())).ok()
            }
            _ => Some(host.clone()),
        }
    }

    async fn tcp(&self, tcp: TcpSocket) -> Result<Response, String> {
        client::dial((self.ip, tcp.port).into(), self.within)
            .await
            .map_err(|error| error.to_string())?;
        Ok(StatusCode::OK.into_response())
    }

    async fn grpc(&self, grpc: &Grpc, headers: &HeaderMap) -> Result<Response, String> {
        let user_agent = headers.get(header::USER_AGENT);
        let check = grpc::check(self.ip, grpc, user_agent, self.within);
        timeout(self.within, check)
            .await
            .unwrap_or_else(|_| Err(CheckError::Ask(self.too_late(grpc.port))))
            .map_err(|error| error.to_string())?;
        Ok(StatusCode::OK.into_response())
    }

    fn too_late(&self, port: u16) -> AskError {
        AskError::TimedOut {
            address: (self.ip, port).into(),
            after: self.within,
        }
    }
}

/// The start of a body; the rest is nobody's business.
async fn read(body: &mut hyper::body::Incoming) -> Result<Vec<u8>, hyper::Error> {
    let mut start = Vec::new();
    while start.len() < MAX_BODY
        && let Some(frame) = body.frame().await
    {
        if let Some(data) = frame?.data_ref() {
            start.extend_from_slice(&data[..data.len().min(MAX_BODY - start.len())]);
        }
    }
    Ok(start)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_host_that_names_the_status_port_names_the_applications() {
        let asker = Asker {
            ip: Ipv4Addr::LOCALHOST.into(),
            status_port: 15020,
            within: HOOK,
        };
        for (host, expected) in [
            ("10.0.0.1:15020", "10.0.0.1:8080"),
            ("[fd00::1]:15020", "[fd00::1]:8080"),
            ("shop.example", "shop.example"),
            ("shop.example:80", "shop.example:80"),
        ] {
            let found = asker.host(Some(&HeaderValue::from_static(host)), 8080);
            assert_eq!(found.unwrap(), expected);
        }
        assert_eq!(asker.host(None, 8080), None);
    }
}
