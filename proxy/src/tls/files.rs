//! Certificates in files are read again when they change.
//!
//! The files are looked at once a second rather than watched: the kubelet replaces a link two levels
//! above them, and a watch on a file then sees nothing any more.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, MutexGuard},
    time::{Duration, SystemTime},
};

use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{
    context::{Contexts, Reloaded},
    inputs::{Inputs, Read, Stamp},
    parameters::Role,
    peer::sha256,
};
use crate::compile::Fault;

/// How soon a change is noticed.
pub const POLL: Duration = Duration::from_secs(1);

/// Reads changed certificates again, for ever, and tells of each change.
///
/// It belongs on the runtime that carries no traffic: it reads files in line.
pub async fn watch(contexts: Arc<Contexts>, mut report: impl FnMut(&Reloaded)) {
    let mut polls = interval(POLL);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        polls.tick().await;
        for reloaded in contexts.reload(SystemTime::now()) {
            report(&reloaded);
        }
    }
}

/// Tells of it in the log of the process.
pub fn log(Reloaded { files, outcome, .. }: &Reloaded) {
    match outcome {
        Ok(()) => info!(
            ?files,
            "certificates were read again; open connections keep theirs"
        ),
        Err(faults) => {
            for fault in faults {
                warn!(?files, %fault, "changed certificates cannot be used; the former ones stay");
            }
        }
    }
}

/// What is made of files, and can be made again.
pub(super) trait Reload {
    /// Whose it is.
    fn role(&self) -> Role;

    /// Those it was made of.
    fn files(&self) -> MutexGuard<'_, Files>;

    /// Makes it again, or leaves it as it is and says why.
    fn reload(&self, inputs: &Inputs<'_>) -> Result<(), Vec<Fault>>;
}

/// Files, as they were when they were last read.
#[derive(Debug)]
pub(super) struct Files {
    read: Vec<Read>,
    /// What they held then could be used.
    sound: bool,
}

impl Files {
    /// Of what was read, and could be used.
    pub(super) fn new(read: Vec<Read>) -> Self {
        Self { read, sound: true }
    }

    /// Where they are.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.read.iter().map(|read| read.path.clone()).collect()
    }

    /// Whether what is in use is what they hold now.
    pub(super) fn are_in_use(&self) -> bool {
        self.sound && self.read.iter().all(Read::is_current)
    }

    /// Those that hold something else now.
    pub(super) fn changed(&mut self, now: SystemTime) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for file in &mut self.read {
            let stamp = Stamp::of(&file.path).ok();
            let settled = stamp.as_ref().is_some_and(|stamp| stamp.is_settled(now));
            if settled && stamp == file.stamp && file.is_settled {
                continue;
            }
            let digest = fs::read(&file.path).ok().map(|bytes| sha256(&bytes));
            if digest != file.digest {
                file.digest = digest;
                changed.push(file.path.clone());
            }
            // Read once more after it settled: what comes later shows in the stamp.
            file.stamp = stamp;
            file.is_settled = settled;
        }
        changed
    }

    /// Takes over what was read just now, and whether it could be used. What was not reached stays to be
    /// looked at.
    pub(super) fn update(&mut self, read: Vec<Read>, sound: bool) {
        self.read
            .retain(|old| !read.iter().any(|new| new.path == old.path));
        self.read.extend(read);
        self.sound = sound;
    }
}
