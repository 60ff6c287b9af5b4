//! Commands without a parameter, and what each yields.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use fastrand::Rng;
use rustls::pki_types::CertificateDer;

use super::{
    certificate::{self, Attribute, hex, joined},
    value::Value,
};
use crate::access_log::fields::{Attempt, Fields, Tls};

/// A command without a parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Field {
    /// What only HTTP has.
    OfHttp,
    /// What only HTTP has and Envoy counts as 0 elsewhere.
    CountOfHttp,
    /// What Envoy prints as an empty text where it has none.
    Empty,
    BytesReceived,
    BytesSent,
    UpstreamBytesReceived,
    UpstreamBytesSent,
    Attempts,
    Duration,
    HandshakeDuration,
    PoolReadyDuration,
    RoundTrip,
    Flags,
    LongFlags,
    TerminationDetails,
    RouteName,
    UpstreamHost,
    UpstreamHostName,
    UpstreamHostNameWithoutPort,
    HostsAttempted,
    HostsAttemptedWithoutPort,
    HostNamesAttempted,
    HostNamesAttemptedWithoutPort,
    ConnectionIdsAttempted,
    UpstreamCluster,
    UpstreamClusterRaw,
    UpstreamFailure,
    UpstreamCloseType,
    UpstreamCloseReason,
    DownstreamFailure,
    DownstreamCloseType,
    DownstreamCloseReason,
    Address(Address),
    Port(Address),
    ConnectionId,
    UpstreamConnectionId,
    StreamId,
    UniqueId,
    Ja3,
    Ja4,
    FilterChainName,
    ListenerName,
    LogType,
    Tls(Side, OfTls),
}

/// Which address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Address {
    UpstreamLocal,
    UpstreamRemote,
    DownstreamLocal,
    DownstreamRemote,
    DownstreamDirectLocal,
    DownstreamDirectRemote,
}

/// Whose TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Downstream,
    Upstream,
}

/// What of TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OfTls {
    Version,
    Cipher,
    Group,
    SessionId,
    ServerName,
    Peer(Attribute),
    /// Of each certificate that the peer presented.
    Chain(Attribute),
    Issuer(Attribute),
    Local(Attribute),
}

impl Address {
    pub(super) fn of(self, fields: &Fields<'_>) -> Option<SocketAddr> {
        match self {
            Self::UpstreamLocal => fields.upstream_local,
            Self::UpstreamRemote => fields.upstream_remote,
            Self::DownstreamLocal => fields.downstream_local,
            Self::DownstreamRemote => fields.downstream_remote,
            Self::DownstreamDirectLocal => {
                fields.downstream_direct_local.or(fields.downstream_local)
            }
            Self::DownstreamDirectRemote => {
                fields.downstream_direct_remote.or(fields.downstream_remote)
            }
        }
    }
}

impl Side {
    pub(super) fn of<'a>(self, fields: &Fields<'a>) -> Option<Tls<'a>> {
        match self {
            Self::Downstream => fields.downstream_tls,
            Self::Upstream => fields.upstream_tls,
        }
    }
}

