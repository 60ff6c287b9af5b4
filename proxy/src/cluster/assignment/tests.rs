use std::{collections::HashMap, time::Instant};

use fairlead_xds::envoy::config::{
    core::v3::{
        Metadata as MetadataMessage, Pipe, SocketAddress,
        address::Address as AddressMessage,
        socket_address::{PortSpecifier, Protocol},
    },
    endpoint::v3::{
        Endpoint as EndpointMessage, LbEndpoint, LedsClusterLocalityConfig,
        endpoint::{AdditionalAddress, HealthCheckConfig},
        lb_endpoint::HostIdentifier,
    },
};

use fairlead_xds::prost::Message;
use proptest::prelude::*;

use super::*;
use crate::{
    cluster::{
        balancer::{Balancer, Choice},
        endpoint::HealthStatus,
        endpoint_set::{EndpointSet, Making},
        metadata::Value,
        policy::BalancerConfig,
    },
    compile::{Fault, Findings},
};

fn socket(address: &str, port: u32) -> core::Address {
    core::Address {
        address: Some(AddressMessage::SocketAddress(SocketAddress {
            address: address.to_owned(),
            port_specifier: Some(PortSpecifier::PortValue(port)),
            ..SocketAddress::default()
        })),
    }
}

fn number(value: u32) -> Option<protobuf::UInt32Value> {
    Some(protobuf::UInt32Value { value })
}

fn served(address: core::Address) -> EndpointMessage {
    EndpointMessage {
        address: Some(address),
        ..EndpointMessage::default()
    }
}

fn lb(endpoint: EndpointMessage) -> LbEndpoint {
    LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(endpoint)),
        ..LbEndpoint::default()
    }
}

