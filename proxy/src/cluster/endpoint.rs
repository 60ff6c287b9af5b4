//! One endpoint: what it was assigned, and what all workers know of it.

mod state;

use std::{net::SocketAddr, sync::Arc, time::Instant};

pub use self::state::{Active, HealthFlag, State};
use super::metadata::Metadata;

/// Where endpoints run (`envoy.config.core.v3.Locality`).
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Locality {
    /// The region.
    pub region: Box<str>,
    /// The zone within the region.
    pub zone: Box<str>,
    /// The part of the zone.
    pub sub_zone: Box<str>,
}

/// What the control plane says of an endpoint's health.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HealthStatus {
    /// Nothing; it counts as healthy.
    #[default]
    Unknown,
    /// It is healthy.
    Healthy,
    /// It is not.
    Unhealthy,
    /// It takes leave; it counts as unhealthy.
    Draining,
    /// Nobody could tell in time; it counts as unhealthy.
    Timeout,
    /// It works, but others are to be preferred.
    Degraded,
}

impl HealthStatus {
    /// Envoy's number of it, if it is one.
    pub fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Unknown,
            1 => Self::Healthy,
            2 => Self::Unhealthy,
            3 => Self::Draining,
            4 => Self::Timeout,
            5 => Self::Degraded,
            _ => return None,
        })
    }

    /// Envoy's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Healthy => "HEALTHY",
            Self::Unhealthy => "UNHEALTHY",
            Self::Draining => "DRAINING",
            Self::Timeout => "TIMEOUT",
            Self::Degraded => "DEGRADED",
        }
    }
}

/// How healthy an endpoint is to the balancer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// It is used.
    Healthy,
    /// It is used where healthy ones do not suffice.
    Degraded,
    /// It is not used, except in panic.
    Unhealthy,
}

/// What is assigned of one endpoint's active health checks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthCheckTarget {
    /// Where it is checked, if not where it serves.
    pub address: Option<SocketAddr>,
    /// The host that is named in checks.
    pub hostname: Box<str>,
    /// It is not checked at all.
    pub disabled: bool,
}

/// What the control plane says of an endpoint, beside its address and its place.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attributes {
    /// Its name, if it has one.
    pub hostname: Box<str>,
    /// Its share, at least 1.
    pub weight: u32,
    /// Its health, as assigned.
    pub health_status: HealthStatus,
    /// What subsets are made by: the metadata of `envoy.lb`.
    pub metadata: Metadata,
    /// What transport sockets are matched by: the metadata of `envoy.transport_socket_match`.
    pub transport_socket_match: Metadata,
    /// How it is checked, if otherwise than the others.
    pub health_check: Option<Box<HealthCheckTarget>>,
}

/// One endpoint, immutable but for its [`State`].
#[derive(Debug)]
pub struct Endpoint {
    /// Where it serves.
    pub address: SocketAddr,
    /// Its priority, from 0, the highest.
    pub priority: u32,
    /// Where it runs.
    pub locality: Arc<Locality>,
    /// What is said of it.
    pub attributes: Attributes,
    state: Arc<State>,
}

impl Endpoint {
    pub(super) fn new(
        address: SocketAddr,
        priority: u32,
        locality: Arc<Locality>,
        attributes: Attributes,
        state: Arc<State>,
    ) -> Self {
        Self {
            address,
            priority,
            locality,
            attributes,
            state,
        }
    }

    /// An endpoint of no assignment, as of a cluster that goes wherever connections went to.
    pub fn unassigned(address: SocketAddr, now: Instant) -> Self {
        let attributes = Attributes {
            weight: 1,
            ..Attributes::default()
        };
        let state = State::new(Arc::default(), &[], now);
        Self::new(address, 0, Arc::default(), attributes, Arc::new(state))
    }

