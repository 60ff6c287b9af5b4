use fairlead_xds::{
    envoy::{
        config::{
            cluster::v3::{
                LoadBalancingPolicy,
                cluster::{
                    CommonLbConfig, LbConfig, LbPolicy, LbSubsetConfig, LeastRequestLbConfig,
                    MaglevLbConfig, RingHashLbConfig, RoundRobinLbConfig,
                    SlowStartConfig as LegacySlowStart,
                    common_lb_config::{
                        ConsistentHashingLbConfig as LegacyHashing, LocalityConfigSpecifier,
                        LocalityWeightedLbConfig, ZoneAwareLbConfig,
                    },
                    lb_subset_config::LbSubsetSelector as LegacySelector,
                },
                load_balancing_policy::Policy as PolicyMessage,
            },
            core::v3::{HealthStatusSet, RuntimeDouble, TypedExtensionConfig},
        },
        extensions::load_balancing_policies::{
            cluster_provided::v3::ClusterProvided,
            common::v3::{
                ConsistentHashingLbConfig, LocalityLbConfig, SlowStartConfig,
                locality_lb_config::{self, LocalityConfigSpecifier as Specifier},
            },
            least_request::v3 as least_request,
            maglev::v3 as maglev,
            pick_first::v3::PickFirst,
            random::v3 as random,
            ring_hash::v3 as ring_hash,
            round_robin::v3 as round_robin,
            subset::v3 as subset_message,
        },
        r#type::v3::Percent,
    },
    google::protobuf::{self, UInt32Value, UInt64Value},
    prost::{Message, Name},
};

use super::*;
use crate::compile::{Fault, Findings};

fn compile(cluster: &Cluster) -> (Option<BalancerConfig>, Vec<String>, Vec<String>) {
    let findings = Findings::default();
    let compiled = BalancerConfig::compile(&findings.at("c"), cluster);
    let told = |faults: Vec<Fault>| faults.iter().map(Fault::to_string).collect();
    (
        compiled,
        told(findings.faults()),
        told(findings.unsupported()),
    )
}

fn of(policy: LbPolicy, config: Option<LbConfig>) -> Cluster {
    Cluster {
        lb_policy: policy as i32,
        lb_config: config,
        ..Cluster::default()
    }
}

fn extension<M: Message + Name>(message: &M) -> PolicyMessage {
    PolicyMessage {
        typed_extension_config: Some(TypedExtensionConfig {
            name: "p".to_owned(),
            typed_config: Some(protobuf::Any {
                type_url: M::type_url(),
                value: message.encode_to_vec(),
            }),
        }),
    }
}

fn list(policies: Vec<PolicyMessage>) -> Cluster {
    Cluster {
        load_balancing_policy: Some(LoadBalancingPolicy { policies }),
        ..Cluster::default()
    }
}

