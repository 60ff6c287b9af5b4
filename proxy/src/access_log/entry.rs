//! What a line says, in Istio's text format and as JSON with Istio's keys.

use std::{
    net::SocketAddr,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use fairlead_api::proxy_config::AccessLogEncoding;
use fastrand::Rng;

use super::{Fields, Format, LINE, LogType};
use crate::ending::ResponseFlag;

/// One connection.
#[derive(Debug)]
pub struct Entry<'a> {
    /// When it was accepted.
    pub start: SystemTime,
    /// How long it lasted.
    pub duration: Duration,
    /// How it failed.
    pub flag: Option<ResponseFlag>,
    /// The cause of the failure as one token.
    pub details: Option<&'a str>,
    /// The cause of the failure in words.
    pub failure: Option<&'a str>,
    /// Bytes from the downstream.
    pub bytes_received: u64,
    /// Bytes to the downstream.
    pub bytes_sent: u64,
    /// Where it went, or was to go.
    pub upstream_host: Option<SocketAddr>,
    /// The cluster that it was sent to.
    pub cluster: &'a str,
    /// Our end of the upstream connection.
    pub upstream_local: Option<SocketAddr>,
    /// The address that the downstream had connected to.
    pub downstream_local: SocketAddr,
    /// The downstream.
    pub downstream_remote: SocketAddr,
}

/// Istio's default format.
const TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" ",
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ",
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% ",
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ",
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n",
);

/// Istio's keys.
const JSON: &[(&str, &str)] = &[
    ("authority", "%REQ(:AUTHORITY)%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("duration", "%DURATION%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route_name", "%ROUTE_NAME%"),
    ("start_time", "%START_TIME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    (
        "upstream_transport_failure_reason",
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
];

/// Istio's format of that encoding.
fn format(encoding: AccessLogEncoding) -> &'static Format {
    static FORMATS: [OnceLock<Format>; 2] = [const { OnceLock::new() }; 2];
    match encoding {
        AccessLogEncoding::Text => FORMATS[0].get_or_init(|| Format::of_program(TEXT)),
        AccessLogEncoding::Json => FORMATS[1].get_or_init(|| Format::of_program_json(JSON)),
    }
}

impl Entry<'_> {
    /// The line, with its end.
    pub fn line(&self, encoding: AccessLogEncoding) -> String {
        let fields = Fields {
            log_type: LogType::TcpConnectionEnd,
            start: self.start,
            duration: self.duration,
            flags: self.flag.into(),
            details: self.details,
            upstream_failure: self.failure,
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            upstream_host: self.upstream_host,
            upstream_cluster: Some(self.cluster),
            upstream_cluster_raw: Some(self.cluster),
            upstream_local: self.upstream_local,
            downstream_local: Some(self.downstream_local),
            downstream_remote: Some(self.downstream_remote),
            ..Fields::default()
        };
        let mut line = String::with_capacity(LINE);
        // Nothing in these formats is left to chance.
        format(encoding).write(&fields, &mut Rng::with_seed(0), &mut line);
        line
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn completed() -> Entry<'static> {
        Entry {
            start: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            duration: Duration::from_millis(42),
            flag: None,
            details: None,
            failure: None,
            bytes_received: 78,
            bytes_sent: 1024,
            upstream_host: "10.1.2.3:80".parse().ok(),
            cluster: "PassthroughCluster",
            upstream_local: "10.0.0.1:40001".parse().ok(),
            downstream_local: "10.1.2.3:80".parse().unwrap(),
            downstream_remote: "10.0.0.1:40000".parse().unwrap(),
        }
    }

    fn refused() -> Entry<'static> {
        Entry {
            flag: Some(ResponseFlag::UpstreamConnectionFailure),
            details: Some("upstream_connect_refused"),
            failure: Some("connect to [fd00::2]:80: \"refused\"\nthere"),
            upstream_host: "[fd00::2]:80".parse().ok(),
            upstream_local: None,
            downstream_local: "[fd00::2]:80".parse().unwrap(),
            downstream_remote: "[fd00::1]:40000".parse().unwrap(),
            bytes_received: 0,
            bytes_sent: 0,
            ..completed()
        }
    }

    #[test]
    fn the_text_format_is_istios() {
        assert_eq!(
            completed().line(AccessLogEncoding::Text),
            "[2023-11-14T22:13:20.123Z] \"- - -\" 0 - - - \"-\" 78 1024 42 - \"-\" \"-\" \"-\" \
             \"-\" \"10.1.2.3:80\" PassthroughCluster 10.0.0.1:40001 10.1.2.3:80 10.0.0.1:40000 - \
             -\n"
        );
        assert_eq!(
            refused().line(AccessLogEncoding::Text),
            "[2023-11-14T22:13:20.123Z] \"- - -\" 0 UF upstream_connect_refused - \"connect to \
             [fd00::2]:80: 'refused' there\" 0 0 42 - \"-\" \"-\" \"-\" \"-\" \"[fd00::2]:80\" \
             PassthroughCluster - [fd00::2]:80 [fd00::1]:40000 - -\n"
        );
    }

    #[test]
    fn json_has_istios_keys() {
        assert_eq!(
            refused().line(AccessLogEncoding::Json),
            "{\"authority\":null,\"bytes_received\":0,\"bytes_sent\":0,\
             \"connection_termination_details\":null,\
             \"downstream_local_address\":\"[fd00::2]:80\",\
             \"downstream_remote_address\":\"[fd00::1]:40000\",\"duration\":42,\"method\":null,\
             \"path\":null,\"protocol\":null,\"request_id\":null,\"requested_server_name\":null,\
             \"response_code\":0,\"response_code_details\":\"upstream_connect_refused\",\
             \"response_flags\":\"UF\",\"route_name\":null,\
             \"start_time\":\"2023-11-14T22:13:20.123Z\",\
             \"upstream_cluster\":\"PassthroughCluster\",\"upstream_host\":\"[fd00::2]:80\",\
             \"upstream_local_address\":null,\"upstream_service_time\":null,\
             \"upstream_transport_failure_reason\":\"connect to [fd00::2]:80: \\\"refused\\\"\\nthere\",\
             \"user_agent\":null,\"x_forwarded_for\":null}\n"
        );
    }
}
