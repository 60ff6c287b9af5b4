//! Counters of one worker: written by its thread alone, read by any.
//!
//! Each worker has its own set, so that counting never shares a cache line or a lock with another
//! worker. [`crate::metrics`] adds the sets up when they are asked for.

pub use crate::stats::Counter;
use crate::{direction::Direction, ending::ResponseFlag};

/// All counters of one worker.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Connections to the application.
    pub inbound: DirectionStatistics,
    /// Connections of the application.
    pub outbound: DirectionStatistics,
}

impl Statistics {
    /// The counters of one direction.
    pub fn of(&self, direction: Direction) -> &DirectionStatistics {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }

    /// Connections that are open now.
    pub fn active(&self) -> u64 {
        self.inbound.active() + self.outbound.active()
    }
}

/// The counters of one direction: its listener, its passthrough cluster, its connections.
#[derive(Debug, Default)]
pub struct DirectionStatistics {
    /// Accepted connections.
    pub accepted: Counter,
    /// Accepted connections that have ended.
    pub ended: Counter,
    /// Failures of `accept(2)`.
    pub accept_failed: Counter,
    /// Connections without a place to go, sent to the cluster without endpoints.
    pub black_holed: Counter,
    /// Counters of the passthrough cluster.
    pub cluster: ClusterStatistics,
    /// Connections that were reported as opened, by the flag they had then.
    pub opened: FlagCounters,
    /// Connections that ended, by their flag.
    pub closed: FlagCounters,
}

impl DirectionStatistics {
    /// Accepted connections that have not ended.
    pub fn active(&self) -> u64 {
        // Read in this order the difference is never negative.
        let ended = self.ended.value();
        self.accepted.value().saturating_sub(ended)
    }
}

/// The counters of one cluster, with Envoy's meanings.
#[derive(Debug, Default)]
pub struct ClusterStatistics {
    /// Connections begun, failed ones too.
    pub begun: Counter,
    /// Connections ended, failed ones too.
    pub ended: Counter,
    /// Connections that could not be made, for any reason.
    pub connect_failed: Counter,
    /// Of these: without an answer in time.
    pub connect_timed_out: Counter,
    /// Bytes from the upstream that were passed on.
    pub received_bytes: Counter,
    /// Bytes that the upstream was sent.
    pub sent_bytes: Counter,
}

/// A count for each response flag, and one for none.
#[derive(Debug, Default)]
pub struct FlagCounters([Counter; ResponseFlag::ALL.len() + 1]);

impl FlagCounters {
    /// Counts one connection.
    pub fn count(&self, flag: Option<ResponseFlag>) {
        self.of(flag).add(1);
    }

    /// The count of one flag.
    pub fn of(&self, flag: Option<ResponseFlag>) -> &Counter {
        &self.0[flag.map_or(0, |flag| flag as usize + 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_has_its_own_count() {
        let counters = FlagCounters::default();
        counters.count(None);
        for (index, flag) in ResponseFlag::ALL.into_iter().enumerate() {
            for _ in 0..index {
                counters.count(Some(flag));
            }
        }
        assert_eq!(counters.of(None).value(), 1);
        for (index, flag) in ResponseFlag::ALL.into_iter().enumerate() {
            assert_eq!(counters.of(Some(flag)).value(), index as u64);
        }
    }
}
