//! The names of the operators.

use super::{
    super::{
        certificate::Attribute::{
            DnsNames, EmailNames, Fingerprint1, Fingerprint256, IpNames, Issuer, OtherNames, Pem,
            Serial, Subject, UriNames,
        },
        field::{
            Address,
            Field::{self, CountOfHttp, OfHttp, Tls},
            OfTls::{
                Chain, Cipher, Group, Issuer as IssuedBy, Local, ServerName, SessionId, Version,
            },
            Side::{self, Downstream, Upstream},
        },
    },
    peer,
};

/// What an operator is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// It takes neither a parameter nor a length.
    Field(Field),
    StartTime,
    EmitTime,
    /// When the peer's certificate begins to be valid.
    CertificateStart(Side),
    /// When it ceases to be.
    CertificateEnd(Side),
    CommonDuration,
    WithoutPort(Address),
    CodeDetails,
    GrpcStatus,
    Header,
    QueryParam,
    QueryParams,
    Path,
    RequestedServerName,
    /// The local time instead of the universal one.
    LocalTime {
        now: bool,
    },
    DynamicMetadata,
    ClusterMetadata,
    UpstreamMetadata,
    Metadata,
    FilterState {
        of_upstream: bool,
    },
    Environment,
    Hostname,
    Coalesce,
    /// Envoy knows it, the proxy does not do it: printed as absent.
    Undone,
    /// As above, and only known where its extension is configured.
    OfExtension(&'static str),
    ReqWithoutQuery,
}

