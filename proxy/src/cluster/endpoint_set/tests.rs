use super::*;
use crate::cluster::{
    assignment::{AssignedEndpoint, AssignedLocality},
    endpoint::{Attributes, HealthCheckTarget, HealthStatus},
    metadata::{Metadata, Value},
};

/// An endpoint `10.0.0.{number}:80`.
pub(in crate::cluster) fn endpoint(number: u8) -> AssignedEndpoint {
    AssignedEndpoint {
        address: Address::Ip(SocketAddr::from(([10, 0, 0, number], 80))),
        attributes: Attributes {
            weight: 1,
            ..Attributes::default()
        },
    }
}

/// The same with another weight.
pub(in crate::cluster) fn weighing(number: u8, weight: u32) -> AssignedEndpoint {
    let mut endpoint = endpoint(number);
    endpoint.attributes.weight = weight;
    endpoint
}

/// The same with another status.
pub(in crate::cluster) fn being(number: u8, health_status: HealthStatus) -> AssignedEndpoint {
    let mut endpoint = endpoint(number);
    endpoint.attributes.health_status = health_status;
    endpoint
}

/// The same with metadata.
pub(in crate::cluster) fn with(number: u8, values: &[(&str, Value)]) -> AssignedEndpoint {
    let mut endpoint = endpoint(number);
    endpoint.attributes.metadata = metadata(values);
    endpoint
}

pub(in crate::cluster) fn metadata(values: &[(&str, Value)]) -> Metadata {
    let values = values.iter().cloned();
    values.map(|(key, value)| (key.into(), value)).collect()
}

/// A locality that is named by its zone.
pub(in crate::cluster) fn locality(
    zone: &str,
    priority: u32,
    weight: u32,
    endpoints: impl IntoIterator<Item = AssignedEndpoint>,
) -> AssignedLocality {
    AssignedLocality {
        locality: Arc::new(Locality {
            zone: zone.into(),
            ..Locality::default()
        }),
        priority,
        weight,
        endpoints: endpoints.into_iter().collect(),
    }
}

pub(in crate::cluster) fn assignment(
    localities: impl IntoIterator<Item = AssignedLocality>,
) -> Assignment {
    Assignment {
        cluster_name: "c".into(),
        localities: localities.into_iter().collect(),
        ..Assignment::default()
    }
}

pub(in crate::cluster) fn making() -> Making {
    Making {
        active_health_checks: false,
        now: Instant::now(),
    }
}

pub(in crate::cluster) fn set(
    localities: impl IntoIterator<Item = AssignedLocality>,
) -> Arc<EndpointSet> {
    let assignment = assignment(localities);
    Arc::new(EndpointSet::update(None, &assignment, |_| vec![], making()))
}

fn update(before: &EndpointSet, localities: Vec<AssignedLocality>) -> EndpointSet {
    EndpointSet::update(Some(before), &assignment(localities), |_| vec![], making())
}

fn at(set: &EndpointSet, number: u8) -> &Arc<Endpoint> {
    set.find(SocketAddr::from(([10, 0, 0, number], 80)))
        .unwrap()
}

#[test]
fn an_endpoint_that_did_not_change_stays_itself() {
    let before = set([locality("a", 0, 1, [endpoint(1), endpoint(2)])]);
    at(&before, 1)
        .state()
        .set(HealthFlag::FailedOutlierCheck, true);
    let after = update(
        &before,
        vec![locality(
            "a",
            0,
            1,
            [endpoint(1), weighing(2, 5), endpoint(3)],
        )],
    );
    assert!(Arc::ptr_eq(at(&before, 1), at(&after, 1)));
    // It has another weight, but is the same one.
    assert!(!Arc::ptr_eq(at(&before, 2), at(&after, 2)));
    assert!(at(&before, 2).is_same(at(&after, 2)));
    assert_eq!(at(&after, 2).attributes.weight, 5);
    assert_eq!(after.max_host_weight(), 5);
    assert!(!at(&after, 3).is_same(at(&after, 1)));
}

#[test]
fn ejection_survives_a_move_to_another_priority_and_locality() {
    let before = set([locality("a", 0, 1, [endpoint(1)])]);
    at(&before, 1)
        .state()
        .set(HealthFlag::FailedOutlierCheck, true);
    let after = update(
        &before,
        vec![
            locality("a", 0, 1, [endpoint(2)]),
            locality("b", 1, 1, [endpoint(1)]),
        ],
    );
    let moved = at(&after, 1);
    assert_eq!((moved.priority, &*moved.locality.zone), (1, "b"));
    assert!(moved.state().has(HealthFlag::FailedOutlierCheck));
}

#[test]
fn an_endpoint_that_is_checked_elsewhere_is_another_one() {
    let before = set([locality("a", 0, 1, [endpoint(1)])]);
    let mut elsewhere = endpoint(1);
    elsewhere.attributes.health_check = Some(Box::new(HealthCheckTarget {
        address: Some(SocketAddr::from(([10, 0, 0, 1], 8080))),
        hostname: "".into(),
        disabled: false,
    }));
    let after = update(&before, vec![locality("a", 0, 1, [elsewhere])]);
    assert!(!at(&before, 1).is_same(at(&after, 1)));
}

