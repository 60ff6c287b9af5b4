//! What a line says, in Istio's text format and as JSON with Istio's keys.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use fairlead_api::proxy_config::AccessLogEncoding;
use serde::Serialize;

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

impl Entry<'_> {
    /// The line, with its end.
    pub fn line(&self, encoding: AccessLogEncoding) -> String {
        match encoding {
            AccessLogEncoding::Text => self.text(),
            AccessLogEncoding::Json => self.json(),
        }
    }

    /// Istio's default format; what only HTTP has is `-`, and the code is 0, as in Envoy.
    fn text(&self) -> String {
        let failure = self.failure.map(without_quotes);
        format!(
            "[{start}] \"- - -\" 0 {flag} {details} - \"{failure}\" {received} {sent} {duration} - \
             \"-\" \"-\" \"-\" \"-\" \"{host}\" {cluster} {upstream_local} {downstream_local} \
             {downstream_remote} - -\n",
            start = humantime::format_rfc3339_millis(self.start),
            flag = OrDash(self.flag.map(ResponseFlag::as_str)),
            details = OrDash(self.details),
            failure = OrDash(failure),
            received = self.bytes_received,
            sent = self.bytes_sent,
            duration = self.duration.as_millis(),
            host = OrDash(self.upstream_host),
            cluster = self.cluster,
            upstream_local = OrDash(self.upstream_local),
            downstream_local = self.downstream_local,
            downstream_remote = self.downstream_remote,
        )
    }

    fn json(&self) -> String {
        let fields = Fields {
            authority: None,
            bytes_received: self.bytes_received,
            bytes_sent: self.bytes_sent,
            connection_termination_details: None,
            downstream_local_address: self.downstream_local,
            downstream_remote_address: self.downstream_remote,
            duration: self.duration.as_millis(),
            method: None,
            path: None,
            protocol: None,
            request_id: None,
            requested_server_name: None,
            response_code: 0,
            response_code_details: self.details,
            response_flags: self.flag.map_or("-", ResponseFlag::as_str),
            route_name: None,
            start_time: humantime::format_rfc3339_millis(self.start).to_string(),
            upstream_cluster: self.cluster,
            upstream_host: self.upstream_host,
            upstream_local_address: self.upstream_local,
            upstream_service_time: None,
            upstream_transport_failure_reason: self.failure,
            user_agent: None,
            x_forwarded_for: None,
        };
        // Text, numbers and addresses always have a JSON form.
        let mut line = serde_json::to_string(&fields).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// Istio's keys, in their order.
#[derive(Serialize)]
struct Fields<'a> {
    authority: Option<&'a str>,
    bytes_received: u64,
    bytes_sent: u64,
    connection_termination_details: Option<&'a str>,
    downstream_local_address: SocketAddr,
    downstream_remote_address: SocketAddr,
    duration: u128,
    method: Option<&'a str>,
    path: Option<&'a str>,
    protocol: Option<&'a str>,
    request_id: Option<&'a str>,
    requested_server_name: Option<&'a str>,
    response_code: u16,
    response_code_details: Option<&'a str>,
    response_flags: &'a str,
    route_name: Option<&'a str>,
    start_time: String,
    upstream_cluster: &'a str,
    upstream_host: Option<SocketAddr>,
    upstream_local_address: Option<SocketAddr>,
    upstream_service_time: Option<&'a str>,
    upstream_transport_failure_reason: Option<&'a str>,
    user_agent: Option<&'a str>,
    x_forwarded_for: Option<&'a str>,
}

struct OrDash<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for OrDash<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

/// The field is quoted, and the line is one line.
fn without_quotes(words: &str) -> String {
    words.replace('"', "'").replace(['\n', '\r'], " ")
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
