//! The application's metrics beside the proxy's, asked of real servers.

use std::{
    io::Write,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Redirect},
    routing::get,
};
use fairlead_api::{
    app_metrics::{AppMetrics, Target},
    app_probes::Scheme,
};
use flate2::{Compression, write::GzEncoder};

use crate::{
    application::Application,
    probes::Endless,
    rig::{connect, rest, upstream},
    sidecar::{Running, config, get as ask, start},
};

fn proxy(targets: Vec<Target>) -> Running {
    let mut config = config(Duration::ZERO);
    config.app_metrics = AppMetrics { targets };
    let (_, nowhere) = upstream();
    start(config, nowhere)
}

fn target(port: u16, path: &str) -> Target {
    Target {
        port,
        path: path.to_owned(),
        scheme: Scheme::Http,
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn packed(text: &[u8]) -> impl IntoResponse + Clone + use<> {
    ([(header::CONTENT_ENCODING, "gzip")], gzip(text))
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn routes() -> Router {
    let mut cut = gzip("a_total 1\n".repeat(1000).as_bytes());
    cut.truncate(cut.len() / 2);
    Router::new()
        .route(
            "/metrics",
            get("# TYPE hits_total counter\nhits_total{page=\"/\"} 7"),
        )
        .route("/packed", get(packed(b"packed 1\n")))
        .route("/bomb", get(packed(&vec![b'\n'; 64 * 1024 * 1024])))
        .route("/cut", get(([(header::CONTENT_ENCODING, "gzip")], cut)))
        .route("/brotli", get(([(header::CONTENT_ENCODING, "br")], "x")))
        .route(
            "/open",
            get((
                [(header::CONTENT_TYPE, OPENMETRICS)],
                "# TYPE seen counter\nseen_total 1 2.5\n# EOF\n",
            )),
        )
        .route("/endless", get(|| async { Body::new(Endless) }))
        .route("/slow", get(std::future::pending::<()>))
        .route("/html", get("<html>\n"))
        .route("/bad", get((StatusCode::INTERNAL_SERVER_ERROR, "a 1\n")))
        .route("/moved", get(Redirect::to("/metrics")))
        .route("/login", get(Redirect::to("http://login.example/")))
        .route(
            "/asked",
            get(|headers: HeaderMap| async move {
                let text = |name: &str| {
                    headers
                        .get(name)
                        .map_or("", |value| value.to_str().unwrap())
                        .to_owned()
                };
                format!(
                    "asked{{accept=\"{}\",encoding=\"{}\",seconds=\"{}\"}} 1\n",
                    text("accept"),
                    text("accept-encoding"),
                    text("x-prometheus-scrape-timeout-seconds"),
                )
            }),
        )
}

/// What the page holds of the application, whatever it is.
#[track_caller]
fn check(path: &str, up: u8, words: &str) {
    let application = Application::http(routes());
    let port = application.port;
    let running = proxy(vec![target(port, path)]);
    let (status, page) = ask("/stats/prometheus", running.ports.status);
    assert_eq!(status, StatusCode::OK);
    assert!(page.contains("\nenvoy_server_live{} 1\n"), "{page}");
    let line = format!(
        "\nfairlead_application_scrape_up{{port=\"{port}\",path=\"{path}\",scheme=\"http\"}} {up}\n"
    );
    assert!(page.contains(&line), "{page}");
    let words = words.replace("PORT", &port.to_string());
    assert!(page.contains(&words), "{words} is not in {page}");
    running.end();
}

#[test]
fn the_applications_page_stands_beside_the_proxys() {
    for (path, words) in [
        (
            "/metrics",
            "\n# TYPE hits_total counter\nhits_total{page=\"/\"} 7\n",
        ),
        ("/packed", "\npacked 1\n"),
        ("/open", "\n# TYPE seen_total counter\nseen_total 1 2500\n"),
        ("/moved", "\nhits_total{page=\"/\"} 7\n"),
    ] {
        check(path, 1, words);
    }
}

#[test]
fn a_page_that_cannot_be_had_is_told_and_costs_nothing() {
    let missing = "\n# without the application's metrics, http port PORT path";
    for (path, reason) in [
        ("/none", "the answer is 404 Not Found"),
        ("/bad", "the answer is 500 Internal Server Error"),
        ("/html", "line 1 is no metric: '<html>'"),
        ("/bomb", "it has more than 16777216 bytes"),
        ("/endless", "it has more than 16777216 bytes"),
        ("/cut", "its gzip is broken: "),
        (
            "/brotli",
            "the body is encoded as br, which nobody asked for",
        ),
        (
            "/login",
            "it redirects to another host, 'http://login.example/'",
        ),
    ] {
        check(path, 0, &format!("{missing} {path}: {reason}"));
    }
}

#[test]
fn several_pages_come_in_their_order_and_one_alone_may_fail() {
    let first = Application::http(routes());
    let second = Application::https(routes(), &[b"h2"]);
    let (nobody, address) = upstream();
    drop(nobody);
    let secure = Target {
        scheme: Scheme::Https,
        ..target(second.port, "/packed")
    };
    let running = proxy(vec![
        target(address.port(), "/metrics"),
        secure,
        target(first.port, "/metrics"),
    ]);
    for path in ["/stats/prometheus", "/metrics"] {
        let (_, page) = ask(path, running.ports.status);
        let place = |words: &str| {
            page.find(words)
                .unwrap_or_else(|| panic!("{words}: {page}"))
        };
        let refused = place("refused: no application in this pod listens");
        assert!(refused < place("\npacked 1\n"));
        assert!(place("\npacked 1\n") < place("\nhits_total{page=\"/\"} 7\n"));
        let declared = "# TYPE fairlead_application_scrape_up gauge\n";
        assert_eq!(page.matches(declared).count(), 1, "{page}");
    }
    // The proxy's own page is alone.
    let (_, page) = ask("/stats/prometheus", running.ports.metrics);
    assert!(
        !page.contains("hits_total") && !page.contains("fairlead_application"),
        "{page}"
    );
    running.end();
}

#[test]
fn an_application_without_metrics_adds_nothing() {
    let running = proxy(vec![]);
    let (_, page) = ask("/stats/prometheus", running.ports.status);
    assert!(!page.contains("fairlead_application"), "{page}");
    running.end();
}

/// Asks as Prometheus does, which waits a second.
#[track_caller]
fn scrape(running: &Running) -> String {
    let mut client = connect((Ipv4Addr::LOCALHOST, running.ports.status).into());
    let request = "GET /stats/prometheus HTTP/1.1\r\nHost: a\r\nX-Prometheus-Scrape-Timeout-Seconds: 1\r\n\
                   Connection: close\r\n\r\n";
    client.write_all(request.as_bytes()).unwrap();
    rest(&mut client)
}

#[test]
fn a_slow_application_has_a_part_of_prometheus_time() {
    let application = Application::http(routes());
    let running = proxy(vec![
        target(application.port, "/slow"),
        target(application.port, "/asked"),
    ]);
    let begun = Instant::now();
    let page = scrape(&running);
    assert!(begun.elapsed() >= Duration::from_millis(800));
    assert!(page.contains("gave no whole answer within 800ms"), "{page}");
    assert!(page.contains("envoy_server_live{} 1"), "{page}");
    let asked = "asked{accept=\"text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5,\
                 */*;q=0.1\",encoding=\"gzip\",seconds=\"1\"} 1";
    assert!(page.contains(asked), "{page}");
    running.end();
}
