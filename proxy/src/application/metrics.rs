//! The application's metrics, for Prometheus to find beside the proxy's.
//!
//! Prometheus takes a page whole or not at all. So what comes from the application is checked line by
//! line, and bounded in time and size: a page that is slow, endless or broken is left out, with the
//! reason in a comment and in a metric, and never costs the proxy's own.

mod exposition;

use std::{
    fmt::Write as _,
    io::{self, Write},
    net::IpAddr,
    time::Duration,
};

use fairlead_api::app_metrics::{AppMetrics, Target};
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::{
    HeaderMap, StatusCode,
    header::{self, HeaderName, HeaderValue},
};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use tracing::debug;

pub(crate) use self::exposition::join;
use self::exposition::{Form, Invalid};
use super::client::{self, Answer, AskError, Question, Reply, location::path_and_query};

/// How long Prometheus waits, by its own words.
const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
/// Prometheus' default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// What any scraper may make the proxy wait.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// The part of the time that the application may take: the rest is for the answer.
const SHARE: f64 = 0.8;

/// Some hundred thousand lines, unpacked.
const MAX_PAGE: usize = 16 * 1024 * 1024;

/// Pages in memory at once, whoever asks; others wait, in their own time.
static PAGES: Semaphore = Semaphore::const_new(4);

/// The text form first: it is what the merged page has. `OpenMetrics` is translated into it.
const ACCEPT: HeaderValue = HeaderValue::from_static(
    "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
);

/// Why a page is left out.
#[derive(Debug, thiserror::Error)]
enum ScrapeError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("its path is none of HTTP")]
    Path,
    #[error("it redirects to another host, '{0}'")]
    Elsewhere(String),
    #[error("the answer is {0}")]
    Status(StatusCode),
    #[error("the body is encoded as {0}, which nobody asked for")]
    Encoding(String),
    #[error("it has more than {MAX_PAGE} bytes")]
    TooLarge,
    #[error("its gzip is broken: {0}")]
    Gzip(io::Error),
    #[error("{0}")]
    Invalid(#[from] Invalid),
}

/// The pages of the application in the text form, each after a metric that says whether it could be
/// had. `asker` are Prometheus' headers.
pub(crate) async fn pages(ip: IpAddr, metrics: &AppMetrics, asker: &HeaderMap) -> String {
    let within = deadline(asker);
    let mut questions = JoinSet::new();
    for (index, target) in metrics.targets.iter().cloned().enumerate() {
        let asker = asker.clone();
        questions.spawn(async move { (index, scrape(ip, &target, within, &asker).await, target) });
    }
    let mut answers = questions.join_all().await;
    answers.sort_by_key(|(index, ..)| *index);
    let mut text = String::new();
    if !answers.is_empty() {
        text.push_str("# HELP fairlead_application_scrape_up Whether the application's page of metrics could be had.\n");
        text.push_str("# TYPE fairlead_application_scrape_up gauge\n");
    }
    for (_, answer, target) in &answers {
        let Target { port, path, scheme } = target;
        let (up, scheme) = (u8::from(answer.is_ok()), scheme.as_str());
        let path = path
            .replace('\\', r"\\")
            .replace('"', "\\\"")
            .replace('\n', r"\n");
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "fairlead_application_scrape_up{{port=\"{port}\",path=\"{path}\",scheme=\"{scheme}\"}} {up}"
        );
    }
    for (_, answer, target) in answers {
        match answer {
            Ok(page) => join(&mut text, &page),
            Err(error) => {
                let Target { port, path, scheme } = &target;
                let reason = error.to_string();
                debug!(
                    port,
                    path, reason, "the application's metrics could not be had"
                );
                let words = format!(
                    "without the application's metrics, {} port {port} path {path}: {reason}",
                    scheme.as_str()
                );
                let _ = writeln!(text, "# {}", words.replace(char::is_control, " "));
            }
        }
    }
    text
}

/// How long the application may take.
fn deadline(asker: &HeaderMap) -> Duration {
    let given = asker
        .get(SCRAPE_TIMEOUT)
        .and_then(|value| value.to_str().ok()?.parse::<f64>().ok())
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|given| !given.is_zero());
    given
        .unwrap_or(DEFAULT_TIMEOUT)
        .min(MAX_TIMEOUT)
        .mul_f64(SHARE)
}

