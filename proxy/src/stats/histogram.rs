//! Distributions: recorded per worker, merged when they are latched.
//!
//! A worker and the admin thread hand a box with the bins to each other through one atomic word, so
//! neither waits for the other and no sample is lost: whoever finds no box makes a new one.

use std::{fmt, time::Duration};

use crossbeam_utils::atomic::AtomicCell;
use hdrhistogram::Histogram as Bins;

/// The quantiles that are shown.
pub(super) const QUANTILES: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];

/// Values up to 255 are exact, larger ones within a hundredth.
const DIGITS: u8 = 2;

/// Larger values are taken for this one: it bounds the memory, and no duration is that long.
const LARGEST: u64 = 1 << 40;

/// What one worker recorded and nobody has taken yet.
#[derive(Default)]
pub struct Histogram(AtomicCell<Option<Box<Recorded>>>);

#[derive(Debug)]
struct Recorded {
    /// More than 2^32 values are never recorded in one interval.
    bins: Bins<u32>,
    sum: u64,
}

impl Recorded {
    fn new() -> Self {
        let mut bins = Bins::new(DIGITS).expect("the number of digits is within 0 and 5");
        bins.auto(true);
        Self { bins, sum: 0 }
    }

    fn record(&mut self, value: u64) {
        let value = value.min(LARGEST);
        self.sum = self.sum.wrapping_add(value);
        self.bins
            .record(value)
            .expect("the bins grow up to the largest value");
    }

    fn bins(&self) -> impl Iterator<Item = Bin> {
        self.bins.iter_recorded().map(|bin| {
            let value = bin.value_iterated_to();
            Bin {
                lower_bound: self.bins.lowest_equivalent(value),
                width: self.bins.equivalent_range(value),
                count: bin.count_at_value().into(),
            }
        })
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").finish_non_exhaustive()
    }
}

impl Histogram {
    /// Records one value. Only the owning worker may call it.
    pub fn record(&self, value: u64) {
        let taken = self.0.take();
        let mut recorded = taken.unwrap_or_else(|| Box::new(Recorded::new()));
        recorded.record(value);
        self.0.store(Some(recorded));
    }

    /// Records a duration in milliseconds.
    pub fn record_milliseconds(&self, duration: Duration) {
        self.record(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    fn take(&self) -> Option<Box<Recorded>> {
        self.0.take()
    }
}

/// What all workers recorded, since the start and in the last interval.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    cumulative: Distribution,
    interval: Distribution,
}

impl Merged {
    /// Ends an interval: what the workers recorded since the last one is the interval's from now on,
    /// and is added to the rest. The workers' histograms are passed to what `each` is given.
    pub fn latch(&mut self, each: impl FnOnce(&mut dyn FnMut(&Histogram))) {
        self.interval = Distribution::default();
        each(&mut |worker| {
            if let Some(recorded) = worker.take() {
                self.cumulative.add(&recorded);
                self.interval.add(&recorded);
            }
        });
    }

    /// Since the start.
    pub fn cumulative(&self) -> &Distribution {
        &self.cumulative
    }

    /// In the last interval.
    pub fn interval(&self) -> &Distribution {
        &self.interval
    }
}

/// Values, by size. It holds the bins that have values, and nothing of the others.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    /// From the smallest up.
    bins: Vec<Bin>,
    count: u64,
    sum: u64,
}

/// Values of about the same size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bin {
    /// The smallest that is counted here.
    pub lower_bound: u64,
    /// How many sizes are counted here.
    pub width: u64,
    /// How many values there are.
    pub count: u64,
}

