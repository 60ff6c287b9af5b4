//! The application's probes and hooks as they travel from the webhook to the proxy.
//!
//! The webhook turns each into an HTTP request to the proxy's status port and hands the original
//! over in `ISTIO_KUBE_APP_PROBERS`: JSON with Istio's and Kubernetes' names, by path.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The first part of a probe's path.
const HEALTH: &str = "app-health";
/// The first part of a hook's path.
const LIFECYCLE: &str = "app-lifecycle";

/// What the kubelet asks of a container.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Check {
    /// Whether it has started.
    Startup,
    /// Whether it may be sent requests.
    Readiness,
    /// Whether it is to be restarted.
    Liveness,
    /// The hook after its start.
    PostStart,
    /// The hook before its end.
    PreStop,
}

impl Check {
    /// All of them: probes first, then hooks.
    pub const ALL: [Self; 5] = [
        Self::Startup,
        Self::Readiness,
        Self::Liveness,
        Self::PostStart,
        Self::PreStop,
    ];

    /// Where it stands in a container: the names of the fields, outermost first.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Startup => &["startupProbe"],
            Self::Readiness => &["readinessProbe"],
            Self::Liveness => &["livenessProbe"],
            Self::PostStart => &["lifecycle", "postStart"],
            Self::PreStop => &["lifecycle", "preStop"],
        }
    }

    /// Whether it is a hook, which is called once and has no time-out.
    pub fn is_hook(self) -> bool {
        matches!(self, Self::PostStart | Self::PreStop)
    }

    /// The path at which the proxy answers for a container.
    pub fn path(self, container: &str) -> String {
        let prefix = if self.is_hook() { LIFECYCLE } else { HEALTH };
        format!("/{prefix}/{container}/{}", self.suffix())
    }

    /// Reads what [`Self::path`] writes.
    pub fn of_path(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.split('/');
        let (prefix, container, suffix) = (parts.next()?, parts.next()?, parts.next()?);
        let check = Self::ALL
            .into_iter()
            .find(|check| check.suffix() == suffix)?;
        let sound = parts.next().is_none() && !container.is_empty();
        (sound && prefix == if check.is_hook() { LIFECYCLE } else { HEALTH }).then_some(check)
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Startup => "startupz",
            Self::Readiness => "readyz",
            Self::Liveness => "livez",
            Self::PostStart => "poststartz",
            Self::PreStop => "prestopz",
        }
    }
}

/// One probe or hook as the pod's author wrote it, with the port as a number.
///
/// Its headers are not here: the kubelet sends them to the proxy, which passes them on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct AppProbe {
    /// What is asked.
    pub handler: Handler,
    /// How long the answer may take; absent: Kubernetes' default of a second.
    pub timeout_seconds: Option<u32>,
}

/// What is asked of the application.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Handler {
    /// A request whose answer is below 400.
    HttpGet(HttpGet),
    /// A connection.
    TcpSocket(TcpSocket),
    /// An answer SERVING of `grpc.health.v1.Health/Check`.
    Grpc(Grpc),
}

/// An HTTP request.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGet {
    /// Where.
    pub port: u16,
    /// Path and query.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// With or without TLS.
    #[serde(default, skip_serializing_if = "Scheme::is_http")]
    pub scheme: Scheme,
}

/// A TCP connection.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TcpSocket {
    /// Where.
    pub port: u16,
}

/// A gRPC health check.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Grpc {
    /// Where.
    pub port: u16,
    /// The service asked for; empty: the server as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
}

/// With or without TLS, with Kubernetes' names.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Scheme {
    /// Without.
    #[default]
    Http,
    /// With.
    Https,
}

impl Scheme {
    /// The scheme of a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn is_http(&self) -> bool {
        *self == Self::Http
    }
}

/// Reads all probes of a pod, by path.
///
/// # Errors
/// What is wrong, in words.
pub fn parse(text: &str) -> Result<BTreeMap<String, AppProbe>, String> {
    let probes: BTreeMap<String, AppProbe> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    match probes.keys().find(|path| Check::of_path(path).is_none()) {
        Some(path) => Err(format!(
            "'{path}' is wrong: a path such as {} is accepted",
            Check::Readiness.path("CONTAINER")
        )),
        None => Ok(probes),
    }
}