/// Each operator of Envoy.
pub(super) const OPERATORS: &[(&str, Kind)] = &[
    ("ACCESS_LOG_TYPE", Kind::Field(Field::LogType)),
    ("BYTES_RECEIVED", Kind::Field(Field::BytesReceived)),
    ("BYTES_RETRANSMITTED", Kind::Field(CountOfHttp)),
    ("BYTES_SENT", Kind::Field(Field::BytesSent)),
    ("CEL", Kind::Undone),
    ("CLUSTER_METADATA", Kind::ClusterMetadata),
    ("COALESCE", Kind::Coalesce),
    ("COMMON_DURATION", Kind::CommonDuration),
    ("CONNECTION_ID", Kind::Field(Field::ConnectionId)),
    (
        "CONNECTION_TERMINATION_DETAILS",
        Kind::Field(Field::TerminationDetails),
    ),
    ("CUSTOM_FLAGS", Kind::Field(Field::Empty)),
    ("DOWNSTREAM_CX_RTT", Kind::Field(Field::RoundTrip)),
    (
        "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
        Kind::Field(CountOfHttp),
    ),
    (
        "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
        Kind::Field(CountOfHttp),
    ),
    (
        "DOWNSTREAM_DETECTED_CLOSE_TYPE",
        Kind::Field(Field::DownstreamCloseType),
    ),
    (
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
        Kind::Field(Field::Address(Address::DownstreamDirectLocal)),
    ),
    (
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID",
        Kind::Field(Field::Empty),
    ),
    (
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT",
        Kind::WithoutPort(Address::DownstreamDirectLocal),
    ),
    (
        "DOWNSTREAM_DIRECT_LOCAL_PORT",
        Kind::Field(Field::Port(Address::DownstreamDirectLocal)),
    ),
    (
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
        Kind::Field(Field::Address(Address::DownstreamDirectRemote)),
    ),
    (
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        Kind::WithoutPort(Address::DownstreamDirectRemote),
    ),
    (
        "DOWNSTREAM_DIRECT_REMOTE_PORT",
        Kind::Field(Field::Port(Address::DownstreamDirectRemote)),
    ),
    (
        "DOWNSTREAM_HANDSHAKE_DURATION",
        Kind::Field(Field::HandshakeDuration),
    ),
    ("DOWNSTREAM_HEADER_BYTES_RECEIVED", Kind::Field(CountOfHttp)),
    ("DOWNSTREAM_HEADER_BYTES_SENT", Kind::Field(CountOfHttp)),
    (
        "DOWNSTREAM_LOCAL_ADDRESS",
        Kind::Field(Field::Address(Address::DownstreamLocal)),
    ),
    (
        "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
        Kind::Field(Field::Empty),
    ),
    (
        "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        Kind::WithoutPort(Address::DownstreamLocal),
    ),
    (
        "DOWNSTREAM_LOCAL_CLOSE_REASON",
        Kind::Field(Field::DownstreamCloseReason),
    ),
    (
        "DOWNSTREAM_LOCAL_DNS_SAN",
        Kind::Field(Tls(Downstream, Local(DnsNames))),
    ),
    (
        "DOWNSTREAM_LOCAL_EMAIL_SAN",
        Kind::Field(Tls(Downstream, Local(EmailNames))),
    ),
    (
        "DOWNSTREAM_LOCAL_IP_SAN",
        Kind::Field(Tls(Downstream, Local(IpNames))),
    ),
    (
        "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
        Kind::Field(Tls(Downstream, Local(OtherNames))),
    ),
    (
        "DOWNSTREAM_LOCAL_PORT",
        Kind::Field(Field::Port(Address::DownstreamLocal)),
    ),
    (
        "DOWNSTREAM_LOCAL_SUBJECT",
        Kind::Field(Tls(Downstream, Local(Subject))),
    ),
    (
        "DOWNSTREAM_LOCAL_URI_SAN",
        Kind::Field(Tls(Downstream, Local(UriNames))),
    ),
    ("DOWNSTREAM_PEER_CERT", Kind::Field(peer(Downstream, Pem))),
    (
        "DOWNSTREAM_PEER_CERT_V_END",
        Kind::CertificateEnd(Downstream),
    ),
    (
        "DOWNSTREAM_PEER_CERT_V_START",
        Kind::CertificateStart(Downstream),
    ),
    (
        "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
        Kind::Field(Tls(Downstream, Chain(Fingerprint1))),
    ),
    (
        "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256",
        Kind::Field(Tls(Downstream, Chain(Fingerprint256))),
    ),
    (
        "DOWNSTREAM_PEER_CHAIN_SERIALS",
        Kind::Field(Tls(Downstream, Chain(Serial))),
    ),
    (
        "DOWNSTREAM_PEER_DNS_SAN",
        Kind::Field(peer(Downstream, DnsNames)),
    ),
    (
        "DOWNSTREAM_PEER_EMAIL_SAN",
        Kind::Field(peer(Downstream, EmailNames)),
    ),
    (
        "DOWNSTREAM_PEER_FINGERPRINT_1",
        Kind::Field(peer(Downstream, Fingerprint1)),
    ),
    (
        "DOWNSTREAM_PEER_FINGERPRINT_256",
        Kind::Field(peer(Downstream, Fingerprint256)),
    ),
    (
        "DOWNSTREAM_PEER_IP_SAN",
        Kind::Field(peer(Downstream, IpNames)),
    ),
    (
        "DOWNSTREAM_PEER_ISSUER",
        Kind::Field(peer(Downstream, Issuer)),
    ),
    (
        "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256",
        Kind::Field(Tls(Downstream, IssuedBy(Fingerprint256))),
    ),
    (
        "DOWNSTREAM_PEER_ISSUER_SERIAL",
        Kind::Field(Tls(Downstream, IssuedBy(Serial))),
    ),
    (
        "DOWNSTREAM_PEER_OTHERNAME_SAN",
        Kind::Field(peer(Downstream, OtherNames)),
    ),
    (
        "DOWNSTREAM_PEER_SERIAL",
        Kind::Field(peer(Downstream, Serial)),
    ),
    (
        "DOWNSTREAM_PEER_SUBJECT",
        Kind::Field(peer(Downstream, Subject)),
    ),
    (
        "DOWNSTREAM_PEER_URI_SAN",
        Kind::Field(peer(Downstream, UriNames)),
    ),
    (
        "DOWNSTREAM_REMOTE_ADDRESS",
        Kind::Field(Field::Address(Address::DownstreamRemote)),
    ),
    (
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Kind::WithoutPort(Address::DownstreamRemote),
    ),
    (
        "DOWNSTREAM_REMOTE_PORT",
        Kind::Field(Field::Port(Address::DownstreamRemote)),
    ),
    (
        "DOWNSTREAM_TLS_CIPHER",
        Kind::Field(Tls(Downstream, Cipher)),
    ),
    ("DOWNSTREAM_TLS_GROUP", Kind::Field(Tls(Downstream, Group))),
    (
        "DOWNSTREAM_TLS_SESSION_ID",
        Kind::Field(Tls(Downstream, SessionId)),
    ),
    (
        "DOWNSTREAM_TLS_VERSION",
        Kind::Field(Tls(Downstream, Version)),
    ),
    (
        "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
        Kind::Field(Field::DownstreamFailure),
    ),
    // All that a connection receives and sends is what it carries.
    (
        "DOWNSTREAM_WIRE_BYTES_RECEIVED",
        Kind::Field(Field::BytesReceived),
    ),
    ("DOWNSTREAM_WIRE_BYTES_SENT", Kind::Field(Field::BytesSent)),
    ("DURATION", Kind::Field(Field::Duration)),
    ("DYNAMIC_METADATA", Kind::DynamicMetadata),
    (
        "DYNAMIC_MODULE",
        Kind::OfExtension("envoy.formatter.dynamic_modules"),
    ),
    ("EMIT_TIME", Kind::EmitTime),
    ("EMIT_TIME_LOCAL", Kind::LocalTime { now: true }),
    ("ENVIRONMENT", Kind::Environment),
    (
        "FILE_CONTENT",
        Kind::OfExtension("envoy.formatter.file_content"),
    ),
    ("FILTER_CHAIN_NAME", Kind::Field(Field::FilterChainName)),
    ("FILTER_STATE", Kind::FilterState { of_upstream: false }),
    ("GRPC_STATUS", Kind::GrpcStatus),
    ("GRPC_STATUS_NUMBER", Kind::Field(OfHttp)),
    ("HOSTNAME", Kind::Hostname),
    ("LISTENER_NAME", Kind::Field(Field::ListenerName)),
    ("LOCAL_REPLY_BODY", Kind::Field(Field::Empty)),
    ("METADATA", Kind::Metadata),
    ("PACKETS_RETRANSMITTED", Kind::Field(CountOfHttp)),
    ("PATH", Kind::Path),
    ("PROTOCOL", Kind::Field(OfHttp)),
    ("QUERY_PARAM", Kind::QueryParam),
    ("QUERY_PARAMS", Kind::QueryParams),
    ("REQ", Kind::Header),
    ("REQUESTED_SERVER_NAME", Kind::RequestedServerName),
    ("REQUEST_DURATION", Kind::Field(OfHttp)),
    ("REQUEST_HEADER", Kind::Header),
    ("REQUEST_HEADERS_BYTES", Kind::Field(CountOfHttp)),
    ("REQUEST_TX_DURATION", Kind::Field(OfHttp)),
    ("REQ_WITHOUT_QUERY", Kind::ReqWithoutQuery),
    ("RESP", Kind::Header),
    ("RESPONSE_CODE", Kind::Field(CountOfHttp)),
    ("RESPONSE_CODE_DETAILS", Kind::CodeDetails),
    ("RESPONSE_DURATION", Kind::Field(OfHttp)),
    ("RESPONSE_FLAGS", Kind::Field(Field::Flags)),
    ("RESPONSE_FLAGS_LONG", Kind::Field(Field::LongFlags)),
    ("RESPONSE_HEADER", Kind::Header),
    ("RESPONSE_HEADERS_BYTES", Kind::Field(CountOfHttp)),
    ("RESPONSE_TRAILER", Kind::Header),
    ("RESPONSE_TRAILERS_BYTES", Kind::Field(CountOfHttp)),
    ("RESPONSE_TX_DURATION", Kind::Field(OfHttp)),
    ("ROUNDTRIP_DURATION", Kind::Field(OfHttp)),
    ("ROUTE_NAME", Kind::Field(Field::RouteName)),
    (
        "SECRET",
        Kind::OfExtension("envoy.formatter.generic_secret"),
    ),
    ("SPAN_ID", Kind::Field(OfHttp)),
    ("START_TIME", Kind::StartTime),
    ("START_TIME_LOCAL", Kind::LocalTime { now: false }),
    ("STREAM_ID", Kind::Field(Field::StreamId)),
    ("TLS_JA3_FINGERPRINT", Kind::Field(Field::Ja3)),
    ("TLS_JA4_FINGERPRINT", Kind::Field(Field::Ja4)),
    ("TRACE_ID", Kind::Field(OfHttp)),
    ("TRAILER", Kind::Header),
    ("TYPED_CEL", Kind::Undone),
    ("UNIQUE_ID", Kind::Field(Field::UniqueId)),
    ("UPSTREAM_CLUSTER", Kind::Field(Field::UpstreamCluster)),
    (
        "UPSTREAM_CLUSTER_RAW",
        Kind::Field(Field::UpstreamClusterRaw),
    ),
    (
        "UPSTREAM_CONNECTION_ID",
        Kind::Field(Field::UpstreamConnectionId),
    ),
    (
        "UPSTREAM_CONNECTION_IDS_ATTEMPTED",
        Kind::Field(Field::ConnectionIdsAttempted),
    ),
    (
        "UPSTREAM_CONNECTION_POOL_READY_DURATION",
        Kind::Field(Field::PoolReadyDuration),
    ),
    (
        "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED",
        Kind::Field(CountOfHttp),
    ),
    (
        "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
        Kind::Field(CountOfHttp),
    ),
    (
        "UPSTREAM_DETECTED_CLOSE_TYPE",
        Kind::Field(Field::UpstreamCloseType),
    ),
    (
        "UPSTREAM_FILTER_STATE",
        Kind::FilterState { of_upstream: true },
    ),
    ("UPSTREAM_HEADER_BYTES_RECEIVED", Kind::Field(CountOfHttp)),
    ("UPSTREAM_HEADER_BYTES_SENT", Kind::Field(CountOfHttp)),
    ("UPSTREAM_HOST", Kind::Field(Field::UpstreamHost)),
    (
        "UPSTREAM_HOSTS_ATTEMPTED",
        Kind::Field(Field::HostsAttempted),
    ),
    (
        "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT",
        Kind::Field(Field::HostsAttemptedWithoutPort),
    ),
    ("UPSTREAM_HOST_NAME", Kind::Field(Field::UpstreamHostName)),
    (
        "UPSTREAM_HOST_NAMES_ATTEMPTED",
        Kind::Field(Field::HostNamesAttempted),
    ),
    (
        "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT",
        Kind::Field(Field::HostNamesAttemptedWithoutPort),
    ),
    (
        "UPSTREAM_HOST_NAME_WITHOUT_PORT",
        Kind::Field(Field::UpstreamHostNameWithoutPort),
    ),
    (
        "UPSTREAM_LOCAL_ADDRESS",
        Kind::Field(Field::Address(Address::UpstreamLocal)),
    ),
    (
        "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        Kind::WithoutPort(Address::UpstreamLocal),
    ),
    (
        "UPSTREAM_LOCAL_CLOSE_REASON",
        Kind::Field(Field::UpstreamCloseReason),
    ),
    (
        "UPSTREAM_LOCAL_DNS_SAN",
        Kind::Field(Tls(Upstream, Local(DnsNames))),
    ),
    (
        "UPSTREAM_LOCAL_IP_SAN",
        Kind::Field(Tls(Upstream, Local(IpNames))),
    ),
    (
        "UPSTREAM_LOCAL_PORT",
        Kind::Field(Field::Port(Address::UpstreamLocal)),
    ),
    (
        "UPSTREAM_LOCAL_URI_SAN",
        Kind::Field(Tls(Upstream, Local(UriNames))),
    ),
    ("UPSTREAM_METADATA", Kind::UpstreamMetadata),
    ("UPSTREAM_PEER_CERT", Kind::Field(peer(Upstream, Pem))),
    ("UPSTREAM_PEER_CERT_V_END", Kind::CertificateEnd(Upstream)),
    (
        "UPSTREAM_PEER_CERT_V_START",
        Kind::CertificateStart(Upstream),
    ),
    (
        "UPSTREAM_PEER_DNS_SAN",
        Kind::Field(peer(Upstream, DnsNames)),
    ),
    ("UPSTREAM_PEER_IP_SAN", Kind::Field(peer(Upstream, IpNames))),
    ("UPSTREAM_PEER_ISSUER", Kind::Field(peer(Upstream, Issuer))),
    (
        "UPSTREAM_PEER_SUBJECT",
        Kind::Field(peer(Upstream, Subject)),
    ),
    (
        "UPSTREAM_PEER_URI_SAN",
        Kind::Field(peer(Upstream, UriNames)),
    ),
    ("UPSTREAM_PROTOCOL", Kind::Field(OfHttp)),
    (
        "UPSTREAM_REMOTE_ADDRESS",
        Kind::Field(Field::Address(Address::UpstreamRemote)),
    ),
    (
        "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",
        Kind::Field(Field::Empty),
    ),
    (
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
        Kind::WithoutPort(Address::UpstreamRemote),
    ),
    (
        "UPSTREAM_REMOTE_PORT",
        Kind::Field(Field::Port(Address::UpstreamRemote)),
    ),
    (
        "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        Kind::Field(Field::Attempts),
    ),
    (
        "UPSTREAM_SERVER_NAME",
        Kind::Field(Tls(Upstream, ServerName)),
    ),
    ("UPSTREAM_TLS_CIPHER", Kind::Field(Tls(Upstream, Cipher))),
    ("UPSTREAM_TLS_GROUP", Kind::Field(Tls(Upstream, Group))),
    (
        "UPSTREAM_TLS_SESSION_ID",
        Kind::Field(Tls(Upstream, SessionId)),
    ),
    ("UPSTREAM_TLS_VERSION", Kind::Field(Tls(Upstream, Version))),
    (
        "UPSTREAM_TRANSPORT_FAILURE_REASON",
        Kind::Field(Field::UpstreamFailure),
    ),
    (
        "UPSTREAM_WIRE_BYTES_RECEIVED",
        Kind::Field(Field::UpstreamBytesReceived),
    ),
    (
        "UPSTREAM_WIRE_BYTES_SENT",
        Kind::Field(Field::UpstreamBytesSent),
    ),
    ("VIRTUAL_CLUSTER_NAME", Kind::Field(OfHttp)),
];