fn message() -> ClusterLoadAssignment {
    ClusterLoadAssignment {
        cluster_name: "shop".to_owned(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: vec![lb(served(socket("10.0.0.1", 80)))],
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    }
}

fn compile(message: &ClusterLoadAssignment) -> (Option<Assignment>, Vec<String>, Vec<String>) {
    let findings = Findings::default();
    let compiled = Assignment::compile(&findings.at("a"), message);
    let told = |faults: Vec<Fault>| faults.iter().map(Fault::to_string).collect();
    (
        compiled,
        told(findings.faults()),
        told(findings.unsupported()),
    )
}

#[test]
fn an_assignment_is_compiled_whole() {
    let mut message = message();
    let values = protobuf::Struct {
        fields: HashMap::from([(
            "version".to_owned(),
            protobuf::Value {
                kind: Some(protobuf::value::Kind::StringValue("v1".to_owned())),
            },
        )]),
    };
    let locality = &mut message.endpoints[0];
    locality.priority = 128;
    locality.load_balancing_weight = number(7);
    locality.locality = Some(core::Locality {
        region: "r".to_owned(),
        zone: "z".to_owned(),
        sub_zone: "s".to_owned(),
    });
    let endpoint = &mut locality.lb_endpoints[0];
    endpoint.load_balancing_weight = number(3);
    endpoint.health_status = 5;
    endpoint.metadata = Some(MetadataMessage {
        filter_metadata: HashMap::from([
            ("envoy.lb".to_owned(), values.clone()),
            ("istio".to_owned(), values),
        ]),
        ..MetadataMessage::default()
    });
    locality
        .lb_endpoints
        .push(lb(served(socket("shop.example", 81))));
    message.policy = Some(Policy {
        drop_overloads: vec![DropOverloadMessage {
            category: "lb".to_owned(),
            drop_percentage: Some(FractionalPercent {
                numerator: 25,
                denominator: 0,
            }),
        }],
        overprovisioning_factor: number(100),
        endpoint_stale_after: None,
        weighted_priority_health: true,
    });
    let (compiled, faults, unsupported) = compile(&message);
    assert_eq!((faults, unsupported), (vec![], vec![]));
    let compiled = compiled.unwrap();
    assert_eq!(&*compiled.cluster_name, "shop");
    assert_eq!(compiled.overprovisioning_factor, 100);
    assert!(compiled.weighted_priority_health);
    let drop = compiled.drop_overload.unwrap();
    assert_eq!(drop.per_million, 250_000);
    assert!(drop.drops(249_999) && !drop.drops(250_000) && drop.drops(1_000_000));
    let locality = &compiled.localities[0];
    assert_eq!((locality.priority, locality.weight), (128, 7));
    assert_eq!(&*locality.locality.sub_zone, "s");
    let [first, second] = &*locality.endpoints else {
        panic!("two endpoints");
    };
    assert_eq!(first.address, Address::Ip("10.0.0.1:80".parse().unwrap()));
    assert_eq!(first.attributes.weight, 3);
    assert_eq!(first.attributes.health_status, HealthStatus::Degraded);
    let version = first.attributes.metadata.get("version");
    assert_eq!(version, Some(&Value::from("v1")));
    assert_eq!(second.address, Address::Name("shop.example".into(), 81));
    assert_eq!(second.attributes.weight, 1);
}

#[test]
fn health_checks_go_where_they_are_asked_to() {
    for (port, address, expected) in [
        (0, None, None),
        (8080, None, Some("10.0.0.1:8080")),
        (0, Some(socket("10.0.0.2", 81)), Some("10.0.0.2:81")),
        (8080, Some(socket("10.0.0.2", 81)), Some("10.0.0.2:8080")),
    ] {
        let mut endpoint = served(socket("10.0.0.1", 80));
        endpoint.health_check_config = Some(HealthCheckConfig {
            port_value: port,
            hostname: "h".to_owned(),
            address,
            disable_active_health_check: true,
        });
        let mut message = message();
        message.endpoints[0].lb_endpoints = vec![lb(endpoint)];
        let compiled = compile(&message).0.unwrap();
        let attributes = &compiled.localities[0].endpoints[0].attributes;
        let target = attributes.health_check.as_ref().unwrap();
        assert_eq!(target.address, expected.map(|text| text.parse().unwrap()));
        assert!(target.disabled);
    }
}

#[track_caller]
fn check_fault(change: impl FnOnce(&mut ClusterLoadAssignment), expected: &str) {
    let mut message = message();
    change(&mut message);
    let (compiled, faults, _) = compile(&message);
    assert_eq!(faults, [expected]);
    assert!(compiled.is_none());
}

#[track_caller]
fn check_endpoint(change: impl FnOnce(&mut LbEndpoint), expected: &str) {
    let expected = format!("a.endpoints[0].lb_endpoints[0].{expected}");
    check_fault(
        |message| change(&mut message.endpoints[0].lb_endpoints[0]),
        &expected,
    );
}

#[track_caller]
fn check_address(address: AddressMessage, expected: &str) {
    let address = core::Address {
        address: Some(address),
    };
    let expected = format!("endpoint.address.{expected}");
    check_endpoint(|endpoint| *endpoint = lb(served(address)), &expected);
}

#[test]
fn faults_of_an_assignment_name_the_field() {
    check_fault(
        |message| message.cluster_name.clear(),
        "a.cluster_name: is empty",
    );
    check_fault(
        |message| message.endpoints[0].priority = 129,
        "a.endpoints[0].priority: 129 is more than 128",
    );
    check_fault(
        |message| message.endpoints[0].load_balancing_weight = number(0),
        "a.endpoints[0].load_balancing_weight: must be at least 1",
    );
    check_fault(
        |message| {
            let leds = LedsClusterLocalityConfig::default();
            message.endpoints[0].lb_config = Some(LbConfig::LedsClusterLocalityConfig(leds));
        },
        "a.endpoints[0].leds_cluster_locality_config: endpoints that are discovered by locality are not supported",
    );
    check_fault(
        |message| {
            #[expect(deprecated, reason = "to be refused")]
            let list = LbConfig::LoadBalancerEndpoints(Default::default());
            message.endpoints[0].lb_config = Some(list);
        },
        "a.endpoints[0].load_balancer_endpoints: is not supported; use lb_endpoints",
    );
    check_fault(
        |message| {
            message.endpoints[0].load_balancing_weight = number(u32::MAX);
            let mut other = message.endpoints[0].clone();
            other.load_balancing_weight = number(1);
            message.endpoints.push(other);
        },
        "a.endpoints: the weights of the localities of priority 0 add up to 4294967296, more than 4294967295",
    );
    check_fault(
        |message| {
            let endpoints = &mut message.endpoints[0].lb_endpoints;
            endpoints.push(endpoints[0].clone());
            endpoints[0].load_balancing_weight = number(u32::MAX);
        },
        "a.endpoints[0].lb_endpoints: the weights of the endpoints add up to 4294967296, more than 4294967295",
    );
}

#[test]
fn faults_of_a_policy_name_the_field() {
    let policy = |change: fn(&mut Policy), expected: &str| {
        check_fault(
            |message| change(message.policy.get_or_insert_default()),
            expected,
        );
    };
    policy(
        |policy| policy.overprovisioning_factor = number(0),
        "a.policy.overprovisioning_factor: must be greater than 0",
    );
    policy(
        |policy| policy.endpoint_stale_after = Some(protobuf::Duration::default()),
        "a.policy.endpoint_stale_after: must be greater than 0",
    );
    policy(
        |policy| policy.drop_overloads.push(DropOverloadMessage::default()),
        "a.policy.drop_overloads[0].category: is empty",
    );
    let drop = |numerator, denominator| DropOverloadMessage {
        category: "lb".to_owned(),
        drop_percentage: Some(FractionalPercent {
            numerator,
            denominator,
        }),
    };
    for (drops, expected) in [
        (
            vec![drop(1, 0), drop(1, 0)],
            "a.policy.drop_overloads: may have one element only",
        ),
        (
            vec![drop(101, 0)],
            "a.policy.drop_overloads[0].drop_percentage: is more than 100 %",
        ),
        (
            vec![drop(u32::MAX, 1)],
            "a.policy.drop_overloads[0].drop_percentage: is more than 100 %",
        ),
        (
            vec![drop(1, 9)],
            "a.policy.drop_overloads[0].drop_percentage.denominator: 9 is no known denominator",
        ),
    ] {
        check_fault(
            |message| message.policy.get_or_insert_default().drop_overloads = drops,
            expected,
        );
    }
}

#[test]
fn faults_of_an_endpoint_name_the_field() {
    check_endpoint(
        |endpoint| endpoint.load_balancing_weight = number(0),
        "load_balancing_weight: must be at least 1",
    );
    check_endpoint(
        |endpoint| endpoint.health_status = 9,
        "health_status: 9 is no known status",
    );
    check_endpoint(
        |endpoint| endpoint.host_identifier = None,
        "endpoint: is missing",
    );
    check_endpoint(
        |endpoint| {
            endpoint.host_identifier = Some(HostIdentifier::EndpointName("e".to_owned()));
        },
        "endpoint_name: endpoints cannot be referred to by name",
    );
    check_endpoint(
        |endpoint| *endpoint = lb(EndpointMessage::default()),
        "endpoint.address: is missing",
    );
    let checked = |config: HealthCheckConfig, expected: &str| {
        let mut message = served(socket("10.0.0.1", 80));
        message.health_check_config = Some(config);
        let expected = format!("endpoint.health_check_config.{expected}");
        check_endpoint(|endpoint| *endpoint = lb(message), &expected);
    };
    checked(
        HealthCheckConfig {
            port_value: 65_536,
            ..HealthCheckConfig::default()
        },
        "port_value: 65536 is more than 65535",
    );
    checked(
        HealthCheckConfig {
            address: Some(socket("name", 80)),
            ..HealthCheckConfig::default()
        },
        "address: 'name' is no IP address",
    );
}

#[test]
fn faults_of_an_address_name_the_field() {
    check_address(
        AddressMessage::Pipe(Pipe::default()),
        "pipe: Unix domain sockets are not supported as endpoints",
    );
    check_address(
        AddressMessage::EnvoyInternalAddress(core::EnvoyInternalAddress::default()),
        "envoy_internal_address: internal listeners are not supported",
    );
    let sound = SocketAddress {
        address: "10.0.0.1".to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(80)),
        ..SocketAddress::default()
    };
    let check = |change: fn(&mut SocketAddress), expected: &str| {
        let mut socket = sound.clone();
        change(&mut socket);
        let expected = format!("socket_address.{expected}");
        check_address(AddressMessage::SocketAddress(socket), &expected);
    };
    check(
        |socket| socket.protocol = Protocol::Udp as i32,
        "protocol: only TCP is supported",
    );
    check(|socket| socket.address.clear(), "address: is empty");
    check(
        |socket| socket.resolver_name = "r".to_owned(),
        "resolver_name: other resolvers are not supported",
    );
    check(
        |socket| socket.network_namespace_filepath = "/n".to_owned(),
        "network_namespace_filepath: other network namespaces are not supported",
    );
    check(
        |socket| socket.port_specifier = None,
        "port_specifier: is missing",
    );
    check(
        |socket| socket.port_specifier = Some(PortSpecifier::PortValue(65_536)),
        "port_value: 65536 is more than 65535",
    );
    check(
        |socket| socket.port_specifier = Some(PortSpecifier::NamedPort("http".to_owned())),
        "named_port: 'http': ports cannot be named",
    );
}

