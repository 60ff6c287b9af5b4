//! What a cluster says of its health checks (`envoy.config.core.v3.HealthCheck`).

use std::{ops::RangeInclusive, time::Duration};

use fairlead_xds::envoy::{
    config::core::v3::{
        HeaderValueOption, HealthCheck, RequestMethod,
        health_check::{
            GrpcHealthCheck, HealthChecker, HttpHealthCheck, Payload, TcpHealthCheck, payload,
        },
    },
    r#type::v3::{CodecClientType, Int64Range},
};
use hyper::{
    HeaderMap, Method,
    header::{HeaderName, HeaderValue},
    http::uri::PathAndQuery,
};

use crate::{
    compile::{
        At,
        values::{duration, positive},
    },
    matcher::StringMatcher,
};

/// Where nothing was ever sent to a cluster and nothing else is said.
const NO_TRAFFIC: Duration = Duration::from_secs(60);

/// What of an HTTP answer is looked at, if nothing is said.
const RESPONSE_BYTES: u64 = 1024;

/// The checks of a cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For one check.
    pub time_out: Duration,
    /// Between two.
    pub pauses: Pauses,
    /// Failures in a row until an endpoint is not used.
    pub unhealthy_threshold: u32,
    /// Successes in a row until it is used again.
    pub healthy_threshold: u32,
    /// The port to ask on, if not that of the endpoint.
    pub port: Option<u16>,
    /// A connection serves more than one check.
    pub reuse_connection: bool,
    /// Every failure is logged, not the first alone.
    pub log_every_failure: bool,
    /// ALPN of checks over TLS, if not that of traffic.
    pub alpn: Box<[Box<str>]>,
    /// What is asked.
    pub question: Question,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Question {
    /// Whether a connection can be made, and what comes after these bytes.
    Tcp(Exchange),
    /// An HTTP request.
    Http(Box<Http>),
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// The service asked for; the whole server, if empty.
        service: Box<str>,
        /// `:authority`; the cluster's name, if empty.
        authority: Box<str>,
        /// Sent along.
        metadata: HeaderMap,
    },
}

/// Bytes sent, and those that must come, in this order, whatever else comes between.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Exchange {
    /// Sent after connecting.
    pub send: Box<[u8]>,
    /// Expected then.
    pub receive: Box<[Box<[u8]>]>,
}

/// An HTTP request and the answers that are accepted.
#[derive(Clone, Debug)]
pub struct Http {
    /// `Host`; the endpoint's or the cluster's name, if empty.
    pub host: Box<str>,
    /// What is asked for.
    pub path: PathAndQuery,
    /// How.
    pub method: Method,
    /// Sent along.
    pub add: HeaderMap,
    /// Not sent.
    pub remove: Box<[HeaderName]>,
    /// Over HTTP/2.
    pub http2: bool,
    /// Sent as the body.
    pub body: Box<[u8]>,
    /// Accepted as healthy.
    pub expected: Box<[RangeInclusive<u16>]>,
    /// Counted as if nothing had come.
    pub retriable: Box<[RangeInclusive<u16>]>,
    /// The service that must answer, by `x-envoy-upstream-healthchecked-cluster`.
    pub service: Option<StringMatcher>,
    /// What the body must hold.
    pub receive: Box<[Box<[u8]>]>,
    /// How much of the body is looked at; all, if 0.
    pub response_bytes: u64,
}

/// The time between two checks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pauses {
    /// Before the first, at most.
    pub initial_jitter: Duration,
    /// Added to each, at most.
    pub jitter: Duration,
    /// Added to each, at most, in percent of it.
    pub jitter_percent: u32,
    /// After a check that passed.
    pub interval: Duration,
    /// After one that failed.
    pub unhealthy: Duration,
    /// After one that passed and did not yet suffice.
    pub healthy_edge: Duration,
    /// After one that failed and did not yet suffice.
    pub unhealthy_edge: Duration,
    /// While the cluster was never used, after one that failed.
    pub no_traffic: Duration,
    /// While the cluster was never used, after one that passed.
    pub no_traffic_healthy: Duration,
}

