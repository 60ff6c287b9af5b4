//! Where the application's own metrics are, as it travels from the webhook to the proxy.
//!
//! The webhook points the pod's Prometheus annotations at the proxy's status port and hands the
//! original over in `ISTIO_PROMETHEUS_ANNOTATIONS`: JSON with Istio's names.

use serde::{Deserialize, Serialize};

use crate::app_probes::{Scheme, variable};

/// The path of the merged metrics on the status port.
pub const MERGED_PATH: &str = "/stats/prometheus";
/// The path of an application that names none.
pub const DEFAULT_PATH: &str = "/metrics";
/// The port of an application that names none, as in Istio.
pub const DEFAULT_PORT: u16 = 80;

/// The pages that the proxy adds to its own; none if the application has no metrics.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct AppMetrics {
    /// In the order of the annotations, each once.
    pub targets: Vec<Target>,
}

/// One page of metrics.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// Where.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// With or without TLS.
    pub scheme: Scheme,
}

impl AppMetrics {
    /// Reads the JSON.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Writes what [`Self::parse`] reads.
    pub fn text(&self) -> String {
        variable(&serde_json::to_string(self).expect("text has a JSON form"))
    }
}

/// Istio's form: all values are text, the first page stands outside of the list.
#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Wire {
    scrape: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    port: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    scheme: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<WireTarget>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct WireTarget {
    #[serde(skip_serializing_if = "String::is_empty")]
    port: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    scheme: String,
}

impl TryFrom<Wire> for AppMetrics {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        if wire.scrape != "true" {
            return Ok(Self::default());
        }
        let mut targets = Vec::new();
        if !wire.port.is_empty() || wire.targets.is_empty() {
            targets.push(Target::try_from(WireTarget {
                port: wire.port,
                path: wire.path,
                scheme: wire.scheme,
            })?);
        }
        for target in wire.targets {
            targets.push(Target::try_from(target)?);
        }
        Ok(Self { targets })
    }
}

impl TryFrom<WireTarget> for Target {
    type Error = String;

    fn try_from(wire: WireTarget) -> Result<Self, String> {
        let port = match wire.port.as_str() {
            "" => DEFAULT_PORT,
            text => match text.parse() {
                Ok(0) | Err(_) => return Err(format!("'{text}' is not a port")),
                Ok(port) => port,
            },
        };
        let scheme = match wire.scheme.as_str() {
            "" | "http" => Scheme::Http,
            "https" => Scheme::Https,
            other => return Err(format!("'{other}' is neither http nor https")),
        };
        let path = match wire.path {
            path if path.is_empty() => DEFAULT_PATH.to_owned(),
            path => path,
        };
        Ok(Self { port, path, scheme })
    }
}

impl From<AppMetrics> for Wire {
    fn from(metrics: AppMetrics) -> Self {
        let mut targets = metrics.targets.into_iter().map(WireTarget::from);
        match targets.next() {
            None => Self::default(),
            Some(WireTarget { port, path, scheme }) => Self {
                scrape: "true".to_owned(),
                port,
                path,
                scheme,
                targets: targets.collect(),
            },
        }
    }
}

impl From<Target> for WireTarget {
    fn from(target: Target) -> Self {
        Self {
            port: target.port.to_string(),
            path: target.path,
            scheme: match target.scheme {
                Scheme::Http => String::new(),
                Scheme::Https => target.scheme.as_str().to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(port: u16, path: &str, scheme: Scheme) -> Target {
        let path = path.to_owned();
        Target { port, path, scheme }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let metrics = AppMetrics {
            targets: vec![
                target(8080, "/metrics", Scheme::Https),
                target(9090, "/more?x=1", Scheme::Http),
            ],
        };
        let json = r#"{"scrape":"true","port":"8080","path":"/metrics","scheme":"https","targets":[{"port":"9090","path":"/more?x=1"}]}"#;
        assert_eq!(metrics.text(), json);
        assert_eq!(AppMetrics::parse(json), Ok(metrics));
    }

    #[track_caller]
    fn check(json: &str, expected: &[Target]) {
        assert_eq!(AppMetrics::parse(json).unwrap().targets, expected);
    }

    #[test]
    fn what_is_left_out_has_istios_defaults() {
        check(
            r#"{"scrape":"true","path":"","port":""}"#,
            &[target(80, "/metrics", Scheme::Http)],
        );
        check(
            r#"{"scrape":"true","targets":[{"port":"81"}]}"#,
            &[target(81, "/metrics", Scheme::Http)],
        );
        check(r#"{"scrape":"","path":"/a","port":"1"}"#, &[]);
        check("{}", &[]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (json, words) in [
            (r#"{"scrape":"true","port":"0"}"#, "'0' is not a port"),
            (r#"{"scrape":"true","scheme":"ftp"}"#, "'ftp' is neither"),
            (r#"{"scrapes":"true"}"#, "unknown field `scrapes`"),
        ] {
            let error = AppMetrics::parse(json).unwrap_err();
            assert!(error.contains(words), "{words} is not in {error}");
        }
    }
}
