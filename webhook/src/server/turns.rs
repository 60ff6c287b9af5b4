//! Turns of reviews, few enough that their bodies cannot fill the memory. Whoever has one and does not
//! say in time what it is for gives it up when others wait: clients that send slowly keep nobody
//! waiting for long.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::{sleep, timeout},
};

/// So many turns at once.
#[derive(Debug)]
pub(super) struct Turns {
    most: usize,
    /// How long a body may take to arrive when others wait.
    grace: Duration,
    free: Semaphore,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// How many wait for a turn.
    waiting: usize,
    next: u64,
    /// Bodies that have taken too long, in the order in which they began to. They may go on as long as
    /// nobody waits.
    late: BTreeMap<u64, Arc<Notify>>,
}

/// One turn; dropping it ends it.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    _permit: SemaphorePermit<'a>,
}

impl Turns {
    pub(super) fn new(most: usize, grace: Duration) -> Self {
        Self {
            most,
            grace,
            free: Semaphore::new(most),
            queue: Mutex::default(),
        }
    }

    /// How many there are.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Waits for one, but not for longer than that.
    pub(super) async fn take(&self, patience: Duration) -> Option<Turn<'_>> {
        let permit = match self.free.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Waiting::of(self);
                timeout(patience, self.free.acquire()).await.ok()?.ok()?
            }
        };
        Some(Turn {
            turns: self,
            _permit: permit,
        })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Ends when a body that has not arrived by then has to give way.
    pub(super) async fn displaced(&self) {
        sleep(self.turns.grace).await;
        let late = {
            let mut queue = self.turns.queue();
            if queue.waiting > 0 {
                return;
            }
            let (id, leave) = (queue.next, Arc::<Notify>::default());
            queue.next += 1;
            queue.late.insert(id, Arc::clone(&leave));
            Late {
                turns: self.turns,
                id,
                leave,
            }
        };
        late.leave.notified().await;
    }
}

/// Somebody waits for a turn.
struct Waiting<'a>(&'a Turns);

impl<'a> Waiting<'a> {
    /// Whoever is late already, and began first, gives way.
    fn of(turns: &'a Turns) -> Self {
        let mut queue = turns.queue();
        queue.waiting += 1;
        if let Some((_, leave)) = queue.late.pop_first() {
            leave.notify_one();
        }
        Self(turns)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queue().waiting -= 1;
    }
}

/// A body that has taken too long.
struct Late<'a> {
    turns: &'a Turns,
    id: u64,
    leave: Arc<Notify>,
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        self.turns.queue().late.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, advance};

    use super::*;

    const GRACE: Duration = Duration::from_millis(250);
    const PATIENCE: Duration = Duration::from_secs(2);

    /// Holds a turn until it has to be given up; tells how long that was.
    async fn hold(turns: &Turns) -> Duration {
        let turn = turns.take(PATIENCE).await.unwrap();
        let taken = Instant::now();
        let _ = timeout(PATIENCE, turn.displaced()).await;
        taken.elapsed()
    }

    /// Waits for a moment, and then for a turn; tells how long the turn has taken to come.
    async fn want(turns: &Turns, after: Duration) -> Option<Duration> {
        sleep(after).await;
        let started = Instant::now();
        let turn = turns.take(PATIENCE).await;
        turn.map(|_| started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_body_gives_way_to_who_waits() {
        for (after, expected) in [
            (GRACE / 2, GRACE / 2),
            (GRACE, Duration::ZERO),
            (GRACE * 3, Duration::ZERO),
        ] {
            let turns = Turns::new(1, GRACE);
            let (held, waited) = tokio::join!(hold(&turns), want(&turns, after));
            let waited = waited.unwrap();
            // Timers have a resolution of a millisecond.
            assert!(waited <= expected + Duration::from_millis(2), "{waited:?}");
            assert!(held >= GRACE && held < PATIENCE, "{held:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_who_waits_displaces_one() {
        let turns = Turns::new(3, GRACE);
        let hold = || hold(&turns);
        let late = GRACE * 2;
        let (first, second, third, waited) =
            tokio::join!(hold(), hold(), hold(), want(&turns, late));
        assert!(waited.is_some());
        let displaced = [first, second, third].map(|held| held < PATIENCE);
        assert_eq!(displaced.iter().filter(|one| **one).count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_gives_way_to_nobody_and_the_work_itself_to_no_one() {
        let turns = Turns::new(2, GRACE);
        assert!(hold(&turns).await >= PATIENCE);
        let _both = (turns.take(PATIENCE).await, turns.take(PATIENCE).await);
        advance(GRACE * 2).await;
        assert_eq!(want(&turns, Duration::ZERO).await, None);
        assert!(turns.queue().late.is_empty() && turns.queue().waiting == 0);
    }
}