impl Pauses {
    /// The same time in all cases.
    pub fn every(interval: Duration) -> Self {
        Self {
            initial_jitter: Duration::ZERO,
            jitter: Duration::ZERO,
            jitter_percent: 0,
            interval,
            unhealthy: interval,
            healthy_edge: interval,
            unhealthy_edge: interval,
            no_traffic: interval,
            no_traffic_healthy: interval,
        }
    }

    /// Before the first check.
    pub fn before(&self, random: &mut fastrand::Rng) -> Duration {
        self.initial_jitter.mul_f64(random.f64())
    }

    /// After a check that `passed` or not, which is `pending` while more of them must agree.
    pub fn after(
        &self,
        passed: bool,
        pending: bool,
        traffic: bool,
        random: &mut fastrand::Rng,
    ) -> Duration {
        let pause = match (traffic, passed, pending) {
            (false, true, _) => self.no_traffic_healthy,
            (false, false, _) => self.no_traffic,
            (true, true, true) => self.healthy_edge,
            (true, true, false) => self.interval,
            (true, false, true) => self.unhealthy_edge,
            (true, false, false) => self.unhealthy,
        };
        let share = pause.mul_f64(f64::from(self.jitter_percent) / 100.0);
        pause + share.mul_f64(random.f64()) + self.jitter.mul_f64(random.f64())
    }
}

impl Settings {
    /// Whether connections are accepted, every second.
    #[cfg(test)]
    pub(super) fn tcp() -> Self {
        Self {
            time_out: Duration::from_secs(1),
            pauses: Pauses::every(Duration::from_secs(1)),
            unhealthy_threshold: 1,
            healthy_threshold: 1,
            port: None,
            reuse_connection: true,
            log_every_failure: false,
            alpn: [].into(),
            question: Question::Tcp(Exchange::default()),
        }
    }

    /// What the message asks for.
    #[expect(
        deprecated,
        reason = "a field that is given must not be ignored silently"
    )]
    pub fn compile(at: &At<'_>, message: &HealthCheck) -> Option<Self> {
        let HealthCheck {
            timeout,
            interval,
            initial_jitter,
            interval_jitter,
            interval_jitter_percent,
            unhealthy_threshold,
            healthy_threshold,
            alt_port,
            reuse_connection,
            no_traffic_interval,
            no_traffic_healthy_interval,
            unhealthy_interval,
            unhealthy_edge_interval,
            healthy_edge_interval,
            event_log_path,
            event_logger,
            event_service,
            always_log_health_check_failures,
            always_log_health_check_success,
            tls_options,
            transport_socket_match_criteria,
            health_checker,
        } = message;
        for (name, given) in [
            ("event_log_path", !event_log_path.is_empty()),
            ("event_logger", !event_logger.is_empty()),
            ("event_service", event_service.is_some()),
            (
                "always_log_health_check_success",
                *always_log_health_check_success,
            ),
        ] {
            if given {
                at.field(name)
                    .unsupported("events of health checks are told in the log alone");
            }
        }
        if transport_socket_match_criteria.is_some() {
            at.field("transport_socket_match_criteria")
                .fault::<()>("is not supported");
        }
        let time = |name: &str, value| {
            at.required(name, value)
                .and_then(|value| positive(&at.field(name), value))
        };
        let time_out = time("timeout", timeout.as_ref());
        let interval = time("interval", interval.as_ref());
        let or = |name: &str, value: Option<&_>, default: Option<Duration>| match value {
            Some(value) => positive(&at.field(name), value),
            None => default,
        };
        let jitter = |name: &str, value: Option<&_>| match value {
            Some(value) => duration(&at.field(name), value),
            None => Some(Duration::ZERO),
        };
        let no_traffic = or(
            "no_traffic_interval",
            no_traffic_interval.as_ref(),
            Some(NO_TRAFFIC),
        );
        let unhealthy = or("unhealthy_interval", unhealthy_interval.as_ref(), interval);
        let pauses = (|| {
            Some(Pauses {
                initial_jitter: jitter("initial_jitter", initial_jitter.as_ref())?,
                jitter: jitter("interval_jitter", interval_jitter.as_ref())?,
                jitter_percent: *interval_jitter_percent,
                interval: interval?,
                unhealthy: unhealthy?,
                healthy_edge: or(
                    "healthy_edge_interval",
                    healthy_edge_interval.as_ref(),
                    interval,
                )?,
                unhealthy_edge: or(
                    "unhealthy_edge_interval",
                    unhealthy_edge_interval.as_ref(),
                    unhealthy,
                )?,
                no_traffic: no_traffic?,
                no_traffic_healthy: or(
                    "no_traffic_healthy_interval",
                    no_traffic_healthy_interval.as_ref(),
                    no_traffic,
                )?,
            })
        })();
        let threshold = |name: &str, value: Option<u32>| {
            let value = at.required(name, value)?;
            Some(value.max(1))
        };
        let unhealthy_threshold = threshold(
            "unhealthy_threshold",
            unhealthy_threshold.map(|threshold| threshold.value),
        );
        let healthy_threshold = threshold(
            "healthy_threshold",
            healthy_threshold.map(|threshold| threshold.value),
        );
        let port = match alt_port.map(|port| u16::try_from(port.value)) {
            Some(Err(_)) => at.field("alt_port").fault("is no port"),
            Some(Ok(port)) => Some(Some(port)),
            None => Some(None),
        };
        let question = question(at, health_checker.as_ref());
        let alpn = tls_options.iter().flat_map(|tls| &tls.alpn_protocols);
        Some(Self {
            time_out: time_out?,
            pauses: pauses?,
            unhealthy_threshold: unhealthy_threshold?,
            healthy_threshold: healthy_threshold?,
            port: port?,
            reuse_connection: reuse_connection.is_none_or(|reuse| reuse.value),
            log_every_failure: *always_log_health_check_failures,
            alpn: alpn.map(|protocol| protocol.as_str().into()).collect(),
            question: question?,
        })
    }
}

