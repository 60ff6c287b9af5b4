//! Prometheus' text format, one block for each family: first counters, then gauges, texts and
//! histograms.

use std::{cmp::Ordering, collections::HashMap, fmt::Write, vec};

use super::{Buckets, SCOPES, Shown};
use crate::stats::{
    histogram::{Merged, QUANTILES},
    scope::{Reading, Source, Value},
    set::Kind,
};

/// How many series are written in one piece.
const SERIES: usize = 256;

/// Where a statistic is: the number of its source, and of its field there.
type Place = (u32, u32);

/// What families are told apart by: how they count, and whether the name is given or found.
type Index = HashMap<(Kind, bool), HashMap<String, Vec<Place>>>;

/// A page in pieces.
pub(super) struct Exposition {
    shown: Shown,
    work: Work,
}

enum Work {
    /// Finding the families, from this source on.
    Find(usize, Index),
    /// Writing them.
    Write(vec::IntoIter<Family>, Option<Rest>),
}

struct Family {
    kind: Kind,
    /// The name as it is written.
    name: String,
    places: Vec<Place>,
}

/// What is left of the family that is being written.
struct Rest {
    family: String,
    /// By the statistics' names.
    series: vec::IntoIter<(String, Place)>,
}

impl Exposition {
    pub(super) fn new(shown: Shown) -> Self {
        Self {
            shown,
            work: Work::Find(0, Index::new()),
        }
    }
}

impl Iterator for Exposition {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut page = String::new();
        match &mut self.work {
            Work::Find(next, index) => {
                let until = (*next + SCOPES).min(self.shown.sources.len());
                for source in *next..until {
                    find(&self.shown, source, index);
                }
                *next = until;
                if until == self.shown.sources.len() {
                    let families = arrange(std::mem::take(index));
                    self.work = Work::Write(families.into_iter(), None);
                }
            }
            Work::Write(families, rest) => {
                let mut current = match rest.take() {
                    Some(rest) => rest,
                    None => begin(&self.shown, families.next()?, &mut page),
                };
                for (name, place) in current.series.by_ref().take(SERIES) {
                    write(&self.shown, &current.family, &name, place, &mut page);
                }
                if current.series.len() > 0 {
                    *rest = Some(current);
                }
            }
        }
        Some(page)
    }
}

/// Notes the families of a source's statistics.
fn find(shown: &Shown, number: usize, index: &mut Index) {
    let source = &*shown.sources[number];
    let mut family = String::new();
    for field in 0..source.fields() {
        let (rest, kind) = source.field(field);
        let text = kind == Kind::TextReadout;
        if !shown.query.asks_for(kind) || text && !shown.query.text_readouts {
            continue;
        }
        let name = [source.prefix(), rest].concat();
        if shown.read(source, field, &name).is_none() {
            continue;
        }
        family.clear();
        let series = source.series(field);
        match series {
            Some(series) => family.push_str(series.family),
            None => {
                let mut extracted = shown.store.config().tags().extract(&name);
                extracted.write_name(&name, &mut family);
            }
        }
        let families = index.entry((kind, series.is_some())).or_default();
        // There are fewer than 2^32 of both.
        let place = (number as u32, field as u32);
        match families.get_mut(&family) {
            Some(places) => places.push(place),
            None => {
                families.insert(family.clone(), vec![place]);
            }
        }
    }
}

/// All families in the order in which they are written.
fn arrange(index: Index) -> Vec<Family> {
    let mut families: Vec<_> = index
        .into_iter()
        .flat_map(|((kind, given), families)| {
            let families = families.into_iter();
            families.map(move |(name, places)| (kind, given, name, places))
        })
        .collect();
    families.sort_by(|one, other| one.0.cmp(&other.0).then(by_words(&one.2, &other.2)));
    let families = families.into_iter();
    families
        .map(|(kind, given, name, places)| Family {
            kind,
            name: if given {
                name
            } else {
                format!("envoy_{}", sound(&name))
            },
            places,
        })
        .collect()
}

