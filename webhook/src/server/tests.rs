use std::{net::SocketAddr, sync::Arc};

use fairlead_api::mesh_config::MeshConfig;
use fairlead_runtime::{drain, readiness::Readiness, server::bind};
use http_body_util::{Empty, Full, StreamBody, combinators::BoxBody};
use hyper::{Method, body::Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::{default_provider, sign::any_supported_type},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::{
    fake_api::Fake,
    settings::tests::settings,
    surroundings::{Mesh, Namespaces, Nodes},
};

const NAME: &str = "fairlead-webhook.mesh.svc";
/// Far beyond every deadline of the server.
const LONG: Duration = Duration::from_secs(20);

/// A server on a port of its own, and what a client needs to trust it.
struct Server {
    address: SocketAddr,
    roots: RootCertStore,
    served: Certificate,
    readiness: Readiness,
    mesh: Mesh,
    api_server: watch::Sender<Option<u32>>,
    /// What the API server is told.
    fake: Fake,
    leaving: watch::Sender<bool>,
    signal: drain::Signal,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start() -> Self {
        Self::with_room_for(CONNECTIONS).await
    }

    async fn with_room_for(connections: usize) -> Self {
        // Another test may have been first.
        let _ = default_provider().install_default();
        let (certified_key, der) = certificate();
        let mut roots = RootCertStore::empty();
        roots.add(der).unwrap();
        let served = Certificate::default();
        served.replace(certified_key);
        let (api_server, known) = watch::channel(Some(35));
        let fake = Fake::new();
        let mesh = Mesh::default();
        mesh.replace(MeshConfig::default());
        let surroundings = Surroundings {
            mesh: mesh.clone(),
            namespaces: Namespaces::unknown(),
            nodes: Nodes::default(),
            api_server: known,
        };
        let metrics = Metrics::new().0;
        let (events, publish) = Events::new(
            fake.client(),
            "webhook-0",
            crate::events::Selection::All,
            "default",
            metrics.clone(),
        );
        tokio::spawn(publish);
        let (signal, watch) = drain::channel();
        let readiness = Readiness::default();
        let injector = Injector::new(settings(), surroundings, metrics, events);
        let (leaving, asked_to_leave) = watch::channel(false);
        let pages = router(injector, readiness.clone(), asked_to_leave);
        let listener = bind("test", SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            roots,
            served: served.clone(),
            readiness,
            mesh,
            api_server,
            fake,
            leaving,
            signal,
            serving: tokio::spawn(serve(
                listener,
                tls_config(served),
                pages,
                watch,
                connections,
            )),
        }
    }

    async fn connect(&self, alpn: &[&str]) -> TlsStream<TcpStream> {
        let mut config = ClientConfig::builder()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = NAME.try_into().unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap()
    }

    async fn http1(&self) -> hyper::client::conn::http1::SendRequest<Payload> {
        let stream = TokioIo::new(self.connect(&["http/1.1"]).await);
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn http2(&self) -> hyper::client::conn::http2::SendRequest<Payload> {
        let stream = TokioIo::new(self.connect(&["h2"]).await);
        let executor = TokioExecutor::new();
        let (sender, connection) = hyper::client::conn::http2::handshake(executor, stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        sender
    }

    async fn send(&self, request: Request<Payload>) -> (StatusCode, String) {
        text(self.http1().await.send_request(request).await.unwrap()).await
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.send(request(Method::GET, path, empty())).await
    }
}

type Payload = BoxBody<Bytes, std::convert::Infallible>;

fn certificate() -> (Arc<CertifiedKey>, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([NAME.to_owned()]).unwrap();
    let der = params.self_signed(&key).unwrap().der().clone();
    let private = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let certified = CertifiedKey::new(vec![der.clone()], any_supported_type(&private).unwrap());
    (Arc::new(certified), der)
}

fn empty() -> Payload {
    Empty::new().boxed()
}

fn full(body: impl Into<Bytes>) -> Payload {
    Full::new(body.into()).boxed()
}

/// A body whose rest never comes.
fn stalled() -> Payload {
    let first = futures_util::stream::iter([Ok(Frame::data(Bytes::from_static(b"{")))]);
    let never = futures_util::stream::pending();
    StreamBody::new(futures_util::StreamExt::chain(first, never)).boxed()
}

fn request(method: Method, path: &str, body: Payload) -> Request<Payload> {
    let request = axum::http::Request::builder().method(method);
    let request = request.uri(format!("https://{NAME}{path}"));
    let request = request.header(header::CONTENT_TYPE, "application/json");
    request.header(header::HOST, NAME).body(body).unwrap()
}

fn review() -> Request<Payload> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "1",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "namespace": "shop",
            "object": { "spec": { "containers": [{ "name": "app" }] } },
        },
    });
    request(Method::POST, "/inject", full(review.to_string()))
}

