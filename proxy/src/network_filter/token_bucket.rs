//! A bucket of tokens that fills with time, shared by the workers.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// By how much a token may be less than one. Without it a full bucket would not always give as many as
/// it holds, when they are asked for at the same instant.
const ROUNDING: f64 = 1e-6;

/// How large a bucket is and how fast it fills.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Filling {
    /// What it holds at most, and at first.
    pub max_tokens: u32,
    /// What comes in during each interval.
    pub tokens_per_fill: u32,
    /// The interval.
    pub fill_interval: Duration,
}

impl Filling {
    /// Tokens in a second; as in Envoy, one in a year at least.
    fn per_second(self) -> f64 {
        let least = 1.0 / (365.0 * 24.0 * 60.0 * 60.0);
        (f64::from(self.tokens_per_fill) / self.fill_interval.as_secs_f64()).max(least)
    }
}

/// A bucket that fills steadily, not by leaps at the end of each interval: half an interval brings
/// half of its tokens. Envoy has counted like this since 1.32.
///
/// All there is to remember is when the bucket would have been empty, had it only been filled since;
/// so that taking a token is one exchange of one word, without a timer.
#[derive(Debug)]
pub struct TokenBucket {
    max_tokens: f64,
    per_second: f64,
    start: Instant,
    /// The bits of a number of seconds after the start.
    empty_at: AtomicU64,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(filling: Filling, now: Instant) -> Self {
        let max_tokens = f64::from(filling.max_tokens);
        let per_second = filling.per_second();
        let empty_at = -max_tokens / per_second;
        Self {
            max_tokens,
            per_second,
            start: now,
            empty_at: AtomicU64::new(empty_at.to_bits()),
        }
    }

    /// Takes a token, and says whether there was one.
    ///
    /// What lacks to a token by rounding alone is remembered, and comes in first.
    pub fn take(&self, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.start).as_secs_f64();
        let taken = |empty_at: u64| {
            let since = now - f64::from_bits(empty_at);
            let tokens = (since * self.per_second).min(self.max_tokens);
            (tokens >= 1.0 - ROUNDING).then(|| (now - (tokens - 1.0) / self.per_second).to_bits())
        };
        // No other memory hangs on the word.
        let (set, fetched) = (Ordering::Relaxed, Ordering::Relaxed);
        self.empty_at.fetch_update(set, fetched, taken).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    fn bucket(max_tokens: u32, tokens_per_fill: u32, millis: u64, now: Instant) -> TokenBucket {
        let filling = Filling {
            max_tokens,
            tokens_per_fill,
            fill_interval: Duration::from_millis(millis),
        };
        TokenBucket::new(filling, now)
    }

    /// Tokens that can be taken at each of the times.
    #[track_caller]
    fn check(bucket: (u32, u32, u64), expected: &[(u64, u32)]) {
        let start = Instant::now();
        let (max_tokens, tokens_per_fill, millis) = bucket;
        let bucket = self::bucket(max_tokens, tokens_per_fill, millis, start);
        for (millis, tokens) in expected {
            let now = start + Duration::from_millis(*millis);
            let taken = (0..1000).take_while(|_| bucket.take(now)).count();
            assert_eq!(taken, *tokens as usize, "after {millis} ms");
        }
    }

    #[test]
    fn a_bucket_is_full_at_first_and_fills_steadily() {
        check(
            (3, 1, 1000),
            &[(0, 3), (999, 0), (1000, 1), (1999, 0), (2000, 1)],
        );
        // Two in a second are one in half a second.
        check(
            (3, 2, 1000),
            &[(0, 3), (499, 0), (500, 1), (1000, 1), (2000, 2)],
        );
        check((1, 1, 50), &[(0, 1), (49, 0), (50, 1), (99, 0), (100, 1)]);
    }

    #[test]
    fn a_bucket_never_holds_more_than_it_may() {
        check((2, 100, 1000), &[(0, 2), (5000, 2), (5001, 0), (6000, 2)]);
        check((0, 100, 1000), &[(0, 0), (5000, 0)]);
    }

    #[test]
    fn a_bucket_gets_a_token_in_a_year() {
        let year = 365 * 24 * 60 * 60 * 1000;
        check((1, 1, 2 * year), &[(0, 1), (year - 60_000, 0), (year, 1)]);
    }

    #[test]
    fn a_clock_that_goes_back_fills_nothing() {
        check((1, 1, 1000), &[(5000, 1), (4000, 0), (0, 0), (6000, 1)]);
    }

    #[test]
    fn workers_share_the_tokens() {
        let now = Instant::now();
        let bucket = bucket(1000, 1, 1000, now);
        let take = || (0..1000).filter(|_| bucket.take(now)).count();
        let taken: usize = thread::scope(|scope| {
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            let taken = workers.into_iter().map(|worker| worker.join().unwrap());
            taken.sum()
        });
        assert_eq!(taken, 1000);
    }

    proptest! {
        /// Against a number of tokens that is kept in whole numbers.
        #[test]
        fn no_more_is_taken_than_came_in(
            max_tokens in 0..20_u32,
            tokens_per_fill in 1..20_u32,
            interval in 50..5000_u64,
            steps in prop::collection::vec((0..3000_u64, 0..30_u32), 1..40),
        ) {
            let start = Instant::now();
            let bucket = bucket(max_tokens, tokens_per_fill, interval, start);
            // In parts of a token: as many to each as the interval has milliseconds.
            let full = u64::from(max_tokens) * interval;
            let mut held = full;
            let mut now = start;
            for (millis, attempts) in steps {
                now += Duration::from_millis(millis);
                held = (held + millis * u64::from(tokens_per_fill)).min(full);
                for _ in 0..attempts {
                    let taken = bucket.take(now);
                    prop_assert_eq!(taken, held >= interval);
                    held -= if taken { interval } else { 0 };
                }
            }
        }
    }
}
