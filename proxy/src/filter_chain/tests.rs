use fairlead_xds::{
    envoy::config::{
        core::v3::CidrRange,
        listener::v3::{FilterChainMatch, listener::FcdsConfig},
    },
    google::protobuf::UInt32Value,
};

use super::*;
use crate::{
    compile::{Fault, Findings},
    inspector::Proxied,
};

mod reference;

fn range(range: &str) -> CidrRange {
    let (address, length) = range.split_once('/').unwrap();
    CidrRange {
        address_prefix: address.to_owned(),
        prefix_len: Some(UInt32Value {
            value: length.parse().unwrap(),
        }),
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn port(value: u32) -> FilterChainMatch {
    FilterChainMatch {
        destination_port: Some(UInt32Value { value }),
        ..FilterChainMatch::default()
    }
}

fn to(ranges: &[&str]) -> FilterChainMatch {
    FilterChainMatch {
        prefix_ranges: ranges.iter().map(|it| range(it)).collect(),
        ..FilterChainMatch::default()
    }
}

fn server(servers: &[&str]) -> FilterChainMatch {
    FilterChainMatch {
        server_names: names(servers),
        ..FilterChainMatch::default()
    }
}

fn transport(protocol: &str) -> FilterChainMatch {
    FilterChainMatch {
        transport_protocol: protocol.to_owned(),
        ..FilterChainMatch::default()
    }
}

fn application(protocols: &[&str]) -> FilterChainMatch {
    FilterChainMatch {
        application_protocols: names(protocols),
        ..FilterChainMatch::default()
    }
}

fn source_type(source_type: i32) -> FilterChainMatch {
    FilterChainMatch {
        source_type,
        ..FilterChainMatch::default()
    }
}

fn from(ranges: &[&str], ports: &[u32]) -> FilterChainMatch {
    FilterChainMatch {
        source_prefix_ranges: ranges.iter().map(|it| range(it)).collect(),
        source_ports: ports.to_vec(),
        ..FilterChainMatch::default()
    }
}

fn any() -> FilterChainMatch {
    FilterChainMatch::default()
}

fn listener(matches: &[FilterChainMatch], default: bool) -> Listener {
    let chain = |filter_chain_match: &FilterChainMatch| FilterChain {
        filter_chain_match: Some(filter_chain_match.clone()),
        ..FilterChain::default()
    };
    Listener {
        filter_chains: matches.iter().map(chain).collect(),
        default_filter_chain: default.then(FilterChain::default),
        ..Listener::default()
    }
}

fn compile(listener: &Listener) -> (Option<FilterChains<String>>, Vec<String>) {
    let findings = Findings::default();
    let compiled = FilterChains::compile(&findings.at(""), listener, |_, chain| {
        Some(chain.name.clone())
    });
    let faults = findings.faults();
    (compiled, faults.iter().map(Fault::to_string).collect())
}

/// A connection, as the facts are told by words.
#[derive(Clone, Debug)]
struct Connection {
    destination: &'static str,
    server_name: Option<&'static str>,
    transport_protocol: &'static str,
    application_protocols: &'static [u8],
    direct_source: &'static str,
    source: &'static str,
}

const CONNECTION: Connection = Connection {
    destination: "10.0.0.1:80",
    server_name: None,
    transport_protocol: "raw_buffer",
    application_protocols: b"",
    direct_source: "10.9.9.9",
    source: "10.9.9.9:5000",
};

impl Connection {
    fn with<T>(&self, look: impl FnOnce(&Facts<'_>) -> T) -> T {
        let offered = ApplicationProtocols::offered(self.application_protocols);
        look(&Facts {
            destination: self.destination.parse().ok(),
            server_name: self.server_name,
            transport_protocol: self.transport_protocol,
            application_protocols: &offered.unwrap_or_default(),
            direct_source: self.direct_source.parse().ok(),
            source: self.source.parse().ok(),
        })
    }
}

#[track_caller]
fn check(matches: &[FilterChainMatch], connection: &Connection, expected: Option<usize>) {
    for default in [false, true] {
        let (chains, faults) = compile(&listener(matches, default));
        assert_eq!(faults, [""; 0]);
        let choice = connection.with(|facts| chains.unwrap().choose(facts));
        let otherwise = default.then_some(Choice::Default);
        assert_eq!(
            choice,
            expected.map(Choice::Chain).or(otherwise),
            "{connection:?}"
        );
    }
}

#[track_caller]
fn check_faults(listener: &Listener, expected: &[&str]) {
    let (compiled, faults) = compile(listener);
    assert!(compiled.is_none());
    assert_eq!(faults, expected);
}

fn to_address(destination: &'static str) -> Connection {
    Connection {
        destination,
        ..CONNECTION
    }
}

fn to_server(name: &'static str) -> Connection {
    Connection {
        server_name: Some(name),
        transport_protocol: "tls",
        ..CONNECTION
    }
}

fn offering(protocols: &'static [u8]) -> Connection {
    Connection {
        application_protocols: protocols,
        ..CONNECTION
    }
}

fn from_address(source: &'static str) -> Connection {
    Connection {
        source,
        ..CONNECTION
    }
}

#[test]
fn a_port_goes_before_none() {
    let matches = [any(), port(80), port(443)];
    check(&matches, &to_address("10.0.0.1:80"), Some(1));
    check(&matches, &to_address("10.0.0.1:443"), Some(2));
    check(&matches, &to_address("10.0.0.1:81"), Some(0));
    check(&matches, &to_address("a pipe"), Some(0));
    check(&matches[1..], &to_address("10.0.0.1:81"), None);
}

#[test]
fn there_is_no_way_back() {
    let other = FilterChainMatch {
        transport_protocol: "tls".to_owned(),
        ..port(80)
    };
    let matches = [any(), other];
    check(&matches, &CONNECTION, None);
    check(&matches, &to_server("a"), Some(1));
    check(&matches, &to_address("10.0.0.1:81"), Some(0));
}

#[test]
fn the_longest_destination_goes_first() {
    let matches = [
        any(),
        to(&["10.0.0.0/8", "fd00::/8"]),
        to(&["10.0.0.1/32"]),
        to(&["10.0.0.0/24", "192.168.0.0/16"]),
    ];
    for (destination, expected) in [
        ("10.0.0.1:80", 2),
        ("10.0.0.2:80", 3),
        ("10.1.0.2:80", 1),
        ("[fd00::1]:80", 1),
        ("192.168.1.1:80", 3),
        ("11.0.0.1:80", 0),
        ("[fe80::1]:80", 0),
        ("a pipe", 0),
    ] {
        check(&matches, &to_address(destination), Some(expected));
    }
}

#[test]
fn a_server_goes_before_wildcards_and_none() {
    let matches = [
        any(),
        server(&["www.example.com", "Example.COM"]),
        server(&["*.example.com"]),
        server(&["*.com", "*.www.example.com"]),
    ];
    for (name, expected) in [
        ("www.example.com", 1),
        ("example.com", 1),
        ("api.example.com", 2),
        ("a.b.example.com", 2),
        ("a.www.example.com", 3),
        ("other.com", 3),
        ("com", 0),
        ("other.org", 0),
        ("other.com.", 0),
        (".", 0),
    ] {
        check(&matches, &to_server(name), Some(expected));
    }
    check(&matches, &CONNECTION, Some(0));
    check(&matches[1..], &CONNECTION, None);
}

#[test]
fn protocols_are_those_of_the_inspectors() {
    let matches = [any(), transport("tls"), transport("raw_buffer")];
    check(&matches, &to_server("a"), Some(1));
    check(&matches, &CONNECTION, Some(2));
    check(&matches[..2], &CONNECTION, Some(0));
    let matches = [
        any(),
        application(&["h2", "istio"]),
        application(&["http/1.1"]),
    ];
    check(&matches, &offering(b"\x05istio\x08http/1.1"), Some(1));
    check(&matches, &offering(b"\x08http/1.1\x05istio"), Some(2));
    check(&matches, &offering(b"\x01x\x02h2"), Some(1));
    check(&matches, &offering(b"\x02\xff\xfe"), Some(0));
    check(&matches, &CONNECTION, Some(0));
}

#[test]
fn sources_are_told_apart() {
    let matches = [any(), source_type(1), source_type(2)];
    check(&matches, &CONNECTION, Some(2));
    for source in ["10.0.0.1:1", "127.0.0.1:1", "[::1]:1", "a pipe"] {
        check(&matches, &from_address(source), Some(1));
    }
    check(&matches, &from_address("127.0.0.6:1"), Some(2));
    check(&matches[..2], &CONNECTION, Some(0));
    let direct = FilterChainMatch {
        direct_source_prefix_ranges: vec![range("10.9.9.0/24")],
        ..any()
    };
    let matches = [any(), direct, from(&["10.0.0.0/8"], &[])];
    check(&matches, &CONNECTION, Some(1));
    let other = Connection {
        direct_source: "10.8.8.8",
        ..CONNECTION
    };
    check(&matches, &other, Some(2));
}

#[test]
fn a_source_port_goes_before_none() {
    let matches = [
        any(),
        from(&["10.9.9.0/24"], &[5000, 5001]),
        from(&["10.9.0.0/16"], &[]),
        from(&[], &[7000]),
    ];
    check(&matches, &from_address("10.9.9.9:5000"), Some(1));
    // The longest source is found, and its ports are others.
    check(&matches, &from_address("10.9.9.9:5002"), None);
    check(&matches, &from_address("10.9.8.9:5000"), Some(2));
    check(&matches, &from_address("11.0.0.1:7000"), Some(3));
    check(&matches, &from_address("11.0.0.1:7001"), Some(0));
}

#[test]
fn chains_are_found_among_many() {
    let ports: Vec<_> = (1..1000).map(|value| port(value * 3)).collect();
    check(&ports, &to_address("10.0.0.1:300"), Some(99));
    check(&ports, &to_address("10.0.0.1:301"), None);
    let ranges: Vec<_> = (0..200).map(|third| format!("10.0.{third}.0/24")).collect();
    let ranges: Vec<_> = ranges.iter().map(|range| to(&[range])).collect();
    check(&ranges, &to_address("10.0.77.1:80"), Some(77));
    check(&ranges, &to_address("10.0.201.1:80"), None);
}

#[test]
fn chains_that_take_the_same_connections_are_refused() {
    check_faults(
        &listener(&[port(80), any(), any(), any()], false),
        &[
            "filter_chains[2]: asks nothing of a connection, as filter chain 1 does; one of them \
             must ask for something else",
            "filter_chains[3]: asks nothing of a connection, as filter chain 1 does; one of them \
             must ask for something else",
        ],
    );
    let mut overlapping = listener(
        &[
            FilterChainMatch {
                server_names: names(&["a.com", "*.b.com"]),
                source_type: 2,
                ..port(80)
            },
            FilterChainMatch {
                server_names: names(&["c.com", "*.b.com"]),
                source_type: 2,
                ..port(80)
            },
        ],
        true,
    );
    overlapping.filter_chains[0].name = "first".to_owned();
    overlapping.filter_chains[1].name = "second".to_owned();
    check_faults(
        &overlapping,
        &[
            "filter_chains[1]: 'second' takes connections of destination port 80, server name \
             *.b.com, source type EXTERNAL, as filter chain 0 ('first') does; one of them must ask \
             for something else",
        ],
    );
}

#[test]
fn what_envoy_refuses_is_refused() {
    let refused = FilterChainMatch {
        destination_port: Some(UInt32Value { value: 0 }),
        prefix_ranges: vec![range("10.0.0.0/33")],
        address_suffix: "a".to_owned(),
        suffix_len: Some(UInt32Value { value: 1 }),
        direct_source_prefix_ranges: vec![range("ten/8")],
        source_type: 3,
        source_prefix_ranges: vec![range("10.0.0.0/8"), range("10.1.0.0/8")],
        source_ports: vec![1, 65536],
        server_names: names(&["*w.example.com", "*", "a*", "A.com", "a.com"]),
        transport_protocol: String::new(),
        application_protocols: names(&["h2", "h2"]),
    };
    check_faults(
        &listener(&[refused], false),
        &[
            "filter_chains[0].filter_chain_match.address_suffix: is not supported, nor is it by Envoy",
            "filter_chains[0].filter_chain_match.suffix_len: is not supported, nor is it by Envoy",
            "filter_chains[0].filter_chain_match.destination_port: 0 is not accepted; 1 to 65535 is",
            "filter_chains[0].filter_chain_match.source_type: 3 is no source type",
            "filter_chains[0].filter_chain_match.prefix_ranges[0].prefix_len: 33 is longer than an \
             address is",
            "filter_chains[0].filter_chain_match.server_names[0]: '*w.example.com' is a partial \
             wildcard; *.example.com is accepted, and no name at all for each",
            "filter_chains[0].filter_chain_match.server_names[1]: '*' is a partial wildcard; \
             *.example.com is accepted, and no name at all for each",
            "filter_chains[0].filter_chain_match.server_names[2]: 'a*' is a partial wildcard; \
             *.example.com is accepted, and no name at all for each",
            "filter_chains[0].filter_chain_match.direct_source_prefix_ranges[0].address_prefix: \
             'ten' is no IP address",
            "filter_chains[0].filter_chain_match.source_ports[1]: 65536 is not accepted; 1 to 65535 is",
            "filter_chains[0].filter_chain_match.server_names[1]: 'a.com' is in the list already",
            "filter_chains[0].filter_chain_match.application_protocols[1]: 'h2' is in the list already",
            "filter_chains[0].filter_chain_match.source_prefix_ranges[1]: '10.0.0.0/8' is in the \
             list already",
        ],
    );
}

#[test]
fn a_listener_has_chains_and_chooses_by_their_matches() {
    check_faults(
        &Listener::default(),
        &["filter_chains: is empty, and there is no default_filter_chain"],
    );
    let mut asked = listener(&[any()], false);
    asked.filter_chain_matcher = Some(Default::default());
    asked.fcds_config = Some(FcdsConfig::default());
    check_faults(
        &asked,
        &[
            "filter_chain_matcher: is not supported",
            "fcds_config: is not supported",
        ],
    );
}

#[test]
fn each_chain_is_compiled() {
    let findings = Findings::default();
    let broken = FilterChains::<()>::compile(
        &findings.at("listener"),
        &listener(&[port(1), port(2)], true),
        |at, _| at.fault("is broken"),
    );
    assert!(broken.is_none());
    let faults: Vec<_> = findings
        .faults()
        .into_iter()
        .map(|fault| fault.path)
        .collect();
    assert_eq!(
        faults,
        [
            "listener.filter_chains[0]",
            "listener.filter_chains[1]",
            "listener.default_filter_chain"
        ]
    );
    let mut named = listener(&[port(80)], true);
    named.filter_chains[0].name = "http".to_owned();
    let (chains, _) = compile(&named);
    let chains = chains.unwrap();
    let found = CONNECTION.with(|facts| chains.find(facts).cloned());
    assert_eq!(found.as_deref(), Some("http"));
    assert_eq!(chains.chains(), ["http"]);
    assert_eq!(chains.default_chain().map(String::as_str), Some(""));
}

#[test]
fn a_default_chain_alone_takes_each_connection() {
    let (chains, faults) = compile(&listener(&[], true));
    assert_eq!(faults, [""; 0]);
    let choice = CONNECTION.with(|facts| chains.unwrap().choose(facts));
    assert_eq!(choice, Some(Choice::Default));
}

#[test]
fn a_proxy_header_tells_whose_connection_it_is() {
    let destination = "[::ffff:10.0.0.1]:80".parse().unwrap();
    let peer = "[::ffff:10.9.9.9]:5000".parse().unwrap();
    let mut inspected = Inspected {
        tls: true,
        server_name: Some("a.com".into()),
        ..Inspected::default()
    };
    let facts = Facts::new(&inspected, destination, peer);
    assert_eq!(facts.destination, "10.0.0.1:80".parse().ok());
    assert_eq!(facts.source, "10.9.9.9:5000".parse().ok());
    assert_eq!(facts.direct_source, "10.9.9.9".parse().ok());
    assert_eq!(facts.server_name, Some("a.com"));
    assert_eq!(facts.transport_protocol, "tls");
    let told = ("10.1.1.1:1".parse().unwrap(), "10.2.2.2:2".parse().unwrap());
    inspected.proxied = Some(Proxied {
        addresses: Some(told),
        tlvs: Box::default(),
    });
    let facts = Facts::new(&inspected, destination, peer);
    assert_eq!(
        (facts.source, facts.destination),
        (Some(told.0), Some(told.1))
    );
    assert_eq!(facts.direct_source, "10.9.9.9".parse().ok());
    inspected.proxied = Some(Proxied {
        addresses: None,
        tlvs: Box::default(),
    });
    let facts = Facts::new(&inspected, destination, peer);
    assert_eq!(facts.source, "10.9.9.9:5000".parse().ok());
}

#[test]
fn the_way_to_a_chain_is_told() {
    let second = FilterChainMatch {
        server_names: names(&["*.com"]),
        ..port(80)
    };
    let (chains, _) = compile(&listener(&[any(), second, port(443)], false));
    let chains = chains.unwrap();
    let told = to_server("a.com").with(|facts| chains.explain(facts));
    assert_eq!(
        told,
        [
            "destination port: 80 is asked for",
            "server name: *.com is asked for",
            "filter chain 1 takes the connection",
        ]
    );
    let told = CONNECTION.with(|facts| chains.explain(facts));
    assert_eq!(
        told,
        [
            "destination port: 80 is asked for",
            "server name: others than the connection's are asked for",
            "no filter chain takes the connection",
        ]
    );
    let told = to_address("10.0.0.1:1").with(|facts| chains.explain(facts));
    assert_eq!(
        told,
        [
            "destination port: nothing is asked of it",
            "filter chain 0 takes the connection",
        ]
    );
}
