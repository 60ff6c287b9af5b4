use std::collections::BTreeMap;

use fairlead_xds::{
    envoy::{
        config::core::v3::{BackoffStrategy, ConfigSource, TlvEntry},
        extensions::filters::network::tcp_proxy::v3::tcp_proxy::{
            ClusterSpecifier, TcpAccessLogOptions, TunnelingConfig, WeightedCluster,
            weighted_cluster::ClusterWeight,
        },
        r#type::v3::{
            Percent,
            hash_policy::{FilterState, SourceIp},
        },
    },
    google::protobuf::Duration as Time,
};

use super::*;
use crate::{
    compile::{Fault, Findings},
    network_filter::metadata_match::{
        MetadataMatch,
        tests::{metadata, text},
    },
};

mod faults;

fn message() -> Message {
    Message {
        stat_prefix: "out".to_owned(),
        cluster_specifier: Some(ClusterSpecifier::Cluster("a".to_owned())),
        ..Message::default()
    }
}

fn millis(millis: i64) -> Option<Time> {
    Some(Time {
        seconds: millis / 1000,
        nanos: (millis % 1000) as i32 * 1_000_000,
    })
}

fn weights(clusters: &[(&str, u32)]) -> Option<ClusterSpecifier> {
    let clusters = clusters.iter().map(|(name, weight)| ClusterWeight {
        name: (*name).to_owned(),
        weight: *weight,
        metadata_match: None,
    });
    Some(ClusterSpecifier::WeightedClusters(WeightedCluster {
        clusters: clusters.collect(),
    }))
}

fn log(at: &At<'_>, log: &AccessLog) -> Option<String> {
    if log.name.is_empty() {
        return at.fault("has no name");
    }
    Some(log.name.clone())
}

#[track_caller]
fn compile(message: &Message) -> TcpProxy<String> {
    let findings = Findings::default();
    let filter = TcpProxy::compile(&findings.at(""), message, log);
    assert_eq!(findings.faults(), []);
    filter.unwrap()
}

#[track_caller]
fn check_faults(message: &Message, expected: &[&str]) {
    let findings = Findings::default();
    TcpProxy::compile(&findings.at("x"), message, log);
    let faults: Vec<_> = findings.faults().iter().map(Fault::to_string).collect();
    assert_eq!(faults, expected);
}

#[test]
fn what_is_not_said_is_as_in_envoy() {
    let filter = compile(&message());
    assert_eq!(filter.idle_timeout, Some(Duration::from_secs(3600)));
    assert_eq!(filter.max_connect_attempts.get(), 1);
    assert_eq!(filter.backoff, None);
    assert_eq!(filter.access_log_options, AccessLogOptions::default());
    assert_eq!(filter.hash([10, 0, 0, 1].into()), None);
    assert_eq!(filter.max_downstream_connection_duration(7), None);
    assert!(!filter.check_drain_close);
    let name = filter.statistic_name(TcpProxyStatistic::DownstreamCxTotal);
    assert_eq!(name, "tcp.out.downstream_cx_total");
}

#[test]
fn what_is_said_holds() {
    let filter = compile(&Message {
        idle_timeout: millis(0),
        max_connect_attempts: Some(UInt32Value { value: 3 }),
        access_log: vec![AccessLog {
            name: "file".to_owned(),
            ..AccessLog::default()
        }],
        check_drain_close: Some(BoolValue { value: true }),
        ..message()
    });
    assert_eq!(filter.idle_timeout, None);
    assert_eq!(filter.max_connect_attempts.get(), 3);
    assert_eq!(*filter.access_log, ["file".to_owned()]);
    assert!(filter.check_drain_close);
}

#[test]
fn the_hash_is_of_the_address_as_text() {
    let policy = HashPolicy {
        policy_specifier: Some(PolicySpecifier::SourceIp(SourceIp {})),
    };
    let filter = compile(&Message {
        hash_policy: vec![policy],
        ..message()
    });
    for source in ["10.0.0.1", "fd00::1"] {
        let expected = XxHash64::oneshot(0, source.as_bytes());
        assert_eq!(filter.hash(source.parse().unwrap()), Some(expected));
    }
    let mapped = filter.hash("::ffff:10.0.0.1".parse().unwrap());
    assert_eq!(mapped, filter.hash([10, 0, 0, 1].into()));
}

#[track_caller]
fn check_choice(
    specifier: Option<ClusterSpecifier>,
    of_filter: Option<&str>,
    expected: &[(&str, usize)],
) {
    let filter = compile(&Message {
        cluster_specifier: specifier,
        ..message()
    });
    let mut counts = BTreeMap::new();
    for random in (0..100).map(|number| u64::MAX / 100 * 100 - 100 + number) {
        let choice = filter.cluster(of_filter, random);
        *counts.entry(choice.name).or_default() += 1;
    }
    let counts: Vec<(&str, usize)> = counts.into_iter().collect();
    assert_eq!(counts, expected);
}