fn sized(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

fn double(default_value: f64) -> Option<RuntimeDouble> {
    Some(RuntimeDouble {
        default_value,
        runtime_key: "key".to_owned(),
    })
}

fn span(seconds: i64, nanos: i32) -> Option<protobuf::Duration> {
    Some(protobuf::Duration { seconds, nanos })
}

#[track_caller]
fn check(cluster: &Cluster, expected: &BalancerConfig) {
    let (compiled, faults, unsupported) = compile(cluster);
    assert_eq!((faults, unsupported), (vec![], vec![]));
    assert_eq!(compiled.as_ref(), Some(expected));
}

#[track_caller]
fn check_policies(clusters: &[Cluster], policy: Policy) {
    let expected = BalancerConfig {
        policy,
        ..BalancerConfig::default()
    };
    for cluster in clusters {
        check(cluster, &expected);
    }
}

#[track_caller]
fn check_fault(cluster: &Cluster, expected: &str) {
    let (compiled, faults, _) = compile(cluster);
    assert_eq!(faults, [expected]);
    assert!(compiled.is_none());
}

fn defaults() -> (Policy, Policy, Policy) {
    let least = LeastRequest {
        choice_count: 2,
        full_scan: false,
        active_request_bias: 1.0,
        slow_start: None,
    };
    let ring = RingHash {
        hash_function: HashFunction::XxHash,
        minimum_ring_size: 1024,
        maximum_ring_size: 8_388_608,
        hashing: Hashing::default(),
    };
    let table = Maglev {
        table_size: 65_537,
        hashing: Hashing::default(),
    };
    (
        Policy::LeastRequest(Box::new(least)),
        Policy::RingHash(Box::new(ring)),
        Policy::Maglev(Box::new(table)),
    )
}

#[test]
fn both_spellings_have_the_same_defaults() {
    let (least, ring, table) = defaults();
    let plain = |policy| of(policy, None);
    let of_extension = |policy| list(vec![policy]);
    check_policies(
        &[
            Cluster::default(),
            of_extension(extension(&round_robin::RoundRobin::default())),
        ],
        Policy::RoundRobin { slow_start: None },
    );
    check_policies(
        &[
            plain(LbPolicy::LeastRequest),
            of_extension(extension(&least_request::LeastRequest::default())),
        ],
        least,
    );
    check_policies(
        &[
            plain(LbPolicy::Random),
            of_extension(extension(&random::Random::default())),
        ],
        Policy::Random,
    );
    check_policies(
        &[
            plain(LbPolicy::RingHash),
            of_extension(extension(&ring_hash::RingHash::default())),
        ],
        ring,
    );
    check_policies(
        &[
            plain(LbPolicy::Maglev),
            of_extension(extension(&maglev::Maglev::default())),
        ],
        table,
    );
    check_policies(
        &[
            plain(LbPolicy::ClusterProvided),
            of_extension(extension(&ClusterProvided {})),
        ],
        Policy::ClusterProvided,
    );
}

#[test]
fn both_spellings_say_the_same() {
    let slow_start = SlowStart {
        window: Duration::from_millis(1500),
        aggression: 2.0,
        min_weight: 0.25,
    };
    let legacy_start = LegacySlowStart {
        slow_start_window: span(1, 500_000_000),
        aggression: double(2.0),
        min_weight_percent: Some(Percent { value: 25.0 }),
    };
    let new_start = SlowStartConfig {
        slow_start_window: span(1, 500_000_000),
        aggression: double(2.0),
        min_weight_percent: Some(Percent { value: 25.0 }),
    };
    let round = LbConfig::RoundRobinLbConfig(RoundRobinLbConfig {
        slow_start_config: Some(legacy_start.clone()),
    });
    check_policies(
        &[
            of(LbPolicy::RoundRobin, Some(round)),
            list(vec![extension(&round_robin::RoundRobin {
                slow_start_config: Some(new_start.clone()),
                locality_lb_config: None,
            })]),
        ],
        Policy::RoundRobin {
            slow_start: Some(Box::new(slow_start.clone())),
        },
    );
    let least = LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
        choice_count: number(5),
        active_request_bias: double(0.5),
        slow_start_config: Some(legacy_start),
    });
    check_policies(
        &[
            of(LbPolicy::LeastRequest, Some(least)),
            list(vec![extension(&least_request::LeastRequest {
                choice_count: number(5),
                active_request_bias: double(0.5),
                slow_start_config: Some(new_start),
                ..least_request::LeastRequest::default()
            })]),
        ],
        Policy::LeastRequest(Box::new(LeastRequest {
            choice_count: 5,
            full_scan: false,
            active_request_bias: 0.5,
            slow_start: Some(Box::new(slow_start)),
        })),
    );
    let hashing = Hashing {
        use_hostname: true,
        balance_factor: 150,
    };
    let common = CommonLbConfig {
        consistent_hashing_lb_config: Some(LegacyHashing {
            use_hostname_for_hashing: true,
            hash_balance_factor: number(150),
        }),
        ..CommonLbConfig::default()
    };
    let new_hashing = ConsistentHashingLbConfig {
        use_hostname_for_hashing: true,
        hash_balance_factor: number(150),
        hash_policy: vec![],
    };
    let ring = LbConfig::RingHashLbConfig(RingHashLbConfig {
        minimum_ring_size: sized(10),
        hash_function: 1,
        maximum_ring_size: sized(20),
    });
    check_policies(
        &[
            Cluster {
                common_lb_config: Some(common.clone()),
                ..of(LbPolicy::RingHash, Some(ring))
            },
            list(vec![extension(&ring_hash::RingHash {
                hash_function: 2,
                minimum_ring_size: sized(10),
                maximum_ring_size: sized(20),
                consistent_hashing_lb_config: Some(new_hashing.clone()),
                ..ring_hash::RingHash::default()
            })]),
        ],
        Policy::RingHash(Box::new(RingHash {
            hash_function: HashFunction::MurmurHash2,
            minimum_ring_size: 10,
            maximum_ring_size: 20,
            hashing,
        })),
    );
    let table = LbConfig::MaglevLbConfig(MaglevLbConfig {
        table_size: sized(251),
    });
    check_policies(
        &[
            Cluster {
                common_lb_config: Some(common),
                ..of(LbPolicy::Maglev, Some(table))
            },
            list(vec![extension(&maglev::Maglev {
                table_size: sized(251),
                consistent_hashing_lb_config: Some(new_hashing),
                locality_weighted_lb_config: None,
            })]),
        ],
        Policy::Maglev(Box::new(Maglev {
            table_size: 251,
            hashing,
        })),
    );
}

