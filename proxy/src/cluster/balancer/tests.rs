mod hashed;
mod subsets;

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::cluster::{
    assignment::AssignedLocality,
    endpoint::{Health, HealthFlag, HealthStatus},
    endpoint_set::tests::{being, endpoint, locality, set, weighing},
    policy::{HashFunction, Hashing, LeastRequest, Maglev, RingHash, SlowStart},
};

fn round_robin() -> Policy {
    Policy::RoundRobin { slow_start: None }
}

fn least_request() -> LeastRequest {
    LeastRequest {
        choice_count: 2,
        full_scan: false,
        active_request_bias: 1.0,
        slow_start: None,
    }
}

fn ring_hash(hashing: Hashing) -> Policy {
    Policy::RingHash(Box::new(RingHash {
        hash_function: HashFunction::XxHash,
        minimum_ring_size: 1024,
        maximum_ring_size: 8192,
        hashing,
    }))
}

fn maglev(hashing: Hashing) -> Policy {
    Policy::Maglev(Box::new(Maglev {
        table_size: 1021,
        hashing,
    }))
}

fn policies() -> [Policy; 6] {
    let full_scan = LeastRequest {
        full_scan: true,
        ..least_request()
    };
    [
        round_robin(),
        Policy::LeastRequest(Box::new(least_request())),
        Policy::LeastRequest(Box::new(full_scan)),
        Policy::Random,
        ring_hash(Hashing::default()),
        maglev(Hashing::default()),
    ]
}

fn config(policy: Policy) -> BalancerConfig {
    BalancerConfig {
        policy,
        ..BalancerConfig::default()
    }
}

fn anyone(now: Instant) -> Choice<'static> {
    Choice {
        hash: None,
        metadata_match: None,
        excluded: &|_| false,
        now,
    }
}

fn number(endpoint: &Endpoint) -> u8 {
    match endpoint.address.ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    }
}

/// How often each endpoint is chosen.
fn counts(config: BalancerConfig, set: &Arc<EndpointSet>, times: usize) -> BTreeMap<u8, usize> {
    let mut balancer = Balancer::new(Arc::new(config));
    let mut rng = fastrand::Rng::with_seed(42);
    let now = Instant::now();
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        let chosen = balancer.choose(set, &anyone(now), &mut rng);
        if let Some(endpoint) = chosen.endpoint {
            *counts.entry(number(&endpoint)).or_default() += 1;
        }
    }
    counts
}

/// The percentages of choices, within a tolerance.
#[track_caller]
fn check(
    config: BalancerConfig,
    localities: Vec<AssignedLocality>,
    tolerance: usize,
    expected: &[(u8, usize)],
) {
    let counts = counts(config, &set(localities), 10_000);
    let numbers: Vec<_> = counts.keys().collect();
    let wanted: Vec<_> = expected
        .iter()
        .filter(|(_, percent)| *percent > 0)
        .collect();
    assert_eq!(numbers.len(), wanted.len(), "{counts:?}");
    for (number, percent) in wanted {
        let actual = counts.get(number).copied().unwrap_or(0);
        let difference = actual.abs_diff(percent * 100);
        assert!(difference <= tolerance * 100, "{number}: {counts:?}");
    }
}

#[test]
fn each_policy_uses_all_that_are_healthy() {
    for policy in policies() {
        let hashes = matches!(policy, Policy::RingHash(_) | Policy::Maglev(_));
        let tolerance = if hashes { 8 } else { 2 };
        let endpoints = [
            endpoint(1),
            being(2, HealthStatus::Unhealthy),
            endpoint(3),
            being(4, HealthStatus::Draining),
            endpoint(5),
        ];
        let localities = vec![locality("a", 0, 0, endpoints)];
        // 60 % are healthy, which is 84 % of what is needed: more than the threshold.
        check(
            config(policy),
            localities,
            tolerance,
            &[(1, 33), (3, 33), (5, 33)],
        );
    }
}

#[test]
fn shares_follow_weights_where_the_policy_has_them() {
    for (policy, tolerance, expected) in [
        (round_robin(), 1, [(1, 10), (2, 20), (3, 70)]),
        (
            Policy::LeastRequest(Box::new(least_request())),
            1,
            [(1, 10), (2, 20), (3, 70)],
        ),
        (Policy::Random, 2, [(1, 33), (2, 33), (3, 33)]),
        (
            ring_hash(Hashing::default()),
            6,
            [(1, 10), (2, 20), (3, 70)],
        ),
        (maglev(Hashing::default()), 2, [(1, 10), (2, 20), (3, 70)]),
    ] {
        let endpoints = [weighing(1, 1), weighing(2, 2), weighing(3, 7)];
        let localities = vec![locality("a", 0, 0, endpoints)];
        check(config(policy), localities, tolerance, &expected);
    }
}

