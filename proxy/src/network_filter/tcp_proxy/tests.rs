use std::collections::BTreeMap;

use fairlead_xds::{
    envoy::{
        config::core::v3::{self, BackoffStrategy, ConfigSource, TlvEntry},
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
    cluster::metadata,
    compile::{Fault, Findings},
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

fn logs(at: &At<'_>, logs: &[AccessLog]) -> Option<Vec<String>> {
    let names = logs.iter().enumerate().map(|(index, log)| {
        if log.name.is_empty() {
            return at.index(index).fault("has no name");
        }
        Some(log.name.clone())
    });
    // Each is looked at.
    let names: Vec<_> = names.collect();
    names.into_iter().collect()
}

#[track_caller]
fn compile(message: &Message) -> TcpProxy<Vec<String>> {
    let findings = Findings::default();
    let filter = TcpProxy::compile(&findings.at(""), message, logs);
    assert_eq!(findings.faults(), []);
    filter.unwrap()
}

#[track_caller]
fn check_faults(message: &Message, expected: &[&str]) {
    let findings = Findings::default();
    TcpProxy::compile(&findings.at("x"), message, logs);
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
    assert_eq!(filter.access_log, ["file"]);
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

fn balancer_metadata(given: &[(&str, &str)]) -> v3::Metadata {
    let value = |text: &str| protobuf::Value {
        kind: Some(protobuf::value::Kind::StringValue(text.to_owned())),
    };
    let fields = |fields: &[(&str, &str)]| protobuf::Struct {
        fields: fields
            .iter()
            .map(|(key, text)| ((*key).to_owned(), value(text)))
            .collect(),
    };
    let other = fields(&[("ignored", "x")]);
    v3::Metadata {
        filter_metadata: [("envoy.lb", fields(given)), ("envoy.other", other)]
            .map(|(name, fields)| (name.to_owned(), fields))
            .into(),
        ..v3::Metadata::default()
    }
}

#[test]
fn a_cluster_adds_to_what_endpoints_must_say() {
    let weight = |name: &str, metadata_match| ClusterWeight {
        name: name.to_owned(),
        weight: 1,
        metadata_match,
    };
    let of_filter = balancer_metadata(&[("version", "v1"), ("zone", "z")]);
    let of_cluster = balancer_metadata(&[("version", "v2")]);
    let filter = compile(&Message {
        metadata_match: Some(of_filter),
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: vec![weight("a", None), weight("b", Some(of_cluster))],
        })),
        ..message()
    });
    let choice = |random| {
        let asked = filter.cluster(None, random).metadata_match.iter();
        asked
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect::<Vec<_>>()
    };
    let text = |key: &str, value: &str| (key.to_owned(), metadata::Value::Text(value.into()));
    assert_eq!(choice(0), [text("version", "v1"), text("zone", "z")]);
    assert_eq!(choice(1), [text("version", "v2"), text("zone", "z")]);
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
