//! Pauses between attempts to connect.

use std::time::Duration;

use fairlead_xds::envoy::config::core::v3::BackoffStrategy;

use crate::{compile::At, network_filter::field};

/// Pauses of a random length, each up to twice as long as the one before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backoff {
    base: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn compile(at: &At<'_>, message: &BackoffStrategy) -> Option<Self> {
        let BackoffStrategy {
            base_interval,
            max_interval,
        } = message;
        let interval =
            |name: &str, interval| field::at_least(&at.field(name), field::MILLISECOND, interval);
        let base = at
            .required("base_interval", *base_interval)
            .and_then(|base| interval("base_interval", base));
        let max = match max_interval {
            Some(max) => interval("max_interval", *max).map(Some),
            None => Some(None),
        };
        let (base, max) = (base?, max?);
        let max = max.unwrap_or(base * 10);
        if max < base {
            let at = at.field("max_interval");
            return at.fault("must not be shorter than base_interval");
        }
        Some(Self { base, max })
    }

    /// The pause after so many pauses, by a random number: shorter than the bound, which doubles with
    /// each pause up to the longest.
    pub fn pause(&self, pauses_before: u32, random: u64) -> Duration {
        let factor = 1_u32.checked_shl(pauses_before).unwrap_or(u32::MAX);
        let bound = self.base.saturating_mul(factor).min(self.max);
        let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(random % millis.max(1))
    }
}