#[test]
fn changes_of_health_are_seen_across_updates() {
    let before = set([locality("a", 0, 1, [endpoint(1)])]);
    let after = update(
        &before,
        vec![locality("a", 0, 1, [endpoint(1), endpoint(2)])],
    );
    let generation = after.generation();
    at(&before, 1).state().set(HealthFlag::FailedActiveHc, true);
    assert!(after.generation() > generation);
    assert_eq!(before.generation(), after.generation());
}

#[test]
fn the_first_of_two_with_the_same_address_counts() {
    let set = set([
        locality("a", 0, 1, [weighing(1, 3), weighing(1, 4)]),
        locality("b", 1, 1, [endpoint(1)]),
    ]);
    let weights: Vec<_> = set.endpoints().map(|one| one.attributes.weight).collect();
    assert_eq!(weights, [3]);
    assert_eq!(set.priorities().len(), 2);
}

#[test]
fn priorities_that_are_left_out_are_empty_and_same_localities_are_one() {
    let set = set([
        locality("a", 2, 3, [endpoint(1)]),
        locality("a", 2, 0, [endpoint(2)]),
        locality("b", 2, 0, [endpoint(3)]),
    ]);
    let priorities = set.priorities();
    assert_eq!(priorities.len(), 3);
    assert!(priorities[0].localities.is_empty());
    let localities = &priorities[2].localities;
    let numbers: Vec<_> = localities
        .iter()
        .map(|one| (one.weight, one.endpoints.len()))
        .collect();
    assert_eq!(numbers, [(3, 2), (0, 1)]);
}

#[test]
fn names_become_endpoints_with_the_name() {
    let mut named = endpoint(0);
    named.address = Address::Name("shop".into(), 81);
    let mut called = named.clone();
    called.address = Address::Name("cart".into(), 82);
    called.attributes.hostname = "basket".into();
    let assignment = assignment([locality("a", 0, 1, [named, called])]);
    let resolve = |name: &str| match name {
        "shop" => vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()],
        _ => vec![[10, 0, 0, 1].into()],
    };
    let set = EndpointSet::update(None, &assignment, resolve, making());
    let endpoints: Vec<_> = set
        .endpoints()
        .map(|one| format!("{} {}", one.address, one.attributes.hostname))
        .collect();
    assert_eq!(
        endpoints,
        ["10.0.0.1:81 shop", "10.0.0.2:81 shop", "10.0.0.1:82 basket"]
    );
}

#[test]
fn a_new_endpoint_waits_for_its_first_health_check() {
    let mut unchecked = endpoint(2);
    unchecked.attributes.health_check = Some(Box::new(HealthCheckTarget {
        address: None,
        hostname: "".into(),
        disabled: true,
    }));
    let assignment = assignment([locality("a", 0, 1, [endpoint(1), unchecked])]);
    let making = Making {
        active_health_checks: true,
        ..making()
    };
    let set = EndpointSet::update(None, &assignment, |_| vec![], making);
    let flags = |number| at(&set, number).health_flags().collect::<String>();
    assert_eq!(flags(1), "/failed_active_hc/pending_active_hc");
    assert_eq!(flags(2), "");
}

#[test]
fn members_are_counted_by_their_health() {
    let statuses = [0, 1, 2, 3, 5].map(|status| HealthStatus::from_number(status).unwrap());
    let endpoints = (1..).zip(statuses);
    let set = set([locality(
        "a",
        0,
        1,
        endpoints.map(|(number, status)| being(number, status)),
    )]);
    at(&set, 3).state().set(HealthFlag::PendingActiveHc, true);
    let expected = Membership {
        total: 5,
        healthy: 2,
        degraded: 1,
        excluded: 2,
    };
    assert_eq!(set.membership(true), expected);
    assert_eq!(set.membership(false).excluded, 1);
}

#[test]
fn the_priorities_that_have_other_endpoints_than_before_are_changes() {
    let first = set([
        locality("a", 0, 1, [endpoint(1), endpoint(2)]),
        locality("b", 2, 1, [endpoint(3)]),
    ]);
    assert_eq!(first.changes(None), 2);
    assert_eq!(set([]).changes(None), 0);
    assert_eq!(set([]).changes(Some(&first)), 2);
    let same = update(
        &first,
        vec![
            locality("a", 0, 1, [endpoint(2), weighing(1, 3)]),
            locality("b", 2, 1, [endpoint(3)]),
        ],
    );
    assert_eq!(same.changes(Some(&first)), 0);
    let moved = update(
        &first,
        vec![
            locality("a", 0, 1, [endpoint(1)]),
            locality("b", 1, 1, [endpoint(2)]),
            locality("b", 2, 1, [endpoint(3)]),
        ],
    );
    assert_eq!(moved.changes(Some(&first)), 2);
}
