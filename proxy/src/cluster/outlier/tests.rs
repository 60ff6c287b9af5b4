use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use fairlead_xds::{
    envoy::config::{cluster::v3::OutlierDetection, core::v3::TypedExtensionConfig},
    google::protobuf::{self, BoolValue, UInt32Value},
};

use super::*;
use crate::{
    cluster::{
        endpoint::{Endpoint, HealthFlag},
        endpoint_set::{
            EndpointSet,
            tests::{endpoint, locality, set},
        },
    },
    compile::{Fault, Findings},
};

fn compile(message: &OutlierDetection) -> (Option<OutlierConfig>, Vec<String>, Vec<String>) {
    let findings = Findings::default();
    let compiled = OutlierConfig::compile(&findings.at("o"), message);
    let told = |faults: Vec<Fault>| faults.iter().map(Fault::to_string).collect();
    (
        compiled,
        told(findings.faults()),
        told(findings.unsupported()),
    )
}

fn defaults() -> OutlierConfig {
    compile(&OutlierDetection::default()).0.unwrap()
}

fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

fn span(seconds: i64) -> Option<protobuf::Duration> {
    Some(protobuf::Duration { seconds, nanos: 0 })
}

#[test]
fn defaults_are_those_of_envoy() {
    let config = defaults();
    let seconds = Duration::from_secs;
    assert_eq!(config.interval, seconds(10));
    assert_eq!(config.base_ejection_time, seconds(30));
    assert_eq!(config.max_ejection_time, seconds(300));
    assert_eq!(config.max_ejection_time_jitter, Duration::ZERO);
    assert_eq!(config.max_ejection_percent, 10);
    assert!(!config.always_eject_one_host);
    assert!(config.successful_active_health_check_uneject_host);
    assert!(!config.split_external_local_origin_errors);
    assert_eq!(config.consecutive_5xx, 5);
    assert_eq!(config.consecutive_gateway_failure, 5);
    assert_eq!(config.consecutive_local_origin_failure, 5);
    assert_eq!(config.success_rate_minimum_hosts, 5);
    assert_eq!(config.success_rate_request_volume, 100);
    assert_eq!(config.success_rate_stdev_factor, 1900);
    assert_eq!(config.failure_percentage_threshold, 85);
    assert_eq!(config.failure_percentage_minimum_hosts, 5);
    assert_eq!(config.failure_percentage_request_volume, 50);
    let enforcing = Kind::ALL.map(|kind| config.enforcing(kind));
    assert_eq!(enforcing, [100, 0, 100, 100, 100, 0, 0]);
    // The longest time is never less than the first.
    let long = OutlierDetection {
        base_ejection_time: span(400),
        ..OutlierDetection::default()
    };
    assert_eq!(compile(&long).0.unwrap().max_ejection_time, seconds(400));
}

#[track_caller]
fn check_fault(change: impl FnOnce(&mut OutlierDetection), expected: &str) {
    let mut message = OutlierDetection::default();
    change(&mut message);
    let (compiled, faults, _) = compile(&message);
    assert_eq!(faults, [format!("o.{expected}")]);
    assert!(compiled.is_none());
}

#[test]
fn faults_name_the_field() {
    check_fault(|o| o.interval = span(0), "interval: must be greater than 0");
    check_fault(
        |o| o.interval = span(-1),
        "interval: -1 s and 0 ns are no time span",
    );
    check_fault(
        |o| o.base_ejection_time = span(0),
        "base_ejection_time: must be greater than 0",
    );
    check_fault(
        |o| o.max_ejection_time = span(0),
        "max_ejection_time: must be greater than 0",
    );
    check_fault(
        |o| o.max_ejection_time = span(29),
        "max_ejection_time: 29s is less than base_ejection_time, which is 30s",
    );
    check_fault(
        |o| o.max_ejection_time_jitter = span(-1),
        "max_ejection_time_jitter: -1 s and 0 ns are no time span",
    );
    let high = number(101);
    type Set = fn(&mut OutlierDetection, Option<UInt32Value>);
    let percentages: [(Set, &str); 9] = [
        (|o, n| o.max_ejection_percent = n, "max_ejection_percent"),
        (
            |o, n| o.failure_percentage_threshold = n,
            "failure_percentage_threshold",
        ),
        (
            |o, n| o.enforcing_consecutive_5xx = n,
            "enforcing_consecutive_5xx",
        ),
        (
            |o, n| o.enforcing_consecutive_gateway_failure = n,
            "enforcing_consecutive_gateway_failure",
        ),
        (
            |o, n| o.enforcing_consecutive_local_origin_failure = n,
            "enforcing_consecutive_local_origin_failure",
        ),
        (
            |o, n| o.enforcing_success_rate = n,
            "enforcing_success_rate",
        ),
        (
            |o, n| o.enforcing_local_origin_success_rate = n,
            "enforcing_local_origin_success_rate",
        ),
        (
            |o, n| o.enforcing_failure_percentage = n,
            "enforcing_failure_percentage",
        ),
        (
            |o, n| o.enforcing_failure_percentage_local_origin = n,
            "enforcing_failure_percentage_local_origin",
        ),
    ];
    for (set, name) in percentages {
        check_fault(|o| set(o, high), &format!("{name}: 101 is more than 100"));
    }
}

