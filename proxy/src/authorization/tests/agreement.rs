//! The compiled engine decides as the messages read, for whatever policies.

use std::net::{IpAddr, SocketAddr};

use fairlead_xds::envoy::r#type::matcher::v3::StringMatcher;
use proptest::prelude::*;

use super::*;

/// Few of each, so that what is asked for is often there.
const ADDRESSES: [&str; 4] = ["10.0.0.1", "10.0.0.200", "10.128.0.1", "fd00::1"];
const NAMES: [&str; 4] = ["", "a", "spiffe://a", "CN=a"];

fn address() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&ADDRESSES[..])
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn a_range() -> impl Strategy<Value = CidrRange> {
    (address(), 0..=32_u32).prop_map(|(address, length)| range(address, length))
}

fn a_permission() -> impl Strategy<Value = Permission> {
    let leaf = prop_oneof![
        Just(Rule::Any(true)),
        a_range().prop_map(Rule::DestinationIp),
        (0..4_u32).prop_map(Rule::DestinationPort),
        (0..3, 1..3).prop_map(|(start, length)| ports(start, start + length)),
        name().prop_map(|name| Rule::RequestedServerName(exact(name))),
        Just(Rule::UrlPath(path("/"))),
    ];
    let leaf = leaf.prop_map(permission);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let several = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            several().prop_map(|rules| Rule::AndRules(permission::Set { rules })),
            several().prop_map(|rules| Rule::OrRules(permission::Set { rules })),
            inner.clone().prop_map(|rule| Rule::NotRule(rule.into())),
        ]
        .prop_map(permission)
    })
}

fn a_principal() -> impl Strategy<Value = Principal> {
    let leaf = prop_oneof![
        Just(Identifier::Any(true)),
        Just(Identifier::Authenticated(Authenticated::default())),
        name().prop_map(named),
        a_range().prop_map(Identifier::RemoteIp),
        a_range().prop_map(Identifier::DirectRemoteIp),
        Just(Identifier::UrlPath(path("/"))),
    ];
    let leaf = leaf.prop_map(principal);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let several = || prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            several().prop_map(|ids| Identifier::AndIds(principal::Set { ids })),
            several().prop_map(|ids| Identifier::OrIds(principal::Set { ids })),
            inner.clone().prop_map(|id| Identifier::NotId(id.into())),
        ]
        .prop_map(principal)
    })
}

fn a_message() -> impl Strategy<Value = Rbac> {
    let permissions = prop::collection::vec(a_permission(), 1..3);
    let principals = prop::collection::vec(a_principal(), 1..3);
    let policy = (permissions, principals).prop_map(|(permissions, principals)| Policy {
        permissions,
        principals,
        ..Policy::default()
    });
    let policies = prop::collection::hash_map("[a-d]", policy, 0..4);
    (0..3, policies).prop_map(|(action, policies)| Rbac {
        action,
        policies,
        audit_logging_options: None,
    })
}

#[derive(Clone, Debug)]
struct Connection {
    addresses: [SocketAddr; 3],
    server_name: &'static str,
    peer: Option<PeerIdentity>,
}

fn a_connection() -> impl Strategy<Value = Connection> {
    let socket = || {
        (address(), 0..4_u16)
            .prop_map(|(address, port)| SocketAddr::new(address.parse().unwrap(), port))
    };
    let sans = || prop::collection::vec(name().prop_map(Into::into), 0..2);
    let peer = (sans(), sans(), name()).prop_map(|(uri, dns, subject)| PeerIdentity {
        is_validated: true,
        uri_sans: uri.into(),
        dns_sans: dns.into(),
        subject: subject.into(),
    });
    let addresses = [socket(), socket(), socket()];
    (addresses, name(), prop::option::of(peer)).prop_map(|(addresses, server_name, peer)| {
        Connection {
            addresses,
            server_name,
            peer,
        }
    })
}