#[test]
fn what_is_left_undone_is_told() {
    let mut message = message();
    message
        .named_endpoints
        .insert("e".to_owned(), served(socket("10.0.0.1", 80)));
    message.policy = Some(Policy {
        endpoint_stale_after: Some(protobuf::Duration {
            seconds: 1,
            nanos: 0,
        }),
        ..Policy::default()
    });
    let mut endpoint = served(socket("name", 80));
    endpoint.additional_addresses = vec![AdditionalAddress::default()];
    endpoint.health_check_config = Some(HealthCheckConfig {
        port_value: 81,
        ..HealthCheckConfig::default()
    });
    message.endpoints[0].lb_endpoints = vec![lb(endpoint)];
    let (compiled, faults, unsupported) = compile(&message);
    assert_eq!(faults, Vec::<String>::new());
    assert!(compiled.is_some());
    let endpoint = "a.endpoints[0].lb_endpoints[0].endpoint";
    assert_eq!(
        unsupported,
        [
            "a.named_endpoints: endpoints cannot be referred to by name".to_owned(),
            format!(
                "{endpoint}.additional_addresses: only the first address of an endpoint is used"
            ),
            format!(
                "{endpoint}.health_check_config.port_value: an endpoint with a name is checked at the port it serves at"
            ),
            "a.policy.endpoint_stale_after: endpoints are kept until others are assigned"
                .to_owned(),
        ]
    );
}

