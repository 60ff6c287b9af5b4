//! The filter that bounds how fast connections come.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use fairlead_xds::{
    envoy::{
        extensions::filters::network::local_ratelimit::v3::LocalRateLimit as Message,
        r#type::v3::TokenBucket as BucketMessage,
    },
    google::protobuf::UInt32Value,
};

use super::{
    field,
    statistics::{FilterStatistic, LocalRateLimitStatistic, joined},
    token_bucket::{Filling, TokenBucket},
};
use crate::compile::At;

/// What Envoy bounds the interval by, lest it wake too often.
const LEAST_FILL_INTERVAL: Duration = Duration::from_millis(50);

/// `envoy.filters.network.local_ratelimit`
#[derive(Clone, Debug)]
pub struct LocalRateLimit {
    stat_prefix: Box<str>,
    bucket: Arc<TokenBucket>,
    enabled: bool,
}

/// The buckets that filters share, in one snapshot and with the next.
#[derive(Debug, Default)]
pub struct SharedTokenBuckets(RefCell<HashMap<SharedBy, Weak<TokenBucket>>>);

/// What filters that share a bucket have in common.
#[derive(Debug, Eq, Hash, PartialEq)]
struct SharedBy {
    share_key: Box<str>,
    filling: Filling,
}

impl SharedTokenBuckets {
    /// The bucket of those who say the same key and the same filling.
    fn bucket(&self, share_key: &str, filling: Filling, now: Instant) -> Arc<TokenBucket> {
        let shared_by = SharedBy {
            share_key: share_key.into(),
            filling,
        };
        let mut buckets = self.0.borrow_mut();
        buckets.retain(|_, bucket| bucket.strong_count() > 0);
        let shared = buckets.entry(shared_by).or_default();
        if let Some(bucket) = shared.upgrade() {
            return bucket;
        }
        let bucket = Arc::new(TokenBucket::new(filling, now));
        *shared = Arc::downgrade(&bucket);
        bucket
    }
}

impl LocalRateLimit {
    /// The filter that the message asks for.
    pub fn compile(
        at: &At<'_>,
        message: &Message,
        shared: &SharedTokenBuckets,
        now: Instant,
    ) -> Option<Self> {
        let Message {
            stat_prefix,
            token_bucket,
            runtime_enabled,
            share_key,
        } = message;
        let stat_prefix = field::stat_prefix(at, stat_prefix);
        let token_bucket = at.required("token_bucket", token_bucket.as_ref());
        let filling = token_bucket.and_then(|message| filling(&at.field("token_bucket"), message));
        let enabled = field::enabled(at, runtime_enabled.as_ref());
        let (stat_prefix, filling, enabled) = (stat_prefix?, filling?, enabled?);
        let bucket = match share_key.as_str() {
            "" => Arc::new(TokenBucket::new(filling, now)),
            key => shared.bucket(key, filling, now),
        };
        Some(Self {
            stat_prefix,
            bucket,
            enabled,
        })
    }

    /// Takes a token for a new connection, and says whether it may go on.
    pub fn admits(&self, now: Instant) -> bool {
        !self.enabled || self.bucket.take(now)
    }

    /// What its statistics are called by.
    pub fn stat_prefix(&self) -> &str {
        &self.stat_prefix
    }

    /// The whole name of a statistic.
    pub fn statistic_name(&self, statistic: LocalRateLimitStatistic) -> String {
        joined(["local_rate_limit", &self.stat_prefix, statistic.as_str()])
    }
}

fn filling(at: &At<'_>, message: &BucketMessage) -> Option<Filling> {
    let BucketMessage {
        max_tokens,
        tokens_per_fill,
        fill_interval,
    } = message;
    let tokens_per_fill = match tokens_per_fill {
        Some(UInt32Value { value: 0 }) => at.field("tokens_per_fill").fault("must be at least 1"),
        Some(UInt32Value { value }) => Some(*value),
        None => Some(1),
    };
    // A bucket that never holds any token is as empty at whatever interval.
    let least = match max_tokens {
        0 => field::MILLISECOND,
        _ => LEAST_FILL_INTERVAL,
    };
    let fill_interval = at
        .required("fill_interval", *fill_interval)
        .and_then(|interval| field::at_least(&at.field("fill_interval"), least, interval));
    Some(Filling {
        max_tokens: *max_tokens,
        tokens_per_fill: tokens_per_fill?,
        fill_interval: fill_interval?,
    })
}

