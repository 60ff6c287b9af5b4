//! What follows from the checks of one endpoint: whether it is healthy, and when it is asked next.

use std::time::Duration;

use super::settings::Settings;

/// What one check found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It works.
    Passed {
        /// It would rather not be used.
        degraded: bool,
    },
    /// It says itself that it does not work.
    Denied,
    /// It says that it does not work for now: counted as if nothing had come.
    Retriable,
    /// It cannot be reached, or says nothing.
    Unreachable {
        /// The time was over.
        timed_out: bool,
    },
}

/// What is concluded from a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Conclusion {
    /// It is used, as far as these checks go.
    pub healthy: bool,
    /// That is news.
    pub changed: bool,
    /// It would rather not be used.
    pub degraded: bool,
    /// Until the next check.
    pub pause: Duration,
}

/// How far the checks of one endpoint have come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    healthy: bool,
    begun: bool,
    /// Checks in a row that speak against what it counts as.
    against: u32,
}

impl Progress {
    /// Before the first check: it is not used.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a check into account. `traffic` tells whether the cluster was ever used: one that was
    /// not is asked less often. `random` draws the jitter.
    pub fn conclude(
        &mut self,
        settings: &Settings,
        outcome: Outcome,
        traffic: bool,
        random: &mut fastrand::Rng,
    ) -> Conclusion {
        let passed = matches!(outcome, Outcome::Passed { .. });
        let first = !std::mem::replace(&mut self.begun, true);
        let mut pending = false;
        let mut changed = false;
        if passed == self.healthy {
            self.against = 0;
        } else {
            self.against = self.against.saturating_add(1);
            let enough = match outcome {
                // One that works from the start need not prove it.
                Outcome::Passed { .. } => first || self.against >= settings.healthy_threshold,
                Outcome::Denied => true,
                Outcome::Retriable | Outcome::Unreachable { .. } => {
                    self.against >= settings.unhealthy_threshold
                }
            };
            if enough {
                self.healthy = passed;
                self.against = 0;
                changed = true;
            } else {
                pending = true;
            }
        }
        Conclusion {
            healthy: self.healthy,
            changed,
            degraded: matches!(outcome, Outcome::Passed { degraded: true }),
            pause: settings.pauses.after(passed, pending, traffic, random),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health_check::settings::Pauses;

    const PASSED: Outcome = Outcome::Passed { degraded: false };
    const UNREACHABLE: Outcome = Outcome::Unreachable { timed_out: false };

    fn settings() -> Settings {
        let seconds = Duration::from_secs;
        Settings {
            pauses: Pauses {
                interval: seconds(1),
                unhealthy: seconds(2),
                healthy_edge: seconds(3),
                unhealthy_edge: seconds(4),
                no_traffic: seconds(5),
                no_traffic_healthy: seconds(6),
                ..Pauses::every(seconds(1))
            },
            healthy_threshold: 2,
            unhealthy_threshold: 3,
            ..Settings::tcp()
        }
    }

    /// Each outcome with whether it is healthy then, and the seconds to the next check.
    #[track_caller]
    fn check(traffic: bool, steps: &[(Outcome, bool, u64)]) {
        let (settings, mut progress) = (settings(), Progress::new());
        let mut random = fastrand::Rng::with_seed(1);
        let mut healthy = false;
        for (step, (outcome, expected, pause)) in steps.iter().enumerate() {
            let found = progress.conclude(&settings, *outcome, traffic, &mut random);
            assert_eq!(
                (found.healthy, found.changed, found.pause),
                (*expected, *expected != healthy, Duration::from_secs(*pause)),
                "step {step}"
            );
            healthy = *expected;
        }
    }

    #[test]
    fn the_first_check_that_passes_suffices() {
        check(true, &[(PASSED, true, 1), (PASSED, true, 1)]);
    }

    #[test]
    fn after_a_failure_at_first_it_must_pass_often_enough() {
        let steps = [
            (UNREACHABLE, false, 2),
            (PASSED, false, 3),
            (UNREACHABLE, false, 2),
            (PASSED, false, 3),
            (PASSED, true, 1),
        ];
        check(true, &steps);
    }

    #[test]
    fn it_must_be_unreachable_often_enough() {
        let steps = [
            (PASSED, true, 1),
            (UNREACHABLE, true, 4),
            (Outcome::Retriable, true, 4),
            (PASSED, true, 1),
            (UNREACHABLE, true, 4),
            (UNREACHABLE, true, 4),
            (Outcome::Unreachable { timed_out: true }, false, 2),
        ];
        check(true, &steps);
    }

    #[test]
    fn its_own_word_counts_at_once() {
        check(true, &[(PASSED, true, 1), (Outcome::Denied, false, 2)]);
    }

    #[test]
    fn a_cluster_without_traffic_is_asked_less_often() {
        check(false, &[(PASSED, true, 6), (UNREACHABLE, true, 5)]);
    }

    #[test]
    fn what_is_degraded_is_told() {
        let mut random = fastrand::Rng::with_seed(1);
        let outcome = Outcome::Passed { degraded: true };
        let found = Progress::new().conclude(&settings(), outcome, true, &mut random);
        assert!(found.healthy && found.degraded);
    }
}
