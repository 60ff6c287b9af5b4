use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fairlead_xds::envoy::r#type::matcher::v3::{
    StringMatcher as Message, string_matcher::MatchPattern,
};
use hyper::{Method, http::uri::PathAndQuery, service::service_fn};
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::{compile::Findings, matcher::StringMatcher};

const TARGET: Target<'_> = Target {
    address: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1),
    host: "service",
};

fn settings(question: Question) -> Settings {
    Settings {
        question,
        ..Settings::tcp()
    }
}

fn exchange(send: &[u8], receive: &[&[u8]]) -> Settings {
    settings(Question::Tcp(Exchange {
        send: send.into(),
        receive: receive.iter().map(|part| Box::from(*part)).collect(),
    }))
}

fn http() -> Http {
    Http {
        host: "".into(),
        path: PathAndQuery::from_static("/healthz"),
        method: Method::GET,
        add: HeaderMap::new(),
        remove: [].into(),
        http2: false,
        body: [].into(),
        expected: [200..=200].into(),
        retriable: [503..=503].into(),
        service: None,
        receive: [].into(),
        response_bytes: 1024,
    }
}

/// A server that hears one side of each connection.
async fn ask(probe: &mut Probe, settings: &Settings, serve: impl FnOnce(DuplexStream)) -> Finding {
    let connect = || async {
        let (ours, theirs) = duplex(64 * 1024);
        serve(theirs);
        Ok(Box::new(ours) as Box<dyn Stream>)
    };
    probe.ask(settings, TARGET, connect).await
}

/// Answers each request with this status, headers and body; counts the connections.
fn answering(
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    body: &'static [u8],
    connections: Arc<AtomicUsize>,
) -> impl FnOnce(DuplexStream) {
    move |stream| {
        connections.fetch_add(1, Ordering::Relaxed);
        let service = service_fn(move |request: Request<Incoming>| async move {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(*name, *value);
            }
            assert_eq!(request.headers()[header::USER_AGENT], "Envoy/HC");
            Ok::<_, Infallible>(response.body(Full::<Bytes>::from(body)).unwrap())
        });
        tokio::spawn(async move {
            let io = TokioIo::new(stream);
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // It ends with the probe.
            let _ = server.serve_connection(io, service).await;
        });
    }
}

#[track_caller]
fn is(finding: &Finding, outcome: Outcome, words: Option<&str>) {
    assert_eq!(
        (finding.outcome, finding.words.as_deref()),
        (outcome, words)
    );
}

const PASSED: Outcome = Outcome::Passed { degraded: false };
const UNREACHABLE: Outcome = Outcome::Unreachable { timed_out: false };

#[tokio::test]
async fn a_connection_alone_is_enough_where_nothing_is_expected() {
    let found = ask(&mut Probe::default(), &exchange(b"", &[]), drop).await;
    is(&found, PASSED, None);
    let refuse = || async { Err(io::Error::other("connect to 10.0.0.1:80: refused")) };
    let found = Probe::default()
        .ask(&exchange(b"", &[]), TARGET, refuse)
        .await;
    is(&found, UNREACHABLE, Some("connect to 10.0.0.1:80: refused"));
}

#[tokio::test]
async fn an_answer_holds_what_is_expected_in_order() {
    let echo = |answer: &'static [u8]| {
        move |mut stream: DuplexStream| {
            tokio::spawn(async move {
                let mut question = [0; 4];
                stream.read_exact(&mut question).await.unwrap();
                assert_eq!(&question, b"PING");
                // In pieces.
                for byte in answer {
                    stream.write_all(&[*byte]).await.unwrap();
                }
            });
        }
    };
    let settings = exchange(b"PING", &[b"+P", b"NG"]);
    let found = ask(&mut Probe::default(), &settings, echo(b"x+PO NG\r\n")).await;
    is(&found, PASSED, None);
    let found = ask(&mut Probe::default(), &settings, echo(b"NG+P")).await;
    let words = "it closed the connection without the answer that is expected";
    is(&found, UNREACHABLE, Some(words));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_says_nothing_is_given_up() {
    let mut held = None;
    let settings = exchange(b"PING", &[b"PONG"]);
    let found = ask(&mut Probe::default(), &settings, |stream| {
        held = Some(stream);
    })
    .await;
    let timed_out = Outcome::Unreachable { timed_out: true };
    is(&found, timed_out, Some("no answer within 1s"));
}

