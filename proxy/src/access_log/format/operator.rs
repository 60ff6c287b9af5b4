//! Envoy's command operators: their names, what each may be given, and what it yields.

use std::time::{Duration, SystemTime};

use fastrand::Rng;
use serde_json::Value as Json;

use super::{
    certificate::{self, Attribute},
    field::{Address, Field, OfTls, Side, between},
    parse::Call,
    time::TimeFormat,
    value::Value,
};
use crate::access_log::{
    KeptMetadata, Surroundings,
    fields::{Fields, FilterState, Metadata, Tls},
};

mod arguments;
mod table;

/// A command, ready to be asked.
#[derive(Debug)]
pub(super) struct Command {
    operator: Operator,
    /// After how many bytes the text is cut off.
    pub(super) max_length: Option<usize>,
}

/// What yields the value.
#[derive(Debug)]
enum Operator {
    Field(Field),
    Time(Moment, TimeFormat),
    CommonDuration {
        begin: Point,
        end: Point,
        precision: Precision,
    },
    WithoutPort {
        address: Address,
        mask: Option<u8>,
    },
    CodeDetails {
        with_whitespace: bool,
    },
    RequestedServerName,
    Metadata(Box<MetadataPath>),
    FilterState(Box<StatePath>),
    /// Known since the configuration was read.
    Constant(Box<str>),
    /// The first of these that has a value.
    Coalesce(Box<[Command]>),
}

/// A time that is printed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Start,
    Now,
    CertificateStart(Side),
    CertificateEnd(Side),
}

/// A point in the life of a connection.
#[derive(Clone, Copy, Debug)]
enum Point {
    DownstreamBegin,
    DownstreamEnd,
    UpstreamConnectBegin,
    UpstreamConnectEnd,
    UpstreamHandshakeEnd,
    /// One of a request, or one that no filter here sets.
    OfHttp,
}

#[derive(Clone, Copy, Debug)]
enum Precision {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

#[derive(Debug)]
struct MetadataPath {
    source: MetadataSource,
    namespace: Box<str>,
    path: Box<[Box<str>]>,
}

#[derive(Clone, Copy, Debug)]
enum MetadataSource {
    Dynamic,
    Cluster,
    Route,
    UpstreamHost,
    Listener,
    FilterChain,
    VirtualHost,
}

#[derive(Debug)]
struct StatePath {
    of_upstream: bool,
    key: Box<str>,
    form: StateForm,
}

#[derive(Debug)]
enum StateForm {
    Plain,
    Typed,
    Field(Box<str>),
}

/// What is wrong with a command, or left undone.
#[derive(Debug)]
pub(super) enum Outcome {
    Sound(Command),
    /// It is printed as absent.
    Unsupported(Command, String),
    Faulty(String),
}

impl Command {
    /// The command that is meant.
    pub(super) fn compile(
        call: &Call<'_>,
        surroundings: &Surroundings<'_>,
        formatters: &[Formatter],
    ) -> Outcome {
        arguments::compile(call, surroundings, formatters)
    }

    fn absent() -> Self {
        Self {
            operator: Operator::Field(Field::OfHttp),
            max_length: None,
        }
    }

    /// What the command yields for this connection.
    pub(super) fn value<'a>(&'a self, fields: &Fields<'a>, rng: &mut Rng) -> Value<'a> {
        match &self.operator {
            Operator::Field(field) => field.value(fields, rng),
            Operator::Time(moment, format) => {
                let time = moment.of(fields);
                time.map_or(Value::Absent, |time| Value::Time(time, format))
            }
            Operator::CommonDuration {
                begin,
                end,
                precision,
            } => {
                let duration = between_points(*begin, *end, fields);
                duration.map_or(Value::Absent, |duration| {
                    Value::Number(precision.of(duration))
                })
            }
            Operator::WithoutPort { address, mask } => match (address.of(fields), mask) {
                (None, _) => Value::Absent,
                (Some(address), None) => Value::Ip(address.ip()),
                (Some(address), Some(mask)) => network(address.ip(), *mask),
            },
            Operator::CodeDetails { with_whitespace } => match fields.details {
                None | Some("") => Value::Absent,
                Some(details) if !with_whitespace && details.contains(char::is_whitespace) => {
                    Value::Owned(details.replace(char::is_whitespace, "_"))
                }
                Some(details) => Value::Words(details),
            },
            Operator::RequestedServerName => server_name(fields.requested_server_name),
            Operator::Metadata(path) => path.value(fields),
            Operator::FilterState(path) => path.value(fields),
            Operator::Constant(text) => Value::Text(text),
            Operator::Coalesce(commands) => commands
                .iter()
                .map(|command| command.limited_value(fields, rng))
                .find(|value| !value.is_empty())
                .unwrap_or(Value::Absent),
        }
    }

