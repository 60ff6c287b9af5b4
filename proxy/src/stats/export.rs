//! Envoy's forms of statistics: text, JSON and Prometheus' text format.
//!
//! A [`Page`] is made piece by piece, so that thousands of clusters neither fill the memory nor hold
//! up the thread.

use std::{iter, sync::Arc};

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

/// What stands around the text in a page.
const HEAD: &str = "<!DOCTYPE html>\n<html lang='en'>\n<head><title>Fairlead Admin</title></head>\n\
                    <body>\n<pre>\n";
const TAIL: &str = "</pre>\n</body>\n</html>\n";

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
            Format::Html => {
                let text = Listing::new(shown, Text::new(buckets));
                let text = text.map(|piece| piece.replace('<', "&lt;").replace('>', "&gt;"));
                let head = iter::once(HEAD.to_owned());
                Box::new(head.chain(text).chain(iter::once(TAIL.to_owned())))
            }
        };
        Self { format, pieces }
    }

    /// The value of `content-type`.
    pub fn content_type(&self) -> &'static str {
        match self.format {
            Format::Json => "application/json",
            Format::Html => "text/html; charset=UTF-8",
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
        if !self.query.names(name) {
            return None;
        }
        let reading = source.read(field)?;
        let shown = reading.used || !self.query.used_only;
        (shown && !self.store.config().rejects(name)).then_some(reading)
    }
}