    /// What all workers know of it.
    pub fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// Whether both are the same endpoint, of the same or of two assignments.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state)
    }

    /// Where its active health checks go.
    pub fn health_check_address(&self) -> SocketAddr {
        let target = self.attributes.health_check.as_ref();
        target
            .and_then(|target| target.address)
            .unwrap_or(self.address)
    }

    /// How healthy it is, by what is assigned and what was found out.
    pub fn health(&self) -> Health {
        let state = &self.state;
        if state.has(HealthFlag::FailedActiveHc) || state.has(HealthFlag::FailedOutlierCheck) {
            return Health::Unhealthy;
        }
        match self.attributes.health_status {
            HealthStatus::Unhealthy | HealthStatus::Draining | HealthStatus::Timeout => {
                Health::Unhealthy
            }
            HealthStatus::Degraded => Health::Degraded,
            HealthStatus::Unknown | HealthStatus::Healthy => {
                if state.has(HealthFlag::DegradedActiveHc) {
                    Health::Degraded
                } else {
                    Health::Healthy
                }
            }
        }
    }

    /// Whether it is left out of what the health of its level is measured by.
    pub fn is_excluded(&self, ignore_new: bool) -> bool {
        let state = &self.state;
        state.has(HealthFlag::ExcludedViaImmediateHcFail)
            || self.attributes.health_status == HealthStatus::Draining
            || (ignore_new && state.has(HealthFlag::PendingActiveHc))
    }

    /// Envoy's names of all that speaks against its health.
    pub fn health_flags(&self) -> impl Iterator<Item = &'static str> {
        let state = &self.state;
        let status = self.attributes.health_status;
        let timeout = matches!(status, HealthStatus::Timeout);
        [
            (state.has(HealthFlag::FailedActiveHc), "/failed_active_hc"),
            (
                state.has(HealthFlag::FailedOutlierCheck),
                "/failed_outlier_check",
            ),
            (
                matches!(status, HealthStatus::Unhealthy) || timeout,
                "/failed_eds_health",
            ),
            (
                state.has(HealthFlag::DegradedActiveHc),
                "/degraded_active_hc",
            ),
            (
                matches!(status, HealthStatus::Degraded),
                "/degraded_eds_health",
            ),
            (state.has(HealthFlag::PendingActiveHc), "/pending_active_hc"),
            (
                state.has(HealthFlag::ExcludedViaImmediateHcFail),
                "/excluded_via_immediate_hc_fail",
            ),
            (state.has(HealthFlag::ActiveHcTimeout), "/active_hc_timeout"),
            (
                matches!(status, HealthStatus::Draining),
                "/eds_status_draining",
            ),
        ]
        .into_iter()
        .filter_map(|(set, name)| set.then_some(name))
    }

    /// One more connection or request, until what is returned is dropped.
    pub fn activate(&self) -> Active {
        Active::new(&self.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(health_status: HealthStatus) -> Endpoint {
        let address = SocketAddr::from(([10, 0, 0, 1], 80));
        let mut endpoint = Endpoint::unassigned(address, Instant::now());
        endpoint.attributes.health_status = health_status;
        endpoint
    }

    #[track_caller]
    fn check(status: HealthStatus, flags: &[HealthFlag], health: Health, names: &str) {
        let endpoint = endpoint(status);
        for flag in flags {
            assert!(endpoint.state().set(*flag, true));
            assert!(!endpoint.state().set(*flag, true));
        }
        assert_eq!(endpoint.health(), health);
        assert_eq!(endpoint.health_flags().collect::<String>(), names);
    }

    #[test]
    fn health_is_the_worst_that_is_known() {
        use HealthFlag as F;
        use HealthStatus as S;
        check(S::Unknown, &[], Health::Healthy, "");
        check(S::Healthy, &[], Health::Healthy, "");
        check(S::Degraded, &[], Health::Degraded, "/degraded_eds_health");
        check(S::Unhealthy, &[], Health::Unhealthy, "/failed_eds_health");
        check(S::Timeout, &[], Health::Unhealthy, "/failed_eds_health");
        check(S::Draining, &[], Health::Unhealthy, "/eds_status_draining");
        check(
            S::Healthy,
            &[F::FailedOutlierCheck],
            Health::Unhealthy,
            "/failed_outlier_check",
        );
        check(
            S::Degraded,
            &[F::FailedActiveHc, F::PendingActiveHc],
            Health::Unhealthy,
            "/failed_active_hc/degraded_eds_health/pending_active_hc",
        );
        check(
            S::Healthy,
            &[F::DegradedActiveHc],
            Health::Degraded,
            "/degraded_active_hc",
        );
    }

    /// There are as many of them as pods.
    #[test]
    fn an_endpoint_is_small() {
        assert!(size_of::<Endpoint>() <= 128);
        assert!(size_of::<State>() <= 72);
    }
}