#[test]
fn full_scans_are_asked_for_in_two_ways() {
    #[expect(deprecated, reason = "one of the two")]
    let older = least_request::LeastRequest {
        enable_full_scan: Some(protobuf::BoolValue { value: true }),
        ..least_request::LeastRequest::default()
    };
    let newer = least_request::LeastRequest {
        selection_method: 1,
        ..least_request::LeastRequest::default()
    };
    for message in [older, newer] {
        let (compiled, ..) = compile(&list(vec![extension(&message)]));
        let Some(Policy::LeastRequest(least)) = compiled.map(|config| config.policy) else {
            panic!("another policy");
        };
        assert!(least.full_scan);
    }
}

#[test]
fn what_all_policies_have_is_compiled() {
    let statuses = HealthStatusSet {
        statuses: vec![3, 5],
    };
    let cluster = Cluster {
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: 12.9 }),
            ignore_new_hosts_until_first_hc: true,
            close_connections_on_host_set_change: true,
            override_host_status: Some(statuses),
            locality_config_specifier: Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(
                LocalityWeightedLbConfig {},
            )),
            ..CommonLbConfig::default()
        }),
        ..Cluster::default()
    };
    let set = [HealthStatus::Draining, HealthStatus::Degraded];
    let expected = BalancerConfig {
        locality_weighted: true,
        panic_threshold: 12,
        ignore_new_hosts_until_first_hc: true,
        close_connections_on_host_set_change: true,
        override_host_status: set.into_iter().collect(),
        ..BalancerConfig::default()
    };
    check(&cluster, &expected);
    assert!(StatusSet::default().contains(HealthStatus::Unknown));
    assert!(!StatusSet::default().contains(HealthStatus::Draining));
}

#[test]
fn the_first_known_extension_counts() {
    let weighted = LocalityLbConfig {
        locality_config_specifier: Some(Specifier::LocalityWeightedLbConfig(
            locality_lb_config::LocalityWeightedLbConfig {},
        )),
    };
    let random = random::Random {
        locality_lb_config: Some(weighted),
    };
    let policies = vec![
        extension(&PickFirst::default()),
        extension(&random),
        extension(&ClusterProvided {}),
    ];
    let expected = BalancerConfig {
        policy: Policy::Random,
        locality_weighted: true,
        ..BalancerConfig::default()
    };
    check(&list(policies), &expected);
    check_fault(
        &list(vec![extension(&PickFirst::default())]),
        "c.load_balancing_policy.policies: none of these is supported: envoy.extensions.load_balancing_policies.pick_first.v3.PickFirst",
    );
    check_fault(&list(vec![]), "c.load_balancing_policy.policies: is empty");
    check_fault(
        &of(LbPolicy::LoadBalancingPolicyConfig, None),
        "c.load_balancing_policy: is missing, though lb_policy is LOAD_BALANCING_POLICY_CONFIG",
    );
}

