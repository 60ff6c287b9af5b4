use fairlead_xds::{
    envoy::r#type::matcher::v3::{StringMatcher as StringMessage, string_matcher::MatchPattern},
    google::protobuf::{BoolValue, UInt32Value},
};

use super::*;
use crate::compile::Findings;

fn prefix(text: &str) -> StringMessage {
    StringMessage {
        ignore_case: false,
        match_pattern: Some(MatchPattern::Prefix(text.to_owned())),
    }
}

fn list(prefixes: &[&str]) -> ListStringMatcher {
    ListStringMatcher {
        patterns: prefixes.iter().map(|text| prefix(text)).collect(),
    }
}

fn matcher(matcher: stats_matcher::StatsMatcher) -> Message {
    Message {
        stats_matcher: Some(StatsMatcher {
            stats_matcher: Some(matcher),
        }),
        ..Message::default()
    }
}

fn specifier(name: &str, value: Option<TagValue>) -> TagSpecifier {
    TagSpecifier {
        tag_name: name.to_owned(),
        tag_value: value,
    }
}

fn regex(text: &str) -> Option<TagValue> {
    Some(TagValue::Regex(text.to_owned()))
}

fn compiled(message: &Message) -> StatsConfig {
    let findings = Findings::default();
    let config = StatsConfig::compile(&findings.at("stats_config"), message);
    assert_eq!(findings.faults(), []);
    config.unwrap()
}

#[track_caller]
fn check_fault(message: &Message, expected: &str) {
    let findings = Findings::default();
    let config = StatsConfig::compile(&findings.at("stats_config"), message);
    assert!(config.is_none());
    let faults = findings.faults();
    let fault = faults.first().map(ToString::to_string).unwrap_or_default();
    assert!(fault.contains(expected), "{fault}");
    assert_eq!(faults.len(), 1);
}

#[test]
fn matchers_reject_by_name() {
    use stats_matcher::StatsMatcher::{ExclusionList, InclusionList, RejectAll};
    for (message, cluster, server) in [
        (Message::default(), false, false),
        (matcher(RejectAll(false)), false, false),
        (matcher(RejectAll(true)), true, true),
        (matcher(ExclusionList(list(&["cluster."]))), true, false),
        (matcher(InclusionList(list(&["x", "server"]))), true, false),
    ] {
        let config = compiled(&message);
        assert_eq!(config.rejects("cluster.a.b"), cluster, "{message:?}");
        assert_eq!(config.rejects("server.live"), server, "{message:?}");
    }
}

#[test]
fn the_first_bucket_setting_that_matches_counts() {
    let settings = |text: &str, buckets: &[f64]| HistogramBucketSettings {
        r#match: Some(prefix(text)),
        buckets: buckets.into(),
        bins: None,
    };
    let config = compiled(&Message {
        histogram_bucket_settings: vec![
            settings("cluster.a.", &[5.0, 1.5]),
            settings("cluster.", &[2.0]),
            settings("server", &[]),
        ],
        ..Message::default()
    });
    assert_eq!(config.buckets("cluster.a.x_ms"), [1.5, 5.0]);
    assert_eq!(config.buckets("cluster.b.x_ms"), [2.0]);
    assert_eq!(config.buckets("server.x_ms"), BUCKETS);
    assert_eq!(config.buckets("listener.x_ms"), BUCKETS);
}

#[test]
fn default_tags_are_used_unless_told_otherwise() {
    let no_defaults = Some(BoolValue { value: false });
    for (message, expected) in [
        (Message::default(), DefaultTag::ALL),
        (
            Message {
                use_all_default_tags: no_defaults,
                ..Message::default()
            },
            &[],
        ),
        (
            Message {
                use_all_default_tags: no_defaults,
                stats_tags: vec![specifier("envoy.cluster_name", None)],
                ..Message::default()
            },
            &[DefaultTag::ClusterName],
        ),
    ] {
        assert_eq!(&*compiled(&message).tags.defaults, expected);
    }
}

#[test]
fn a_tag_replaces_the_default_one_if_allowed() {
    let mut message = Message {
        stats_tags: vec![specifier(
            "envoy.cluster_name",
            regex(r"^cluster\.((.*;)\.)"),
        )],
        ..Message::default()
    };
    let name = "cluster.a.b;.upstream_cx_total";
    let config = compiled(&message);
    assert_eq!(
        config.tags.extract(name).tags,
        [("envoy.cluster_name", "a")]
    );
    message.allow_default_tag_overrides = Some(BoolValue { value: true });
    let config = compiled(&message);
    let found = config.tags.extract(name).tags;
    assert_eq!(found, [("envoy.cluster_name", "a.b;")]);
}

#[test]
fn faults_name_the_field() {
    let tag = |tag| Message {
        stats_tags: vec![tag],
        ..Message::default()
    };
    let buckets = |settings| Message {
        histogram_bucket_settings: vec![settings],
        ..Message::default()
    };
    let settings = HistogramBucketSettings {
        r#match: Some(prefix("a")),
        ..HistogramBucketSettings::default()
    };
    let empty = matcher(stats_matcher::StatsMatcher::InclusionList(list(&[])));
    let nothing = Message {
        stats_matcher: Some(StatsMatcher::default()),
        ..Message::default()
    };
    let long = "a".repeat(LONGEST_REGEX + 1);
    for (message, expected) in [
        (
            empty,
            "stats_config.stats_matcher.inclusion_list.patterns: is empty",
        ),
        (
            nothing,
            "stats_config.stats_matcher.stats_matcher: is missing",
        ),
        (
            matcher(stats_matcher::StatsMatcher::ExclusionList(list(&[""]))),
            "stats_config.stats_matcher.exclusion_list.patterns[0].prefix: is empty",
        ),
        (
            tag(specifier("", None)),
            "stats_config.stats_tags[0].tag_name: is empty",
        ),
        (
            tag(specifier("mine", None)),
            "stats_config.stats_tags[0].tag_name: there is no default tag mine",
        ),
        (
            tag(specifier("mine", regex("("))),
            "stats_config.stats_tags[0].regex: Parsing error at position 1",
        ),
        (
            tag(specifier("mine", regex(&long))),
            "stats_config.stats_tags[0].regex: is longer than 1024 bytes",
        ),
        (
            buckets(HistogramBucketSettings::default()),
            "stats_config.histogram_bucket_settings[0].match: is missing",
        ),
        (
            buckets(HistogramBucketSettings {
                buckets: vec![1.0, 0.0],
                ..settings.clone()
            }),
            "stats_config.histogram_bucket_settings[0].buckets[1]: is not above 0",
        ),
        (
            buckets(HistogramBucketSettings {
                buckets: vec![1.0, 2.0, 1.0],
                ..settings.clone()
            }),
            "stats_config.histogram_bucket_settings[0].buckets: has the same bound twice",
        ),
        (
            buckets(HistogramBucketSettings {
                bins: Some(UInt32Value { value: 0 }),
                ..settings
            }),
            "stats_config.histogram_bucket_settings[0].bins: is not within 1 and 46082",
        ),
    ] {
        check_fault(&message, expected);
    }
}
