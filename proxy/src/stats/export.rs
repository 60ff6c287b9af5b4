//! Envoy's forms of statistics: text, JSON and Prometheus' text format.
//!
//! A [`Page`] is made piece by piece, so that thousands of clusters neither fill the memory nor hold
//! up the thread.

use std::sync::Arc;

use super::{
    scope::{Reading, Source},
    store::Store,
};

mod answer;
mod json;
mod listing;
mod number;
mod prometheus;
mod query;
mod text;

pub use self::{
    answer::{answer, prometheus, recent_lookups, reset_counters, respond},
    query::{Buckets, Format, Query, Refusal},
};
use self::{json::Json, listing::Listing, prometheus::Exposition, text::Text};

/// How many scopes are looked at for one piece.
const SCOPES: usize = 16;

/// What an answer consists of, in pieces, some of which may be empty.
pub struct Page {
    format: Format,
    pieces: Box<dyn Iterator<Item = String> + Send>,
}

impl Page {
    /// The statistics of the store and more, as far as they are asked for.
    pub fn new(store: &Arc<Store>, more: Vec<Arc<dyn Source>>, query: Query) -> Self {
        let format = query.format;
        let shown = Shown::new(store, more, query);
        let buckets = shown.query.buckets;
        let pieces: Box<dyn Iterator<Item = String> + Send> = match format {
            Format::Text => Box::new(Listing::new(shown, Text::new(buckets))),
            Format::Json => Box::new(Listing::new(shown, Json::new(buckets))),
            Format::Prometheus => Box::new(Exposition::new(shown)),
        };
        Self { format, pieces }
    }

    /// The value of `content-type`.
    pub fn content_type(&self) -> &'static str {
        match self.format {
            Format::Json => "application/json",
            Format::Text | Format::Prometheus => "text/plain; charset=UTF-8",
        }
    }
}

impl Iterator for Page {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.pieces.next()
    }
}

/// What is to be shown.
struct Shown {
    store: Arc<Store>,
    /// By prefix.
    sources: Vec<Arc<dyn Source>>,
    query: Query,
}

impl Shown {
    fn new(store: &Arc<Store>, more: Vec<Arc<dyn Source>>, query: Query) -> Self {
        let mut sources = store.sources();
        sources.extend(more);
        sources.sort_by(|one, other| one.prefix().cmp(other.prefix()));
        Self {
            store: store.clone(),
            sources,
            query,
        }
    }

    /// What there is to show of one statistic; `None` if nothing.
    fn read(&self, source: &dyn Source, field: usize, name: &str) -> Option<Reading> {
        let Query {
            filter, used_only, ..
        } = &self.query;
        if filter.as_ref().is_some_and(|filter| !filter.is_match(name)) {
            return None;
        }
        let reading = source.read(field)?;
        let shown = reading.used || !used_only;
        (shown && !self.store.config().rejects(name)).then_some(reading)
    }
}