#[test]
fn what_is_left_undone_is_told() {
    let message = OutlierDetection {
        monitors: vec![TypedExtensionConfig::default()],
        detect_degraded_hosts: Some(BoolValue { value: true }),
        ..OutlierDetection::default()
    };
    let (compiled, faults, unsupported) = compile(&message);
    assert!(compiled.is_some());
    assert_eq!(faults, Vec::<String>::new());
    assert_eq!(
        unsupported,
        [
            "o.monitors: other monitors than Envoy's own are not known",
            "o.detect_degraded_hosts: answers do not tell that an endpoint is degraded",
        ]
    );
}

/// The kinds of failures that the last of these outcomes led to.
#[track_caller]
fn check_outcomes(split: bool, outcomes: &[Outcome], expected: &[Kind]) {
    let config = OutlierConfig {
        split_external_local_origin_errors: split,
        consecutive_5xx: 3,
        consecutive_gateway_failure: 2,
        consecutive_local_origin_failure: 2,
        ..defaults()
    };
    let monitor = Monitor::default();
    let mut last = Vec::new();
    for outcome in outcomes {
        last = monitor.count(&config, *outcome).collect();
    }
    assert_eq!(last, expected);
}

#[test]
fn failures_in_a_row_are_told_once() {
    use Kind::{Consecutive5xx, ConsecutiveGatewayFailure, ConsecutiveLocalOriginFailure};
    use Outcome::{
        Answered, ConnectFailed, Connected, ConnectedForRequest, Failed, Succeeded, TimedOut,
    };
    let check = |outcomes: &[Outcome], expected: &[Kind]| check_outcomes(false, outcomes, expected);
    check(&[ConnectFailed], &[]);
    check(&[ConnectFailed, TimedOut], &[ConsecutiveGatewayFailure]);
    check(&[ConnectFailed, ConnectFailed, TimedOut], &[Consecutive5xx]);
    check(&[ConnectFailed; 4], &[]);
    check(&[ConnectFailed, Connected, ConnectFailed], &[]);
    // What it is connected for tells whether it succeeds.
    check(
        &[ConnectFailed, ConnectedForRequest, ConnectFailed],
        &[ConsecutiveGatewayFailure],
    );
    check(&[Failed, Failed, Failed], &[Consecutive5xx]);
    check(&[Failed, Succeeded, Failed, Failed], &[]);
    check(
        &[Answered(503), Answered(500), Answered(504)],
        &[Consecutive5xx],
    );
    check(&[Answered(499), Answered(200), Answered(600)], &[]);
    check(
        &[Answered(500), Answered(502), Answered(502)],
        &[ConsecutiveGatewayFailure, Consecutive5xx],
    );
    let check = |outcomes: &[Outcome], expected: &[Kind]| check_outcomes(true, outcomes, expected);
    check(&[ConnectFailed, TimedOut], &[ConsecutiveLocalOriginFailure]);
    check(&[ConnectFailed, Connected, ConnectFailed], &[]);
    check(&[ConnectFailed, ConnectedForRequest, ConnectFailed], &[]);
    check(&[Failed, ConnectFailed, Failed, Failed], &[Consecutive5xx]);
    check(
        &[ConnectFailed, Succeeded, ConnectFailed],
        &[ConsecutiveLocalOriginFailure],
    );
}