#[cfg(test)]
mod tests {
    use fairlead_xds::{
        envoy::config::core::v3::RuntimeFeatureFlag,
        google::protobuf::{self, BoolValue},
    };

    use super::*;
    use crate::compile::{Fault, Findings};

    fn message(max_tokens: u32, millis: i32, share_key: &str) -> Message {
        Message {
            stat_prefix: "inbound".to_owned(),
            token_bucket: Some(BucketMessage {
                max_tokens,
                tokens_per_fill: None,
                fill_interval: Some(protobuf::Duration {
                    seconds: 0,
                    nanos: millis * 1_000_000,
                }),
            }),
            runtime_enabled: None,
            share_key: share_key.to_owned(),
        }
    }

    #[track_caller]
    fn compile(message: &Message, shared: &SharedTokenBuckets, now: Instant) -> LocalRateLimit {
        let findings = Findings::default();
        let filter = LocalRateLimit::compile(&findings.at(""), message, shared, now);
        assert_eq!(findings.faults(), []);
        filter.unwrap()
    }

    #[test]
    fn a_connection_takes_a_token() {
        let (shared, now) = (SharedTokenBuckets::default(), Instant::now());
        let filter = compile(&message(1, 50, ""), &shared, now);
        assert!(filter.admits(now));
        assert!(!filter.admits(now));
        assert!(filter.admits(now + Duration::from_millis(50)));
        let name = filter.statistic_name(LocalRateLimitStatistic::RateLimited);
        assert_eq!(name, "local_rate_limit.inbound.rate_limited");
        let filter = compile(&message(0, 1, ""), &shared, now);
        assert!(!filter.admits(now + Duration::from_secs(3600)));
    }

    #[test]
    fn a_filter_that_is_not_enabled_admits_all() {
        let (shared, now) = (SharedTokenBuckets::default(), Instant::now());
        let message = Message {
            runtime_enabled: Some(RuntimeFeatureFlag {
                default_value: Some(BoolValue { value: false }),
                runtime_key: String::new(),
            }),
            ..message(0, 50, "")
        };
        assert!(compile(&message, &shared, now).admits(now));
    }

    #[test]
    fn a_bucket_is_shared_by_the_same_key_and_filling() {
        let (shared, now) = (SharedTokenBuckets::default(), Instant::now());
        let first = compile(&message(1, 50, "key"), &shared, now);
        assert!(first.admits(now));
        for (other, admitted) in [
            (message(1, 50, "key"), false),
            (message(1, 50, "other"), true),
            (message(1, 60, "key"), true),
            (message(1, 50, ""), true),
        ] {
            assert_eq!(compile(&other, &shared, now).admits(now), admitted);
        }
        drop(first);
        assert!(compile(&message(1, 50, "key"), &shared, now).admits(now));
    }

    #[track_caller]
    fn check_faults(message: &Message, expected: &[&str]) {
        let findings = Findings::default();
        let shared = SharedTokenBuckets::default();
        let now = Instant::now();
        assert!(LocalRateLimit::compile(&findings.at("x"), message, &shared, now).is_none());
        let faults: Vec<_> = findings.faults().iter().map(Fault::to_string).collect();
        assert_eq!(faults, expected);
    }

    #[test]
    fn each_fault_is_told() {
        let fast = "x.token_bucket.fill_interval: must be at least 50 ms";
        check_faults(&message(1, 49, ""), &[fast]);
        let fast = "x.token_bucket.fill_interval: must be at least 1 ms";
        check_faults(&message(0, 0, ""), &[fast]);
        let nothing = Message {
            runtime_enabled: Some(RuntimeFeatureFlag::default()),
            ..Message::default()
        };
        check_faults(
            &nothing,
            &[
                "x.stat_prefix: is empty",
                "x.token_bucket: is missing",
                "x.runtime_enabled.default_value: is missing",
            ],
        );
        let empty = Message {
            stat_prefix: "p".to_owned(),
            token_bucket: Some(BucketMessage {
                tokens_per_fill: Some(UInt32Value { value: 0 }),
                ..BucketMessage::default()
            }),
            ..Message::default()
        };
        check_faults(
            &empty,
            &[
                "x.token_bucket.tokens_per_fill: must be at least 1",
                "x.token_bucket.fill_interval: is missing",
            ],
        );
    }
}
