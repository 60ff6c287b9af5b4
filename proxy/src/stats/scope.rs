//! The statistics of one thing: a listener, a cluster, the server.

use std::{
    any::Any,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    cell::Cell,
    histogram::Merged,
    set::{Field, Kind, Part},
};

/// What a statistic is now.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The value.
    pub value: Value,
    /// Whether anything happened that it counts.
    pub used: bool,
}

/// The value of a statistic.
#[derive(Clone, Debug)]
pub enum Value {
    /// A count or a level.
    Number(u64),
    /// A text.
    Text(Box<str>),
    /// A distribution; none where nothing was ever recorded.
    Histogram(Option<Arc<Merged>>),
}

/// Statistics for which the form for Prometheus is known and is not to be found in the name.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// The name for Prometheus.
    pub family: &'a str,
    /// The labels.
    pub labels: &'a [(String, String)],
}

/// Statistics whose names begin alike.
pub trait Source: Any + Send + Sync {
    /// What all names begin with, the dot included.
    fn prefix(&self) -> &str;

    /// How many there are.
    fn fields(&self) -> usize;

    /// The rest of a name, and how it counts.
    fn field(&self, index: usize) -> (&str, Kind);

    /// The value; none where it is not shown before its first use.
    fn read(&self, index: usize) -> Option<Reading>;

    /// The form for Prometheus, if it does not follow from the name.
    fn series(&self, _index: usize) -> Option<Series<'_>> {
        None
    }

    /// Ends the interval of the histograms. Of those whose name is rejected nothing is kept.
    fn latch(&self, _rejects: &dyn Fn(&str) -> bool) {}

    /// Makes counters begin again at zero.
    fn reset_counters(&self) {}
}

/// The sets that a scope has.
pub trait Group: Default + Send + Sync + 'static {
    /// Each of them, always in the same order.
    fn parts(&self) -> impl Iterator<Item = &dyn Part>;
}

/// A set with its names, whoever writes it.
impl<P: Part + Default + 'static> Group for P {
    fn parts(&self) -> impl Iterator<Item = &dyn Part> {
        std::iter::once::<&dyn Part>(self)
    }
}

/// The statistics of one thing, which live as long as anybody holds them.
#[derive(Debug)]
pub struct Scope<G> {
    prefix: Arc<str>,
    group: G,
    /// What only the admin thread needs, once there is any.
    kept: Mutex<Option<Box<Kept>>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// What counters had counted when they were last reset, by field.
    baseline: Box<[u64]>,
    /// By field, in its order.
    histograms: Vec<(usize, Arc<Merged>)>,
}

impl<G> Deref for Scope<G> {
    type Target = G;

    fn deref(&self) -> &G {
        &self.group
    }
}

