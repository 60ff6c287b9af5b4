//! What is known of a connection when a line is due, as a format and a filter ask for it.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant, SystemTime},
};

use fairlead_xds::{
    envoy::config::core,
    google::protobuf::{self, Struct, value::Kind},
};
use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value};

use super::KeptMetadata;
use crate::ending::ResponseFlags;

/// Values by their keys, in namespaces: what Envoy calls `filter_metadata`.
pub type Metadata = Map<String, Value>;

/// The values of a message.
pub fn metadata(message: &core::v3::Metadata) -> Metadata {
    let namespaces = message.filter_metadata.iter();
    namespaces
        .map(|(namespace, values)| (namespace.clone(), object(values)))
        .collect()
}

fn object(message: &Struct) -> Value {
    let fields = message.fields.iter();
    Value::Object(
        fields
            .map(|(key, field)| (key.clone(), value(field)))
            .collect(),
    )
}

fn value(message: &protobuf::Value) -> Value {
    match message.kind.as_ref() {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(*value),
        Some(Kind::NumberValue(value)) => number(*value),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::StructValue(inside)) => object(inside),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(value).collect()),
    }
}

/// A number, without a point if it is whole, as Envoy prints it; null for what JSON does not have.
pub(super) fn number(number: f64) -> Value {
    // Up to here each whole number has a form of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        return Value::from(number as i64);
    }
    Value::from(number)
}

/// One connection. What is absent is printed as `-`, and as null in JSON.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    /// When the line is due.
    pub log_type: LogType,
    /// When the connection was accepted.
    pub start: SystemTime,
    /// The time now.
    pub now: SystemTime,
    /// How long it has lasted.
    pub duration: Duration,
    /// When its stages were reached.
    pub times: Times,
    /// What went wrong.
    pub flags: ResponseFlags,
    /// The cause of the failure as one token.
    pub details: Option<&'a str>,
    /// Why the proxy ended the connection.
    pub termination_details: Option<&'a str>,
    /// Why no upstream connection could be made, in words.
    pub upstream_failure: Option<&'a str>,
    /// Why the transport of the downstream failed, in words.
    pub downstream_failure: Option<&'a str>,
    /// Why the proxy closed the upstream connection.
    pub upstream_close_reason: Option<&'a str>,
    /// Why the proxy closed the downstream connection.
    pub downstream_close_reason: Option<&'a str>,
    /// How the upstream connection was closed.
    pub upstream_close: CloseType,
    /// How the downstream connection was closed.
    pub downstream_close: CloseType,
    /// Bytes from the downstream.
    pub bytes_received: u64,
    /// Bytes to the downstream.
    pub bytes_sent: u64,
    /// Bytes from the upstream.
    pub upstream_bytes_received: u64,
    /// Bytes to the upstream.
    pub upstream_bytes_sent: u64,
    /// Attempts to connect to an upstream.
    pub attempts: u32,
    /// The endpoints that were tried, in their order.
    pub attempted: &'a [Attempt<'a>],
    /// The number of the downstream connection.
    pub connection_id: Option<u64>,
    /// The number of the upstream connection.
    pub upstream_connection_id: Option<u64>,
    /// What tells the connection from any other, anywhere.
    pub stream_id: Option<u128>,
    /// The endpoint that it was sent to, or was to be sent to.
    pub upstream_host: Option<SocketAddr>,
    /// The name of this endpoint, if it has one.
    pub upstream_host_name: Option<&'a str>,
    /// The cluster of the endpoint, by the name that it has in statistics.
    pub upstream_cluster: Option<&'a str>,
    /// The cluster of the endpoint, by its own name.
    pub upstream_cluster_raw: Option<&'a str>,
    /// Our end of the upstream connection.
    pub upstream_local: Option<SocketAddr>,
    /// The other end of the upstream connection.
    pub upstream_remote: Option<SocketAddr>,
    /// The address that the downstream had connected to.
    pub downstream_local: Option<SocketAddr>,
    /// The downstream.
    pub downstream_remote: Option<SocketAddr>,
    /// Our end of the downstream connection, if it is another than the address above.
    pub downstream_direct_local: Option<SocketAddr>,
    /// The other end of the downstream connection, if it is another than the address above.
    pub downstream_direct_remote: Option<SocketAddr>,
    /// The round-trip time of the downstream connection.
    pub downstream_round_trip: Option<Duration>,
    /// The server name that the downstream asked for.
    pub requested_server_name: Option<&'a str>,
    /// The fingerprint of the `ClientHello` by JA3.
    pub ja3: Option<&'a str>,
    /// The fingerprint of the `ClientHello` by JA4.
    pub ja4: Option<&'a str>,
    /// The route.
    pub route_name: Option<&'a str>,
    /// The filter chain that took the connection.
    pub filter_chain_name: Option<&'a str>,
    /// The listener.
    pub listener_name: Option<&'a str>,
    /// TLS with the downstream.
    pub downstream_tls: Option<Tls<'a>>,
    /// TLS with the upstream.
    pub upstream_tls: Option<Tls<'a>>,
    /// What filters said of the connection.
    pub dynamic_metadata: Option<&'a Metadata>,
    /// Of the cluster.
    pub cluster_metadata: Option<&'a KeptMetadata>,
    /// Of the endpoint.
    pub upstream_metadata: Option<&'a Metadata>,
    /// Of the route.
    pub route_metadata: Option<&'a Metadata>,
    /// Of the listener.
    pub listener_metadata: Option<&'a KeptMetadata>,
    /// Of the filter chain.
    pub filter_chain_metadata: Option<&'a KeptMetadata>,
    /// What filters keep for one another.
    pub filter_state: Option<&'a dyn FilterState>,
    /// What filters of the upstream connection keep for one another.
    pub upstream_filter_state: Option<&'a dyn FilterState>,
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Self {
            log_type: LogType::default(),
            start: SystemTime::UNIX_EPOCH,
            now: SystemTime::UNIX_EPOCH,
            duration: Duration::ZERO,
            times: Times::default(),
            flags: ResponseFlags::NONE,
            details: None,
            termination_details: None,
            upstream_failure: None,
            downstream_failure: None,
            upstream_close_reason: None,
            downstream_close_reason: None,
            upstream_close: CloseType::default(),
            downstream_close: CloseType::default(),
            bytes_received: 0,
            bytes_sent: 0,
            upstream_bytes_received: 0,
            upstream_bytes_sent: 0,
            attempts: 0,
            attempted: &[],
            connection_id: None,
            upstream_connection_id: None,
            stream_id: None,
            upstream_host: None,
            upstream_host_name: None,
            upstream_cluster: None,
            upstream_cluster_raw: None,
            upstream_local: None,
            upstream_remote: None,
            downstream_local: None,
            downstream_remote: None,
            downstream_direct_local: None,
            downstream_direct_remote: None,
            downstream_round_trip: None,
            requested_server_name: None,
            ja3: None,
            ja4: None,
            route_name: None,
            filter_chain_name: None,
            listener_name: None,
            downstream_tls: None,
            upstream_tls: None,
            dynamic_metadata: None,
            cluster_metadata: None,
            upstream_metadata: None,
            route_metadata: None,
            listener_metadata: None,
            filter_chain_metadata: None,
            filter_state: None,
            upstream_filter_state: None,
        }
    }
}

