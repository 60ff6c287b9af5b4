//! How often something is written that somebody else keeps writing, too.

use std::time::Duration;

use kube::runtime::utils::Backoff as _;
use tokio::time::Instant;

use crate::api_server::Backoff;

/// Whoever has let it be for so long does not contend for it.
const CALM: Duration = Duration::from_secs(60);

/// Keeps writes apart: each that follows soon waits for longer. The first waits for nothing.
#[derive(Debug, Default)]
pub(super) struct Pace {
    pauses: Backoff,
    free_from: Option<Instant>,
}

impl Pace {
    /// Whether it may be written now.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.free_from.is_none_or(|from| now >= from)
    }

    /// It is being written.
    pub(super) fn note(&mut self, now: Instant) {
        if self.free_from.is_none_or(|from| now >= from + CALM) {
            self.pauses.reset();
        }
        self.free_from = self.pauses.next().map(|pause| now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn writes_are_apart_until_nobody_contends() {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        assert!(pace.is_free(now));
        for pause in [250, 500, 1000, 2000, 4000, 5000, 5000] {
            pace.note(now);
            let pause = Duration::from_millis(pause);
            assert!(!pace.is_free(now + pause - Duration::from_millis(1)));
            now += pause;
            assert!(pace.is_free(now), "{pause:?}");
        }
        now += CALM;
        pace.note(now);
        assert!(pace.is_free(now + Duration::from_millis(250)));
    }
}
