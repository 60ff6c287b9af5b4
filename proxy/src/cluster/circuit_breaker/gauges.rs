//! What circuit breakers tell: which are open, and how many more of each may be had.

use std::sync::Arc;

use super::{CircuitBreakers, Resource, RoutingPriority};
use crate::stats::{
    Known, Level,
    sets::cluster::{CircuitBreakerStatistics, RemainingStatistics},
};

impl Known<CircuitBreakerStatistics> for CircuitBreakers {
    fn tell(&self, set: &CircuitBreakerStatistics) {
        use Resource as R;
        use RoutingPriority::{Default, High};
        for (level, priority, resource) in [
            (&set.default_cx_open, Default, R::Connections),
            (&set.default_cx_pool_open, Default, R::ConnectionPools),
            (&set.default_rq_open, Default, R::Requests),
            (&set.default_rq_pending_open, Default, R::PendingRequests),
            (&set.default_rq_retry_open, Default, R::Retries),
            (&set.high_cx_open, High, R::Connections),
            (&set.high_cx_pool_open, High, R::ConnectionPools),
            (&set.high_rq_open, High, R::Requests),
            (&set.high_rq_pending_open, High, R::PendingRequests),
            (&set.high_rq_retry_open, High, R::Retries),
        ] {
            if self.is_open(priority, resource) {
                level.set(1);
            }
        }
    }
}

/// How many more may be had of one priority.
#[derive(Debug)]
pub struct Remaining {
    /// Who counts.
    pub breakers: Arc<CircuitBreakers>,
    /// The priority.
    pub priority: RoutingPriority,
}

impl Known<RemainingStatistics> for Remaining {
    fn tell(&self, set: &RemainingStatistics) {
        let tell = |level: &Level, resource| {
            if let Some(number) = self.breakers.remaining(self.priority, resource) {
                level.set(number.into());
            }
        };
        tell(&set.remaining_cx, Resource::Connections);
        tell(&set.remaining_pending, Resource::PendingRequests);
        tell(&set.remaining_retries, Resource::Retries);
        tell(&set.remaining_rq, Resource::Requests);
        match self
            .breakers
            .limit(self.priority, Resource::ConnectionPools)
        {
            // No limit, as Envoy writes it.
            u32::MAX => set.remaining_cx_pools.set(u64::MAX),
            _ => tell(&set.remaining_cx_pools, Resource::ConnectionPools),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::circuit_breaker::{CircuitBreakerConfig, Limits};

    #[test]
    fn what_is_open_and_what_remains_is_told_as_it_is_then() {
        let priority = RoutingPriority::Default;
        let breakers = Arc::new(CircuitBreakers::new(CircuitBreakerConfig {
            default: Limits {
                max_connections: 1,
                track_remaining: true,
                ..Limits::default()
            },
            high: Limits::default(),
        }));
        let remaining = Remaining {
            breakers: Arc::clone(&breakers),
            priority,
        };
        let told = || {
            let (open, left) = (
                CircuitBreakerStatistics::default(),
                RemainingStatistics::default(),
            );
            breakers.tell(&open);
            remaining.tell(&left);
            assert_eq!(open.high_cx_open.value(), 0);
            assert_eq!(left.remaining_rq.value(), 1024);
            assert_eq!(left.remaining_cx_pools.value(), u64::MAX);
            (open.default_cx_open.value(), left.remaining_cx.value())
        };
        assert_eq!(told(), (0, 1));
        let used = breakers.try_connection(priority);
        assert_eq!(told(), (1, 0));
        drop(used);
        assert_eq!(told(), (0, 1));
    }
}
