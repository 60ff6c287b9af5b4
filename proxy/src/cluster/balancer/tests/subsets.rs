use super::*;
use crate::cluster::{
    endpoint_set::tests::{metadata, with},
    metadata::Value,
    policy::{Fallback, Selector, SelectorFallback, SubsetConfig},
};

fn selector(keys: &[&str], fallback: Option<SelectorFallback>) -> Selector {
    Selector {
        keys: keys.iter().map(|key| (*key).into()).collect(),
        single_host: false,
        fallback,
    }
}

fn subsets(selectors: Vec<Selector>) -> SubsetConfig {
    SubsetConfig {
        fallback: Fallback::No,
        default_subset: metadata(&[("stage", "prod".into())]),
        selectors: selectors.into(),
        allow_redundant_keys: false,
        locality_weight_aware: false,
        scale_locality_weight: false,
        panic_mode_any: false,
        list_as_any: false,
        fallback_list: false,
    }
}

fn staged() -> Arc<EndpointSet> {
    let of = |number, stage: &str, version: &str| {
        with(
            number,
            &[("stage", stage.into()), ("version", version.into())],
        )
    };
    set([
        locality("a", 0, 0, [of(1, "prod", "1"), of(2, "prod", "2")]),
        locality("a", 1, 0, [of(3, "dev", "2"), endpoint(4)]),
    ])
}

/// The endpoints that are chosen with this metadata, and how.
#[track_caller]
fn check_subset(
    subsets: &SubsetConfig,
    set: &Arc<EndpointSet>,
    wanted: Option<&[(&str, Value)]>,
    expected: &[u8],
    used: SubsetUse,
) {
    for policy in policies() {
        let config = BalancerConfig {
            subsets: Some(Box::new(subsets.clone())),
            ..config(policy)
        };
        let mut balancer = Balancer::new(Arc::new(config));
        let mut rng = fastrand::Rng::with_seed(1);
        let wanted = wanted.map(metadata);
        let choice = Choice {
            metadata_match: wanted.as_ref(),
            ..anyone(Instant::now())
        };
        let mut numbers = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let chosen = balancer.choose(set, &choice, &mut rng);
            assert_eq!(chosen.subset, used);
            numbers.extend(chosen.endpoint.map(|one| number(&one)));
        }
        assert!(numbers.iter().eq(expected), "{numbers:?}");
    }
}

#[test]
fn subsets_have_the_metadata_that_is_asked_for() {
    let set = staged();
    let config = subsets(vec![
        selector(&["stage"], None),
        selector(&["stage", "version"], None),
    ]);
    let selected = SubsetUse::Selected;
    let check = |wanted: &[(&str, Value)], expected: &[u8], used| {
        check_subset(&config, &set, Some(wanted), expected, used);
    };
    check(&[("stage", "prod".into())], &[1, 2], selected);
    check(&[("stage", "dev".into())], &[3], selected);
    check(
        &[("stage", "prod".into()), ("version", "2".into())],
        &[2],
        selected,
    );
    check(
        &[("stage", "dev".into()), ("version", "1".into())],
        &[],
        SubsetUse::None,
    );
    check(&[("version", "2".into())], &[], SubsetUse::None);
    check(&[], &[], SubsetUse::None);
    check_subset(&config, &set, None, &[], SubsetUse::None);
}

#[test]
fn subsets_fall_back_as_asked() {
    let set = staged();
    let missing: &[(&str, Value)] = &[("stage", "test".into())];
    for (fallback, expected, used) in [
        (Fallback::No, &[][..], SubsetUse::None),
        (Fallback::Any, &[1, 2], SubsetUse::Fallback),
        (Fallback::Default, &[1, 2], SubsetUse::Fallback),
    ] {
        let general = SubsetConfig {
            fallback,
            ..subsets(vec![selector(&["stage"], None)])
        };
        check_subset(&general, &set, Some(missing), expected, used);
        check_subset(&general, &set, None, expected, used);
        let own = Some(SelectorFallback::To(fallback));
        let own = subsets(vec![selector(&["stage"], own)]);
        check_subset(&own, &set, Some(missing), expected, used);
        check_subset(&own, &set, None, &[], SubsetUse::None);
    }
}

#[test]
fn an_empty_default_subset_may_lead_to_any_endpoint() {
    let config = SubsetConfig {
        fallback: Fallback::Default,
        default_subset: metadata(&[("stage", "none".into())]),
        ..subsets(vec![selector(&["stage"], None)])
    };
    check_subset(&config, &staged(), None, &[], SubsetUse::None);
    let config = SubsetConfig {
        panic_mode_any: true,
        ..config
    };
    check_subset(&config, &staged(), None, &[1, 2], SubsetUse::FallbackPanic);
}

