//! Lets a warning through now and then, so that a flood of failures is no flood of logs.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Between two warnings of one kind.
const PAUSE: Duration = Duration::from_secs(10);

/// The warnings of one kind.
#[derive(Debug, Default)]
pub struct Pace(Mutex<Option<Instant>>);

impl Pace {
    /// Whether a warning is due; if it is, the next is not for a while.
    pub fn is_due(&self) -> bool {
        self.is_due_at(Instant::now())
    }

    fn is_due_at(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.duration_since(last) >= PAUSE);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_spaced() {
        let pace = Pace::default();
        let start = Instant::now();
        let due = |seconds| pace.is_due_at(start + Duration::from_secs(seconds));
        assert_eq!(
            [0, 1, 9, 10, 11, 30].map(due),
            [true, false, false, true, false, true]
        );
    }
}
