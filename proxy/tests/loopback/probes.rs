//! The application's probes and hooks on the status port, asked of real servers.

use std::{
    collections::BTreeMap,
    io::Write,
    net::{Ipv4Addr, TcpListener},
    time::{Duration, Instant},
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect},
    routing::{get, post},
};
use fairlead_api::app_probes::{AppProbe, Grpc, Handler, HttpGet, Scheme, TcpSocket};
use http_body_util::{BodyExt, Full};

use crate::{
    application::{Application, Peer},
    rig::{connect, rest, until, upstream},
    sidecar::{Running, config, start},
};

/// Where the tests ask.
const PATH: &str = "/app-health/web/readyz";
/// A hook.
const HOOK: &str = "/app-lifecycle/web/prestopz";

fn http(port: u16, path: &str) -> Handler {
    Handler::HttpGet(HttpGet {
        port,
        path: path.to_owned(),
        scheme: Scheme::Http,
    })
}

fn https(port: u16, path: &str) -> Handler {
    Handler::HttpGet(HttpGet {
        port,
        path: path.to_owned(),
        scheme: Scheme::Https,
    })
}

fn grpc(port: u16, service: &str) -> Handler {
    let service = service.to_owned();
    Handler::Grpc(Grpc { port, service })
}

/// A proxy that knows one probe at [`PATH`] and the same as a hook.
fn proxy(handler: Handler, timeout_seconds: Option<u32>) -> Running {
    let probe = AppProbe {
        handler,
        timeout_seconds,
    };
    let mut config = config(Duration::ZERO);
    config.app_probes =
        BTreeMap::from([(PATH.to_owned(), probe.clone()), (HOOK.to_owned(), probe)]);
    let (_, nowhere) = upstream();
    start(config, nowhere)
}

/// Status, head and body of an answer of the status port.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// Asks as the kubelet does, with further header lines.
#[track_caller]
fn ask(running: &Running, path: &str, headers: &str) -> Answer {
    let port = running.ports.status;
    let mut client = connect((Ipv4Addr::LOCALHOST, port).into());
    let host = if headers.to_lowercase().contains("host:") {
        String::new()
    } else {
        format!("Host: 127.0.0.1:{port}\r\n")
    };
    let request = format!(
        "GET {path} HTTP/1.1\r\n{host}User-Agent: kube-probe/1.35\r\nAccept: */*\r\n{headers}Connection: close\r\n\r\n"
    );
    client.write_all(request.as_bytes()).unwrap();
    let answer = rest(&mut client);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

#[track_caller]
fn check(handler: &Handler, status: u16, words: &str) {
    let running = proxy(handler.clone(), None);
    let answer = ask(&running, PATH, "");
    assert_eq!(answer.status, status, "{handler:?}: {}", answer.body);
    assert!(answer.body.contains(words), "{handler:?}: {}", answer.body);
    running.end();
}

/// What the request was, in words.
async fn told(Extension(Peer(peer)): Extension<Peer>, headers: HeaderMap) -> String {
    let mut text = format!("from {}\n", peer.ip());
    for (name, value) in &headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    text
}

fn routes() -> Router {
    let large = "x".repeat(20 * 1024);
    Router::new()
        .route("/ok", get("fine"))
        .route("/told", get(told))
        .route(
            "/query",
            get(|uri: axum::http::Uri| async move { uri.to_string() }),
        )
        .route("/bad", get((StatusCode::SERVICE_UNAVAILABLE, "broken")))
        .route("/large", get(large))
        .route("/not-modified", get(StatusCode::NOT_MODIFIED))
        .route("/moved", get(Redirect::permanent("/ok")))
        .route("/moved-to-bad", get(Redirect::temporary("bad")))
        .route("/login", get(Redirect::to("https://login.example/?a=b")))
        .route("/loop", get(Redirect::to("/loop")))
        .route(
            "/absolute",
            get(|headers: HeaderMap| async move {
                let host = headers[header::HOST].to_str().unwrap();
                Redirect::to(&format!("http://{host}/ok"))
            }),
        )
        .route("/mail", get(Redirect::to("mailto:nobody")))
        .route("/slow", get(std::future::pending::<()>))
        .route("/endless", get(|| async { Body::new(Endless) }))
}

/// A body without end.
pub(crate) struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        let data = Bytes::from_static(&[b'y'; 1024]);
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(data))))
    }
}