impl Distribution {
    fn add(&mut self, recorded: &Recorded) {
        self.count += recorded.bins.len();
        self.sum = self.sum.wrapping_add(recorded.sum);
        for bin in recorded.bins() {
            // Each histogram has the same bounds.
            match self
                .bins
                .binary_search_by_key(&bin.lower_bound, |known| known.lower_bound)
            {
                Ok(known) => self.bins[known].count += bin.count,
                Err(place) => self.bins.insert(place, bin),
            }
        }
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All values added up.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The value that this share of the values does not exceed; none where there are no values.
    pub fn quantile(&self, quantile: f64) -> Option<u64> {
        // Counts are far below 2^53.
        let rank = (quantile * self.count as f64).ceil() as u64;
        let mut before = 0;
        let bin = self.bins.iter().find(|bin| {
            before += bin.count;
            before >= rank
        })?;
        // The middle of the bin, as it is not known where in it the values are.
        Some(bin.lower_bound + bin.width / 2)
    }

    /// The bins that have values, from the smallest up.
    pub fn bins(&self) -> &[Bin] {
        &self.bins
    }

    /// How many values are not above each of the bounds, which ascend.
    pub fn buckets(&self, bounds: &[f64]) -> Vec<u64> {
        let mut counts = vec![0; bounds.len()];
        for bin in &self.bins {
            // Bounds are far below 2^53.
            let lower_bound = bin.lower_bound as f64;
            let first = bounds.partition_point(|bound| *bound < lower_bound);
            if let Some(count) = counts.get_mut(first) {
                *count += bin.count;
            }
        }
        let mut sum = 0;
        for count in &mut counts {
            sum += *count;
            *count = sum;
        }
        counts
    }
}

/// As [`Distribution::buckets`], but each value in one bucket alone.
pub(super) fn disjoint(cumulative: &[u64]) -> Vec<u64> {
    let before = std::iter::once(0).chain(cumulative.iter().copied());
    let each = cumulative.iter().zip(before);
    each.map(|(count, before)| count - before).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merged(workers: &[&[u64]]) -> Merged {
        let workers: Vec<_> = workers
            .iter()
            .map(|values| {
                let histogram = Histogram::default();
                for value in *values {
                    histogram.record(*value);
                }
                histogram
            })
            .collect();
        let mut merged = Merged::default();
        merged.latch(|take| workers.iter().for_each(take));
        merged
    }

    #[test]
    fn the_handed_word_is_not_behind_a_lock() {
        assert!(AtomicCell::<Option<Box<Recorded>>>::is_lock_free());
        assert_eq!(size_of::<Histogram>(), 8);
    }

    #[test]
    fn an_interval_ends_with_the_next() {
        let worker = Histogram::default();
        let mut merged = Merged::default();
        let mut latch = || {
            merged.latch(|take| take(&worker));
            (merged.interval().quantile(0.5), merged.cumulative().count())
        };
        assert_eq!(latch(), (None, 0));
        worker.record(7);
        assert_eq!(latch(), (Some(7), 1));
        assert_eq!(latch(), (None, 1));
    }

    #[test]
    fn workers_are_added_up() {
        let merged = merged(&[&[1, 2, 3], &[], &[100]]);
        let all = merged.cumulative();
        assert_eq!((all.count(), all.sum()), (4, 106));
        assert_eq!(all.quantile(0.0), Some(1));
        assert_eq!(all.quantile(0.5), Some(2));
        assert_eq!(all.quantile(1.0), Some(100));
        assert_eq!(all.buckets(&[0.5, 1.0, 2.5, 99.9, 100.0]), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_value_beyond_all_bounds_is_held() {
        let merged = merged(&[&[u64::MAX, LARGEST, 0]]);
        assert_eq!(merged.cumulative().count(), 3);
        assert_eq!(merged.cumulative().buckets(&[1.0]), [1]);
    }

    proptest! {
        #[test]
        fn buckets_hold_each_value_once(
            values in prop::collection::vec(0_u64..100_000, 0..200),
            bounds in prop::collection::btree_set(1_u32..60_000, 1..20),
        ) {
            let bounds: Vec<f64> = bounds.into_iter().map(f64::from).collect();
            let merged = merged(&[&values]);
            let all = merged.cumulative();
            let counts = all.buckets(&bounds);
            prop_assert!(counts.is_sorted());
            prop_assert_eq!(disjoint(&counts).iter().sum::<u64>(), counts[counts.len() - 1]);
            prop_assert_eq!(all.bins().iter().map(|bin| bin.count).sum::<u64>(), values.len() as u64);
            prop_assert_eq!(all.sum(), values.iter().sum::<u64>());
            for (bound, count) in bounds.iter().zip(counts) {
                let below = |limit: f64| values.iter().filter(|value| **value as f64 <= limit).count();
                // Exact to 255; above, what shares the bound's bin may be counted with it.
                let most = if *bound < 256.0 { below(*bound) } else { below(bound * 1.01) };
                prop_assert!(below(*bound) as u64 <= count && count <= most as u64);
            }
        }
    }
}
