//! Limits of what a cluster is used for at a time.

mod config;
mod gauges;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

pub use self::{
    config::{CircuitBreakerConfig, Limits, RetryBudget},
    gauges::Remaining,
};
use super::endpoint::{Active, Endpoint};

/// How much a request or connection matters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RoutingPriority {
    /// As most.
    #[default]
    Default,
    /// More than most.
    High,
}

impl RoutingPriority {
    /// As statistics name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::High => "high",
        }
    }
}

/// What is limited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Resource {
    /// Connections to the cluster.
    Connections,
    /// Those who wait for a connection.
    PendingRequests,
    /// Requests under way.
    Requests,
    /// Repeated requests under way.
    Retries,
    /// Pools of connections.
    ConnectionPools,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Connections,
        Self::PendingRequests,
        Self::Requests,
        Self::Retries,
        Self::ConnectionPools,
    ];
}

/// What a cluster is used for, counted by all workers.
#[derive(Debug, Default)]
pub struct CircuitBreakers {
    config: CircuitBreakerConfig,
    used: [[AtomicU32; 5]; 2],
}

/// One use, until it is dropped.
#[derive(Debug)]
pub struct Use {
    of: Arc<CircuitBreakers>,
    priority: RoutingPriority,
    resource: Resource,
}

impl CircuitBreakers {
    /// Breakers that nothing was asked of yet.
    pub fn new(config: CircuitBreakerConfig) -> Self {
        Self {
            config,
            used: Default::default(),
        }
    }

    /// One use more, if the limit allows. Where it does not, the caller counts an overflow.
    pub fn acquire(self: &Arc<Self>, priority: RoutingPriority, resource: Resource) -> Option<Use> {
        let limit = self.limit(priority, resource);
        let more = |used| (used < limit).then(|| used + 1);
        let used = self.used(priority, resource);
        let counted = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.ok().map(|_| Use {
            of: Arc::clone(self),
            priority,
            resource,
        })
    }

    /// A connection more to the cluster.
    pub fn try_connection(self: &Arc<Self>, priority: RoutingPriority) -> Option<Use> {
        self.acquire(priority, Resource::Connections)
    }

    /// A connection more to the endpoint, which may have a limit of its own.
    pub fn try_endpoint(&self, priority: RoutingPriority, endpoint: &Endpoint) -> Option<Active> {
        match self.config.of(priority).max_connections_per_host {
            Some(limit) => Active::within(endpoint.state(), limit),
            None => Some(endpoint.activate()),
        }
    }

    /// Whether no more may be had.
    pub fn is_open(&self, priority: RoutingPriority, resource: Resource) -> bool {
        self.in_use(priority, resource) >= self.limit(priority, resource)
    }

    /// How many more may be had, where this is to be told.
    pub fn remaining(&self, priority: RoutingPriority, resource: Resource) -> Option<u32> {
        let limits = self.config.of(priority);
        let told = limits.track_remaining
            && !(resource == Resource::Retries && limits.retry_budget.is_some());
        let limit = self.limit(priority, resource);
        told.then(|| limit.saturating_sub(self.in_use(priority, resource)))
    }

    /// How many are in use.
    pub fn in_use(&self, priority: RoutingPriority, resource: Resource) -> u32 {
        self.used(priority, resource).load(Ordering::Relaxed)
    }

    /// How many may be in use.
    pub fn limit(&self, priority: RoutingPriority, resource: Resource) -> u32 {
        let limits = self.config.of(priority);
        match resource {
            Resource::Connections => limits.max_connections,
            Resource::PendingRequests => limits.max_pending_requests,
            Resource::Requests => limits.max_requests,
            Resource::Retries => match &limits.retry_budget {
                Some(budget) => budget.limit(
                    self.in_use(priority, Resource::Requests),
                    self.in_use(priority, Resource::PendingRequests),
                ),
                None => limits.max_retries,
            },
            Resource::ConnectionPools => limits.max_connection_pools,
        }
    }

    /// The limits.
    pub fn config(&self) -> &CircuitBreakerConfig {
        &self.config
    }

    fn used(&self, priority: RoutingPriority, resource: Resource) -> &AtomicU32 {
        &self.used[priority as usize][resource as usize]
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let used = self.of.used(self.priority, self.resource);
        used.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::endpoint_set::tests::{endpoint, locality, set};

    fn limits(limit: u32) -> Limits {
        Limits {
            max_connections: limit,
            max_retries: limit,
            track_remaining: true,
            max_connections_per_host: Some(limit),
            ..Limits::default()
        }
    }

    #[test]
    fn no_more_is_had_than_the_limit_allows() {
        let config = CircuitBreakerConfig {
            default: limits(2),
            high: limits(3),
        };
        let breakers = Arc::new(CircuitBreakers::new(config));
        let of = |priority| {
            let used: Vec<_> = (0..5)
                .filter_map(|_| breakers.try_connection(priority))
                .collect();
            assert!(breakers.is_open(priority, Resource::Connections));
            assert_eq!(breakers.remaining(priority, Resource::Connections), Some(0));
            used.len()
        };
        assert_eq!(of(RoutingPriority::Default), 2);
        assert_eq!(of(RoutingPriority::High), 3);
        for priority in [RoutingPriority::Default, RoutingPriority::High] {
            assert!(!breakers.is_open(priority, Resource::Connections));
            assert_eq!(breakers.in_use(priority, Resource::Connections), 0);
        }
    }

    #[test]
    fn a_limit_of_nothing_is_always_open() {
        let config = CircuitBreakerConfig {
            default: limits(0),
            high: Limits::default(),
        };
        let breakers = Arc::new(CircuitBreakers::new(config));
        let priority = RoutingPriority::Default;
        assert!(breakers.is_open(priority, Resource::Connections));
        assert!(breakers.try_connection(priority).is_none());
        let high = RoutingPriority::High;
        assert_eq!(breakers.limit(high, Resource::Connections), 1024);
        assert_eq!(breakers.remaining(high, Resource::Connections), None);
    }

    #[test]
    fn endpoints_have_limits_of_their_own() {
        let config = CircuitBreakerConfig {
            default: limits(2),
            high: Limits::default(),
        };
        let breakers = CircuitBreakers::new(config);
        let set = set([locality("a", 0, 0, [endpoint(1), endpoint(2)])]);
        let used: Vec<_> = set
            .endpoints()
            .flat_map(|one| {
                (0..5).filter_map(|_| breakers.try_endpoint(RoutingPriority::Default, one))
            })
            .collect();
        assert_eq!(used.len(), 4);
        let first = set.endpoints().next().unwrap();
        let more = breakers.try_endpoint(RoutingPriority::High, first);
        assert!(more.is_some());
        assert_eq!(first.state().active(), 3);
    }

    #[test]
    fn a_budget_bounds_retries_by_requests() {
        let budget = RetryBudget {
            budget_percent: 25.0,
            budget_interval: std::time::Duration::ZERO,
            min_retry_concurrency: 3,
        };
        assert_eq!(budget.limit(0, 0), 3);
        assert_eq!(budget.limit(10, 6), 4);
        assert_eq!(budget.limit(u32::MAX, u32::MAX), 2_147_483_647);
        let config = CircuitBreakerConfig {
            default: Limits {
                retry_budget: Some(Box::new(budget)),
                ..limits(1)
            },
            high: Limits::default(),
        };
        let breakers = CircuitBreakers::new(config);
        let priority = RoutingPriority::Default;
        assert_eq!(breakers.limit(priority, Resource::Retries), 3);
        assert_eq!(breakers.remaining(priority, Resource::Retries), None);
    }
}