#[test]
fn round_robin_takes_turns() {
    let set = set([locality("a", 0, 0, (1..=4).map(endpoint))]);
    let mut balancer = Balancer::new(Arc::new(config(round_robin())));
    let mut rng = fastrand::Rng::with_seed(1);
    let now = Instant::now();
    let mut next = || {
        let chosen = balancer.choose(&set, &anyone(now), &mut rng);
        number(&chosen.endpoint.unwrap())
    };
    let first: Vec<_> = (0..4).map(|_| next()).collect();
    let second: Vec<_> = (0..4).map(|_| next()).collect();
    assert_eq!(first, second);
    assert_eq!(first.iter().copied().map(usize::from).sum::<usize>(), 10);
}

#[test]
fn workers_start_at_different_endpoints() {
    let set = set([locality("a", 0, 0, (1..=4).map(endpoint))]);
    let firsts: std::collections::BTreeSet<_> = (0..40)
        .map(|seed| {
            let mut balancer = Balancer::new(Arc::new(config(round_robin())));
            let mut rng = fastrand::Rng::with_seed(seed);
            let chosen = balancer.choose(&set, &anyone(Instant::now()), &mut rng);
            number(&chosen.endpoint.unwrap())
        })
        .collect();
    assert_eq!(firsts.len(), 4);
}

#[test]
fn least_request_avoids_the_busy_one() {
    for full_scan in [false, true] {
        let set = set([locality("a", 0, 0, (1..=3).map(endpoint))]);
        let busy: Vec<_> = (0..5)
            .map(|_| set.endpoints().next().unwrap().activate())
            .collect();
        let least = LeastRequest {
            full_scan,
            ..least_request()
        };
        let policy = Policy::LeastRequest(Box::new(least));
        let counts = counts(config(policy), &set, 9_000);
        // Two choices both fall on it in one of nine cases.
        let most = if full_scan { 0 } else { 1_200 };
        assert!(counts.get(&1).copied().unwrap_or(0) <= most, "{counts:?}");
        drop(busy);
    }
}

#[test]
fn least_request_with_weights_scales_them_by_activity() {
    let set = set([locality("a", 0, 0, [weighing(1, 3), weighing(2, 1)])]);
    let busy: Vec<_> = (0..5)
        .map(|_| set.endpoints().next().unwrap().activate())
        .collect();
    for (bias, expected) in [(0.0, 7_500), (1.0, 3_333), (2.0, 769)] {
        let least = LeastRequest {
            active_request_bias: bias,
            ..least_request()
        };
        let counts = counts(config(Policy::LeastRequest(Box::new(least))), &set, 10_000);
        let first = counts.get(&1).copied().unwrap_or(0);
        assert!(first.abs_diff(expected) < 100, "{bias}: {counts:?}");
    }
    drop(busy);
}

fn priorities(healthy: &[u8]) -> Vec<AssignedLocality> {
    healthy
        .iter()
        .enumerate()
        .map(|(priority, healthy)| {
            let priority = u8::try_from(priority).unwrap();
            let endpoints = (0..20).map(|index| {
                // The last number says which priority it is.
                let number = index * 10 + priority;
                let status = if index * 5 < *healthy {
                    HealthStatus::Healthy
                } else {
                    HealthStatus::Unhealthy
                };
                being(number, status)
            });
            locality("a", u32::from(priority), 0, endpoints)
        })
        .collect()
}

#[test]
fn lower_priorities_take_what_higher_ones_cannot() {
    for policy in policies() {
        for (healthy, expected) in [
            (vec![100, 100], [100, 0]),
            (vec![75, 100], [100, 0]),
            (vec![50, 100], [70, 30]),
            (vec![25, 100], [35, 65]),
            (vec![0, 100], [0, 100]),
            (vec![25, 25], [50, 50]),
        ] {
            let set = set(priorities(&healthy));
            let counts = counts(config(policy.clone()), &set, 10_000);
            let mut by_priority = [0; 2];
            for (number, count) in counts {
                by_priority[usize::from(number % 10)] += count;
            }
            for (actual, expected) in by_priority.iter().zip(expected) {
                assert!(
                    usize::abs_diff(*actual, expected * 100) <= 200,
                    "{by_priority:?}"
                );
            }
        }
    }
}

