//! The filter that bounds how many connections there are at a time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fairlead_xds::{
    envoy::extensions::filters::network::connection_limit::v3::ConnectionLimit as Message,
    google::protobuf::UInt64Value,
};

use super::{
    field,
    statistics::{ConnectionLimitStatistic, FilterStatistic, joined},
};
use crate::compile::At;

/// `envoy.filters.network.connection_limit`
///
/// One filter of one filter chain, shared by the workers; its count begins anew with the chain.
#[derive(Debug)]
pub struct ConnectionLimit {
    stat_prefix: Box<str>,
    max_connections: u64,
    delay: Option<Duration>,
    enabled: bool,
    connections: AtomicU64,
}

/// What becomes of a new connection.
#[derive(Debug)]
pub enum Entry {
    /// The filter is not enabled, and counts nothing.
    Uncounted,
    /// It may go on.
    Admitted(Counted),
    /// It is one too many, and is to be closed after the delay.
    Limited {
        /// It is counted until it is closed.
        counted: Counted,
        /// How long it is held first.
        delay: Option<Duration>,
    },
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub struct Counted(Arc<ConnectionLimit>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl ConnectionLimit {
    /// The filter that the message asks for.
    pub fn compile(at: &At<'_>, message: &Message) -> Option<Self> {
        let Message {
            stat_prefix,
            max_connections,
            delay,
            runtime_enabled,
        } = message;
        let stat_prefix = field::stat_prefix(at, stat_prefix);
        let max_connections = at.required("max_connections", *max_connections);
        let max_connections = max_connections.and_then(|UInt64Value { value }| match value {
            0 => at.field("max_connections").fault("must be at least 1"),
            _ => Some(value),
        });
        let delay = match delay {
            Some(delay) => field::duration(&at.field("delay"), *delay),
            None => Some(Duration::ZERO),
        };
        let enabled = field::enabled(at, runtime_enabled.as_ref());
        Some(Self {
            stat_prefix: stat_prefix?,
            max_connections: max_connections?,
            delay: delay.map(|delay| (!delay.is_zero()).then_some(delay))?,
            enabled: enabled?,
            connections: AtomicU64::new(0),
        })
    }

    /// Counts a new connection, and says whether it may go on.
    pub fn enter(self: &Arc<Self>) -> Entry {
        if !self.enabled {
            return Entry::Uncounted;
        }
        // One that is refused is counted, too, as long as it is held.
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(self));
        if before < self.max_connections {
            return Entry::Admitted(counted);
        }
        Entry::Limited {
            counted,
            delay: self.delay,
        }
    }

    /// Connections now.
    pub fn active(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// What its statistics are called by.
    pub fn stat_prefix(&self) -> &str {
        &self.stat_prefix
    }

    /// The whole name of a statistic.
    pub fn statistic_name(&self, statistic: ConnectionLimitStatistic) -> String {
        joined(["connection_limit", &self.stat_prefix, statistic.as_str()])
    }
}

#[cfg(test)]
mod tests {
    use fairlead_xds::{
        envoy::config::core::v3::RuntimeFeatureFlag,
        google::protobuf::{self, BoolValue},
    };

    use super::*;
    use crate::compile::{Fault, Findings};

    fn message(max_connections: u64) -> Message {
        Message {
            stat_prefix: "inbound".to_owned(),
            max_connections: Some(UInt64Value {
                value: max_connections,
            }),
            delay: Some(protobuf::Duration {
                seconds: 2,
                nanos: 0,
            }),
            runtime_enabled: None,
        }
    }

    #[track_caller]
    fn compile(message: &Message) -> Arc<ConnectionLimit> {
        let findings = Findings::default();
        let limit = ConnectionLimit::compile(&findings.at(""), message);
        assert_eq!(findings.faults(), []);
        Arc::new(limit.unwrap())
    }

    #[test]
    fn a_connection_over_the_limit_is_held_and_counted() {
        let limit = compile(&message(2));
        let first = limit.enter();
        let second = limit.enter();
        assert!(matches!(first, Entry::Admitted(_)));
        assert!(matches!(second, Entry::Admitted(_)));
        let third = limit.enter();
        let delay = Duration::from_secs(2);
        assert!(matches!(third, Entry::Limited { delay: Some(held), .. } if held == delay));
        assert_eq!(limit.active(), 3);
        drop(first);
        // The one that is held takes the place.
        assert!(matches!(limit.enter(), Entry::Limited { .. }));
        drop(third);
        assert!(matches!(limit.enter(), Entry::Admitted(_)));
        drop(second);
        assert_eq!(limit.active(), 0);
    }

    #[test]
    fn a_filter_that_is_not_enabled_counts_nothing() {
        let limit = compile(&Message {
            runtime_enabled: Some(RuntimeFeatureFlag {
                default_value: Some(BoolValue { value: false }),
                runtime_key: String::new(),
            }),
            ..message(1)
        });
        assert!(matches!(limit.enter(), Entry::Uncounted));
        assert_eq!(limit.active(), 0);
    }

    #[test]
    fn statistics_have_its_prefix() {
        let name =
            compile(&message(1)).statistic_name(ConnectionLimitStatistic::LimitedConnections);
        assert_eq!(name, "connection_limit.inbound.limited_connections");
    }

    #[track_caller]
    fn check_faults(message: &Message, expected: &[&str]) {
        let findings = Findings::default();
        assert!(ConnectionLimit::compile(&findings.at("x"), message).is_none());
        let faults: Vec<_> = findings.faults().iter().map(Fault::to_string).collect();
        assert_eq!(faults, expected);
    }

    #[test]
    fn each_fault_is_told() {
        check_faults(&message(0), &["x.max_connections: must be at least 1"]);
        let message = Message {
            delay: Some(protobuf::Duration {
                seconds: -1,
                nanos: 0,
            }),
            runtime_enabled: Some(RuntimeFeatureFlag::default()),
            ..Message::default()
        };
        check_faults(
            &message,
            &[
                "x.stat_prefix: is empty",
                "x.max_connections: is missing",
                "x.delay: -1 s and 0 ns are no time span",
                "x.runtime_enabled.default_value: is missing",
            ],
        );
    }
}