#[test]
fn an_http_probe_has_the_applications_outcome() {
    let application = Application::http(routes());
    let port = application.port;
    for (path, status, words) in [
        ("/ok", 200, "fine"),
        ("ok", 200, "fine"),
        ("/bad", 503, "broken"),
        ("/none", 404, ""),
        ("/not-modified", 304, ""),
        ("/query?a=b&c=%20", 200, "/query?a=b&c=%20"),
        ("/moved", 200, "fine"),
        ("/moved-to-bad", 503, "broken"),
        ("/absolute", 200, "fine"),
        (
            "/login",
            200,
            "redirected to another host, 'https://login.example/?a=b'",
        ),
        ("/loop", 500, "10 requests with a redirect each"),
        (
            "/mail",
            500,
            "redirects to 'mailto:nobody', which is no HTTP address",
        ),
    ] {
        check(&http(port, path), status, words);
    }
}

#[test]
fn an_https_probe_takes_any_certificate() {
    for protocols in [&[&b"http/1.1"[..]][..], &[b"h2", b"http/1.1"], &[]] {
        let application = Application::https(routes(), protocols);
        let port = application.port;
        check(&https(port, "/ok"), 200, "fine");
        check(&https(port, "/bad"), 503, "broken");
        check(&https(port, "/moved"), 200, "fine");
        check(&http(port, "/ok"), 500, "gave no HTTP answer");
    }
    let application = Application::http(routes());
    let words = "does the application speak HTTPS on that port?";
    check(&https(application.port, "/ok"), 500, words);
}

#[test]
fn the_application_sees_the_kubelets_request_from_the_proxys_address() {
    let application = Application::http(routes());
    let port = application.port;
    let running = proxy(http(port, "/told"), None);
    let answer = ask(
        &running,
        PATH,
        "X-Mark: a\r\nX-Mark: b\r\nAuthorization: Basic x\r\n",
    );
    let own = format!("host: 127.0.0.1:{port}\n");
    for line in [
        "from 127.0.0.6\n",
        own.as_str(),
        "user-agent: kube-probe/1.35\n",
        "accept: */*\n",
        "x-mark: a\nx-mark: b\n",
        "authorization: Basic x\n",
        "connection: close\n",
    ] {
        assert!(
            answer.body.contains(line),
            "{line} is not in {}",
            answer.body
        );
    }
    assert!(answer.head.contains("connection: close"), "{}", answer.head);
    let answer = ask(&running, PATH, "Host: shop.example\r\n");
    assert!(
        answer.body.contains("host: shop.example\n"),
        "{}",
        answer.body
    );
    running.end();
}

#[test]
fn a_large_or_endless_body_is_cut() {
    let application = Application::http(routes());
    for path in ["/large", "/endless"] {
        let running = proxy(http(application.port, path), None);
        let answer = ask(&running, PATH, "");
        assert_eq!((answer.status, answer.body.len()), (200, 10 * 1024));
        running.end();
    }
}

#[test]
fn a_probe_ends_with_its_time_out() {
    let application = Application::http(routes());
    for (handler, timeout_seconds) in [
        (http(application.port, "/slow"), Some(1)),
        (http(application.port, "/slow"), None),
    ] {
        let running = proxy(handler, timeout_seconds);
        let begun = Instant::now();
        let answer = ask(&running, PATH, "");
        assert!(begun.elapsed() >= Duration::from_secs(1));
        assert_eq!(answer.status, 500);
        assert!(
            answer.body.contains("gave no whole answer within 1s"),
            "{}",
            answer.body
        );
        running.end();
    }
}

#[test]
fn a_tcp_probe_is_a_connection() {
    let (listener, address) = upstream();
    check(
        &Handler::TcpSocket(TcpSocket {
            port: address.port(),
        }),
        200,
        "",
    );
    drop(listener);
    let words = "refused: no application in this pod listens on that port of that address";
    check(
        &Handler::TcpSocket(TcpSocket {
            port: address.port(),
        }),
        500,
        words,
    );
    check(&http(address.port(), "/ok"), 500, words);
    check(&grpc(address.port(), ""), 500, words);
}

