use fairlead_xds::{
    envoy::{config::core::v3::HeaderValue as Header, r#type::matcher::v3},
    google::protobuf::{self, UInt32Value},
};

use super::*;
use crate::compile::Findings;

fn seconds(seconds: i64) -> Option<protobuf::Duration> {
    Some(protobuf::Duration { seconds, nanos: 0 })
}

fn message(checker: HealthChecker) -> HealthCheck {
    HealthCheck {
        timeout: seconds(1),
        interval: seconds(5),
        unhealthy_threshold: Some(UInt32Value { value: 3 }),
        healthy_threshold: Some(UInt32Value { value: 2 }),
        health_checker: Some(checker),
        ..HealthCheck::default()
    }
}

fn text(text: &str) -> Payload {
    Payload {
        payload: Some(payload::Payload::Text(text.to_owned())),
    }
}

fn tcp() -> HealthChecker {
    HealthChecker::TcpHealthCheck(TcpHealthCheck::default())
}

#[track_caller]
fn sound(message: &HealthCheck) -> Settings {
    let findings = Findings::default();
    let settings = Settings::compile(&findings.at("h"), message);
    assert_eq!(findings.faults(), []);
    settings.unwrap()
}

#[track_caller]
fn faulty(message: &HealthCheck, expected: &[&str]) {
    let findings = Findings::default();
    Settings::compile(&findings.at("h"), message);
    let faults = findings.faults();
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, expected);
}

#[test]
fn times_that_are_not_given_follow_from_those_that_are() {
    let settings = sound(&message(tcp()));
    let five = Duration::from_secs(5);
    let expected = Pauses {
        no_traffic: Duration::from_secs(60),
        no_traffic_healthy: Duration::from_secs(60),
        ..Pauses::every(five)
    };
    assert_eq!(settings.pauses, expected);
    let settings = sound(&HealthCheck {
        unhealthy_interval: seconds(7),
        no_traffic_interval: seconds(9),
        ..message(tcp())
    });
    let expected = Pauses {
        unhealthy: Duration::from_secs(7),
        unhealthy_edge: Duration::from_secs(7),
        no_traffic: Duration::from_secs(9),
        no_traffic_healthy: Duration::from_secs(9),
        ..Pauses::every(five)
    };
    assert_eq!(settings.pauses, expected);
}

#[test]
fn jitter_is_added() {
    let pauses = Pauses {
        jitter: Duration::from_secs(1),
        jitter_percent: 50,
        ..Pauses::every(Duration::from_secs(10))
    };
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..100 {
        let pause = pauses.after(true, false, true, &mut random).as_secs_f64();
        assert!((10.0..16.0).contains(&pause), "{pause}");
    }
}

#[test]
fn payloads_are_hexadecimal_or_bytes() {
    let settings = sound(&message(HealthChecker::TcpHealthCheck(TcpHealthCheck {
        send: Some(text("50494e47")),
        receive: vec![
            text("504f"),
            Payload {
                payload: Some(payload::Payload::Binary(b"NG".to_vec())),
            },
        ],
        proxy_protocol_config: None,
    })));
    let Question::Tcp(exchange) = settings.question else {
        panic!("{settings:?}");
    };
    assert_eq!(&*exchange.send, b"PING");
    assert_eq!(
        exchange.receive,
        [b"PO"[..].into(), b"NG"[..].into()].into()
    );
}

#[test]
fn an_http_check_has_envoys_defaults() {
    let settings = sound(&message(HealthChecker::HttpHealthCheck(HttpHealthCheck {
        path: "/healthz?deep=1".to_owned(),
        ..HttpHealthCheck::default()
    })));
    let Question::Http(http) = settings.question else {
        panic!("{settings:?}");
    };
    assert_eq!((http.method, http.http2), (Method::GET, false));
    assert_eq!(
        (&*http.expected, http.response_bytes),
        (&[200..=200][..], 1024)
    );
}

#[test]
fn every_fault_is_told() {
    faulty(
        &HealthCheck::default(),
        &[
            "h.timeout: is missing",
            "h.interval: is missing",
            "h.unhealthy_threshold: is missing",
            "h.healthy_threshold: is missing",
            "h.health_checker: is missing",
        ],
    );
    faulty(
        &HealthCheck {
            timeout: seconds(0),
            alt_port: Some(UInt32Value { value: 70_000 }),
            ..message(HealthChecker::TcpHealthCheck(TcpHealthCheck {
                send: Some(text("5")),
                receive: vec![text("xy"), Payload { payload: None }],
                ..TcpHealthCheck::default()
            }))
        },
        &[
            "h.timeout: is 0; a time longer than that is accepted",
            "h.alt_port: is no port",
            "h.tcp_health_check.send.text: '5' is no hexadecimal of whole bytes",
            "h.tcp_health_check.receive[0].text: 'xy' is no hexadecimal of whole bytes",
            "h.tcp_health_check.receive[1].payload: is missing",
        ],
    );
    let header = |key: &str, value: &str| HeaderValueOption {
        header: Some(Header {
            key: key.to_owned(),
            value: value.to_owned(),
            ..Header::default()
        }),
        ..HeaderValueOption::default()
    };
    faulty(
        &message(HealthChecker::HttpHealthCheck(HttpHealthCheck {
            path: "healthz".to_owned(),
            method: RequestMethod::Connect.into(),
            codec_client_type: CodecClientType::Http3.into(),
            expected_statuses: vec![Int64Range {
                start: 300,
                end: 200,
            }],
            request_headers_to_remove: vec!["a b".to_owned()],
            request_headers_to_add: vec![header("a b", "c"), header("a", "%DURATION%")],
            service_name_matcher: Some(v3::StringMatcher::default()),
            ..HttpHealthCheck::default()
        })),
        &[
            "h.http_health_check.path: 'healthz' is no path that starts with /",
            "h.http_health_check.method: is no method of a health check",
            "h.http_health_check.codec_client_type: is not supported",
            "h.http_health_check.service_name_matcher.match_pattern: is missing",
            "h.http_health_check.expected_statuses[0]: from 300 to below 200 is no range within 100 \
             to 600",
            "h.http_health_check.request_headers_to_remove[0]: 'a b' is no name of a header",
            "h.http_health_check.request_headers_to_add[0].header.key: 'a b' is no name of a header",
            "h.http_health_check.request_headers_to_add[1].header.value: command operators are not \
             supported in health checks",
        ],
    );
    faulty(
        &message(HealthChecker::GrpcHealthCheck(GrpcHealthCheck {
            initial_metadata: vec![header("a b", "c"), header("a", "%DURATION%")],
            ..GrpcHealthCheck::default()
        })),
        &[
            "h.grpc_health_check.initial_metadata[0].header.key: 'a b' is no name of a header",
            "h.grpc_health_check.initial_metadata[1].header.value: command operators are not \
             supported in health checks",
        ],
    );
}