#[test]
fn panic_uses_all_or_nobody() {
    let localities = || {
        let endpoints = (1..=4).map(|number| {
            if number == 1 {
                endpoint(number)
            } else {
                being(number, HealthStatus::Unhealthy)
            }
        });
        [locality("a", 0, 0, endpoints)]
    };
    let now = Instant::now();
    for (threshold, fail, used, panics) in [
        (50, false, 4, true),
        (50, true, 0, true),
        (0, false, 1, false),
        (25, false, 1, false),
    ] {
        for policy in policies() {
            let config = BalancerConfig {
                panic_threshold: threshold,
                fail_traffic_on_panic: fail,
                ..config(policy)
            };
            let set = set(localities());
            let counts = counts(config.clone(), &set, 1_000);
            assert_eq!(counts.len(), used, "{config:?}");
            let mut balancer = Balancer::new(Arc::new(config));
            let chosen = balancer.choose(&set, &anyone(now), &mut fastrand::Rng::with_seed(1));
            assert_eq!(chosen.panic, panics);
        }
    }
}

#[test]
fn without_endpoints_nobody_is_chosen() {
    for policy in policies().into_iter().chain([Policy::ClusterProvided]) {
        for localities in [vec![], vec![locality("a", 1, 3, [])]] {
            assert!(counts(config(policy.clone()), &set(localities), 10).is_empty());
        }
    }
    let all = set([locality("a", 0, 0, [endpoint(1)])]);
    assert!(counts(config(Policy::ClusterProvided), &all, 10).is_empty());
}

#[test]
fn localities_share_as_documented() {
    for (healthy, expected) in [(20, 33), (14, 33), (10, 26), (5, 15), (0, 0)] {
        let first = (0..20).map(|index| {
            let status = if index < healthy {
                HealthStatus::Healthy
            } else {
                HealthStatus::Unhealthy
            };
            being(index, status)
        });
        let second = (100..120).map(endpoint);
        let set = set([locality("x", 0, 1, first), locality("y", 0, 2, second)]);
        let config = BalancerConfig {
            locality_weighted: true,
            ..config(round_robin())
        };
        let counts = counts(config, &set, 10_000);
        let first: usize = counts.range(..100).map(|(_, count)| count).sum();
        assert!(first.abs_diff(expected * 100) <= 60, "{first} of {healthy}");
    }
}

#[test]
fn localities_without_weight_count_only_where_none_has_one() {
    let localities = |weight| {
        vec![
            locality("x", 0, weight, [endpoint(1)]),
            locality("y", 0, 0, [endpoint(2)]),
        ]
    };
    for policy in policies() {
        let config = BalancerConfig {
            locality_weighted: true,
            ..config(policy)
        };
        check(config.clone(), localities(1), 0, &[(1, 100)]);
        check(config, localities(0), 10, &[(1, 50), (2, 50)]);
    }
}

#[test]
fn rings_and_tables_give_localities_their_weight() {
    for policy in [ring_hash(Hashing::default()), maglev(Hashing::default())] {
        let config = BalancerConfig {
            locality_weighted: true,
            ..config(policy)
        };
        let localities = vec![
            locality("x", 0, 3, [endpoint(1)]),
            locality("y", 0, 1, (2..=6).map(endpoint)),
        ];
        let others = [(2, 5), (3, 5), (4, 5), (5, 5), (6, 5)];
        let expected: Vec<_> = [(1, 75)].into_iter().chain(others).collect();
        check(config, localities, 5, &expected);
    }
}

#[test]
fn degraded_endpoints_take_what_healthy_ones_cannot() {
    for policy in policies() {
        let endpoints = (1..=4).map(|number| {
            if number <= 2 {
                endpoint(number)
            } else {
                being(number, HealthStatus::Degraded)
            }
        });
        let tolerance = 7;
        let localities = vec![locality("a", 0, 0, endpoints)];
        let expected = [(1, 35), (2, 35), (3, 15), (4, 15)];
        check(config(policy), localities, tolerance, &expected);
    }
}

#[test]
fn changes_of_health_and_membership_are_seen_at_the_next_choice() {
    let first = set([locality("a", 0, 0, [endpoint(1), endpoint(2)])]);
    let config = BalancerConfig {
        panic_threshold: 0,
        ..config(round_robin())
    };
    let mut balancer = Balancer::new(Arc::new(config));
    let mut rng = fastrand::Rng::with_seed(3);
    let now = Instant::now();
    let mut chosen = |set: &Arc<EndpointSet>| {
        let numbers = (0..10).filter_map(|_| {
            let endpoint = balancer.choose(set, &anyone(now), &mut rng).endpoint?;
            Some(number(&endpoint))
        });
        let numbers: std::collections::BTreeSet<_> = numbers.collect();
        numbers.into_iter().collect::<Vec<_>>()
    };
    assert_eq!(chosen(&first), [1, 2]);
    let state = first.endpoints().next().unwrap().state();
    state.set(HealthFlag::FailedOutlierCheck, true);
    assert_eq!(chosen(&first), [2]);
    state.set(HealthFlag::FailedOutlierCheck, false);
    assert_eq!(chosen(&first), [1, 2]);
    let second = set([locality("a", 0, 0, [endpoint(3)])]);
    assert_eq!(chosen(&second), [3]);
}