fn question(at: &At<'_>, checker: Option<&HealthChecker>) -> Option<Question> {
    match at.required("health_checker", checker)? {
        HealthChecker::TcpHealthCheck(tcp) => exchange(&at.field("tcp_health_check"), tcp),
        HealthChecker::HttpHealthCheck(message) => {
            http(&at.field("http_health_check"), message).map(|http| Question::Http(http.into()))
        }
        HealthChecker::GrpcHealthCheck(message) => grpc(&at.field("grpc_health_check"), message),
        HealthChecker::CustomHealthCheck(custom) => at
            .field("custom_health_check")
            .fault(format!("the check '{}' is not supported", custom.name)),
    }
}

fn exchange(at: &At<'_>, message: &TcpHealthCheck) -> Option<Question> {
    let TcpHealthCheck {
        send,
        receive,
        proxy_protocol_config,
    } = message;
    if proxy_protocol_config.is_some() {
        return at.field("proxy_protocol_config").fault("is not supported");
    }
    let send = match send {
        Some(send) => payload(&at.field("send"), send),
        None => Some([].into()),
    };
    let receive = at.each("receive", receive, payload).into();
    Some(Question::Tcp(Exchange {
        send: send?,
        receive,
    }))
}

/// Bytes, given as they are or in hexadecimal.
fn payload(at: &At<'_>, message: &Payload) -> Option<Box<[u8]>> {
    match at.required("payload", message.payload.as_ref())? {
        payload::Payload::Binary(bytes) => Some(bytes.as_slice().into()),
        payload::Payload::Text(text) => {
            let digits: Option<Vec<u8>> = text
                .chars()
                .map(|digit| {
                    digit
                        .to_digit(16)
                        .and_then(|digit| u8::try_from(digit).ok())
                })
                .collect();
            match digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0) {
                Some(digits) => Some(
                    digits
                        .chunks(2)
                        .map(|pair| pair[0] << 4 | pair[1])
                        .collect(),
                ),
                None => at
                    .field("text")
                    .fault(format!("'{text}' is no hexadecimal of whole bytes")),
            }
        }
    }
}