#[test]
fn a_limit_of_nothing_is_never_reached() {
    let config = OutlierConfig {
        consecutive_5xx: 0,
        consecutive_gateway_failure: 0,
        ..defaults()
    };
    let monitor = Monitor::default();
    for _ in 0..1_000 {
        assert_eq!(monitor.count(&config, Outcome::TimedOut).count(), 0);
    }
}

/// A detector of so many endpoints, and what it told.
struct Fixture {
    set: Arc<EndpointSet>,
    config: Arc<OutlierConfig>,
    detector: Detector,
    rng: fastrand::Rng,
    start: Instant,
    counters: BTreeMap<&'static str, u32>,
}

impl Fixture {
    fn new(endpoints: u8, config: OutlierConfig) -> Self {
        let set = set([locality("a", 0, 0, (0..endpoints).map(endpoint))]);
        let config = Arc::new(config);
        let mut detector = Detector::new(Arc::clone(&config));
        detector.update(&set);
        Self {
            set,
            config,
            detector,
            rng: fastrand::Rng::with_seed(1),
            start: Instant::now(),
            counters: BTreeMap::new(),
        }
    }

    fn endpoint(&self, index: usize) -> Arc<Endpoint> {
        Arc::clone(self.set.endpoints().nth(index).unwrap())
    }

    fn told(&mut self, events: Vec<Event>) {
        for event in events {
            for counter in event.counters() {
                *self.counters.entry(counter).or_default() += 1;
            }
        }
    }

    /// So many outcomes at a second after the start.
    fn outcomes(&mut self, index: usize, second: u64, outcome: Outcome, times: usize) {
        let endpoint = self.endpoint(index);
        let now = self.start + Duration::from_secs(second);
        for _ in 0..times {
            for kind in endpoint.state().monitor().count(&self.config, outcome) {
                let events = self.detector.failing(&endpoint, kind, now, &mut self.rng);
                self.told(events);
            }
        }
    }

    fn sweep(&mut self, second: u64) {
        let now = self.start + Duration::from_secs(second);
        let events = self.detector.sweep(now, &mut self.rng);
        self.told(events);
    }

    #[track_caller]
    fn check(&self, ejected: &[usize]) {
        let is_ejected = |one: &Arc<Endpoint>| one.state().has(HealthFlag::FailedOutlierCheck);
        let endpoints = self.set.endpoints().enumerate();
        let actual: Vec<_> = endpoints
            .filter(|(_, one)| is_ejected(one))
            .map(|(index, _)| index)
            .collect();
        assert_eq!(actual, ejected);
        assert_eq!(self.detector.ejections_active() as usize, ejected.len());
    }

    #[track_caller]
    fn check_counters(&self, expected: &[(&str, u32)]) {
        let actual: Vec<_> = self.counters.iter().map(|(name, n)| (*name, *n)).collect();
        assert_eq!(actual, expected);
    }
}

#[test]
fn an_endpoint_that_fails_in_a_row_is_ejected_and_comes_back() {
    let mut fixture = Fixture::new(10, defaults());
    fixture.outcomes(3, 0, Outcome::ConnectFailed, 4);
    fixture.check(&[]);
    fixture.outcomes(3, 1, Outcome::ConnectFailed, 1);
    fixture.check(&[3]);
    // The gateway failures are five, too, but not enforced, and then it is ejected already.
    fixture.check_counters(&[
        ("ejections_consecutive_5xx", 1),
        ("ejections_detected_consecutive_5xx", 1),
        ("ejections_detected_consecutive_gateway_failure", 1),
        ("ejections_enforced_consecutive_5xx", 1),
        ("ejections_enforced_total", 1),
        ("ejections_total", 1),
    ]);
    fixture.sweep(30);
    fixture.check(&[3]);
    fixture.sweep(31);
    fixture.check(&[]);
    // It needs as many failures as the first time.
    fixture.outcomes(3, 32, Outcome::ConnectFailed, 4);
    fixture.check(&[]);
}

