//! What was told lately, so that it is told again as a count.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use tokio::time::Instant;

use super::message::Message;

/// How long what was told is not told again.
const WINDOW: Duration = Duration::from_secs(300);
/// After which it is told anew: the API server keeps an Event for an hour.
const FORGOTTEN: Duration = Duration::from_secs(3000);
/// How many are remembered.
const ROOM: usize = 2048;

/// What was told lately.
#[derive(Debug)]
pub(super) struct Recent {
    instance: String,
    told: HashMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// How often it happened, told or not.
    count: i32,
    first: Instant,
    last: Instant,
}

/// Whether something is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// Now.
    Tell(Turn),
    /// It was told a moment ago.
    Known,
    /// It would be, but too much was told lately.
    NoRoom,
}

/// Leave to tell something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Turn {
    /// The Event's name, the same each time.
    pub(super) name: String,
    /// How often it has happened.
    pub(super) count: i32,
}

impl Recent {
    /// `instance` tells the Events of several processes apart.
    pub(super) fn new(instance: &str) -> Self {
        Self {
            instance: instance.to_owned(),
            told: HashMap::new(),
        }
    }

    /// Whether a message is to be told now: it is new, or was told some time ago.
    pub(super) fn turn(&mut self, message: &Message, now: Instant) -> Answer {
        let key = self.key(message);
        if self.told.len() >= ROOM && !self.told.contains_key(&key) {
            self.told
                .retain(|_, entry| now.duration_since(entry.last) < WINDOW);
            if self.told.len() >= ROOM {
                return Answer::NoRoom;
            }
        }
        let new = Entry {
            count: 0,
            first: now,
            last: now,
        };
        let entry = self.told.entry(key).or_insert(new);
        if now.duration_since(entry.first) >= FORGOTTEN {
            entry.count = 0;
            entry.first = now;
        }
        entry.count = entry.count.saturating_add(1);
        if entry.count > 1 && now.duration_since(entry.last) < WINDOW {
            return Answer::Known;
        }
        entry.last = now;
        let owner = message.regarding.name.as_deref().unwrap_or_default();
        Answer::Tell(Turn {
            name: format!("{}.{key:016x}", stem(owner)),
            count: entry.count,
        })
    }

    fn key(&self, message: &Message) -> u64 {
        let Message {
            regarding,
            reason,
            note,
        } = message;
        let mut hasher = DefaultHasher::new();
        (&regarding.kind, &regarding.namespace, &regarding.name).hash(&mut hasher);
        (&regarding.uid, reason, note, &self.instance).hash(&mut hasher);
        hasher.finish()
    }
}

/// A name is at most 253 bytes long.
fn stem(owner: &str) -> &str {
    let end = owner.floor_char_boundary(253 - 17);
    owner[..end].trim_end_matches(['.', '-'])
}

#[cfg(test)]
mod tests;