/// Compares names word by word: the dot comes before every letter of a word.
fn by_words(one: &str, other: &str) -> Ordering {
    let letter = |byte| if byte == b'.' { 0 } else { byte };
    one.bytes().map(letter).cmp(other.bytes().map(letter))
}

fn begin(shown: &Shown, family: Family, page: &mut String) -> Rest {
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge | Kind::TextReadout => "gauge",
        Kind::Histogram if shown.query.buckets == Buckets::Summary => "summary",
        Kind::Histogram => "histogram",
    };
    // Writing to a string does not fail.
    let _ = writeln!(page, "# TYPE {} {kind}", family.name);
    let places = family.places.into_iter();
    let mut series: Vec<_> = places
        .map(|place| {
            let source = &shown.sources[place.0 as usize];
            let (rest, _) = source.field(place.1 as usize);
            ([source.prefix(), rest].concat(), place)
        })
        .collect();
    series.sort_by(|(one, _), (other, _)| by_words(one, other));
    Rest {
        family: family.name,
        series: series.into_iter(),
    }
}

fn write(shown: &Shown, family: &str, name: &str, (source, field): Place, page: &mut String) {
    let (source, field): (&dyn Source, _) = (&*shown.sources[source as usize], field as usize);
    let Some(Reading { value, .. }) = source.read(field) else {
        return;
    };
    let labels = match source.series(field) {
        Some(series) => labels(
            series
                .labels
                .iter()
                .map(|(name, value)| (&**name, &**value)),
        ),
        None => {
            let extracted = shown.store.config().tags().extract(name);
            labels(extracted.tags.into_iter())
        }
    };
    let _ = match value {
        Value::Number(value) => writeln!(page, "{family}{{{labels}}} {value}"),
        Value::Text(text) => {
            let labels = with(&labels, "text_value", &text);
            writeln!(page, "{family}{{{labels}}} 0")
        }
        Value::Histogram(merged) => {
            let nothing = Merged::default();
            let merged = merged.as_deref().unwrap_or(&nothing);
            if shown.query.buckets == Buckets::Summary {
                quantiles(merged, family, &labels, page);
            } else {
                let bounds = shown.store.config().buckets(name);
                buckets(merged, bounds, family, &labels, page);
            }
            Ok(())
        }
    };
}

fn buckets(merged: &Merged, bounds: &[f64], family: &str, labels: &str, page: &mut String) {
    let all = merged.cumulative();
    for (bound, count) in bounds.iter().zip(all.buckets(bounds)) {
        let labels = with(labels, "le", &bound.to_string());
        let _ = writeln!(page, "{family}_bucket{{{labels}}} {count}");
    }
    let count = all.count();
    let infinite = with(labels, "le", "+Inf");
    let _ = writeln!(page, "{family}_bucket{{{infinite}}} {count}");
    let _ = writeln!(page, "{family}_sum{{{labels}}} {}", all.sum());
    let _ = writeln!(page, "{family}_count{{{labels}}} {count}");
}

/// Of the last interval, as Envoy has it.
fn quantiles(merged: &Merged, family: &str, labels: &str, page: &mut String) {
    let interval = merged.interval();
    for quantile in QUANTILES {
        let value = match interval.quantile(quantile) {
            Some(value) => value.to_string(),
            None => "nan".to_owned(),
        };
        let labels = with(labels, "quantile", &quantile.to_string());
        let _ = writeln!(page, "{family}{{{labels}}} {value}");
    }
    let _ = writeln!(page, "{family}_sum{{{labels}}} {}", interval.sum());
    let _ = writeln!(page, "{family}_count{{{labels}}} {}", interval.count());
}

fn labels<'a>(tags: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let labels = tags.map(|(name, value)| format!("{}=\"{}\"", sound(name), escape(value)));
    labels.collect::<Vec<_>>().join(",")
}

fn with(labels: &str, name: &str, value: &str) -> String {
    let separator = if labels.is_empty() { "" } else { "," };
    format!("{labels}{separator}{name}=\"{}\"", escape(value))
}

/// A name in the letters that Prometheus has for names.
fn sound(name: &str) -> String {
    let sound = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '_'
        }
    };
    name.chars().map(sound).collect()
}

fn escape(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