async fn text(response: axum::http::Response<hyper::body::Incoming>) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[track_caller]
fn check_injected((status, body): &(StatusCode, String)) {
    assert_eq!(*status, StatusCode::OK, "{body}");
    let review: Value = serde_json::from_str(body).unwrap();
    assert_eq!(review["response"]["allowed"], true);
    assert!(review["response"]["patch"].is_string());
}

#[track_caller]
fn check((status, body): &(StatusCode, String), expected: StatusCode, part: &str) {
    assert_eq!(*status, expected, "{body}");
    assert!(body.contains(part), "{part} in {body}");
}

#[tokio::test]
async fn a_review_is_answered_over_both_versions_of_http() {
    let server = Server::start().await;
    check_injected(&server.send(review()).await);
    let mut sender = server.http2().await;
    for _ in 0..3 {
        check_injected(&text(sender.send_request(review()).await.unwrap()).await);
    }
    let mut long_path = review();
    *long_path.uri_mut() = format!("https://{NAME}/inject/cluster/one")
        .parse()
        .unwrap();
    check_injected(&server.send(long_path).await);
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() {
    let server = Server::start().await;
    let mut untyped = review();
    untyped
        .headers_mut()
        .insert(header::CONTENT_TYPE, "text/plain".parse().unwrap());
    check(
        &server.send(untyped).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "application/json",
    );
    let nothing = request(Method::POST, "/inject", empty());
    check(
        &server.send(nothing).await,
        StatusCode::BAD_REQUEST,
        "empty",
    );
    let malformed = request(Method::POST, "/inject", full("{\"kind\":"));
    check(
        &server.send(malformed).await,
        StatusCode::BAD_REQUEST,
        "AdmissionReview",
    );
    let old = json!({ "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview" });
    let old = request(Method::POST, "/inject", full(old.to_string()));
    check(
        &server.send(old).await,
        StatusCode::BAD_REQUEST,
        "\"admission.k8s.io/v1beta1\"; an \"AdmissionReview\" of \"admission.k8s.io/v1\" is expected",
    );
    check(
        &server.get("/unknown").await,
        StatusCode::NOT_FOUND,
        "POST /inject",
    );
    let got = server.get("/inject").await;
    assert_eq!(got.0, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_by_its_announcement_and_by_its_length() {
    let server = Server::start().await;
    let announced = request(Method::POST, "/inject", full(vec![b' '; BODY_LIMIT + 1]));
    let mut sender = server.http2().await;
    let answer = text(sender.send_request(announced).await.unwrap()).await;
    check(&answer, StatusCode::PAYLOAD_TOO_LARGE, "6 MiB");
    let frames = (0..7).map(|_| Ok(Frame::data(Bytes::from(vec![b' '; 1 << 20]))));
    let streamed = StreamBody::new(futures_util::stream::iter(frames)).boxed();
    let streamed = request(Method::POST, "/inject", streamed);
    let answer = text(sender.send_request(streamed).await.unwrap()).await;
    check(&answer, StatusCode::PAYLOAD_TOO_LARGE, "6 MiB");
    check_injected(&text(sender.send_request(review()).await.unwrap()).await);
}

#[tokio::test]
async fn a_slow_body_is_given_up_while_others_are_served() {
    let server = Server::start().await;
    let mut slow = server.http2().await;
    let waiting = tokio::spawn(slow.send_request(request(Method::POST, "/inject", stalled())));
    check_injected(&server.send(review()).await);
    let answer = timeout(LONG, waiting).await.unwrap().unwrap().unwrap();
    check(&text(answer).await, StatusCode::REQUEST_TIMEOUT, "2 s");
}

/// A request whose body says that it is small, and never comes.
fn stalled_and_small() -> Request<Payload> {
    let mut stalled = request(Method::POST, "/inject", stalled());
    stalled
        .headers_mut()
        .insert(header::CONTENT_LENGTH, "100".parse().unwrap());
    stalled
}

#[tokio::test]
async fn slow_bodies_give_way_to_ordinary_pods() {
    let server = Server::start().await;
    let mut flood = Vec::new();
    for _ in 0..3 * TURNS / 64 {
        let mut sender = server.http2().await;
        flood.extend((0..64).map(|_| tokio::spawn(sender.send_request(stalled_and_small()))));
    }
    let started = Instant::now();
    for _ in 0..20 {
        check_injected(&server.send(review()).await);
    }
    assert!(started.elapsed() < READ_DEADLINE, "{:?}", started.elapsed());
    for slow in flood {
        let answer = timeout(LONG, slow).await.unwrap().unwrap().unwrap();
        let (status, body) = text(answer).await;
        assert!(
            status == StatusCode::REQUEST_TIMEOUT || body.contains("try again"),
            "{status} {body}"
        );
    }
}

#[tokio::test]
async fn large_and_slow_bodies_do_not_make_ordinary_pods_wait() {
    let server = Server::start().await;
    let mut sender = server.http2().await;
    let slow = |_| tokio::spawn(sender.send_request(request(Method::POST, "/inject", stalled())));
    let flood: Vec<_> = (0..LARGE_TURNS * 3).map(slow).collect();
    let started = Instant::now();
    for _ in 0..20 {
        check_injected(&server.send(review()).await);
    }
    assert!(started.elapsed() < READ_DEADLINE, "{:?}", started.elapsed());
    let mut told = Vec::new();
    for slow in flood {
        let answer = timeout(LONG, slow).await.unwrap().unwrap().unwrap();
        told.push(text(answer).await);
    }
    let of = |status| told.iter().filter(|(found, _)| *found == status).count();
    let (slow, overloaded) = (
        of(StatusCode::REQUEST_TIMEOUT),
        of(StatusCode::SERVICE_UNAVAILABLE),
    );
    assert!(
        slow >= LARGE_TURNS && slow + overloaded == told.len(),
        "{told:?}"
    );
}

#[tokio::test]
async fn idle_connections_give_way_to_new_ones() {
    let server = Server::with_room_for(8).await;
    // One says nothing, one breaks off in the middle of its handshake, one of a request.
    let (mut plain, mut secured) = (Vec::new(), Vec::new());
    let started = Instant::now();
    for turn in 0..24 {
        if turn % 3 == 0 {
            let mut stream = server.connect(&["http/1.1"]).await;
            let head = b"POST /inject HTTP/1.1\r\nhost: x\r\nx-slow: ";
            stream.write_all(head).await.unwrap();
            secured.push(stream);
        } else {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            if turn % 3 == 1 {
                // The beginning of a ClientHello of 512 bytes.
                stream.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
            }
            plain.push(stream);
        }
        check_injected(&server.send(review()).await);
    }
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
    // The first of them have been closed, and not for their own deadlines.
    let mut rest = Vec::new();
    let ended = timeout(LONG, secured[0].read_to_end(&mut rest)).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn a_client_that_never_shakes_hands_is_closed() {
    let server = Server::start().await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut garbage = TcpStream::connect(server.address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    assert!(timeout(LONG, garbage.read_to_end(&mut rest)).await.is_ok());
    assert!(timeout(LONG, silent.read_to_end(&mut rest)).await.is_ok());
    check_injected(&server.send(review()).await);
}

#[tokio::test]
async fn a_connection_that_breaks_off_disturbs_nobody() {
    let server = Server::start().await;
    for part in [
        // In the middle of the head, and of the body.
        "POST /inject HTTP/1.1\r\nhost: x\r\ncontent-ty",
        "POST /inject HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: 1000\r\n\r\n{\"kind\":",
    ] {
        let mut stream = server.connect(&["http/1.1"]).await;
        stream.write_all(part.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        // Without the alert that ends TLS.
        drop(stream.into_inner().0);
        check_injected(&server.send(review()).await);
    }
    let mut stream = server.connect(&["http/1.1"]).await;
    stream
        .get_mut()
        .0
        .write_all(&[23, 3, 3, 0, 16])
        .await
        .unwrap();
    stream.get_mut().0.write_all(&[0; 16]).await.unwrap();
    // What is no record of this connection ends it.
    let mut rest = Vec::new();
    assert!(timeout(LONG, stream.read_to_end(&mut rest)).await.is_ok());
    check_injected(&server.send(review()).await);
}

#[tokio::test]
async fn without_the_api_servers_version_nothing_is_guessed() {
    let server = Server::start().await;
    server.api_server.send_replace(None);
    check(
        &server.send(review()).await,
        StatusCode::SERVICE_UNAVAILABLE,
        "version",
    );
}

#[tokio::test]
async fn readiness_tells_what_is_awaited() {
    let server = Server::start().await;
    let gate = server.readiness.gate("certificate");
    check(&server.get("/healthz").await, StatusCode::OK, "ok");
    check(
        &server.get("/readyz").await,
        StatusCode::SERVICE_UNAVAILABLE,
        "[-] certificate",
    );
    gate.open();
    assert_eq!(
        server.get("/readyz").await,
        (StatusCode::OK, "ready\n".to_owned())
    );
    check(
        &server.get("/readyz?verbose").await,
        StatusCode::OK,
        "[+] certificate",
    );
}

#[tokio::test]
async fn a_drain_answers_what_is_open_and_what_comes_late() {
    let server = Server::start().await;
    let mut open = server.http2().await;
    check_injected(&text(open.send_request(review()).await.unwrap()).await);
    let slow = tokio::spawn(open.send_request(request(Method::POST, "/inject", stalled())));
    server.signal.start();
    // A connection that was on its way when the drain began.
    check_injected(&server.send(review()).await);
    let answer = timeout(LONG, slow).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.status(), StatusCode::REQUEST_TIMEOUT);
    // Afterwards the client is told to go elsewhere, and the port is closed.
    timeout(LONG, server.signal.drain()).await.unwrap();
    assert!(open.ready().await.is_err() || open.is_closed());
    timeout(LONG, server.serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn persistent_connections_part_after_an_answer() {
    let server = Server::start().await;
    let mut first = server.http1().await;
    let mut second = server.http2().await;
    let before = first.send_request(review()).await.unwrap();
    assert_eq!(before.headers().get(header::CONNECTION), None);
    check_injected(&text(before).await);
    server.leaving.send_replace(true);
    let last = first.send_request(review()).await.unwrap();
    assert_eq!(last.headers()[header::CONNECTION], "close");
    check_injected(&text(last).await);
    assert!(first.ready().await.is_err());
    // HTTP/2 knows no such header, and its connections part with the drain.
    for _ in 0..2 {
        let answer = second.send_request(review()).await.unwrap();
        assert_eq!(answer.headers().get(header::CONNECTION), None);
        check_injected(&text(answer).await);
    }
}

#[tokio::test]
async fn the_certificate_changes_for_new_connections_alone() {
    let mut server = Server::start().await;
    let mut old = server.http2().await;
    let (second, der) = certificate();
    server.served.replace(second);
    check_injected(&text(old.send_request(review()).await.unwrap()).await);
    server.roots = RootCertStore::empty();
    server.roots.add(der).unwrap();
    check_injected(&server.send(review()).await);
}

#[tokio::test]
async fn the_mesh_configuration_counts_from_the_next_review_on() {
    let server = Server::start().await;
    let patch = async || {
        let (status, body) = server.send(review()).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let review: Value = serde_json::from_str(&body).unwrap();
        let patch: k8s_openapi::ByteString =
            serde_json::from_value(review["response"]["patch"].clone()).unwrap();
        String::from_utf8(patch.0).unwrap()
    };
    assert!(!patch().await.contains("15120"));
    let read = MeshConfig::parse("defaultConfig: {statusPort: 15120}").unwrap();
    server.mesh.replace(read.value);
    assert!(patch().await.contains("15120"));
}

#[tokio::test]
async fn the_owner_of_a_reviewed_pod_is_told() {
    let server = Server::start().await;
    check_injected(&server.send(review()).await);
    let events = || {
        server
            .fake
            .below("/apis/events.k8s.io/v1/namespaces/shop/events")
    };
    let end = Instant::now() + LONG;
    while events().is_empty() {
        assert!(Instant::now() < end, "no Event");
        tokio::task::yield_now().await;
    }
    assert_eq!(events()[0]["reason"], "Injected");
}

#[tokio::test]
async fn the_plain_pages_show_the_metrics() {
    let (metrics, registry) = Metrics::new();
    metrics.rejected(413, "too_large");
    let (signal, watch) = drain::channel();
    let listener = bind("test", SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let pages = plain_router(Readiness::default(), registry);
    tokio::spawn(fairlead_runtime::server::serve(listener, pages, watch));
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut asked = request(Method::GET, "/metrics", empty());
    *asked.uri_mut() = "/metrics".parse().unwrap();
    let (status, body) = text(sender.send_request(asked).await.unwrap()).await;
    assert_eq!(status, StatusCode::OK);
    for line in [
        "sidecar_injection_requests_total{revision=\"default\"} 1",
        "sidecar_injection_failure_total{revision=\"default\",reason=\"too_large\"} 1",
        "sidecar_injection_success_total{revision=\"default\"} 0",
        "fairlead_webhook_rejected_total{revision=\"default\",code=\"413\"} 1",
        "sidecar_injection_time_seconds_count{revision=\"default\"} 0",
    ] {
        assert!(body.contains(line), "{line} in {body}");
    }
    drop(sender);
    timeout(LONG, signal.drain()).await.unwrap();
}
