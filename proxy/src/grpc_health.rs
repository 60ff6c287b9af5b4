//! The messages of `grpc.health.v1.Health/Check`
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>), and gRPC's frame around one.

use hyper::{
    HeaderMap,
    body::Bytes,
    header::{AsHeaderName, HeaderValue},
};
use prost::Message;

/// Where it is asked for.
pub const PATH: &str = "/grpc.health.v1.Health/Check";

/// An answer is a few bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// A frame starts with a flag, whether it is compressed, and the length of the message.
const HEADER: usize = 5;

#[derive(Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Message)]
struct Response {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Why a server or service does not count as healthy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unhealthy {
    /// The server does not know this method.
    Unimplemented,
    /// The server does not know the service.
    NotFound,
    /// The call failed.
    Failed {
        /// The number of the status, as it came.
        status: String,
        /// What the server says of it.
        message: String,
    },
    /// The answer is none.
    Malformed,
    /// The server knows the service, and that it does not work.
    NotServing {
        /// Its status by name, or its number if it has none.
        status: String,
    },
}

/// The body of a question for a service; the whole server, if empty.
pub fn request(service: &str) -> Bytes {
    let message = Request {
        service: service.to_owned(),
    };
    let mut frame = vec![0; HEADER];
    // Names of services are short.
    let length = u32::try_from(message.encoded_len()).unwrap_or(u32::MAX);
    frame[1..].copy_from_slice(&length.to_be_bytes());
    frame.extend(message.encode_to_vec());
    frame.into()
}

/// What headers or trailers say of the call. An answer without a message has its status in the
/// headers, every other in the trailers.
///
/// # Errors
/// They say that it failed.
pub fn status(headers: &HeaderMap) -> Result<(), Unhealthy> {
    match text(headers, "grpc-status").as_deref() {
        None | Some("0") => Ok(()),
        Some("5") => Err(Unhealthy::NotFound),
        Some("12") => Err(Unhealthy::Unimplemented),
        Some(status) => Err(Unhealthy::Failed {
            status: status.to_owned(),
            message: text(headers, "grpc-message").unwrap_or_default(),
        }),
    }
}

fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let value: Option<&HeaderValue> = headers.get(name);
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// What the body of an answer says.
///
/// # Errors
/// The service is not `SERVING`, or that is no answer.
pub fn response(body: &[u8]) -> Result<(), Unhealthy> {
    let message = message(body).and_then(|message| Response::decode(message).ok());
    let status = match message.ok_or(Unhealthy::Malformed)?.status {
        1 => return Ok(()),
        0 => "UNKNOWN".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        number => number.to_string(),
    };
    Err(Unhealthy::NotServing { status })
}

fn message(frame: &[u8]) -> Option<&[u8]> {
    let (header, message) = frame.split_first_chunk::<HEADER>()?;
    let [0, length @ ..] = header else {
        return None;
    };
    message.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

impl Unhealthy {
    /// What is wrong with the service, to be said behind the server's address.
    pub fn words(&self, service: &str) -> String {
        match self {
            Self::Unimplemented => {
                "does not serve grpc.health.v1.Health (gRPC status UNIMPLEMENTED)".to_owned()
            }
            Self::NotFound => {
                format!("does not know the service '{service}' (gRPC status NOT_FOUND)")
            }
            Self::Failed { status, message } => {
                format!("answers with gRPC status {status} {message}")
            }
            Self::Malformed => "gave no whole gRPC answer: it is no HealthCheckResponse".to_owned(),
            Self::NotServing { status } => format!("says {status} of service '{service}'"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_the_service() {
        assert_eq!(&request("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = request(&"x".repeat(300));
        assert_eq!(&long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn an_answer_is_read_past_fields_of_later_versions() {
        let says = |status: &str| {
            let status = status.to_owned();
            Err(Unhealthy::NotServing { status })
        };
        for (frame, expected) in [
            (&[0, 0, 0, 0, 0][..], says("UNKNOWN")),
            (&[0, 0, 0, 0, 2, 8, 1], Ok(())),
            (&[0, 0, 0, 0, 2, 8, 2], says("NOT_SERVING")),
            (&[0, 0, 0, 0, 2, 8, 3], says("SERVICE_UNKNOWN")),
            (&[0, 0, 0, 0, 2, 8, 9], says("9")),
            (&[0, 0, 0, 0, 6, 0x12, 2, 9, 9, 8, 1], Ok(())),
            (&[1, 0, 0, 0, 2, 8, 1], Err(Unhealthy::Malformed)),
            (&[0, 0, 0, 0, 9, 8, 1], Err(Unhealthy::Malformed)),
            (&[0, 0, 0, 0, 1, 8], Err(Unhealthy::Malformed)),
            (&[0, 0], Err(Unhealthy::Malformed)),
            (&[], Err(Unhealthy::Malformed)),
        ] {
            assert_eq!(response(frame), expected, "{frame:?}");
        }
    }

    #[test]
    fn the_status_of_a_call_is_read() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter();
            let headers: HeaderMap = pairs
                .map(|(name, value)| {
                    let name = hyper::header::HeaderName::from_static(name);
                    (name, HeaderValue::from_static(value))
                })
                .collect();
            status(&headers)
        };
        assert_eq!(of(&[]), Ok(()));
        assert_eq!(of(&[("grpc-status", "0")]), Ok(()));
        assert_eq!(of(&[("grpc-status", "5")]), Err(Unhealthy::NotFound));
        assert_eq!(of(&[("grpc-status", "12")]), Err(Unhealthy::Unimplemented));
        let failed = of(&[("grpc-status", "14"), ("grpc-message", "gone")]).unwrap_err();
        assert_eq!(failed.words(""), "answers with gRPC status 14 gone");
    }
}