/// Answers as a gRPC server: a message with the status in trailers, or a status alone.
async fn health(body: Bytes) -> axum::response::Response {
    let name = body.get(7..).unwrap_or_default();
    let (status, code) = match name {
        b"" | b"cart" => (1, "0"),
        b"sick" => (2, "0"),
        _ => {
            return (
                [("content-type", "application/grpc"), ("grpc-status", "5")],
                "",
            )
                .into_response();
        }
    };
    let message = Full::new(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.parse().unwrap());
    let body = message.with_trailers(async move { Some(Ok(trailers)) });
    ([("content-type", "application/grpc")], Body::new(body)).into_response()
}

#[test]
fn a_grpc_probe_is_a_health_check() {
    let router = Router::new().route("/grpc.health.v1.Health/Check", post(health));
    let application = Application::http(router);
    let port = application.port;
    check(&grpc(port, ""), 200, "");
    check(&grpc(port, "cart"), 200, "");
    check(
        &grpc(port, "sick"),
        500,
        "says NOT_SERVING of service 'sick'",
    );
    check(
        &grpc(port, "other"),
        500,
        "does not know the service 'other'",
    );
    let plain = Application::http(routes());
    check(
        &grpc(plain.port, ""),
        500,
        "answers gRPC with HTTP status 404",
    );
    let unimplemented = Router::new()
        .fallback(|| async { [("content-type", "application/grpc"), ("grpc-status", "12")] });
    let unimplemented = Application::http(unimplemented);
    check(
        &grpc(unimplemented.port, ""),
        500,
        "does not serve grpc.health.v1.Health",
    );
}

#[test]
fn a_path_that_is_not_known_tells_which_are() {
    let running = proxy(http(1, "/"), None);
    for path in [
        "/app-health/other/readyz",
        "/app-health/web/livez",
        "/app-lifecycle/x",
    ] {
        let answer = ask(&running, path, "");
        assert_eq!(answer.status, 400);
        assert_eq!(
            answer.body,
            format!("{path} is no probe or hook of this pod; known are:\n  {PATH}\n  {HOOK}\n")
        );
    }
    running.end();
}

#[test]
fn a_hook_that_reaches_nobody_has_an_answer_that_is_none() {
    let application = Application::http(routes());
    let running = proxy(http(application.port, "/bad"), None);
    // The kubelet looks at no status: the application was told.
    assert_eq!(ask(&running, HOOK, "").status, 503);
    running.end();
    let (listener, address) = upstream();
    drop(listener);
    let running = proxy(http(address.port(), "/"), None);
    let answer = ask(&running, HOOK, "");
    assert_eq!(answer.status, 307);
    assert!(
        answer.head.contains("location: fairlead-hook-failed:"),
        "{}",
        answer.head
    );
    assert!(answer.body.contains("refused"), "{}", answer.body);
    running.end();
}

#[test]
fn a_hook_lasts_as_long_as_the_kubelet_waits() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let running = proxy(http(port, "/"), None);
    let mut kubelet = connect((Ipv4Addr::LOCALHOST, running.ports.status).into());
    write!(kubelet, "GET {HOOK} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let (mut asked, _) = crate::rig::accept(&listener);
    let mut request = [0; 3];
    std::io::Read::read_exact(&mut asked, &mut request).unwrap();
    drop(kubelet);
    // The proxy lets go of the application, too.
    asked.set_nonblocking(true).unwrap();
    until("the end of the question", || {
        let mut buffer = [0; 1024];
        match std::io::Read::read(&mut asked, &mut buffer) {
            Ok(0) => Some(()),
            Ok(_) => None,
            Err(error) => (error.kind() == std::io::ErrorKind::ConnectionReset).then_some(()),
        }
    });
    running.end();
}

#[test]
fn the_status_port_may_be_left_to_the_application() {
    let mut config = config(Duration::ZERO);
    let (listener, address) = upstream();
    config.ports.status = address.port();
    config.ports.no_status = true;
    let running = start(config, address);
    let mut client = connect(address);
    let (mut server, _) = crate::rig::accept(&listener);
    client.write_all(b"mine").unwrap();
    crate::rig::expect(&mut server, "mine");
    running.end();
}
