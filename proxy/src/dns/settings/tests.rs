use fairlead_xds::{
    envoy::config::core::v3::{SocketAddress, address, socket_address::PortSpecifier},
    prost::{Message, Name},
};

use super::*;
use crate::compile::Findings;

fn seconds(seconds: i64) -> Option<protobuf::Duration> {
    Some(protobuf::Duration { seconds, nanos: 0 })
}

fn address(ip: &str) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: ip.to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(53)),
            ..SocketAddress::default()
        })),
    }
}

fn any<M: Message + Name>(message: &M) -> TypedExtensionConfig {
    TypedExtensionConfig {
        name: "resolver".to_owned(),
        typed_config: Some(protobuf::Any {
            type_url: M::type_url(),
            value: message.encode_to_vec(),
        }),
    }
}

#[track_caller]
fn sound(cluster: &Cluster) -> Settings {
    let findings = Findings::default();
    let settings = Settings::of_cluster(&findings.at("c"), cluster);
    assert_eq!(findings.faults(), []);
    settings.unwrap()
}

#[track_caller]
fn faulty(cluster: &Cluster, expected: &[&str]) {
    let findings = Findings::default();
    assert_eq!(Settings::of_cluster(&findings.at("c"), cluster), None);
    let faults = findings.faults();
    let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults, expected);
}

#[test]
fn a_cluster_that_says_nothing_has_envoys_defaults() {
    let settings = sound(&Cluster::default());
    assert_eq!(settings.family, Family::Auto);
    assert_eq!(settings.servers, Servers::default());
    assert_eq!(settings.refresh.rate, Duration::from_secs(5));
    assert_eq!(settings.refresh.failure, None);
}

#[test]
#[expect(deprecated, reason = "control planes still say it in the older fields")]
fn a_cluster_has_what_it_says() {
    let settings = sound(&Cluster {
        dns_lookup_family: DnsLookupFamily::V4Preferred.into(),
        dns_refresh_rate: seconds(60),
        respect_dns_ttl: true,
        dns_jitter: seconds(1),
        dns_failure_refresh_rate: Some(RefreshRate {
            base_interval: seconds(2),
            max_interval: None,
        }),
        dns_resolvers: vec![address("10.0.0.10")],
        use_tcp_for_dns_lookups: true,
        ..Cluster::default()
    });
    assert_eq!(settings.family, Family::V4Preferred);
    assert_eq!(settings.servers.addresses[0].to_string(), "10.0.0.10:53");
    assert!(settings.servers.over_tcp && settings.refresh.respect_ttl);
    assert_eq!(settings.refresh.rate, Duration::from_secs(60));
    assert_eq!(settings.refresh.jitter, Duration::from_secs(1));
    let backoff = Backoff {
        base: Duration::from_secs(2),
        most: Duration::from_secs(20),
    };
    assert_eq!(settings.refresh.failure, Some(backoff));
}

#[test]
fn the_resolver_of_the_extension_wins() {
    let cares = CaresDnsResolverConfig {
        resolvers: vec![address("10.0.0.11")],
        query_tries: Some(protobuf::UInt32Value { value: 2 }),
        dns_resolver_options: Some(DnsResolverOptions {
            use_tcp_for_dns_lookups: false,
            no_default_search_domain: true,
        }),
        ..CaresDnsResolverConfig::default()
    };
    let settings = sound(&Cluster {
        typed_dns_resolver_config: Some(any(&cares)),
        ..Cluster::default()
    });
    assert_eq!(settings.servers.addresses[0].to_string(), "10.0.0.11:53");
    assert_eq!(settings.servers.tries, Some(2));
    assert!(settings.servers.no_search);
}

#[test]
fn the_cluster_extension_is_read_alike() {
    let findings = Findings::default();
    let message = DnsCluster {
        dns_lookup_family: 3,
        all_addresses_in_single_endpoint: true,
        dns_refresh_rate: seconds(9),
        ..DnsCluster::default()
    };
    let (settings, single) = Settings::of_extension(&findings.at("c"), &message).unwrap();
    assert!(single);
    assert_eq!(settings.family, Family::V6Only);
    assert_eq!(settings.refresh.rate, Duration::from_secs(9));
}

#[test]
#[expect(deprecated, reason = "control planes still say it in the older fields")]
fn every_fault_is_told() {
    faulty(
        &Cluster {
            dns_lookup_family: 17,
            dns_refresh_rate: seconds(0),
            dns_failure_refresh_rate: Some(RefreshRate {
                base_interval: seconds(3),
                max_interval: seconds(2),
            }),
            ..Cluster::default()
        },
        &[
            "c.dns_lookup_family: 17 is no family",
            "c.dns_refresh_rate: is shorter than 1ms",
            "c.dns_failure_refresh_rate.max_interval: is shorter than base_interval",
        ],
    );
    faulty(
        &Cluster {
            dns_failure_refresh_rate: Some(RefreshRate::default()),
            typed_dns_resolver_config: Some(any(&Cluster::default())),
            ..Cluster::default()
        },
        &[
            "c.typed_dns_resolver_config.typed_config: the resolver \
             envoy.config.cluster.v3.Cluster is not supported",
            "c.dns_failure_refresh_rate.base_interval: is missing",
        ],
    );
}