#[test]
fn a_cluster_is_chosen_by_its_weight() {
    let name = |name: &str| Some(ClusterSpecifier::Cluster(name.to_owned()));
    check_choice(name("a"), None, &[("a", 100)]);
    check_choice(name("a"), Some("sni"), &[("sni", 100)]);
    check_choice(name(""), Some("sni"), &[("sni", 100)]);
    check_choice(name(""), None, &[("", 100)]);
    let two = weights(&[("a", 9), ("b", 1)]);
    check_choice(two.clone(), None, &[("a", 90), ("b", 10)]);
    check_choice(two, Some("sni"), &[("a", 90), ("b", 10)]);
}

#[test]
fn weights_may_be_as_large_as_they_are() {
    let filter = compile(&Message {
        cluster_specifier: weights(&[("a", u32::MAX), ("b", u32::MAX), ("c", 1)]),
        ..message()
    });
    let name = |random| filter.cluster(None, random).name;
    let weight = u64::from(u32::MAX);
    assert_eq!(name(weight - 1), "a");
    assert_eq!(name(weight), "b");
    assert_eq!(name(2 * weight), "c");
    assert_eq!(name(2 * weight + 1), "a");
    assert!(filter.clusters().names().eq(["a", "b", "c"]));
}

#[test]
fn a_cluster_adds_to_what_endpoints_must_say() {
    let weight = |name: &str, metadata_match| ClusterWeight {
        name: name.to_owned(),
        weight: 1,
        metadata_match,
    };
    let of_filter = metadata(&[("version", text("v1")), ("zone", text("z"))]);
    let of_cluster = metadata(&[("version", text("v2"))]);
    let filter = compile(&Message {
        metadata_match: Some(of_filter.clone()),
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: vec![weight("a", None), weight("b", Some(of_cluster.clone()))],
        })),
        ..message()
    });
    let of_filter = MetadataMatch::of(Some(&of_filter));
    let merged = of_filter.merged(&MetadataMatch::of(Some(&of_cluster)));
    let choice = |random| filter.cluster(None, random).metadata_match;
    assert_eq!(*choice(0), of_filter);
    assert_eq!(*choice(1), merged);
}

#[test]
fn pauses_double_up_to_the_longest() {
    let filter = compile(&Message {
        backoff_options: Some(BackoffStrategy {
            base_interval: millis(100),
            max_interval: millis(350),
        }),
        ..message()
    });
    let backoff = filter.backoff.unwrap();
    for (pauses_before, bound) in [(0, 100), (1, 200), (2, 350), (3, 350), (500, 350)] {
        let pause = |random| backoff.pause(pauses_before, random).as_millis();
        assert_eq!(pause(bound - 1), u128::from(bound - 1));
        assert_eq!(pause(bound), 0);
    }
    let filter = compile(&Message {
        backoff_options: Some(BackoffStrategy {
            base_interval: millis(100),
            max_interval: None,
        }),
        ..message()
    });
    assert_eq!(filter.backoff.unwrap().pause(31, 999).as_millis(), 999);
}

#[track_caller]
fn check_duration(limit: i64, percentage: Option<f64>, random: u64, expected: u64) {
    let filter = compile(&Message {
        max_downstream_connection_duration: millis(limit),
        max_downstream_connection_duration_jitter_percentage: percentage
            .map(|value| Percent { value }),
        ..message()
    });
    let duration = filter.max_downstream_connection_duration(random);
    assert_eq!(duration, Some(Duration::from_millis(expected)));
}

#[test]
fn the_greatest_age_is_prolonged_at_random() {
    check_duration(1000, None, 12345, 1000);
    check_duration(1000, Some(0.0), 12345, 1000);
    check_duration(1000, Some(10.0), 99, 1099);
    check_duration(1000, Some(10.0), 100, 1000);
    check_duration(1000, Some(100.0), 999, 1999);
    // A part of a millisecond counts as one, and a number below 1 is 0.
    check_duration(10, Some(1.0), 5, 10);
    check_duration(10, Some(11.0), 1, 11);
    check_duration(315_576_000_000_000, Some(100.0), u64::MAX, {
        315_576_000_000_000 + u64::MAX % 315_576_000_000_000
    });
}

#[expect(deprecated, reason = "what Envoy still reads is read")]
#[test]
fn the_old_options_of_the_log_still_hold() {
    let old = Message {
        access_log_flush_interval: millis(5),
        flush_access_log_on_connected: true,
        ..message()
    };
    let options = AccessLogOptions {
        flush_interval: Some(Duration::from_millis(5)),
        flush_on_connected: true,
        flush_on_start: false,
    };
    assert_eq!(compile(&old).access_log_options, options);
    let new = Message {
        access_log_options: Some(TcpAccessLogOptions {
            access_log_flush_interval: millis(5),
            flush_access_log_on_connected: true,
            flush_access_log_on_start: true,
        }),
        ..message()
    };
    let options = AccessLogOptions {
        flush_on_start: true,
        ..options
    };
    assert_eq!(compile(&new).access_log_options, options);
    let both = Message {
        access_log_options: new.access_log_options,
        ..old
    };
    check_faults(
        &both,
        &[
            "x.flush_access_log_on_connected: must not be given together with access_log_options",
            "x.access_log_flush_interval: must not be given together with access_log_options",
        ],
    );
}
