//! The documentation's own way, chain by chain and criterion by criterion, against the tree.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;

/// How specific the chain is about the connection, or nothing where it wants something else.
fn rank(of: &FilterChainMatch, facts: &Facts<'_>, criterion: usize) -> Option<usize> {
    match criterion {
        0 => {
            let wanted = of.destination_port.map(|port| port.value);
            ports(wanted.as_slice(), facts.destination.map(|to| to.port()))
        }
        1 => ranges(&of.prefix_ranges, facts.destination.map(|to| to.ip())),
        2 => servers(&of.server_names, facts.server_name.unwrap_or_default()),
        3 => match &*of.transport_protocol {
            "" => Some(0),
            wanted => (wanted == facts.transport_protocol).then_some(1),
        },
        4 => {
            let offered: Vec<_> = facts.application_protocols.iter().collect();
            let is_wanted = |name: &&[u8]| {
                of.application_protocols
                    .iter()
                    .any(|it| it.as_bytes() == *name)
            };
            match of.application_protocols.is_empty() {
                true => Some(0),
                false => offered.iter().position(is_wanted).map(|index| 100 - index),
            }
        }
        5 => ranges(&of.direct_source_prefix_ranges, facts.direct_source),
        6 => match of.source_type {
            0 => Some(0),
            1 => facts.is_local().then_some(1),
            _ => (!facts.is_local()).then_some(1),
        },
        7 => ranges(&of.source_prefix_ranges, facts.source.map(|from| from.ip())),
        _ => ports(&of.source_ports, facts.source.map(|from| from.port())),
    }
}

fn ports(wanted: &[u32], port: Option<u16>) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    let port = u32::from(port?);
    wanted.contains(&port).then_some(1)
}

fn ranges(wanted: &[CidrRange], address: Option<IpAddr>) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    let lengths = wanted.iter().filter_map(|range| {
        let length = range.prefix_len.unwrap().value;
        let range = format!("{}/{length}", range.address_prefix);
        let range: ipnet::IpNet = range.parse().unwrap();
        range.contains(&address?).then_some(length as usize + 1)
    });
    lengths.max()
}

fn servers(wanted: &[String], name: &str) -> Option<usize> {
    if wanted.is_empty() {
        return Some(0);
    }
    let ranks = wanted.iter().filter_map(|wanted| {
        if wanted == name {
            return Some(1000);
        }
        let suffix = wanted.strip_prefix('*')?;
        (name.ends_with(suffix) && name.len() > suffix.len()).then_some(suffix.len())
    });
    ranks.max()
}

fn prune(matches: &[FilterChainMatch], facts: &Facts<'_>) -> Vec<usize> {
    let mut left: Vec<_> = (0..matches.len()).collect();
    for criterion in 0..9 {
        let ranks: Vec<_> = left
            .iter()
            .map(|chain| rank(&matches[*chain], facts, criterion))
            .collect();
        let best = ranks.iter().flatten().max().copied();
        let mut ranks = ranks.into_iter();
        left.retain(|_| {
            let rank = ranks.next().flatten();
            rank.is_some() && rank == best
        });
    }
    left
}

fn some_ranges() -> impl Strategy<Value = Vec<CidrRange>> {
    let one = select(vec![
        "10.0.0.0/8",
        "10.1.0.0/16",
        "10.1.2.3/32",
        "fd00::/8",
        "0.0.0.0/0",
    ]);
    let one = one.prop_map(range);
    prop_oneof![2 => Just(vec![]), 1 => vec(one, 1..3)]
}

fn some_names(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    let some = vec(select(of).prop_map(str::to_owned), 1..3);
    prop_oneof![2 => Just(vec![]), 1 => some]
}

fn some_match() -> impl Strategy<Value = FilterChainMatch> {
    let destination = (proptest::option::of(1..3_u32), some_ranges());
    let asked = (
        some_names(&["a.com", "b.a.com", "*.com", "*.a.com", "org"]),
        select(vec!["", "", "tls", "raw_buffer"]),
        some_names(&["h2", "istio", "http/1.1"]),
    );
    let source = (
        some_ranges(),
        select(vec![0, 0, 1, 2]),
        some_ranges(),
        prop_oneof![2 => Just(vec![]), 1 => vec(1..3_u32, 1..3)],
    );
    (destination, asked, source).prop_map(|((port, to), asked, source)| FilterChainMatch {
        destination_port: port.map(|value| UInt32Value { value }),
        prefix_ranges: to,
        server_names: asked.0,
        transport_protocol: asked.1.to_owned(),
        application_protocols: asked.2,
        direct_source_prefix_ranges: source.0,
        source_type: source.1,
        source_prefix_ranges: source.2,
        source_ports: source.3,
        ..FilterChainMatch::default()
    })
}

fn some_connection() -> impl Strategy<Value = Connection> {
    let addresses = &[
        "10.1.2.3:1",
        "10.1.9.9:2",
        "10.9.9.9:3",
        "11.0.0.1:1",
        "[fd00::1]:2",
        "pipe",
    ];
    (
        select(&addresses[..]),
        select(vec![
            None,
            Some("a.com"),
            Some("b.a.com"),
            Some("c.b.a.com"),
            Some("com"),
            Some("x.org"),
        ]),
        select(vec!["tls", "raw_buffer"]),
        select(vec![
            &b""[..],
            b"\x02h2",
            b"\x05istio\x02h2",
            b"\x08http/1.1\x05istio",
            b"\x01x",
        ]),
        select(vec!["10.1.2.3", "10.9.9.9", "fd00::1", "11.0.0.1", "pipe"]),
        select(&addresses[..]),
    )
        .prop_map(
            |(destination, server_name, transport, application, direct, source)| Connection {
                destination,
                server_name,
                transport_protocol: transport,
                application_protocols: application,
                direct_source: direct,
                source,
            },
        )
}

proptest! {
    #[test]
    fn the_tree_chooses_as_the_documentation_says(
        candidates in vec(some_match(), 1..12),
        connections in vec(some_connection(), 1..20),
    ) {
        let mut matches: Vec<FilterChainMatch> = vec![];
        for candidate in candidates {
            matches.push(candidate);
            // Those that take what others take are refused, which has tests of its own.
            if compile(&listener(&matches, false)).0.is_none() {
                matches.pop();
            }
        }
        prop_assume!(!matches.is_empty());
        let chains = compile(&listener(&matches, false)).0.unwrap();
        for connection in connections {
            let (left, choice, told) = connection.with(|facts| {
                (prune(&matches, facts), chains.choose(facts), chains.explain(facts))
            });
            prop_assert!(left.len() <= 1, "{left:?} are left for {connection:?}");
            let expected = left.first().copied().map(Choice::Chain);
            prop_assert_eq!(choice, expected, "{:?}", &connection);
            let last = expected.map_or("no filter chain takes the connection".to_owned(), |_| {
                format!("filter chain {} takes the connection", left[0])
            });
            prop_assert_eq!(told.last(), Some(&last));
        }
    }
}
