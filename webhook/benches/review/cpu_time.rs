//! Processor time of the thread, which other programs on the machine disturb less than the clock.

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds that the thread has run.
pub(crate) struct CpuTime;

impl CpuTime {
    fn now() -> u64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        let part = |value: i64| u64::try_from(value).expect("a thread has not run a negative time");
        part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
    }
}

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        Self::now()
    }

    fn end(&self, start: u64) -> u64 {
        Self::now() - start
    }

    fn add(&self, one: &u64, other: &u64) -> u64 {
        one + other
    }

    fn zero(&self) -> u64 {
        0
    }

    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    /// That of the clock, which counts in nanoseconds too.
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