fn bits(address: IpAddr) -> (u32, u128) {
    match address {
        IpAddr::V4(address) => (32, u32::from(address).into()),
        IpAddr::V6(address) => (128, address.into()),
    }
}

fn is_in(range: &CidrRange, address: SocketAddr) -> bool {
    let (size, of_range) = bits(range.address_prefix.parse().unwrap());
    let (size_of_address, address) = bits(address.ip());
    let rest = size - range.prefix_len.unwrap().value;
    let cut = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
    size == size_of_address && cut(of_range) == cut(address)
}

fn is_exactly(matcher: &StringMatcher, text: &str) -> bool {
    matcher.match_pattern == Some(MatchPattern::Exact(text.to_owned()))
}

fn permits(message: &Permission, to: &Connection) -> bool {
    let port = i32::from(to.addresses[2].port());
    match message.rule.as_ref().unwrap() {
        Rule::AndRules(set) => set.rules.iter().all(|rule| permits(rule, to)),
        Rule::OrRules(set) => set.rules.iter().any(|rule| permits(rule, to)),
        Rule::NotRule(rule) => !permits(rule, to),
        Rule::Any(any) => *any,
        Rule::DestinationIp(range) => is_in(range, to.addresses[2]),
        Rule::DestinationPort(asked) => i64::from(*asked) == i64::from(port),
        Rule::DestinationPortRange(range) => range.start <= port && port < range.end,
        Rule::RequestedServerName(name) => is_exactly(name, to.server_name),
        Rule::UrlPath(_) => false,
        rule => unreachable!("{rule:?} is not made here"),
    }
}

fn is_meant(message: &Principal, of: &Connection) -> bool {
    match message.identifier.as_ref().unwrap() {
        Identifier::AndIds(set) => set.ids.iter().all(|id| is_meant(id, of)),
        Identifier::OrIds(set) => set.ids.iter().any(|id| is_meant(id, of)),
        Identifier::NotId(id) => !is_meant(id, of),
        Identifier::Any(any) => *any,
        Identifier::Authenticated(authenticated) => match (&of.peer, &authenticated.principal_name)
        {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(peer), Some(name)) => {
                let mut names = peer.uri_sans.to_vec();
                names.extend(peer.dns_sans.iter().cloned());
                names.push(peer.subject.clone());
                names.iter().any(|of_peer| is_exactly(name, of_peer))
            }
        },
        Identifier::RemoteIp(range) => is_in(range, of.addresses[0]),
        Identifier::DirectRemoteIp(range) => is_in(range, of.addresses[1]),
        Identifier::UrlPath(_) => false,
        identifier => unreachable!("{identifier:?} is not made here"),
    }
}

/// The action, and the least name among the policies that match.
fn decision<'a>(message: &'a Rbac, of: &Connection) -> Decision<'a> {
    let matching = message.policies.iter().filter(|(_, policy)| {
        policy
            .permissions
            .iter()
            .any(|message| permits(message, of))
            && policy
                .principals
                .iter()
                .any(|message| is_meant(message, of))
    });
    let policy = matching.map(|(name, _)| name.as_str()).min();
    match message.action() {
        Action::Log => Decision::Log { policy },
        Action::Allow if policy.is_some() => Decision::Allow { policy },
        Action::Deny if policy.is_none() => Decision::Allow { policy },
        Action::Allow | Action::Deny => Decision::Deny { policy },
    }
}

proptest! {
    #[test]
    fn the_engine_decides_as_the_policies_read(message in a_message(), connection in a_connection()) {
        let engine = compile(&message).unwrap();
        let facts = Facts {
            remote: connection.addresses[0],
            direct_remote: connection.addresses[1],
            destination: connection.addresses[2],
            server_name: connection.server_name,
            peer: connection.peer.as_ref(),
        };
        prop_assert_eq!(engine.decide(&facts), decision(&message, &connection));
    }
}