#[test]
fn ejections_grow_longer_and_shrink_with_health() {
    let mut fixture = Fixture::new(10, defaults());
    let mut second = 0;
    // 30 s, 60 s, …, 300 s, and no more.
    for time in [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300] {
        fixture.outcomes(0, second, Outcome::TimedOut, 5);
        fixture.check(&[0]);
        fixture.sweep(second + time - 1);
        fixture.check(&[0]);
        fixture.sweep(second + time);
        fixture.check(&[]);
        second += time;
    }
    for _ in 0..11 {
        second += 10;
        fixture.sweep(second);
    }
    fixture.outcomes(0, second, Outcome::TimedOut, 5);
    fixture.sweep(second + 30);
    fixture.check(&[]);
}

#[test]
fn no_more_are_ejected_than_the_percentage_allows() {
    for (endpoints, percent, always, expected) in [
        (10, 10, false, 1),
        (9, 10, false, 0),
        (9, 10, true, 1),
        (10, 50, false, 5),
        (4, 100, false, 4),
        (3, 0, false, 0),
        (3, 0, true, 1),
    ] {
        let config = OutlierConfig {
            max_ejection_percent: percent,
            always_eject_one_host: always,
            enforcing: [100, 0, 0, 0, 0, 0, 0],
            consecutive_gateway_failure: 0,
            ..defaults()
        };
        let mut fixture = Fixture::new(endpoints, config);
        for index in 0..usize::from(endpoints) {
            fixture.outcomes(index, 0, Outcome::ConnectFailed, 5);
        }
        fixture.check(&(0..expected).collect::<Vec<_>>());
        let overflow = usize::from(endpoints) - expected;
        let counted = fixture.counters.get("ejections_overflow").copied();
        assert_eq!(counted.unwrap_or(0) as usize, overflow);
    }
}

#[test]
fn outliers_are_ejected_as_often_as_is_enforced() {
    for percent in [0, 30, 100] {
        let config = OutlierConfig {
            max_ejection_percent: 100,
            enforcing: [percent, 0, 0, 0, 0, 0, 0],
            ..defaults()
        };
        let mut fixture = Fixture::new(200, config);
        for index in 0..200 {
            fixture.outcomes(index, 0, Outcome::Failed, 5);
        }
        let ejected = fixture.detector.ejections_active();
        assert!(ejected.abs_diff(u32::from(percent) * 2) <= 20, "{ejected}");
    }
}

#[test]
fn an_endpoint_that_succeeds_less_than_the_others_is_ejected() {
    let mut fixture = Fixture::new(10, defaults());
    for index in 0..10 {
        let failures = if index == 7 { 50 } else { 1 };
        for _ in 0..failures {
            fixture.outcomes(index, 0, Outcome::Answered(500), 1);
            fixture.outcomes(index, 0, Outcome::Answered(200), 1);
        }
        fixture.outcomes(index, 0, Outcome::Answered(200), 100);
    }
    fixture.sweep(10);
    fixture.check(&[7]);
    fixture.check_counters(&[
        ("ejections_detected_success_rate", 1),
        ("ejections_enforced_success_rate", 1),
        ("ejections_enforced_total", 1),
        ("ejections_success_rate", 1),
        ("ejections_total", 1),
    ]);
}

#[test]
fn success_is_compared_only_with_enough_endpoints_and_outcomes() {
    for (endpoints, outcomes) in [(4, 200), (10, 99)] {
        let mut fixture = Fixture::new(endpoints, defaults());
        for index in 0..usize::from(endpoints) {
            let outcome = if index == 0 { 503 } else { 200 };
            fixture.outcomes(index, 0, Outcome::Answered(200), outcomes / 2);
            for _ in 0..outcomes.div_ceil(2) {
                fixture
                    .endpoint(index)
                    .state()
                    .monitor()
                    .count(&fixture.config, Outcome::Answered(outcome));
            }
        }
        fixture.sweep(10);
        fixture.check(&[]);
    }
}