/// The operator of this name.
pub(super) fn find(name: &str) -> Option<Kind> {
    let index = OPERATORS
        .binary_search_by_key(&name, |(known, _)| known)
        .ok()?;
    Some(OPERATORS[index].1)
}

/// The operator whose name is most like this one, if any is.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    // A name of any length may stand there; only its beginning can be like another.
    let name: String = name.chars().take(64).collect();
    let likeness = |known: &str| strsim::jaro_winkler(known, &name);
    let names = OPERATORS.iter().map(|(known, _)| *known);
    names
        .map(|known| (known, likeness(known)))
        .filter(|(_, likeness)| *likeness > 0.8)
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
        .map(|(known, _)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_so_that_each_is_found() {
        assert!(OPERATORS.is_sorted_by_key(|(name, _)| *name));
        for (name, _) in OPERATORS {
            assert!(find(name).is_some(), "{name}");
            assert_eq!(nearest(name), Some(*name));
        }
    }

    #[test]
    fn a_slip_is_recognized() {
        assert_eq!(nearest("BYTES_RECIEVED"), Some("BYTES_RECEIVED"));
        assert_eq!(nearest("RESPONSE_FLAG"), Some("RESPONSE_FLAGS"));
        assert_eq!(nearest("XYZ"), None);
        assert_eq!(nearest(""), None);
    }
}