async fn scrape(
    ip: IpAddr,
    target: &Target,
    within: Duration,
    asker: &HeaderMap,
) -> Result<String, ScrapeError> {
    let late = || AskError::TimedOut {
        address: (ip, target.port).into(),
        after: within,
    };
    timeout(within, async {
        match client::ask(ip, question(target, asker)?, within).await? {
            Answer::Here(reply) => {
                let _permit = PAGES.acquire().await;
                read(reply, (ip, target.port).into()).await
            }
            Answer::Elsewhere(location) => Err(ScrapeError::Elsewhere(location)),
        }
    })
    .await
    .unwrap_or_else(|_| Err(late().into()))
}

fn question(target: &Target, asker: &HeaderMap) -> Result<Question, ScrapeError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, ACCEPT);
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    for name in [header::USER_AGENT, SCRAPE_TIMEOUT] {
        if let Some(value) = asker.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    Ok(Question {
        port: target.port,
        scheme: target.scheme,
        path: path_and_query(&target.path).ok_or(ScrapeError::Path)?,
        headers,
        host: None,
    })
}

async fn read(mut reply: Reply, address: std::net::SocketAddr) -> Result<String, ScrapeError> {
    let status = reply.response.status();
    if status != StatusCode::OK {
        return Err(ScrapeError::Status(status));
    }
    let text = |name| {
        let value: Option<&HeaderValue> = reply.response.headers().get(name);
        let value = value.map(|value| String::from_utf8_lossy(value.as_bytes()));
        value.map_or(String::new(), |value| value.to_ascii_lowercase())
    };
    let form = if text(header::CONTENT_TYPE).contains("openmetrics") {
        Form::OpenMetrics
    } else {
        Form::Text
    };
    let mut page = match text(header::CONTENT_ENCODING).as_str() {
        "" | "identity" => Reader::Plain(Page::default()),
        "gzip" => Reader::Gzip(Box::new(MultiGzDecoder::new(Page::default()))),
        other => return Err(ScrapeError::Encoding(other.to_owned())),
    };
    while let Some(frame) = reply.response.body_mut().frame().await {
        let frame = frame.map_err(|cause| AskError::Body { address, cause })?;
        if let Some(data) = frame.data_ref() {
            page.push(data)?;
        }
    }
    Ok(exposition::text(&page.finish()?, form)?)
}

/// A body as it comes.
enum Reader {
    Plain(Page),
    Gzip(Box<MultiGzDecoder<Page>>),
}

impl Reader {
    fn push(&mut self, data: &[u8]) -> Result<(), ScrapeError> {
        match self {
            Self::Plain(page) => page.write_all(data),
            Self::Gzip(decoder) => decoder.write_all(data),
        }
        .map_err(fault)
    }

    fn finish(self) -> Result<Vec<u8>, ScrapeError> {
        match self {
            Self::Plain(page) => Ok(page.0),
            Self::Gzip(decoder) => decoder.finish().map(|page| page.0).map_err(fault),
        }
    }
}

fn fault(error: io::Error) -> ScrapeError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => ScrapeError::TooLarge,
        _ => ScrapeError::Gzip(error),
    }
}

/// Bytes up to the limit.
#[derive(Debug, Default)]
struct Page(Vec<u8>);

impl Write for Page {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.0.len() + data.len() > MAX_PAGE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_has_a_share_of_prometheus_time() {
        for (given, expected) in [
            (None, 8000),
            (Some("5"), 4000),
            (Some("0.5"), 400),
            (Some("3600"), 24000),
            (Some("0"), 8000),
            (Some("-1"), 8000),
            (Some("soon"), 8000),
        ] {
            let mut asker = HeaderMap::new();
            if let Some(given) = given {
                asker.insert(SCRAPE_TIMEOUT, HeaderValue::from_static(given));
            }
            assert_eq!(
                deadline(&asker),
                Duration::from_millis(expected),
                "{given:?}"
            );
        }
    }
}