/// When a line is due.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LogType {
    /// At a moment that has no name in Envoy.
    #[default]
    NotSet,
    /// When the upstream connection was made.
    TcpUpstreamConnected,
    /// Every so often while the connection lasts.
    TcpPeriodic,
    /// When the connection was accepted.
    TcpConnectionStart,
    /// When it ended.
    TcpConnectionEnd,
}

impl LogType {
    /// Envoy's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotSet => "NotSet",
            Self::TcpUpstreamConnected => "TcpUpstreamConnected",
            Self::TcpPeriodic => "TcpPeriodic",
            Self::TcpConnectionStart => "TcpConnectionStart",
            Self::TcpConnectionEnd => "TcpConnectionEnd",
        }
    }
}

/// How a connection was closed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum CloseType {
    /// In order, or not yet.
    #[default]
    Normal,
    /// The proxy reset it.
    LocalReset,
    /// The peer reset it.
    RemoteReset,
}

impl CloseType {
    /// Envoy's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::LocalReset => "LocalReset",
            Self::RemoteReset => "RemoteReset",
        }
    }
}

/// When the stages of a connection were reached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// The downstream connection was accepted.
    pub downstream_begin: Option<Instant>,
    /// The handshake with the downstream was done.
    pub downstream_handshake_end: Option<Instant>,
    /// The downstream connection was closed.
    pub downstream_end: Option<Instant>,
    /// The upstream connection was begun.
    pub upstream_connect_begin: Option<Instant>,
    /// The upstream connection was made.
    pub upstream_connect_end: Option<Instant>,
    /// The handshake with the upstream was done.
    pub upstream_handshake_end: Option<Instant>,
    /// An upstream connection was asked for.
    pub pool_asked: Option<Instant>,
    /// The upstream connection could be used, or it was known that there is none.
    pub pool_ready: Option<Instant>,
}

/// One attempt to connect.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The endpoint.
    pub host: SocketAddr,
    /// Its name, if it has one.
    pub name: Option<&'a str>,
    /// The number of the connection, if one was made.
    pub connection_id: Option<u64>,
}

/// One side's TLS. Certificates are only read when a line asks for what is in them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tls<'a> {
    /// `TLSv1.3`.
    pub version: Option<&'a str>,
    /// The cipher suite, by the name that OpenSSL gives it.
    pub cipher: Option<&'a str>,
    /// The group of the key agreement.
    pub group: Option<&'a str>,
    /// The session.
    pub session_id: &'a [u8],
    /// The server name that we asked the upstream for.
    pub server_name: Option<&'a str>,
    /// What the peer presented, its own certificate first.
    pub peer: &'a [CertificateDer<'a>],
    /// What issued the peer's certificate, once that was verified.
    pub issuer: Option<&'a CertificateDer<'a>>,
    /// What we presented.
    pub local: Option<&'a CertificateDer<'a>>,
}

/// What filters keep for one another, and have printed.
pub trait FilterState: fmt::Debug {
    /// The object of this key as a text.
    fn plain(&self, key: &str) -> Option<&str>;

    /// The object of this key as JSON, if it is one that has such a form.
    fn typed(&self, key: &str) -> Option<&Value>;

    /// A field of the object of this key.
    fn field(&self, key: &str, field: &str) -> Option<&str>;
}
