//! What all workers know of an endpoint.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::cluster::outlier::Monitor;

/// What the proxy itself found out about an endpoint's health.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum HealthFlag {
    /// Active health checks fail.
    FailedActiveHc = 1,
    /// Outlier detection ejected it.
    FailedOutlierCheck = 1 << 1,
    /// Active health checks say that others are to be preferred.
    DegradedActiveHc = 1 << 2,
    /// The first active health check is not done.
    PendingActiveHc = 1 << 3,
    /// It asked to be left out of what others are measured by.
    ExcludedViaImmediateHcFail = 1 << 4,
    /// The last active health check ran out of time.
    ActiveHcTimeout = 1 << 5,
}

impl HealthFlag {
    /// What active health checks find out.
    pub const OF_CHECKS: [Self; 5] = [
        Self::FailedActiveHc,
        Self::DegradedActiveHc,
        Self::PendingActiveHc,
        Self::ExcludedViaImmediateHcFail,
        Self::ActiveHcTimeout,
    ];
}

/// What all workers know of an endpoint. It survives new assignments of the same address.
#[derive(Debug)]
pub struct State {
    flags: AtomicU8,
    active: AtomicU32,
    connections: AtomicU64,
    connect_failures: AtomicU64,
    created: Instant,
    /// Milliseconds from `created` to when its slow start began.
    since: AtomicU64,
    /// Made when outlier detection first asks for it.
    monitor: OnceLock<Box<Monitor>>,
    /// Of the cluster: grows when the health of any endpoint changes.
    generation: Arc<AtomicU64>,
}

impl State {
    pub(in crate::cluster) fn new(
        generation: Arc<AtomicU64>,
        flags: &[HealthFlag],
        now: Instant,
    ) -> Self {
        let flags = flags.iter().fold(0, |flags, flag| flags | *flag as u8);
        Self {
            flags: AtomicU8::new(flags),
            active: AtomicU32::new(0),
            connections: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            created: now,
            since: AtomicU64::new(0),
            monitor: OnceLock::new(),
            generation,
        }
    }

    /// Whether this was found out.
    pub fn has(&self, flag: HealthFlag) -> bool {
        self.flags.load(Ordering::Relaxed) & flag as u8 != 0
    }

    /// Notes what was found out, and tells whether it is news. Balancers see it at their next choice.
    pub fn set(&self, flag: HealthFlag, on: bool) -> bool {
        let bit = flag as u8;
        let before = if on {
            self.flags.fetch_or(bit, Ordering::Relaxed)
        } else {
            self.flags.fetch_and(!bit, Ordering::Relaxed)
        };
        let news = (before & bit != 0) != on;
        if news {
            self.generation.fetch_add(1, Ordering::Release);
        }
        news
    }

    /// The connections or requests that go on.
    pub fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// All connections that were tried.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Those of them that failed.
    pub fn connect_failures(&self) -> u64 {
        self.connect_failures.load(Ordering::Relaxed)
    }

    /// One of them failed.
    pub fn count_connect_failure(&self) {
        self.connect_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts its outcomes, for outlier detection.
    pub fn monitor(&self) -> &Monitor {
        self.monitor.get_or_init(Box::default)
    }

    /// Begins the slow start (again): it became healthy.
    pub fn begin_slow_start(&self, now: Instant) {
        let since = now.saturating_duration_since(self.created).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::Relaxed);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// How long its slow start lasts already.
    pub fn age(&self, now: Instant) -> Duration {
        let since = Duration::from_millis(self.since.load(Ordering::Relaxed));
        now.saturating_duration_since(self.created)
            .saturating_sub(since)
    }
}

/// A connection or request of an endpoint, counted while it goes on.
#[derive(Debug)]
pub struct Active(Arc<State>);

impl Active {
    pub(super) fn new(state: &Arc<State>) -> Self {
        state.active.fetch_add(1, Ordering::Relaxed);
        Self::counted(state)
    }

    /// The same, if fewer than `limit` go on.
    pub fn within(state: &Arc<State>, limit: u32) -> Option<Self> {
        let more = |active| (active < limit).then(|| active + 1);
        let counted = state
            .active
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.ok().map(|_| Self::counted(state))
    }

    fn counted(state: &Arc<State>) -> Self {
        state.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(state))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> Arc<State> {
        Arc::new(State::new(Arc::default(), &[], Instant::now()))
    }

    #[test]
    fn activity_ends_with_its_guard_and_keeps_its_limit() {
        let state = state();
        let first = Active::new(&state);
        let second = Active::within(&state, 2).unwrap();
        assert!(Active::within(&state, 2).is_none());
        assert_eq!((state.active(), state.connections()), (2, 2));
        drop(first);
        drop(second);
        assert_eq!(state.active(), 0);
    }

    #[test]
    fn slow_start_counts_from_its_beginning() {
        let state = state();
        let start = state.created;
        let later = start + Duration::from_secs(10);
        assert_eq!(state.age(later), Duration::from_secs(10));
        state.begin_slow_start(later);
        assert_eq!(state.age(later), Duration::ZERO);
        assert_eq!(state.age(start), Duration::ZERO);
    }
}