#[test]
fn zones_are_not_preferred_but_panic_may_fail() {
    let zone = ZoneAwareLbConfig {
        fail_traffic_on_panic: true,
        ..ZoneAwareLbConfig::default()
    };
    let cluster = Cluster {
        common_lb_config: Some(CommonLbConfig {
            locality_config_specifier: Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zone)),
            update_merge_window: span(1, 0),
            ..CommonLbConfig::default()
        }),
        ..Cluster::default()
    };
    let (compiled, faults, unsupported) = compile(&cluster);
    assert_eq!(faults, Vec::<String>::new());
    assert!(compiled.unwrap().fail_traffic_on_panic);
    assert_eq!(
        unsupported,
        [
            "c.common_lb_config.update_merge_window: updates are seen at once",
            "c.common_lb_config.zone_aware_lb_config: endpoints of the own zone are not preferred",
        ]
    );
}

#[test]
fn faults_of_policies_name_the_field() {
    let least = |message| {
        of(
            LbPolicy::LeastRequest,
            Some(LbConfig::LeastRequestLbConfig(message)),
        )
    };
    let round = |start: LegacySlowStart| {
        let config = RoundRobinLbConfig {
            slow_start_config: Some(start),
        };
        of(
            LbPolicy::RoundRobin,
            Some(LbConfig::RoundRobinLbConfig(config)),
        )
    };
    let ring = |minimum, maximum, hash_function| {
        let config = RingHashLbConfig {
            minimum_ring_size: sized(minimum),
            hash_function,
            maximum_ring_size: sized(maximum),
        };
        of(LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(config)))
    };
    let table = |size| {
        let config = MaglevLbConfig {
            table_size: sized(size),
        };
        of(LbPolicy::Maglev, Some(LbConfig::MaglevLbConfig(config)))
    };
    for (cluster, expected) in [
        (
            Cluster {
                lb_policy: 99,
                ..Cluster::default()
            },
            "lb_policy: 99 is no known policy",
        ),
        (
            least(LeastRequestLbConfig {
                choice_count: number(1),
                ..LeastRequestLbConfig::default()
            }),
            "least_request_lb_config.choice_count: 1 is less than 2",
        ),
        (
            least(LeastRequestLbConfig {
                active_request_bias: double(-0.5),
                ..LeastRequestLbConfig::default()
            }),
            "least_request_lb_config.active_request_bias: -0.5 is less than 0",
        ),
        (
            least(LeastRequestLbConfig {
                active_request_bias: double(f64::NAN),
                ..LeastRequestLbConfig::default()
            }),
            "least_request_lb_config.active_request_bias.default_value: NaN is no number",
        ),
        (
            round(LegacySlowStart {
                aggression: double(0.0),
                ..LegacySlowStart::default()
            }),
            "round_robin_lb_config.slow_start_config.aggression: must be greater than 0",
        ),
        (
            round(LegacySlowStart {
                slow_start_window: span(-1, 0),
                ..LegacySlowStart::default()
            }),
            "round_robin_lb_config.slow_start_config.slow_start_window: -1 s and 0 ns are no time span",
        ),
        (
            round(LegacySlowStart {
                min_weight_percent: Some(Percent { value: 100.5 }),
                ..LegacySlowStart::default()
            }),
            "round_robin_lb_config.slow_start_config.min_weight_percent: 100.5 is not between 0 and 100",
        ),
        (
            ring(8_388_609, 8_388_608, 0),
            "ring_hash_lb_config.minimum_ring_size: 8388609 is more than 8388608",
        ),
        (
            ring(1, 8_388_609, 0),
            "ring_hash_lb_config.maximum_ring_size: 8388609 is more than 8388608",
        ),
        (
            ring(3, 2, 0),
            "ring_hash_lb_config.minimum_ring_size: 3 is more than maximum_ring_size, which is 2",
        ),
        (
            ring(1, 2, 9),
            "ring_hash_lb_config.hash_function: 9 is no known function",
        ),
        (
            table(5_000_012),
            "maglev_lb_config.table_size: 5000012 is more than 5000011",
        ),
        (
            table(10),
            "maglev_lb_config.table_size: 10 is no prime number",
        ),
        (
            list(vec![extension(&ring_hash::RingHash {
                minimum_ring_size: sized(0),
                ..ring_hash::RingHash::default()
            })]),
            "load_balancing_policy.policies[0].typed_extension_config.typed_config.minimum_ring_size: must be at least 1",
        ),
        (
            list(vec![extension(&least_request::LeastRequest {
                selection_method: 7,
                ..least_request::LeastRequest::default()
            })]),
            "load_balancing_policy.policies[0].typed_extension_config.typed_config.selection_method: 7 is no known method",
        ),
        (
            list(vec![extension(&random::Random {
                locality_lb_config: Some(LocalityLbConfig::default()),
            })]),
            "load_balancing_policy.policies[0].typed_extension_config.typed_config.locality_lb_config.locality_config_specifier: is missing",
        ),
    ] {
        check_fault(&cluster, &format!("c.{expected}"));
    }
}