/// Writes what [`parse`] reads.
pub fn text(probes: &BTreeMap<String, AppProbe>) -> String {
    variable(&serde_json::to_string(probes).expect("text and numbers have a JSON form"))
}

/// JSON as the value of an environment variable: Kubernetes would expand a `$(NAME)`, so dollars are
/// written as JSON may write any character.
pub(crate) fn variable(json: &str) -> String {
    json.replace('$', r"\u0024")
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    #[serde(skip_serializing_if = "Option::is_none")]
    http_get: Option<HttpGet>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp_socket: Option<TcpSocket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<Grpc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout_seconds: Option<u32>,
}

impl TryFrom<Wire> for AppProbe {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        let handler = match (wire.http_get, wire.tcp_socket, wire.grpc) {
            (Some(http), None, None) => Handler::HttpGet(http),
            (None, Some(tcp), None) => Handler::TcpSocket(tcp),
            (None, None, Some(grpc)) => Handler::Grpc(grpc),
            _ => return Err("exactly one of httpGet, tcpSocket and grpc is accepted"),
        };
        Ok(Self {
            handler,
            timeout_seconds: wire.timeout_seconds,
        })
    }
}

impl From<AppProbe> for Wire {
    fn from(probe: AppProbe) -> Self {
        let mut wire = Self {
            http_get: None,
            tcp_socket: None,
            grpc: None,
            timeout_seconds: probe.timeout_seconds,
        };
        match probe.handler {
            Handler::HttpGet(http) => wire.http_get = Some(http),
            Handler::TcpSocket(tcp) => wire.tcp_socket = Some(tcp),
            Handler::Grpc(grpc) => wire.grpc = Some(grpc),
        }
        wire
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_container_and_check() {
        for (check, path) in [
            (Check::Startup, "/app-health/web/startupz"),
            (Check::Readiness, "/app-health/web/readyz"),
            (Check::Liveness, "/app-health/web/livez"),
            (Check::PostStart, "/app-lifecycle/web/poststartz"),
            (Check::PreStop, "/app-lifecycle/web/prestopz"),
        ] {
            assert_eq!(check.path("web"), path);
            assert_eq!(Check::of_path(path), Some(check));
        }
        for path in [
            "",
            "/",
            "/app-health/web",
            "/app-health//readyz",
            "/app-health/web/readyz/",
            "/app-lifecycle/web/readyz",
            "/app-health/web/prestopz",
            "app-health/web/readyz",
        ] {
            assert_eq!(Check::of_path(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let json = concat!(
            r#"{"/app-health/a/livez":{"httpGet":{"port":80,"path":"/live","scheme":"HTTPS"},"timeoutSeconds":3},"#,
            r#""/app-health/a/readyz":{"tcpSocket":{"port":3333}},"#,
            r#""/app-health/a/startupz":{"grpc":{"port":9000,"service":"cart"}}}"#,
        );
        let probes = parse(json).unwrap();
        assert_eq!(text(&probes), json);
        let Handler::HttpGet(http) = &probes["/app-health/a/livez"].handler else {
            panic!("{probes:?}");
        };
        assert_eq!((http.port, http.scheme), (80, Scheme::Https));
    }

    #[test]
    fn nothing_in_it_is_expanded_by_kubernetes() {
        let json = r#"{"/app-health/a/livez":{"httpGet":{"port":80,"path":"/$(HOME)"}}}"#;
        let probes = parse(json).unwrap();
        let text = text(&probes);
        assert!(!text.contains('$'), "{text}");
        assert_eq!(parse(&text), Ok(probes));
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (json, words) in [
            ("[]", "invalid type"),
            (
                r#"{"/healthz":{"tcpSocket":{"port":1}}}"#,
                "'/healthz' is wrong: a path such as /app-health/CONTAINER/readyz",
            ),
            (r#"{"/app-health/a/livez":{}}"#, "exactly one of"),
            (
                r#"{"/app-health/a/livez":{"tcpSocket":{"port":1},"grpc":{"port":1}}}"#,
                "exactly one of",
            ),
            (
                r#"{"/app-health/a/livez":{"tcpSocket":{"port":"http"}}}"#,
                "u16",
            ),
        ] {
            let error = parse(json).unwrap_err();
            assert!(error.contains(words), "{words} is not in {error}");
        }
    }
}