#[test]
fn endpoints_before_their_first_health_check_may_be_left_out() {
    for (ignore, panic) in [(false, true), (true, false)] {
        let set = set([locality("a", 0, 0, (1..=10).map(endpoint))]);
        for endpoint in set.endpoints().skip(3) {
            endpoint.state().set(HealthFlag::FailedActiveHc, true);
            endpoint.state().set(HealthFlag::PendingActiveHc, true);
        }
        let config = BalancerConfig {
            ignore_new_hosts_until_first_hc: ignore,
            ..config(round_robin())
        };
        let mut balancer = Balancer::new(Arc::new(config));
        let mut rng = fastrand::Rng::with_seed(1);
        let chosen = balancer.choose(&set, &anyone(Instant::now()), &mut rng);
        assert_eq!(chosen.panic, panic);
    }
}

#[test]
fn a_slow_start_lets_the_share_grow() {
    let slow_start = SlowStart {
        window: Duration::from_secs(100),
        aggression: 1.0,
        min_weight: 0.1,
    };
    for (aggression, seconds, expected) in [
        (1.0, 0, 0.1),
        (1.0, 5, 0.1),
        (1.0, 50, 0.5),
        (2.0, 25, 0.5),
        (0.5, 50, 0.25),
        (1.0, 100, 1.0),
        (1.0, 1000, 1.0),
    ] {
        let slow_start = SlowStart {
            aggression,
            ..slow_start.clone()
        };
        let factor = slow_start.factor(Duration::from_secs(seconds));
        assert!((factor - expected).abs() < 1e-9, "{seconds}: {factor}");
    }
    let set = set([locality("a", 0, 0, [endpoint(1), endpoint(2)])]);
    let start = Instant::now();
    let first = set.endpoints().next().unwrap();
    let now = start + Duration::from_secs(200);
    first
        .state()
        .begin_slow_start(start + Duration::from_secs(175));
    let policy = Policy::RoundRobin {
        slow_start: Some(Box::new(slow_start)),
    };
    let mut balancer = Balancer::new(Arc::new(config(policy)));
    let mut rng = fastrand::Rng::with_seed(1);
    let chosen = (0..1_000).filter(|_| {
        let chosen = balancer.choose(&set, &anyone(now), &mut rng);
        chosen.endpoint.unwrap().is_same(first)
    });
    // A share of 0.25 beside one of 1.
    let chosen = chosen.count();
    assert!(chosen.abs_diff(200) < 20, "{chosen}");
}

proptest! {
    #[test]
    fn only_healthy_ones_outside_panic_and_excluded_ones_last(
        statuses in proptest::collection::vec((0..6_i32, 0..3_u32, 1..5_u32), 1..20),
        excluded in proptest::collection::vec(any::<bool>(), 20),
        policy in 0..6_usize,
        locality_weighted in any::<bool>(),
        threshold in 0..=100_u8,
        seed in any::<u64>(),
        hash in proptest::option::of(any::<u64>()),
    ) {
        let localities = statuses.iter().enumerate().map(|(index, (status, priority, weight))| {
            let mut endpoint = weighing(u8::try_from(index).unwrap(), *weight);
            endpoint.attributes.health_status = HealthStatus::from_number(*status).unwrap();
            locality(&format!("z{}", index % 3), *priority, *weight, [endpoint])
        });
        let set = set(localities);
        let config = BalancerConfig {
            locality_weighted,
            panic_threshold: threshold,
            ..config(policies()[policy].clone())
        };
        let mut balancer = Balancer::new(Arc::new(config));
        let mut rng = fastrand::Rng::with_seed(seed);
        let choice = Choice {
            hash,
            excluded: &|one| excluded[usize::from(number(one))],
            ..anyone(Instant::now())
        };
        for _ in 0..20 {
            let chosen = balancer.choose(&set, &choice, &mut rng);
            let Some(endpoint) = chosen.endpoint else {
                let nobody = set.endpoints().all(|one| one.health() == Health::Unhealthy);
                prop_assert!(nobody && threshold == 0);
                continue;
            };
            prop_assert!(chosen.panic || endpoint.health() != Health::Unhealthy);
            if (choice.excluded)(&endpoint) && !locality_weighted {
                let others = set.endpoints().filter(|one| one.priority == endpoint.priority);
                let mut others = others.filter(|one| chosen.panic || one.health() == endpoint.health());
                prop_assert!(others.all(|one| (choice.excluded)(one)));
            }
        }
    }
}