#[test]
fn faults_of_what_all_policies_have_name_the_field() {
    let common = |config| Cluster {
        common_lb_config: Some(config),
        lb_policy: LbPolicy::Maglev as i32,
        ..Cluster::default()
    };
    check_fault(
        &common(CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: -1.0 }),
            ..CommonLbConfig::default()
        }),
        "c.common_lb_config.healthy_panic_threshold: -1 is not between 0 and 100",
    );
    check_fault(
        &common(CommonLbConfig {
            override_host_status: Some(HealthStatusSet { statuses: vec![8] }),
            ..CommonLbConfig::default()
        }),
        "c.common_lb_config.override_host_status.statuses[0]: 8 is no known status",
    );
    let hashing = CommonLbConfig {
        consistent_hashing_lb_config: Some(LegacyHashing {
            use_hostname_for_hashing: false,
            hash_balance_factor: number(99),
        }),
        ..CommonLbConfig::default()
    };
    check_fault(
        &common(hashing.clone()),
        "c.common_lb_config.consistent_hashing_lb_config.hash_balance_factor: 99 is less than 100",
    );
    let random = LoadBalancingPolicy {
        policies: vec![extension(&random::Random::default())],
    };
    let with_list = |cluster| Cluster {
        load_balancing_policy: Some(random.clone()),
        ..cluster
    };
    check_fault(
        &with_list(common(hashing)),
        "c.common_lb_config.consistent_hashing_lb_config: cannot be combined with load_balancing_policy",
    );
    check_fault(
        &with_list(common(CommonLbConfig {
            locality_config_specifier: Some(LocalityConfigSpecifier::ZoneAwareLbConfig(
                ZoneAwareLbConfig::default(),
            )),
            ..CommonLbConfig::default()
        })),
        "c.common_lb_config: zone_aware_lb_config and locality_weighted_lb_config cannot be combined with load_balancing_policy",
    );
    check_fault(
        &with_list(Cluster {
            lb_subset_config: Some(LbSubsetConfig::default()),
            ..Cluster::default()
        }),
        "c.lb_subset_config: cannot be combined with load_balancing_policy",
    );
}

fn legacy_subsets(selectors: Vec<LegacySelector>) -> Cluster {
    Cluster {
        lb_subset_config: Some(LbSubsetConfig {
            fallback_policy: 1,
            subset_selectors: selectors,
            ..LbSubsetConfig::default()
        }),
        ..Cluster::default()
    }
}

fn legacy_selector(keys: &[&str], fallback_policy: i32, fewer: &[&str]) -> LegacySelector {
    LegacySelector {
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        single_host_per_subset: false,
        fallback_policy,
        fallback_keys_subset: fewer.iter().map(|key| (*key).to_owned()).collect(),
    }
}

