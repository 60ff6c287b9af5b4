//! When a name is asked for again.

use std::time::Duration;

/// What decides.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refresh {
    /// After an answer.
    pub rate: Duration,
    /// Instead: when the answer's records expire.
    pub respect_ttl: bool,
    /// Never earlier than this after an answer whose records expire.
    pub least: Duration,
    /// Up to so much later, at random, that many proxies do not ask at once.
    pub jitter: Duration,
    /// After a failure; as after an answer, if nothing is said.
    pub failure: Option<Backoff>,
}

/// Longer and longer pauses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    /// The first is up to this long.
    pub base: Duration,
    /// None is longer.
    pub most: Duration,
}

impl Refresh {
    /// The pause after an answer whose first record expires in `ttl`.
    pub fn after_answer(&self, ttl: Option<Duration>, random: &mut fastrand::Rng) -> Duration {
        let pause = match ttl {
            Some(ttl) if self.respect_ttl && !ttl.is_zero() => ttl.max(self.least),
            _ => self.rate,
        };
        pause + share(self.jitter, random)
    }

    /// The pause after so many failures in a row.
    pub fn after_failure(&self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        match self.failure {
            // As Envoy's fully jittered back-off: anything up to a bound that doubles.
            Some(Backoff { base, most }) => {
                let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
                share(base.saturating_mul(doubled).min(most), random).max(Duration::from_millis(1))
            }
            None => self.rate + share(self.jitter, random),
        }
    }
}

fn share(most: Duration, random: &mut fastrand::Rng) -> Duration {
    most.mul_f64(random.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Refresh = Refresh {
        rate: Duration::from_secs(5),
        respect_ttl: true,
        least: Duration::from_secs(2),
        jitter: Duration::ZERO,
        failure: Some(Backoff {
            base: Duration::from_secs(1),
            most: Duration::from_secs(10),
        }),
    };

    #[track_caller]
    fn check(refresh: &Refresh, ttl: Option<u64>, seconds: u64) {
        let pause = refresh.after_answer(ttl.map(Duration::from_secs), &mut random());
        assert_eq!(pause, Duration::from_secs(seconds));
    }

    fn random() -> fastrand::Rng {
        fastrand::Rng::with_seed(1)
    }

    #[test]
    fn answers_last_as_they_say_if_that_is_respected() {
        check(&REFRESH, Some(30), 30);
        check(&REFRESH, Some(1), 2);
        check(&REFRESH, Some(0), 5);
        check(&REFRESH, None, 5);
        let disrespect = Refresh {
            respect_ttl: false,
            ..REFRESH
        };
        check(&disrespect, Some(30), 5);
    }

    #[test]
    fn jitter_only_delays() {
        let refresh = Refresh {
            jitter: Duration::from_secs(1),
            ..REFRESH
        };
        let mut random = random();
        for _ in 0..100 {
            let pause = refresh.after_answer(None, &mut random);
            assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&pause));
        }
    }

    #[test]
    fn failures_wait_longer_up_to_a_bound() {
        let mut random = random();
        for (failures, most) in [(1, 1), (2, 2), (3, 4), (5, 10), (u32::MAX, 10)] {
            let longest = (0..1000)
                .map(|_| REFRESH.after_failure(failures, &mut random))
                .max()
                .unwrap();
            let most = Duration::from_secs(most);
            assert!(
                longest <= most && longest > most / 2,
                "{longest:?} {most:?}"
            );
        }
        let plain = Refresh {
            failure: None,
            ..REFRESH
        };
        assert_eq!(plain.after_failure(9, &mut random), plain.rate);
    }
}
