//! What keeps the certificate from being kept, told once each, and taken back when it is over.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;
use tracing::warn;

/// A watch tells when it fails, not when it is well again; one that fails goes on failing every few
/// seconds. After such a silence it is well.
pub(super) const RECOVERY: Duration = Duration::from_secs(60);

/// What a complaint is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Task {
    Keep,
    WatchSecret,
    WatchConfiguration,
}

/// The complaints that stand.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    open: BTreeMap<Task, Complaint>,
}

#[derive(Debug)]
struct Complaint {
    text: String,
    raised: Instant,
}

impl Complaints {
    /// A task has failed. What has been said already is not said again.
    pub(super) fn raise(&mut self, task: Task, text: String, now: Instant) {
        if self.open.get(&task).is_none_or(|known| known.text != text) {
            warn!("{text}");
        }
        self.open.insert(task, Complaint { text, raised: now });
    }

    /// A task has succeeded.
    pub(super) fn settle(&mut self, task: Task) {
        self.open.remove(&task);
    }

    /// Takes back what has long not been heard of the watches.
    pub(super) fn settle_watches(&mut self, now: Instant) {
        self.open
            .retain(|task, complaint| *task == Task::Keep || now - complaint.raised < RECOVERY);
    }

    /// All of them in one line; none if all is well.
    pub(super) fn note(&self) -> Option<String> {
        let texts: Vec<&str> = self.open.values().map(|one| one.text.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_complaint_stands_until_its_own_task_is_well() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut complaints = Complaints::default();
        assert_eq!(complaints.note(), None);
        complaints.raise(Task::WatchSecret, "watch".to_owned(), at(0));
        complaints.raise(Task::Keep, "keep".to_owned(), at(0));
        assert_eq!(complaints.note().as_deref(), Some("keep; watch"));
        complaints.settle(Task::Keep);
        complaints.settle_watches(at(59));
        assert_eq!(complaints.note().as_deref(), Some("watch"));
        // It has failed once more, and then no more.
        complaints.raise(Task::WatchSecret, "watch".to_owned(), at(60));
        complaints.settle_watches(at(119));
        assert_eq!(complaints.note().as_deref(), Some("watch"));
        complaints.settle_watches(at(120));
        assert_eq!(complaints.note(), None);
    }
}
