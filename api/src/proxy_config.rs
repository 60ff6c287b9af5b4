//! The proxy's configuration: [`Layer`] as people write parts of it, and [`ProxyConfig`] as it travels
//! to the sidecar.

mod duration;
mod layer;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::layer::Layer;
pub(crate) use self::layer::{choice, positive_duration};

/// What the webhook hands to the sidecar in `PROXY_CONFIG`, as JSON with Istio's field names.
///
/// Durations are written as `5s`, `500ms` or `1m 30s`. Unknown fields are an error, so that a
/// misspelt setting is noticed where it is written.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ProxyConfig {
    /// Worker threads; absent or 0: the CPU limit rounded up, or 2 without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u16>,
    /// Which connections are logged.
    pub access_log: AccessLog,
    /// The form of the access log.
    pub access_log_encoding: AccessLogEncoding,
    /// How long open connections may go on after SIGTERM. Istio's default is 5 s.
    #[serde(with = "humantime_serde")]
    pub termination_drain_duration: Duration,
    /// How long an upstream may take to accept a connection, more than zero. Envoy's sidecar
    /// default is 10 s.
    #[serde(with = "positive_duration")]
    pub connect_timeout: Duration,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            concurrency: None,
            access_log: AccessLog::default(),
            access_log_encoding: AccessLogEncoding::default(),
            termination_drain_duration: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// A duration of zero would end every wait before it begins.
mod positive_duration {
    use std::time::Duration;

    use serde::{Deserializer, de::Error};

    pub(super) use humantime_serde::serialize;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let duration: Duration = humantime_serde::deserialize(from)?;
        if duration.is_zero() {
            return Err(D::Error::custom("a duration of more than zero is accepted"));
        }
        Ok(duration)
    }
}

/// Which connections get a line in the access log.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessLog {
    /// Every connection.
    All,
    /// Those with a response flag: a quiet mesh stays quiet.
    #[default]
    Failures,
    /// None.
    Off,
}

/// The form of an access-log line.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AccessLogEncoding {
    /// Istio's text format.
    #[default]
    Text,
    /// One JSON object a line, with Istio's keys.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_object_is_the_defaults() {
        let config: ProxyConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config, ProxyConfig::default());
    }

    #[test]
    fn what_is_written_is_read_back() {
        let config = ProxyConfig {
            concurrency: Some(4),
            access_log: AccessLog::All,
            access_log_encoding: AccessLogEncoding::Json,
            termination_drain_duration: Duration::from_millis(1500),
            connect_timeout: Duration::from_secs(3),
        };
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ProxyConfig>(&json).unwrap(), config);
    }

    #[test]
    fn a_misspelt_field_is_named() {
        let error = serde_json::from_str::<ProxyConfig>(r#"{"accesLog":"all"}"#).unwrap_err();
        assert!(error.to_string().contains("accesLog"), "{error}");
    }

    #[test]
    fn a_time_out_of_zero_is_refused() {
        let error = serde_json::from_str::<ProxyConfig>(r#"{"connectTimeout":"0s"}"#).unwrap_err();
        assert!(error.to_string().contains("more than zero"), "{error}");
    }

    #[test]
    fn a_bad_choice_lists_the_good_ones() {
        let error = serde_json::from_str::<ProxyConfig>(r#"{"accessLog":"some"}"#).unwrap_err();
        assert!(
            error.to_string().contains("`all`, `failures`, `off`"),
            "{error}"
        );
    }
}
