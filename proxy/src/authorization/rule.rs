//! One condition of a policy, on what is accessed or on who accesses it.

use std::{net::SocketAddr, ops::Range};

use fairlead_xds::envoy::{config::core::v3::CidrRange, r#type::matcher::v3::PathMatcher};
use ipnet::IpNet;

use super::facts::Facts;
use crate::{
    compile::At,
    matcher::{StringMatcher, cidr_range},
};

/// A compiled permission or principal.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// Any connection.
    Any,
    /// No connection: the rule is on requests of HTTP, which a connection has not.
    Never,
    All(Box<[Rule]>),
    OneOf(Box<[Rule]>),
    Not(Box<Rule>),
    DestinationIp(IpNet),
    DestinationPort(Range<u32>),
    ServerName(StringMatcher),
    /// A peer with TLS, of such a name if one is given.
    Authenticated(Option<StringMatcher>),
    /// A peer with a valid certificate, for such a URI if one is given.
    Validated(Option<StringMatcher>),
    RemoteIp(IpNet),
    DirectRemoteIp(IpNet),
}

impl Rule {
    /// Whether the connection is meant.
    pub(super) fn matches(&self, facts: &Facts<'_>) -> bool {
        // A socket for both families tells an address of IPv4 as one of IPv6.
        let within = |net: &IpNet, address: SocketAddr| net.contains(&address.ip().to_canonical());
        match self {
            Self::Any => true,
            Self::Never => false,
            Self::All(rules) => rules.iter().all(|rule| rule.matches(facts)),
            Self::OneOf(rules) => one_of(rules, facts),
            Self::Not(rule) => !rule.matches(facts),
            Self::DestinationIp(net) => within(net, facts.destination),
            Self::DestinationPort(ports) => ports.contains(&facts.destination.port().into()),
            Self::ServerName(name) => name.matches(facts.server_name),
            Self::Authenticated(name) => facts.peer.is_some_and(|peer| match name {
                Some(name) => peer.names().any(|of_peer| name.matches(of_peer)),
                None => true,
            }),
            Self::Validated(uri) => facts.peer.is_some_and(|peer| {
                let has = |uri: &StringMatcher| peer.uri_sans.iter().any(|san| uri.matches(san));
                peer.is_validated && uri.as_ref().is_none_or(has)
            }),
            Self::RemoteIp(net) => within(net, facts.remote),
            Self::DirectRemoteIp(net) => within(net, facts.direct_remote),
        }
    }
}

/// Whether the connection is meant by one of the rules at least.
pub(super) fn one_of(rules: &[Rule], facts: &Facts<'_>) -> bool {
    rules.iter().any(|rule| rule.matches(facts))
}

/// The rules of a list that must not be empty.
pub(super) fn several<T>(
    at: &At<'_>,
    name: &str,
    list: &[T],
    compile: impl Fn(&At<'_>, &T) -> Option<Rule>,
) -> Option<Box<[Rule]>> {
    if list.is_empty() {
        return at.field(name).fault("is empty");
    }
    let rules = at.each(name, list, compile);
    // A rule with a fault is not left out of its list, lest the list mean something else.
    (rules.len() == list.len()).then(|| rules.into())
}

/// `any`, which has no other value than true.
pub(super) fn any(at: &At<'_>, any: bool) -> Option<Rule> {
    if any {
        return Some(Rule::Any);
    }
    at.field("any").fault("must be true")
}

/// A path of HTTP, which Envoy, too, takes at a network filter although none ever matches there.
pub(super) fn url_path(at: &At<'_>, message: &PathMatcher) -> Option<Rule> {
    let PathMatcher { rule } = message;
    let at = at.field("url_path");
    match at.required("rule", rule.as_ref())? {
        fairlead_xds::envoy::r#type::matcher::v3::path_matcher::Rule::Path(path) => {
            StringMatcher::compile(&at.field("path"), path).map(|_| Rule::Never)
        }
    }
}

/// An address range in the field of that name.
pub(super) fn range(at: &At<'_>, name: &str, range: &CidrRange) -> Option<IpNet> {
    cidr_range(&at.field(name), range)
}

/// A header, which Envoy refuses at a network filter.
pub(super) fn header(at: &At<'_>) -> Option<Rule> {
    at.field("header")
        .fault("a network filter sees no headers of HTTP")
}

/// A rule on what other filters found out, of which none here does.
pub(super) fn metadata(at: &At<'_>, name: &str) -> Option<Rule> {
    at.field(name)
        .fault("is not supported: no network filter of this proxy sets metadata or filter state")
}

/// A rule that an extension of Envoy carries out.
pub(super) fn extension(at: &At<'_>, name: &str, extension: &str) -> Option<Rule> {
    at.field(name)
        .fault(format!("the extension '{extension}' is not supported"))
}