#[test]
fn an_endpoint_that_fails_too_often_is_ejected_where_enforced() {
    let config = OutlierConfig {
        max_ejection_percent: 100,
        consecutive_5xx: 0,
        success_rate_minimum_hosts: 100,
        enforcing: [0, 0, 0, 0, 0, 100, 0],
        ..defaults()
    };
    let mut fixture = Fixture::new(5, config);
    for index in 0..5 {
        let failures = [85, 84, 0, 100, 1][index];
        fixture.outcomes(index, 0, Outcome::Answered(500), failures);
        fixture.outcomes(index, 0, Outcome::Answered(200), 100 - failures);
    }
    fixture.sweep(10);
    fixture.check(&[0, 3]);
    fixture.check_counters(&[
        ("ejections_detected_failure_percentage", 2),
        ("ejections_enforced_failure_percentage", 2),
        ("ejections_enforced_total", 2),
    ]);
    // What was counted is over.
    fixture.sweep(40);
    fixture.sweep(50);
    fixture.check(&[]);
}

#[test]
fn reaching_an_endpoint_is_told_apart_where_asked() {
    let config = OutlierConfig {
        split_external_local_origin_errors: true,
        consecutive_local_origin_failure: 0,
        ..defaults()
    };
    let mut fixture = Fixture::new(10, config);
    for index in 0..10 {
        let failures = if index == 2 { 60 } else { 0 };
        fixture.outcomes(index, 0, Outcome::ConnectFailed, failures);
        fixture.outcomes(index, 0, Outcome::Connected, 100 - failures);
    }
    fixture.sweep(10);
    fixture.check(&[2]);
    fixture.check_counters(&[
        ("ejections_detected_local_origin_success_rate", 1),
        ("ejections_enforced_local_origin_success_rate", 1),
        ("ejections_enforced_total", 1),
    ]);
}

#[test]
fn a_health_check_that_succeeds_ends_the_ejection_where_asked() {
    for (uneject, failed, expected) in [
        (true, false, &[][..]),
        (true, true, &[0]),
        (false, false, &[0]),
    ] {
        let config = OutlierConfig {
            successful_active_health_check_uneject_host: uneject,
            ..defaults()
        };
        let mut fixture = Fixture::new(10, config);
        fixture.outcomes(0, 0, Outcome::ConnectFailed, 5);
        let endpoint = fixture.endpoint(0);
        endpoint.state().set(HealthFlag::FailedActiveHc, failed);
        fixture.detector.checked(&endpoint);
        fixture.check(expected);
    }
}

#[test]
fn ejections_follow_the_endpoints_that_there_are() {
    let config = OutlierConfig {
        max_ejection_percent: 100,
        ..defaults()
    };
    let mut fixture = Fixture::new(4, config);
    fixture.outcomes(0, 0, Outcome::ConnectFailed, 5);
    fixture.outcomes(1, 0, Outcome::ConnectFailed, 5);
    fixture.check(&[0, 1]);
    let gone = fixture.endpoint(0);
    // Others with the same addresses; who is ejected is not among them.
    let others = set([locality("a", 0, 0, [endpoint(1), endpoint(2)])]);
    fixture.detector.update(&others);
    assert_eq!(fixture.detector.ejections_active(), 0);
    let events =
        fixture
            .detector
            .failing(&gone, Kind::Consecutive5xx, fixture.start, &mut fixture.rng);
    assert!(events.is_empty());
}

#[test]
fn jitter_makes_ejections_longer_by_chance() {
    let config = OutlierConfig {
        max_ejection_percent: 100,
        max_ejection_time_jitter: Duration::from_secs(30),
        ..defaults()
    };
    let mut fixture = Fixture::new(100, config);
    for index in 0..100 {
        fixture.outcomes(index, 0, Outcome::ConnectFailed, 5);
    }
    fixture.sweep(29);
    assert_eq!(fixture.detector.ejections_active(), 100);
    fixture.sweep(45);
    let half = fixture.detector.ejections_active();
    assert!((25..75).contains(&half), "{half}");
    fixture.sweep(61);
    assert_eq!(fixture.detector.ejections_active(), 0);
}

#[test]
fn times_without_end_do_not_overflow() {
    let config = OutlierConfig {
        max_ejection_percent: 100,
        base_ejection_time: Duration::MAX,
        max_ejection_time: Duration::MAX,
        max_ejection_time_jitter: Duration::MAX,
        ..defaults()
    };
    let mut fixture = Fixture::new(2, config);
    for second in 0..3 {
        fixture.outcomes(0, second, Outcome::ConnectFailed, 5);
        fixture.sweep(1_000_000);
        fixture.check(&[0]);
        let endpoint = fixture.endpoint(0);
        fixture.detector.checked(&endpoint);
    }
}
