//! What one filter chain asks of a connection (`envoy.config.listener.v3.FilterChainMatch`).

use std::fmt;

use fairlead_xds::envoy::config::listener::v3::{
    FilterChainMatch, filter_chain_match::ConnectionSourceType,
};
use ipnet::IpNet;

use crate::{compile::At, matcher::cidr_range};

/// A criterion. The order of the variants is Envoy's.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Criterion {
    DestinationPort,
    DestinationIp,
    ServerName,
    TransportProtocol,
    ApplicationProtocol,
    DirectSourceIp,
    SourceType,
    SourceIp,
    SourcePort,
}

/// What can be asked of one property of a connection.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Key {
    Port(u16),
    Range(IpNet),
    /// A server name as Envoy keeps it: of `*.example.com` what follows the star.
    Name(Box<str>),
    Local,
    External,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Range(range) => range.fmt(f),
            Self::Name(name) if name.starts_with('.') => write!(f, "*{name}"),
            Self::Name(name) => name.fmt(f),
            Self::Local => f.write_str("SAME_IP_OR_LOOPBACK"),
            Self::External => f.write_str("EXTERNAL"),
        }
    }
}

impl Criterion {
    pub(super) const ALL: [Self; 9] = [
        Self::DestinationPort,
        Self::DestinationIp,
        Self::ServerName,
        Self::TransportProtocol,
        Self::ApplicationProtocol,
        Self::DirectSourceIp,
        Self::SourceType,
        Self::SourceIp,
        Self::SourcePort,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::DestinationPort => "destination port",
            Self::DestinationIp => "destination IP",
            Self::ServerName => "server name",
            Self::TransportProtocol => "transport protocol",
            Self::ApplicationProtocol => "application protocol",
            Self::DirectSourceIp => "directly connected source IP",
            Self::SourceType => "source type",
            Self::SourceIp => "source IP",
            Self::SourcePort => "source port",
        }
    }

    /// The field that tells it.
    fn field(self) -> &'static str {
        match self {
            Self::DestinationPort => "destination_port",
            Self::DestinationIp => "prefix_ranges",
            Self::ServerName => "server_names",
            Self::TransportProtocol => "transport_protocol",
            Self::ApplicationProtocol => "application_protocols",
            Self::DirectSourceIp => "direct_source_prefix_ranges",
            Self::SourceType => "source_type",
            Self::SourceIp => "source_prefix_ranges",
            Self::SourcePort => "source_ports",
        }
    }
}

/// What one filter chain asks for, by criterion. Nothing in the list is "whatever it is".
#[derive(Debug)]
pub(super) struct Criteria([Vec<Option<Key>>; 9]);

impl Criteria {
    pub(super) fn compile(at: &At<'_>, message: Option<&FilterChainMatch>) -> Option<Self> {
        let at = at.field("filter_chain_match");
        let default = FilterChainMatch::default();
        let FilterChainMatch {
            destination_port,
            prefix_ranges,
            address_suffix,
            suffix_len,
            direct_source_prefix_ranges,
            source_type,
            source_prefix_ranges,
            source_ports,
            server_names,
            transport_protocol,
            application_protocols,
        } = message.unwrap_or(&default);
        let mut sound = true;
        for (name, asked) in [
            ("address_suffix", !address_suffix.is_empty()),
            ("suffix_len", suffix_len.is_some()),
        ] {
            if asked {
                at.field(name)
                    .fault::<()>("is not supported, nor is it by Envoy");
                sound = false;
            }
        }
        let destination_port = destination_port.map(|port| port.value);
        let port = destination_port.map(|value| port(&at.field("destination_port"), value));
        let ranges = |name, ranges| {
            at.each(name, ranges, |at, range| {
                cidr_range(at, range).map(|range| Some(Key::Range(range)))
            })
        };
        let name = |name: &str| (!name.is_empty()).then(|| Key::Name(name.into()));
        let source = source_type_key(&at.field("source_type"), *source_type);
        sound &= source.is_some();
        let lists = [
            port.into_iter().flatten().map(Some).collect(),
            ranges("prefix_ranges", prefix_ranges),
            at.each("server_names", server_names, |at, name| {
                server_name(at, name)
            }),
            name(transport_protocol).map(Some).into_iter().collect(),
            application_protocols
                .iter()
                .map(|protocol| name(protocol))
                .collect(),
            ranges("direct_source_prefix_ranges", direct_source_prefix_ranges),
            source.flatten().map(Some).into_iter().collect(),
            ranges("source_prefix_ranges", source_prefix_ranges),
            at.each("source_ports", source_ports, |at, value| {
                port_key(at, *value)
            }),
        ];
        let asked = [
            usize::from(destination_port.is_some()),
            prefix_ranges.len(),
            server_names.len(),
            lists[3].len(),
            application_protocols.len(),
            direct_source_prefix_ranges.len(),
            lists[6].len(),
            source_prefix_ranges.len(),
            source_ports.len(),
        ];
        sound &= lists.iter().map(Vec::len).eq(asked);
        for (criterion, list) in Criterion::ALL.into_iter().zip(&lists) {
            sound &= are_different(&at.field(criterion.field()), list);
        }
        sound.then(|| Self(lists.map(|list| if list.is_empty() { vec![None] } else { list })))
    }

    /// What is asked for, or nothing where it may be anything. There is at least one.
    pub(super) fn keys(&self, criterion: Criterion) -> &[Option<Key>] {
        &self.0[criterion as usize]
    }
}

/// Whether none is twice in the list, which Envoy takes for two chains with the same match.
fn are_different(at: &At<'_>, list: &[Option<Key>]) -> bool {
    let mut different = true;
    for (index, key) in list.iter().enumerate() {
        if list[..index].contains(key) {
            let told = key.as_ref().map(Key::to_string).unwrap_or_default();
            at.index(index)
                .fault::<()>(format!("'{told}' is in the list already"));
            different = false;
        }
    }
    different
}

fn port(at: &At<'_>, value: u32) -> Option<Key> {
    match u16::try_from(value) {
        Ok(port) if port != 0 => Some(Key::Port(port)),
        _ => at.fault(format!("{value} is not accepted; 1 to 65535 is")),
    }
}

fn port_key(at: &At<'_>, value: u32) -> Option<Option<Key>> {
    port(at, value).map(Some)
}

fn server_name(at: &At<'_>, name: &str) -> Option<Option<Key>> {
    let kept = name.strip_prefix('*').filter(|rest| rest.starts_with('.'));
    if name.contains('*') && kept.is_none() {
        return at.fault(format!(
            "'{name}' is a partial wildcard; *.example.com is accepted, and no name at all for each"
        ));
    }
    let kept = kept.unwrap_or(name).to_ascii_lowercase();
    Some((!kept.is_empty()).then(|| Key::Name(kept.into())))
}

/// The key, or nothing where any source is meant.
fn source_type_key(at: &At<'_>, source_type: i32) -> Option<Option<Key>> {
    match ConnectionSourceType::try_from(source_type) {
        Ok(ConnectionSourceType::Any) => Some(None),
        Ok(ConnectionSourceType::SameIpOrLoopback) => Some(Some(Key::Local)),
        Ok(ConnectionSourceType::External) => Some(Some(Key::External)),
        Err(_) => at.fault(format!("{source_type} is no source type")),
    }
}