#[test]
fn both_spellings_make_subsets() {
    let legacy = legacy_subsets(vec![
        legacy_selector(&["b", "a"], 4, &["a"]),
        legacy_selector(&["a"], 0, &[]),
    ]);
    let child = LoadBalancingPolicy {
        policies: vec![extension(&round_robin::RoundRobin::default())],
    };
    let selector =
        |keys: &[&str], fallback_policy, fewer: &[&str]| subset_message::subset::LbSubsetSelector {
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            single_host_per_subset: false,
            fallback_policy,
            fallback_keys_subset: fewer.iter().map(|key| (*key).to_owned()).collect(),
        };
    let newer = list(vec![extension(&subset_message::Subset {
        fallback_policy: 1,
        subset_selectors: vec![selector(&["b", "a"], 4, &["a"]), selector(&["a"], 0, &[])],
        subset_lb_policy: Some(child),
        ..subset_message::Subset::default()
    })]);
    let expected = SubsetConfig {
        fallback: Fallback::Any,
        default_subset: super::super::metadata::Metadata::default(),
        selectors: [
            Selector {
                keys: ["a".into(), "b".into()].into(),
                single_host: false,
                fallback: Some(SelectorFallback::Keys(["a".into()].into())),
            },
            Selector {
                keys: ["a".into()].into(),
                single_host: false,
                fallback: None,
            },
        ]
        .into(),
        allow_redundant_keys: false,
        locality_weight_aware: false,
        scale_locality_weight: false,
        panic_mode_any: false,
        list_as_any: false,
        fallback_list: false,
    };
    let expected = BalancerConfig {
        subsets: Some(Box::new(expected)),
        ..BalancerConfig::default()
    };
    check(&legacy, &expected);
    check(&newer, &expected);
    // Without selectors there are none.
    check(&legacy_subsets(vec![]), &BalancerConfig::default());
}

#[test]
fn faults_of_subsets_name_the_field() {
    let single = LegacySelector {
        single_host_per_subset: true,
        ..legacy_selector(&["a", "b"], 0, &[])
    };
    for (selector, expected) in [
        (legacy_selector(&[], 0, &[]), "keys: is empty"),
        (
            single,
            "single_host_per_subset: needs a selector of exactly one key",
        ),
        (
            legacy_selector(&["a", "b"], 1, &["a"]),
            "fallback_keys_subset: needs the fallback policy KEYS_SUBSET",
        ),
        (
            legacy_selector(&["a", "b"], 4, &[]),
            "fallback_keys_subset: is empty, though the fallback policy is KEYS_SUBSET",
        ),
        (
            legacy_selector(&["a", "b"], 4, &["c"]),
            "fallback_keys_subset: 'c' is not one of the keys",
        ),
        (
            legacy_selector(&["a", "b"], 4, &["a", "b"]),
            "fallback_keys_subset: has all of the keys; at least one must be missing",
        ),
        (
            legacy_selector(&["a"], 9, &[]),
            "fallback_policy: 9 is no known policy",
        ),
    ] {
        check_fault(
            &legacy_subsets(vec![selector]),
            &format!("c.lb_subset_config.subset_selectors[0].{expected}"),
        );
    }
    let whole = |change: fn(&mut LbSubsetConfig), expected: &str| {
        let mut cluster = legacy_subsets(vec![legacy_selector(&["a"], 0, &[])]);
        cluster.lb_subset_config.iter_mut().for_each(change);
        check_fault(&cluster, expected);
    };
    whole(
        |config| config.fallback_policy = 7,
        "c.lb_subset_config.fallback_policy: 7 is no known policy",
    );
    whole(
        |config| config.metadata_fallback_policy = 7,
        "c.lb_subset_config.metadata_fallback_policy: 7 is no known policy",
    );
    whole(
        |config| config.locality_weight_aware = true,
        "c.lb_subset_config.locality_weight_aware: needs load balancing by locality_weighted_lb_config",
    );
    let mut provided = legacy_subsets(vec![legacy_selector(&["a"], 0, &[])]);
    provided.lb_policy = LbPolicy::ClusterProvided as i32;
    check_fault(
        &provided,
        "c.lb_subset_config: cannot be combined with the policy CLUSTER_PROVIDED",
    );
    let path =
        "c.load_balancing_policy.policies[0].typed_extension_config.typed_config.subset_lb_policy";
    let child = |subset_lb_policy| {
        list(vec![extension(&subset_message::Subset {
            subset_lb_policy,
            ..subset_message::Subset::default()
        })])
    };
    check_fault(&child(None), &format!("{path}: is missing"));
    let provided = LoadBalancingPolicy {
        policies: vec![extension(&ClusterProvided {})],
    };
    check_fault(
        &child(Some(provided)),
        &format!("{path}: has no policy that subsets can have"),
    );
}
