//! Outlier detection: endpoints that fail are left alone for a while
//! (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier>).
//!
//! All workers tell a [`Monitor`] of each endpoint what came of their connections; it only counts.
//! When it says that there were too many failures in a row, the one owner of the cluster's
//! [`Detector`] is told, which decides, and sweeps over all endpoints from time to time.

mod config;
mod detector;
mod monitor;

pub use self::{
    config::OutlierConfig,
    detector::{Detector, Event},
    monitor::{Failing, Monitor, Outcome},
};

/// Why an endpoint is ejected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Failures in a row.
    Consecutive5xx,
    /// Failures of what the endpoint passed on, in a row.
    ConsecutiveGatewayFailure,
    /// Failures to reach it, in a row; where these are told apart.
    ConsecutiveLocalOriginFailure,
    /// Fewer successes than the others.
    SuccessRate,
    /// The same of reaching it.
    LocalOriginSuccessRate,
    /// Too many failures.
    FailurePercentage,
    /// The same of reaching it.
    LocalOriginFailurePercentage,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Consecutive5xx,
        Self::ConsecutiveGatewayFailure,
        Self::ConsecutiveLocalOriginFailure,
        Self::SuccessRate,
        Self::LocalOriginSuccessRate,
        Self::FailurePercentage,
        Self::LocalOriginFailurePercentage,
    ];

    /// The counter of outliers, of `outlier_detection.`.
    pub fn detected_name(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "ejections_detected_consecutive_5xx",
            Self::ConsecutiveGatewayFailure => "ejections_detected_consecutive_gateway_failure",
            Self::ConsecutiveLocalOriginFailure => {
                "ejections_detected_consecutive_local_origin_failure"
            }
            Self::SuccessRate => "ejections_detected_success_rate",
            Self::LocalOriginSuccessRate => "ejections_detected_local_origin_success_rate",
            Self::FailurePercentage => "ejections_detected_failure_percentage",
            Self::LocalOriginFailurePercentage => {
                "ejections_detected_local_origin_failure_percentage"
            }
        }
    }

    /// The counter of ejections, of `outlier_detection.`.
    pub fn enforced_name(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "ejections_enforced_consecutive_5xx",
            Self::ConsecutiveGatewayFailure => "ejections_enforced_consecutive_gateway_failure",
            Self::ConsecutiveLocalOriginFailure => {
                "ejections_enforced_consecutive_local_origin_failure"
            }
            Self::SuccessRate => "ejections_enforced_success_rate",
            Self::LocalOriginSuccessRate => "ejections_enforced_local_origin_success_rate",
            Self::FailurePercentage => "ejections_enforced_failure_percentage",
            Self::LocalOriginFailurePercentage => {
                "ejections_enforced_local_origin_failure_percentage"
            }
        }
    }
}

#[cfg(test)]
mod tests;