impl Field {
    pub(super) fn value<'a>(self, fields: &Fields<'a>, rng: &mut Rng) -> Value<'a> {
        match self {
            Self::OfHttp => Value::Absent,
            Self::CountOfHttp => Value::Number(0),
            Self::Empty => Value::Text(""),
            Self::BytesReceived => Value::Number(fields.bytes_received.into()),
            Self::BytesSent => Value::Number(fields.bytes_sent.into()),
            Self::UpstreamBytesReceived => Value::Number(fields.upstream_bytes_received.into()),
            Self::UpstreamBytesSent => Value::Number(fields.upstream_bytes_sent.into()),
            Self::Attempts => Value::Number(fields.attempts.into()),
            Self::Duration => milliseconds(Some(fields.duration)),
            Self::HandshakeDuration => {
                let times = fields.times;
                milliseconds(between(
                    times.downstream_begin,
                    times.downstream_handshake_end,
                ))
            }
            Self::PoolReadyDuration => {
                milliseconds(between(fields.times.pool_asked, fields.times.pool_ready))
            }
            Self::RoundTrip => milliseconds(fields.downstream_round_trip),
            Self::Flags => Value::Flags(fields.flags),
            Self::LongFlags => Value::LongFlags(fields.flags),
            Self::TerminationDetails => words(fields.termination_details),
            Self::RouteName => name(fields.route_name),
            Self::UpstreamHost => address(fields.upstream_host),
            Self::UpstreamHostName => match fields.upstream_host_name {
                Some(host) => name(Some(host)),
                None => address(fields.upstream_host),
            },
            Self::UpstreamHostNameWithoutPort => match fields.upstream_host_name {
                Some(host) => name(Some(without_port(host))),
                None => fields
                    .upstream_host
                    .map_or(Value::Absent, |host| Value::Ip(host.ip())),
            },
            Self::HostsAttempted => attempted(fields, |attempt| Some(attempt.host.to_string())),
            Self::HostsAttemptedWithoutPort => {
                attempted(fields, |attempt| Some(attempt.host.ip().to_string()))
            }
            Self::HostNamesAttempted => attempted(fields, |attempt| {
                Some(
                    attempt
                        .name
                        .map_or_else(|| attempt.host.to_string(), str::to_owned),
                )
            }),
            Self::HostNamesAttemptedWithoutPort => attempted(fields, |attempt| {
                let ip = || attempt.host.ip().to_string();
                Some(
                    attempt
                        .name
                        .map_or_else(ip, |name| without_port(name).to_owned()),
                )
            }),
            Self::ConnectionIdsAttempted => attempted(fields, |attempt| {
                attempt.connection_id.map(|id| id.to_string())
            }),
            Self::UpstreamCluster => name(fields.upstream_cluster),
            Self::UpstreamClusterRaw => name(fields.upstream_cluster_raw),
            Self::UpstreamFailure => words(fields.upstream_failure),
            Self::UpstreamCloseType => Value::Text(fields.upstream_close.as_str()),
            Self::UpstreamCloseReason => words(fields.upstream_close_reason),
            Self::DownstreamFailure => words(fields.downstream_failure),
            Self::DownstreamCloseType => Value::Text(fields.downstream_close.as_str()),
            Self::DownstreamCloseReason => words(fields.downstream_close_reason),
            Self::Address(which) => address(which.of(fields)),
            Self::Port(which) => which.of(fields).map_or(Value::Absent, |address| {
                Value::Number(address.port().into())
            }),
            Self::ConnectionId => number(fields.connection_id),
            Self::UpstreamConnectionId => number(fields.upstream_connection_id),
            Self::StreamId => fields.stream_id.map_or(Value::Absent, Value::Uuid),
            Self::UniqueId => Value::Uuid(random_uuid(rng)),
            Self::Ja3 => name(fields.ja3),
            Self::Ja4 => name(fields.ja4),
            Self::FilterChainName => name(fields.filter_chain_name),
            Self::ListenerName => name(fields.listener_name),
            Self::LogType => Value::Text(fields.log_type.as_str()),
            Self::Tls(side, what) => side
                .of(fields)
                .map_or(Value::Absent, |tls| what.value(&tls)),
        }
    }
}

impl OfTls {
    fn value<'a>(self, tls: &Tls<'a>) -> Value<'a> {
        let of = |certificate: Option<&CertificateDer<'_>>, attribute| {
            let text =
                certificate.and_then(|certificate| certificate::text(certificate, attribute));
            text.map_or(Value::Absent, Value::Owned)
        };
        match self {
            Self::Version => name(tls.version),
            Self::Cipher => name(tls.cipher),
            Self::Group => name(tls.group),
            Self::ServerName => name(tls.server_name),
            Self::SessionId if tls.session_id.is_empty() => Value::Absent,
            Self::SessionId => {
                let mut text = String::new();
                hex(tls.session_id, "", false, &mut text);
                Value::Owned(text)
            }
            Self::Peer(attribute) => of(tls.peer.first(), attribute),
            Self::Issuer(attribute) => of(tls.issuer, attribute),
            Self::Local(attribute) => of(tls.local, attribute),
            Self::Chain(attribute) => {
                let each = tls.peer.iter();
                let texts = joined(each.filter_map(|each| certificate::text(each, attribute)));
                if texts.is_empty() {
                    Value::Absent
                } else {
                    Value::Owned(texts)
                }
            }
        }
    }
}

/// A random identifier of version 4.
pub fn random_uuid(rng: &mut Rng) -> u128 {
    let random = rng.u128(..);
    random & !(0xf000_u128 << 64) & !(0xc000_u128 << 48) | 0x4000_u128 << 64 | 0x8000_u128 << 48
}

pub(super) fn between(begin: Option<Instant>, end: Option<Instant>) -> Option<Duration> {
    end?.checked_duration_since(begin?)
}

fn milliseconds<'a>(duration: Option<Duration>) -> Value<'a> {
    duration.map_or(Value::Absent, |duration| {
        Value::Number(duration.as_millis())
    })
}

fn number<'a>(number: Option<u64>) -> Value<'a> {
    number.map_or(Value::Absent, |number| Value::Number(number.into()))
}

fn address<'a>(address: Option<SocketAddr>) -> Value<'a> {
    address.map_or(Value::Absent, Value::Address)
}

/// A name is configured or was checked; what is empty has none.
fn name(name: Option<&str>) -> Value<'_> {
    match name {
        None | Some("") => Value::Absent,
        Some(name) => Value::Text(name),
    }
}

fn words(words: Option<&str>) -> Value<'_> {
    match words {
        None | Some("") => Value::Absent,
        Some(words) => Value::Words(words),
    }
}

fn attempted<'a>(fields: &Fields<'a>, text: impl Fn(&Attempt<'_>) -> Option<String>) -> Value<'a> {
    let texts = joined(fields.attempted.iter().filter_map(text));
    if texts.is_empty() {
        Value::Absent
    } else {
        Value::Owned(texts)
    }
}

/// `example.com` of `example.com:80`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => host,
    }
}