impl<G: Group> Scope<G> {
    pub(super) fn new(prefix: Arc<str>) -> Self {
        Self {
            prefix,
            group: G::default(),
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Option<Box<Kept>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part and the field within it.
    fn find(&self, mut index: usize) -> (&dyn Part, usize, &'static Field) {
        for part in self.group.parts() {
            match part.fields().get(index) {
                Some(field) => return (part, index, field),
                None => index -= part.fields().len(),
            }
        }
        panic!("{} has no field {index} more", self.prefix)
    }

    fn count(&self, index: usize) -> u64 {
        let (part, field, _) = self.find(index);
        let mut sum = 0_u64;
        part.each(field, &mut |cell| match cell {
            Cell::Counter(counter) => sum = sum.wrapping_add(counter.value()),
            Cell::SharedCounter(counter) => sum = sum.wrapping_add(counter.value()),
            Cell::Gauge(_) | Cell::Histogram(_) | Cell::Level(_) | Cell::Text(_) => {}
        });
        sum
    }

    fn level(&self, index: usize) -> Reading {
        let (part, field, _) = self.find(index);
        let (mut level, mut sum, mut used) = (0, 0_i64, false);
        part.each(field, &mut |cell| match cell {
            Cell::Gauge(gauge) => {
                sum += gauge.value();
                used |= gauge.is_used();
            }
            Cell::Level(cell) => {
                level = cell.value();
                used |= cell.is_used();
            }
            Cell::Counter(_) | Cell::Histogram(_) | Cell::SharedCounter(_) | Cell::Text(_) => {}
        });
        // Workers are read one after the other, so what one took from another may be seen too early.
        let sum = u64::try_from(sum).unwrap_or(0);
        Reading {
            value: Value::Number(level + sum),
            used,
        }
    }

    fn text(&self, index: usize) -> Reading {
        let (part, field, _) = self.find(index);
        let mut text = None;
        part.each(field, &mut |cell| {
            if let Cell::Text(cell) = cell {
                text = cell.value();
            }
        });
        Reading {
            used: text.is_some(),
            value: Value::Text(text.unwrap_or_default()),
        }
    }
}

impl<G: Group> Source for Scope<G> {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn fields(&self) -> usize {
        self.group.parts().map(|part| part.fields().len()).sum()
    }

    fn field(&self, index: usize) -> (&str, Kind) {
        let (_, _, field) = self.find(index);
        (field.name, field.kind)
    }

    fn read(&self, index: usize) -> Option<Reading> {
        let (_, _, field) = self.find(index);
        let reading = match field.kind {
            Kind::Counter => {
                let kept = self.kept();
                let baseline = kept.as_ref().and_then(|kept| kept.baseline.get(index));
                let value = self
                    .count(index)
                    .wrapping_sub(baseline.copied().unwrap_or(0));
                Reading {
                    value: Value::Number(value),
                    used: value > 0,
                }
            }
            Kind::Gauge => self.level(index),
            Kind::TextReadout => self.text(index),
            Kind::Histogram => {
                let kept = self.kept();
                let mut histograms = kept.iter().flat_map(|kept| &kept.histograms);
                let merged = histograms.find(|(field, _)| *field == index);
                Reading {
                    value: Value::Histogram(merged.map(|(_, merged)| merged.clone())),
                    used: merged.is_some(),
                }
            }
        };
        (reading.used || !field.rare).then_some(reading)
    }

    fn latch(&self, rejects: &dyn Fn(&str) -> bool) {
        let mut start = 0;
        for part in self.group.parts() {
            for (field, declared) in part.fields().iter().enumerate() {
                if declared.kind != Kind::Histogram {
                    continue;
                }
                let mut made = false;
                part.each(field, &mut |_| made = true);
                if made {
                    self.latch_one(part, field, start + field, declared.name, rejects);
                }
            }
            start += part.fields().len();
        }
    }

    fn reset_counters(&self) {
        // Anew each time: a count is what was counted since.
        let baseline = (0..self.fields()).map(|index| self.count(index)).collect();
        self.kept().get_or_insert_default().baseline = baseline;
    }
}

impl<G: Group> Scope<G> {
    fn latch_one(
        &self,
        part: &dyn Part,
        field: usize,
        index: usize,
        name: &str,
        rejects: &dyn Fn(&str) -> bool,
    ) {
        let mut kept = self.kept();
        let histograms = kept.as_mut().map(|kept| &mut kept.histograms);
        let place = histograms
            .as_ref()
            .and_then(|all| all.iter().position(|(of, _)| *of == index));
        let mut latched = Merged::default();
        let merged = match (histograms, place) {
            (Some(all), Some(place)) => Arc::make_mut(&mut all[place].1),
            _ => &mut latched,
        };
        merged.latch(|take| {
            part.each(field, &mut |cell| {
                if let Cell::Histogram(histogram) = cell {
                    take(histogram);
                }
            });
        });
        let recorded = latched.cumulative().count() > 0;
        if recorded && !rejects(&format!("{}{name}", self.prefix)) {
            let histograms = &mut kept.get_or_insert_default().histograms;
            histograms.push((index, Arc::new(latched)));
        }
    }
}