fn http(at: &At<'_>, message: &HttpHealthCheck) -> Option<Http> {
    let HttpHealthCheck {
        host,
        path,
        send,
        receive,
        response_buffer_size,
        request_headers_to_add,
        request_headers_to_remove,
        expected_statuses,
        retriable_statuses,
        codec_client_type,
        service_name_matcher,
        method,
    } = message;
    let path_and_query = match PathAndQuery::try_from(path.as_str()) {
        Ok(path) if path.as_str().starts_with('/') => Some(path),
        _ => at
            .field("path")
            .fault(format!("'{path}' is no path that starts with /")),
    };
    let method_at = at.field("method");
    let method = match RequestMethod::try_from(*method) {
        Ok(RequestMethod::MethodUnspecified) => Some(Method::GET),
        Ok(RequestMethod::Connect) | Err(_) => method_at.fault("is no method of a health check"),
        Ok(method) => Method::from_bytes(method.as_str_name().as_bytes())
            .map_or_else(|_| method_at.fault("is no method"), Some),
    };
    let http2 = match CodecClientType::try_from(*codec_client_type) {
        Ok(CodecClientType::Http1) => Some(false),
        Ok(CodecClientType::Http2) => Some(true),
        Ok(CodecClientType::Http3) | Err(_) => {
            at.field("codec_client_type").fault("is not supported")
        }
    };
    let service = match service_name_matcher {
        Some(matcher) => {
            StringMatcher::compile(&at.field("service_name_matcher"), matcher).map(Some)
        }
        None => Some(None),
    };
    let body = match send {
        Some(send) => payload(&at.field("send"), send),
        None => Some([].into()),
    };
    let mut expected = at.each("expected_statuses", expected_statuses, statuses);
    if expected_statuses.is_empty() {
        expected.push(200..=200);
    }
    let remove = at.each(
        "request_headers_to_remove",
        request_headers_to_remove,
        |at, name| header_name(at, name),
    );
    let add = headers(at, "request_headers_to_add", request_headers_to_add);
    let retriable = at.each("retriable_statuses", retriable_statuses, statuses);
    let receive = at.each("receive", receive, payload);
    Some(Http {
        host: host.as_str().into(),
        path: path_and_query?,
        method: method?,
        add,
        remove: remove.into(),
        http2: http2?,
        body: body?,
        expected: expected.into(),
        retriable: retriable.into(),
        service: service?,
        receive: receive.into(),
        response_bytes: response_buffer_size.map_or(RESPONSE_BYTES, |size| size.value),
    })
}

fn grpc(at: &At<'_>, message: &GrpcHealthCheck) -> Option<Question> {
    let GrpcHealthCheck {
        service_name,
        authority,
        initial_metadata,
    } = message;
    Some(Question::Grpc {
        service: service_name.as_str().into(),
        authority: authority.as_str().into(),
        metadata: headers(at, "initial_metadata", initial_metadata),
    })
}

fn statuses(at: &At<'_>, range: &Int64Range) -> Option<RangeInclusive<u16>> {
    let Int64Range { start, end } = *range;
    match (u16::try_from(start), u16::try_from(end)) {
        (Ok(first), Ok(past)) if 100 <= first && first < past && past <= 600 => {
            Some(first..=past - 1)
        }
        _ => at.fault(format!(
            "from {start} to below {end} is no range within 100 to 600"
        )),
    }
}

fn header_name(at: &At<'_>, name: &str) -> Option<HeaderName> {
    HeaderName::try_from(name).map_or_else(
        |_| at.fault(format!("'{name}' is no name of a header")),
        Some,
    )
}

fn headers(at: &At<'_>, field: &str, messages: &[HeaderValueOption]) -> HeaderMap {
    let pairs = at.each(field, messages, |at, option| {
        let header = at.required("header", option.header.as_ref())?;
        let at = at.field("header");
        if header.value.contains('%') {
            return at
                .field("value")
                .fault("command operators are not supported in health checks");
        }
        let value = HeaderValue::try_from(header.value.as_str()).ok();
        let Some(value) = value else {
            return at.field("value").fault("is no value of a header");
        };
        Some((header_name(&at.field("key"), &header.key)?, value))
    });
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(name, value);
    }
    map
}

#[cfg(test)]
mod tests;
