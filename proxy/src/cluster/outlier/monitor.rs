//! The outcomes of one endpoint, counted by all workers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::{Kind, OutlierConfig};

/// What came of a connection or a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The connection is there, and nothing more will be told of it.
    Connected,
    /// The connection is there; the outcome of a request follows.
    ConnectedForRequest,
    /// There is no connection, or it broke.
    ConnectFailed,
    /// The endpoint did not answer in time.
    TimedOut,
    /// The endpoint did what was asked for, by another protocol than HTTP.
    Succeeded,
    /// The endpoint failed, by another protocol than HTTP.
    Failed,
    /// The endpoint answered with this HTTP status.
    Answered(u16),
}

/// The outcomes of one endpoint, counted by all workers.
#[derive(Debug, Default)]
pub struct Monitor {
    consecutive_5xx: AtomicU32,
    consecutive_gateway_failure: AtomicU32,
    consecutive_local_origin_failure: AtomicU32,
    external: Rate,
    local: Rate,
}

/// Outcomes since the last sweep.
#[derive(Debug, Default)]
struct Rate {
    successes: AtomicU64,
    all: AtomicU64,
}

/// Outcomes of the time between two sweeps.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub(super) successes: u64,
    pub(super) all: u64,
}

impl Monitor {
    /// Counts an outcome. What it returns is to be told to [`Detector::failing`].
    ///
    /// [`Detector::failing`]: super::Detector::failing
    pub fn count(&self, config: &OutlierConfig, outcome: Outcome) -> Failing {
        if config.split_external_local_origin_errors {
            match outcome {
                Outcome::Connected | Outcome::ConnectedForRequest => {
                    self.local.count(true);
                    reset(&self.consecutive_local_origin_failure);
                    return Failing::default();
                }
                Outcome::ConnectFailed | Outcome::TimedOut => {
                    self.local.count(false);
                    return Failing {
                        first: reached(
                            &self.consecutive_local_origin_failure,
                            config.consecutive_local_origin_failure,
                            Kind::ConsecutiveLocalOriginFailure,
                        ),
                        second: None,
                    };
                }
                Outcome::Succeeded | Outcome::Failed | Outcome::Answered(_) => {}
            }
        }
        // As HTTP would have it.
        let status = match outcome {
            Outcome::ConnectedForRequest => return Failing::default(),
            Outcome::Connected | Outcome::Succeeded => 200,
            Outcome::Failed => 500,
            Outcome::ConnectFailed => 503,
            Outcome::TimedOut => 504,
            Outcome::Answered(status) => status,
        };
        self.answered(config, status)
    }

    fn answered(&self, config: &OutlierConfig, status: u16) -> Failing {
        let failed = (500..600).contains(&status);
        self.external.count(!failed);
        if !failed {
            reset(&self.consecutive_5xx);
            reset(&self.consecutive_gateway_failure);
            return Failing::default();
        }
        let first = if (502..=504).contains(&status) {
            reached(
                &self.consecutive_gateway_failure,
                config.consecutive_gateway_failure,
                Kind::ConsecutiveGatewayFailure,
            )
        } else {
            reset(&self.consecutive_gateway_failure);
            None
        };
        let second = reached(
            &self.consecutive_5xx,
            config.consecutive_5xx,
            Kind::Consecutive5xx,
        );
        Failing { first, second }
    }

    /// Failures of that kind are counted from nothing again.
    pub(super) fn restart(&self, kind: Kind) {
        match kind {
            Kind::Consecutive5xx => reset(&self.consecutive_5xx),
            Kind::ConsecutiveGatewayFailure => reset(&self.consecutive_gateway_failure),
            Kind::ConsecutiveLocalOriginFailure => reset(&self.consecutive_local_origin_failure),
            Kind::SuccessRate
            | Kind::LocalOriginSuccessRate
            | Kind::FailurePercentage
            | Kind::LocalOriginFailurePercentage => {}
        }
    }

    /// The outcomes since the last time: of the endpoint, and of reaching it.
    pub(super) fn take(&self) -> [Sample; 2] {
        [self.external.take(), self.local.take()]
    }
}

/// The kinds of failures that are as many in a row as are too many, just now.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Failing {
    first: Option<Kind>,
    second: Option<Kind>,
}

impl Iterator for Failing {
    type Item = Kind;

    fn next(&mut self) -> Option<Kind> {
        self.first.take().or_else(|| self.second.take())
    }
}

impl Rate {
    fn count(&self, success: bool) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if success {
            self.successes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn take(&self) -> Sample {
        let successes = self.successes.swap(0, Ordering::Relaxed);
        let all = self.all.swap(0, Ordering::Relaxed);
        Sample {
            // A worker may be between its two numbers.
            successes: successes.min(all),
            all,
        }
    }
}

impl Sample {
    /// The percentage of successes.
    pub(super) fn success_rate(self) -> f64 {
        self.successes as f64 * 100.0 / self.all as f64
    }
}

/// Writes only where something changes, for the sake of the other workers.
fn reset(number: &AtomicU32) {
    if number.load(Ordering::Relaxed) != 0 {
        number.store(0, Ordering::Relaxed);
    }
}

fn reached(number: &AtomicU32, limit: u32, kind: Kind) -> Option<Kind> {
    // It has to wrap around to be told of a second time; 0 is never reached.
    let number = number.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    (number == limit).then_some(kind)
}