/// Many endpoints of several localities, with weights, statuses and health checks.
fn large() -> ClusterLoadAssignment {
    let endpoint = |index: u32| {
        let mut endpoint = served(socket(&format!("10.0.0.{index}"), 80));
        endpoint.health_check_config = Some(HealthCheckConfig {
            port_value: 81,
            ..HealthCheckConfig::default()
        });
        LbEndpoint {
            health_status: i32::try_from(index % 6).unwrap(),
            load_balancing_weight: number(index + 1),
            ..lb(endpoint)
        }
    };
    let locality = |priority: u32| LocalityLbEndpoints {
        lb_endpoints: (priority * 8..priority * 8 + 8).map(endpoint).collect(),
        load_balancing_weight: number(priority + 1),
        priority,
        ..LocalityLbEndpoints::default()
    };
    ClusterLoadAssignment {
        endpoints: (0..3).map(locality).collect(),
        policy: Some(Policy {
            overprovisioning_factor: number(140),
            weighted_priority_health: true,
            ..Policy::default()
        }),
        ..message()
    }
}

proptest! {
    #[test]
    fn a_damaged_assignment_is_refused_or_used(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        seed in any::<u64>(),
    ) {
        let mut bytes = large().encode_to_vec();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        let Ok(damaged) = ClusterLoadAssignment::decode(&*bytes) else {
            return Ok(());
        };
        let (compiled, faults, _) = compile(&damaged);
        prop_assert_eq!(compiled.is_none(), !faults.is_empty());
        let Some(assignment) = compiled else {
            return Ok(());
        };
        let now = Instant::now();
        let making = Making {
            active_health_checks: false,
            now,
        };
        let set = EndpointSet::update(None, &assignment, |_| vec![], making);
        let config = BalancerConfig {
            locality_weighted: true,
            ..BalancerConfig::default()
        };
        let mut balancer = Balancer::new(Arc::new(config));
        let choice = Choice {
            hash: None,
            metadata_match: None,
            excluded: &|_| false,
            now,
        };
        let set = Arc::new(set);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..10 {
            let chosen = balancer.choose(&set, &choice, &mut rng);
            prop_assert_eq!(chosen.endpoint.is_none(), set.endpoints().next().is_none());
        }
    }
}