#[tokio::test]
async fn the_status_of_an_http_answer_decides() {
    for (status, outcome, words) in [
        (200, PASSED, None),
        (503, Outcome::Retriable, Some("it answers with 503")),
        (404, Outcome::Denied, Some("it answers with 404")),
    ] {
        for http2 in [false, true] {
            let settings = settings(Question::Http(Box::new(Http { http2, ..http() })));
            let serve = answering(status, &[], b"", Arc::default());
            let found = ask(&mut Probe::default(), &settings, serve).await;
            is(&found, outcome, words);
        }
    }
}

#[tokio::test]
async fn headers_and_body_of_an_http_answer_count() {
    let matcher = Message {
        match_pattern: Some(MatchPattern::Exact("service".to_owned())),
        ignore_case: false,
    };
    let matcher = StringMatcher::compile(&Findings::default().at(""), &matcher);
    let settings = settings(Question::Http(Box::new(Http {
        service: matcher,
        receive: [b"fine"[..].into()].into(),
        ..http()
    })));
    const OURS: &[(&str, &str)] = &[(SERVICE, "service"), (DEGRADED, "1")];
    const OTHER: &[(&str, &str)] = &[(SERVICE, "other")];
    let serve = answering(200, OURS, b"all is fine", Arc::default());
    let found = ask(&mut Probe::default(), &settings, serve).await;
    is(&found, Outcome::Passed { degraded: true }, None);
    let serve = answering(200, OURS, b"all is well", Arc::default());
    let found = ask(&mut Probe::default(), &settings, serve).await;
    let words = "its answer does not hold what is expected";
    is(&found, Outcome::Denied, Some(words));
    let serve = answering(200, OTHER, b"fine", Arc::default());
    let found = ask(&mut Probe::default(), &settings, serve).await;
    is(&found, Outcome::Denied, Some("other answers in its place"));
}

#[tokio::test]
async fn a_connection_is_kept_if_it_may_be() {
    for (reuse_connection, expected) in [(true, 1), (false, 3)] {
        let connections = Arc::new(AtomicUsize::new(0));
        let settings = Settings {
            reuse_connection,
            time_out: Duration::from_secs(10),
            ..settings(Question::Http(Box::new(http())))
        };
        let mut probe = Probe::default();
        for _ in 0..3 {
            let serve = answering(200, &[], b"", connections.clone());
            is(&ask(&mut probe, &settings, serve).await, PASSED, None);
        }
        assert_eq!(connections.load(Ordering::Relaxed), expected);
    }
}

#[tokio::test]
async fn grpc_is_asked_for_the_service() {
    let settings = settings(Question::Grpc {
        service: "shop".into(),
        authority: "".into(),
        metadata: HeaderMap::new(),
    });
    for (headers, body, outcome, words) in [
        (&[][..], &[0, 0, 0, 0, 2, 8, 1][..], PASSED, None),
        (
            &[],
            &[0, 0, 0, 0, 2, 8, 2],
            Outcome::Denied,
            Some("it says NOT_SERVING of service 'shop'"),
        ),
        (
            &[("grpc-status", "12")],
            &[],
            Outcome::Denied,
            Some("it does not serve grpc.health.v1.Health (gRPC status UNIMPLEMENTED)"),
        ),
    ] {
        let serve = answering(200, headers, body, Arc::default());
        let found = ask(&mut Probe::default(), &settings, serve).await;
        is(&found, outcome, words);
    }
}
