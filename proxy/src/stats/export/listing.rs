//! All statistics by name, in text or in JSON: first the texts, then counters and gauges, then
//! histograms.

use std::sync::Arc;

use super::{SCOPES, Shown};
use crate::stats::{
    histogram::Merged,
    scope::{Reading, Source, Value},
    set::Kind,
};

/// One of the forms.
pub(super) trait Form {
    /// Before everything.
    fn begin(&mut self, _page: &mut String) {}

    /// A counter or a gauge.
    fn number(&mut self, page: &mut String, name: &str, value: u64);

    /// A text.
    fn text(&mut self, page: &mut String, name: &str, value: &str);

    /// A histogram, with the bounds of its buckets.
    fn histogram(&mut self, page: &mut String, name: &str, merged: &Merged, bounds: &[f64]);

    /// After everything.
    fn end(&mut self, _page: &mut String) {}
}

/// What is listed together, in this order.
const STAGES: [&[Kind]; 3] = [
    &[Kind::TextReadout],
    &[Kind::Counter, Kind::Gauge],
    &[Kind::Histogram],
];

/// A page in pieces.
pub(super) struct Listing<F> {
    shown: Shown,
    form: F,
    /// None before the beginning, past the stages at the end.
    stage: Option<usize>,
    /// The next source of the stage.
    next: usize,
}

impl<F: Form> Listing<F> {
    pub(super) fn new(shown: Shown, form: F) -> Self {
        Self {
            shown,
            form,
            stage: None,
            next: 0,
        }
    }

    /// The sources from the next one on whose names may come between each other's. All names of
    /// later sources come after theirs.
    fn run(&mut self) -> Vec<Arc<dyn Source>> {
        let rest = &self.shown.sources[self.next..];
        let Some(first) = rest.first() else {
            return Vec::new();
        };
        let related = |source: &&Arc<dyn Source>| source.prefix().starts_with(first.prefix());
        let run: Vec<_> = rest.iter().take_while(related).cloned().collect();
        self.next += run.len();
        run
    }

    fn write(&mut self, page: &mut String, run: &[Arc<dyn Source>], kinds: &[Kind]) {
        let mut statistics: Vec<(String, Reading)> = Vec::new();
        for source in run {
            for field in 0..source.fields() {
                let (rest, kind) = source.field(field);
                if !kinds.contains(&kind) || !self.shown.query.asks_for(kind) {
                    continue;
                }
                let name = [source.prefix(), rest].concat();
                if let Some(reading) = self.shown.read(&**source, field, &name) {
                    statistics.push((name, reading));
                }
            }
        }
        statistics.sort_by(|(one, _), (other, _)| one.cmp(other));
        let nothing = Merged::default();
        for (name, Reading { value, .. }) in statistics {
            match value {
                Value::Number(value) => self.form.number(page, &name, value),
                Value::Text(value) => self.form.text(page, &name, &value),
                Value::Histogram(merged) => {
                    let merged = merged.as_deref().unwrap_or(&nothing);
                    let bounds = self.shown.store.config().buckets(&name);
                    self.form.histogram(page, &name, merged, bounds);
                }
            }
        }
    }
}

impl<F: Form> Iterator for Listing<F> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut page = String::new();
        let Some(stage) = self.stage else {
            self.stage = Some(0);
            self.form.begin(&mut page);
            return Some(page);
        };
        let Some(kinds) = STAGES.get(stage) else {
            if stage > STAGES.len() {
                return None;
            }
            self.stage = Some(stage + 1);
            self.form.end(&mut page);
            return Some(page);
        };
        let until = self.next + SCOPES;
        while self.next < until.min(self.shown.sources.len()) {
            let run = self.run();
            self.write(&mut page, &run, kinds);
        }
        if self.next == self.shown.sources.len() {
            self.next = 0;
            self.stage = Some(stage + 1);
        }
        Some(page)
    }
}