    /// The value, cut off already.
    fn limited_value<'a>(&'a self, fields: &Fields<'a>, rng: &mut Rng) -> Value<'a> {
        let value = self.value(fields, rng);
        match self.max_length {
            Some(length) if !value.is_absent() => {
                let mut text = String::new();
                // A string takes everything.
                let _ = value.write_text(&mut text);
                Value::Owned(super::value::limited(&text, length))
            }
            _ => value,
        }
    }
}

impl Moment {
    fn of(self, fields: &Fields<'_>) -> Option<SystemTime> {
        let validity = |side: Side| {
            let tls: Tls<'_> = side.of(fields)?;
            certificate::validity(tls.peer.first()?)
        };
        match self {
            Self::Start => Some(fields.start),
            Self::Now => Some(fields.now),
            Self::CertificateStart(side) => validity(side).map(|(start, _)| start),
            Self::CertificateEnd(side) => validity(side).map(|(_, end)| end),
        }
    }
}

fn between_points(begin: Point, end: Point, fields: &Fields<'_>) -> Option<Duration> {
    let times = &fields.times;
    let at = |point| match point {
        Point::DownstreamBegin => times.downstream_begin,
        Point::DownstreamEnd => times.downstream_end,
        Point::UpstreamConnectBegin => times.upstream_connect_begin,
        Point::UpstreamConnectEnd => times.upstream_connect_end,
        Point::UpstreamHandshakeEnd => times.upstream_handshake_end,
        Point::OfHttp => None,
    };
    between(at(begin), at(end))
}

impl Precision {
    fn of(self, duration: Duration) -> u128 {
        match self {
            Self::Milliseconds => duration.as_millis(),
            Self::Microseconds => duration.as_micros(),
            Self::Nanoseconds => duration.as_nanos(),
        }
    }
}

fn network<'a>(ip: std::net::IpAddr, mask: u8) -> Value<'a> {
    let longest = if ip.is_ipv4() { 32 } else { 128 };
    match ipnet::IpNet::new(ip, mask.min(longest)) {
        Ok(network) => Value::Network(network.network(), network.prefix_len()),
        Err(_) => Value::Ip(ip),
    }
}

/// The peer says what it likes; what no server name can have becomes `_`.
fn server_name(name: Option<&str>) -> Value<'_> {
    let is_of_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_');
    match name {
        None | Some("") => Value::Absent,
        Some(name) if name.chars().all(is_of_name) => Value::Text(name),
        Some(name) => Value::Owned(name.replace(|char| !is_of_name(char), "_")),
    }
}

impl MetadataPath {
    fn value<'a>(&self, fields: &Fields<'a>) -> Value<'a> {
        let metadata: Option<&'a Metadata> = match self.source {
            MetadataSource::Dynamic => fields.dynamic_metadata,
            MetadataSource::Cluster => fields.cluster_metadata.map(KeptMetadata::values),
            MetadataSource::Route => fields.route_metadata,
            MetadataSource::UpstreamHost => fields.upstream_metadata,
            MetadataSource::Listener => fields.listener_metadata.map(KeptMetadata::values),
            MetadataSource::FilterChain => fields.filter_chain_metadata.map(KeptMetadata::values),
            MetadataSource::VirtualHost => None,
        };
        let found = metadata.and_then(|metadata| {
            let namespace: &'a Json = metadata.get(&*self.namespace)?;
            self.path
                .iter()
                .try_fold(namespace, |value, key| value.get(&**key))
        });
        found.map_or(Value::Absent, Value::Json)
    }
}

impl StatePath {
    fn value<'a>(&self, fields: &Fields<'a>) -> Value<'a> {
        let state: Option<&'a dyn FilterState> = if self.of_upstream {
            fields.upstream_filter_state
        } else {
            fields.filter_state
        };
        let Some(state) = state else {
            return Value::Absent;
        };
        let text = match &self.form {
            StateForm::Typed => {
                return state.typed(&self.key).map_or(Value::Absent, Value::Typed);
            }
            StateForm::Plain => state.plain(&self.key),
            StateForm::Field(field) => state.field(&self.key, field),
        };
        text.map_or(Value::Absent, Value::Words)
    }
}

/// An extension that brings further operators.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Formatter {
    /// `REQ_WITHOUT_QUERY`
    ReqWithoutQuery,
    /// One that is not done: what it brings is printed as absent.
    Unsupported(&'static str),
}

/// Whether TLS of this side has the attribute, for the table.
const fn peer(side: Side, attribute: Attribute) -> Field {
    Field::Tls(side, OfTls::Peer(attribute))
}
