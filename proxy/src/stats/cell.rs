//! The places where single statistics are counted.
//!
//! [`Counter`], [`Gauge`] and [`Histogram`](super::Histogram) belong to one worker: its thread alone
//! writes, the admin thread reads. [`SharedCounter`] and [`Level`] are for what is rare and may be
//! written by any thread.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
};

use super::histogram::Histogram;

/// A count with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds to the count. Only the owning worker may call it: two writers would lose counts.
    pub fn add(&self, amount: u64) {
        // A load and a store instead of one locked instruction, since nobody else writes.
        self.0
            .store(self.0.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    /// The count now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What goes up and down, with one writer. What one worker adds another may take away: the sum of
/// all workers is the value.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

/// The lowest bit of a gauge says that it was ever written; the value is above.
const USED: i64 = 1;

impl Gauge {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Takes one away.
    pub fn decrement(&self) {
        self.add(-1);
    }

    /// Adds to the value. Only the owning worker may call it: two writers would lose changes.
    pub fn add(&self, amount: i64) {
        let value = self.0.load(Relaxed).wrapping_add(amount << 1) | USED;
        self.0.store(value, Relaxed);
    }

    /// This worker's part of the value.
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed) >> 1
    }

    /// Whether it was ever written.
    pub fn is_used(&self) -> bool {
        self.0.load(Relaxed) & USED != 0
    }
}

/// A count of rare events that any thread may add to.
#[derive(Debug, Default)]
pub struct SharedCounter(AtomicU64);

impl SharedCounter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds to the count.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    /// The count now.
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A value that is set, by any thread.
#[derive(Debug, Default)]
pub struct Level {
    value: AtomicU64,
    used: AtomicBool,
}

impl Level {
    /// The value from now on.
    pub fn set(&self, value: u64) {
        self.value.store(value, Relaxed);
        self.used.store(true, Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.value.fetch_add(1, Relaxed);
        self.used.store(true, Relaxed);
    }

    /// Takes one away; never below zero.
    pub fn decrement(&self) {
        // It fails at zero alone, where there is nothing to take away.
        let _ = self
            .value
            .fetch_update(Relaxed, Relaxed, |value| value.checked_sub(1));
        self.used.store(true, Relaxed);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        self.value.load(Relaxed)
    }

    /// Whether it was ever written.
    pub fn is_used(&self) -> bool {
        self.used.load(Relaxed)
    }
}

/// A text that is set, by the thread of the configuration.
#[derive(Debug, Default)]
pub struct TextReadout(Mutex<Option<Box<str>>>);

impl TextReadout {
    /// The text from now on.
    pub fn set(&self, text: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.into());
    }

    /// The text now; none where none was ever set.
    pub fn value(&self) -> Option<Box<str>> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }
}

/// Any of them.
#[derive(Clone, Copy, Debug)]
pub enum Cell<'a> {
    /// A worker's count.
    Counter(&'a Counter),
    /// A worker's part of a value.
    Gauge(&'a Gauge),
    /// What a worker recorded since it was last asked.
    Histogram(&'a Histogram),
    /// A count of all threads.
    SharedCounter(&'a SharedCounter),
    /// A value of all threads.
    Level(&'a Level),
    /// A text.
    Text(&'a TextReadout),
}

macro_rules! cells {
    ($($variant:ident: $cell:ident),*) => {
        $(impl<'a> From<&'a $cell> for Cell<'a> {
            fn from(cell: &'a $cell) -> Self {
                Self::$variant(cell)
            }
        })*
    };
}

cells!(
    Counter: Counter,
    Gauge: Gauge,
    Histogram: Histogram,
    SharedCounter: SharedCounter,
    Level: Level,
    Text: TextReadout
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_goes_below_zero_and_tells_that_it_was_used() {
        let gauge = Gauge::default();
        assert!(!gauge.is_used());
        gauge.decrement();
        assert_eq!((gauge.value(), gauge.is_used()), (-1, true));
        gauge.add(5);
        assert_eq!(gauge.value(), 4);
        gauge.add(-4);
        assert_eq!((gauge.value(), gauge.is_used()), (0, true));
    }

    #[test]
    fn a_level_holds_any_number_and_stays_above_zero() {
        let level = Level::default();
        assert!(!level.is_used());
        level.decrement();
        assert_eq!((level.value(), level.is_used()), (0, true));
        level.set(u64::MAX);
        assert_eq!(level.value(), u64::MAX);
        level.decrement();
        assert_eq!(level.value(), u64::MAX - 1);
    }
}