#[test]
fn fewer_keys_may_be_looked_for() {
    let fewer = Some(SelectorFallback::Keys(["stage".into()].into()));
    let config = subsets(vec![
        selector(&["stage", "version"], fewer),
        selector(&["stage"], None),
    ]);
    let wanted = [("stage", "dev".into()), ("version", "9".into())];
    check_subset(&config, &staged(), Some(&wanted), &[3], SubsetUse::Selected);
}

#[test]
fn more_keys_may_be_asked_for_where_allowed() {
    let config = SubsetConfig {
        allow_redundant_keys: true,
        ..subsets(vec![selector(&["stage"], None)])
    };
    let wanted = [("other", "x".into()), ("stage", "dev".into())];
    check_subset(&config, &staged(), Some(&wanted), &[3], SubsetUse::Selected);
}

#[test]
fn a_list_may_be_each_of_its_values() {
    let list = Value::List(["a".into(), "b".into()].into());
    let set = set([locality(
        "a",
        0,
        0,
        [with(1, &[("name", list)]), with(2, &[("name", "a".into())])],
    )]);
    let config = subsets(vec![selector(&["name"], None)]);
    let wanted = |text: &str| [("name", Value::from(text))];
    check_subset(&config, &set, Some(&wanted("a")), &[2], SubsetUse::Selected);
    let config = SubsetConfig {
        list_as_any: true,
        ..config
    };
    check_subset(
        &config,
        &set,
        Some(&wanted("a")),
        &[1, 2],
        SubsetUse::Selected,
    );
    check_subset(&config, &set, Some(&wanted("b")), &[1], SubsetUse::Selected);
    check_subset(&config, &set, Some(&wanted("c")), &[], SubsetUse::None);
}

#[test]
fn a_list_of_fallbacks_is_tried_in_turn() {
    let config = SubsetConfig {
        fallback_list: true,
        ..subsets(vec![
            selector(&["stage"], None),
            selector(&["version"], None),
        ])
    };
    let variant = |key: &str, value: &str| Value::Struct(metadata(&[(key, value.into())]));
    let list = Value::List([variant("stage", "test"), variant("stage", "dev")].into());
    let wanted = [("fallback_list", list)];
    check_subset(&config, &staged(), Some(&wanted), &[3], SubsetUse::Selected);
    let wanted = [("version", Value::from("1"))];
    check_subset(&config, &staged(), Some(&wanted), &[1], SubsetUse::Selected);
}

#[test]
fn a_subset_may_be_one_endpoint_whatever_its_priority() {
    let single = Selector {
        single_host: true,
        ..selector(&["version"], None)
    };
    let config = subsets(vec![single]);
    let wanted = [("version", Value::from("2"))];
    check_subset(&config, &staged(), Some(&wanted), &[2], SubsetUse::Selected);
    let only = set([
        locality("a", 0, 0, [endpoint(1)]),
        locality("a", 1, 0, [with(2, &wanted), with(3, &wanted)]),
    ]);
    check_subset(&config, &only, Some(&wanted), &[2], SubsetUse::Selected);
}

#[test]
fn weights_of_localities_count_in_subsets_only_where_asked() {
    let v1 = [("version", Value::from("1"))];
    let localities = || {
        let others = (10..19).map(endpoint);
        set([
            locality("x", 0, 1, [with(1, &v1)].into_iter().chain(others)),
            locality("y", 0, 1, [with(2, &v1), with(3, &v1), with(4, &v1)]),
        ])
    };
    let wanted = metadata(&v1);
    for (aware, scaled, expected) in [(false, false, 25), (true, false, 50), (true, true, 50)] {
        let subsets = SubsetConfig {
            locality_weight_aware: aware,
            scale_locality_weight: scaled,
            ..subsets(vec![selector(&["version"], None)])
        };
        let config = BalancerConfig {
            locality_weighted: true,
            subsets: Some(Box::new(subsets)),
            ..config(round_robin())
        };
        let set = localities();
        let mut balancer = Balancer::new(Arc::new(config));
        let mut rng = fastrand::Rng::with_seed(1);
        let choice = Choice {
            metadata_match: Some(&wanted),
            ..anyone(Instant::now())
        };
        let first = (0..1_000).filter(|_| {
            let chosen = balancer.choose(&set, &choice, &mut rng);
            number(&chosen.endpoint.unwrap()) == 1
        });
        let first = first.count();
        assert!(first.abs_diff(expected * 10) <= 10, "{first}");
    }
}

#[test]
fn subsets_are_named_by_their_selector_and_values() {
    let config = subsets(vec![
        selector(&["version"], None),
        selector(&["stage", "version"], None),
    ]);
    let names: Vec<_> = subset_names(&config, &staged()).into_iter().collect();
    let name = |selector, values: &[&str]| {
        let values = values.iter().map(|value| Value::from(*value));
        (selector, values.collect())
    };
    assert_eq!(
        names,
        [
            name(0, &["1"]),
            name(0, &["2"]),
            name(1, &["dev", "2"]),
            name(1, &["prod", "1"]),
            name(1, &["prod", "2"]),
        ]
    );
}
