//! One health check: `grpc.health.v1.Health/Check`, as the kubelet makes it.
//!
//! The request is one field and the answer is one number, so they are written and read by hand.

use std::net::{IpAddr, SocketAddr};

use fairlead_api::app_probes::Grpc;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Request, Version,
    body::Bytes,
    header::{self, HeaderValue},
};
use tokio::time::Duration;

use super::client::{self, AskError};

/// An answer is a few bytes.
const MAX_BODY: usize = 64 * 1024;

/// `SERVING` of `HealthCheckResponse.ServingStatus`.
const SERVING: u64 = 1;

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
    #[error("{address} does not serve grpc.health.v1.Health (gRPC status UNIMPLEMENTED)")]
    Unimplemented { address: SocketAddr },
    #[error("{address} does not know the service '{service}' (gRPC status NOT_FOUND)")]
    NotFound {
        address: SocketAddr,
        service: String,
    },
    #[error("{address} answers with gRPC status {status} {message}")]
    Failed {
        address: SocketAddr,
        status: String,
        message: String,
    },
    #[error("{address} gave no whole gRPC answer: {reason}")]
    Body { address: SocketAddr, reason: String },
    #[error("{address} says {status} of service '{service}'")]
    NotServing {
        address: SocketAddr,
        service: String,
        status: String,
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
    let mut request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers");
    if let Some(user_agent) = user_agent {
        request = request.header(header::USER_AGENT, user_agent);
    }
    let request = request
        .body(Full::from(frame(&grpc.service)))
        .map_err(AskError::from)?;
    let mut reply = client::send(address, tcp, Version::HTTP_2, request).await?;
    if !reply.response.status().is_success() {
        let status = reply.response.status();
        return Err(CheckError::Status { address, status });
    }
    // An answer without a message has its status here, every other in the trailers.
    judge(address, &grpc.service, reply.response.headers())?;
    let body = Limited::new(reply.response.body_mut(), MAX_BODY)
        .collect()
        .await
        .map_err(|error| CheckError::Body {
            address,
            reason: error.to_string(),
        })?;
    if let Some(trailers) = body.trailers() {
        judge(address, &grpc.service, trailers)?;
    }
    let Some(status) = serving_status(&body.to_bytes()) else {
        return Err(CheckError::Body {
            address,
            reason: "it is no HealthCheckResponse".to_owned(),
        });
    };
    if status == SERVING {
        return Ok(());
    }
    let status = match status {
        0 => "UNKNOWN".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        number => number.to_string(),
    };
    let service = grpc.service.clone();
    Err(CheckError::NotServing {
        address,
        service,
        status,
    })
}

fn judge(address: SocketAddr, service: &str, headers: &HeaderMap) -> Result<(), CheckError> {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    match text("grpc-status").as_deref() {
        None | Some("0") => Ok(()),
        Some("5") => Err(CheckError::NotFound {
            address,
            service: service.to_owned(),
        }),
        Some("12") => Err(CheckError::Unimplemented { address }),
        Some(status) => Err(CheckError::Failed {
            address,
            status: status.to_owned(),
            message: text("grpc-message").unwrap_or_default(),
        }),
    }
}

/// `HealthCheckRequest { string service = 1 }`, uncompressed.
fn frame(service: &str) -> Bytes {
    let mut message = Vec::with_capacity(service.len() + 8);
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(&message);
    frame.into()
}

/// The status of `HealthCheckResponse { ServingStatus status = 1 }`; an absent one is 0.
fn serving_status(frame: &[u8]) -> Option<u64> {
    let (header, message) = frame.split_first_chunk::<5>()?;
    let [0, length @ ..] = header else {
        return None;
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let mut message = message.get(..length)?;
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_service() {
        assert_eq!(&frame("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&frame("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = frame(&"x".repeat(300));
        assert_eq!(&long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn an_answer_is_read_past_fields_of_later_versions() {
        for (frame, expected) in [
            (&[0, 0, 0, 0, 0][..], Some(0)),
            (&[0, 0, 0, 0, 2, 8, 1], Some(1)),
            (&[0, 0, 0, 0, 2, 8, 2], Some(2)),
            (&[0, 0, 0, 0, 6, 0x12, 2, 9, 9, 8, 1], Some(1)),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 9, 8, 1], None),
            (&[0, 0, 0, 0, 1, 8], None),
            (&[0, 0], None),
            (&[], None),
        ] {
            assert_eq!(serving_status(frame), expected, "{frame:?}");
        }
    }
}
