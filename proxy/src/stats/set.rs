//! Sets of statistics that belong together, and the copies of them that workers write.

use std::sync::{Mutex, OnceLock, PoisonError, Weak};

use super::cell::Cell;

/// How a statistic counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// Counts up.
    Counter,
    /// Up and down.
    Gauge,
    /// A text.
    TextReadout,
    /// A distribution of values.
    Histogram,
}

/// One statistic of a set.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name within the scope.
    pub name: &'static str,
    /// How it counts.
    pub kind: Kind,
    /// Whether it is shown from its first use on only, as those whose names are not known before.
    pub rare: bool,
}

/// Statistics that are declared by [`statistics`].
pub trait Set: Default + Send + Sync + 'static {
    /// What the set has.
    const FIELDS: &'static [Field];

    /// The place of the field at this index of [`FIELDS`](Self::FIELDS).
    fn cell(&self, index: usize) -> Cell<'_>;

    /// Counts one more of the counter of that name, if there is one.
    fn increment(&self, name: &str) {
        let place = Self::FIELDS.iter().position(|field| field.name == name);
        match place.map(|place| self.cell(place)) {
            Some(Cell::Counter(counter)) => counter.increment(),
            Some(Cell::SharedCounter(counter)) => counter.increment(),
            _ => {}
        }
    }
}

/// Which worker asks.
#[derive(Clone, Copy, Debug)]
pub struct Worker {
    index: u16,
    workers: u16,
}

impl Worker {
    /// The worker of this number, of so many. None where there is no such worker.
    pub fn new(index: usize, workers: usize) -> Option<Self> {
        let workers = u16::try_from(workers).ok()?;
        let index = u16::try_from(index).ok()?;
        (index < workers).then_some(Self { index, workers })
    }

    /// Its place, from 0.
    pub fn index(self) -> usize {
        self.index.into()
    }

    /// How many there are.
    pub fn workers(self) -> usize {
        self.workers.into()
    }
}

/// A part of a scope's statistics, whatever its set.
pub trait Part: Send + Sync {
    /// What it has.
    fn fields(&self) -> &'static [Field];

    /// Each place where the field at this index is counted.
    fn each(&self, index: usize, place: &mut dyn FnMut(Cell<'_>));
}

type Slots<T> = Box<[OnceLock<Box<T>>]>;

/// A copy of the set for each worker, made when the worker first asks for it.
#[derive(Debug)]
pub struct PerWorker<T>(OnceLock<Slots<T>>);

impl<T> Default for PerWorker<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T: Set> PerWorker<T> {
    /// The worker's own statistics, which no other thread may write.
    pub fn of(&self, worker: Worker) -> &T {
        let slots = self
            .0
            .get_or_init(|| (0..worker.workers).map(|_| OnceLock::new()).collect());
        slots[usize::from(worker.index)].get_or_init(Box::default)
    }
}

impl<T: Set> Part for PerWorker<T> {
    fn fields(&self) -> &'static [Field] {
        T::FIELDS
    }

    fn each(&self, index: usize, place: &mut dyn FnMut(Cell<'_>)) {
        for set in self.0.get().into_iter().flatten().filter_map(OnceLock::get) {
            place(set.cell(index));
        }
    }
}

/// A set that all threads share, made on its first use. Its statistics are of the kinds that any
/// thread may write.
#[derive(Debug)]
pub struct Shared<T>(OnceLock<Box<T>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T: Set> Shared<T> {
    /// The statistics.
    pub fn set(&self) -> &T {
        self.0.get_or_init(Box::default)
    }

    /// The statistics, if anybody has counted any.
    pub fn made(&self) -> Option<&T> {
        self.0.get().map(Box::as_ref)
    }
}

impl<T: Set> Part for Shared<T> {
    fn fields(&self) -> &'static [Field] {
        T::FIELDS
    }

    fn each(&self, index: usize, place: &mut dyn FnMut(Cell<'_>)) {
        if let Some(set) = self.0.get() {
            place(set.cell(index));
        }
    }
}

/// Whoever knows the values of a set at any time.
pub trait Known<T>: std::fmt::Debug + Send + Sync {
    /// Writes them down.
    fn tell(&self, set: &T);
}

/// A set that nobody keeps: its values are asked for when they are shown.
#[derive(Debug)]
pub struct Asked<T>(Mutex<Option<Weak<dyn Known<T>>>>);

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Set> Asked<T> {
    /// Who is asked from now on, as long as it is there.
    pub fn of(&self, known: Weak<dyn Known<T>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }
}

impl<T: Set> Part for Asked<T> {
    fn fields(&self) -> &'static [Field] {
        T::FIELDS
    }

    fn each(&self, index: usize, place: &mut dyn FnMut(Cell<'_>)) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref().and_then(Weak::upgrade);
        if let Some(known) = known {
            let set = T::default();
            known.tell(&set);
            place(set.cell(index));
        }
    }
}

/// Declares a [`Set`].
///
/// Each field is a kind, a name and, where Envoy's name is not the field's, that name:
///
/// - `counter`, `gauge`, `histogram`: written by one worker, in a [`PerWorker`];
/// - `rare_counter`: so, and shown from its first use on only;
/// - `shared_counter`, `level`, `text`: written by any thread, in a [`Shared`]. A `histogram` may
///   stand there, too, if only one thread records it.
macro_rules! statistics {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $set:ident {
            $($(#[$field_attribute:meta])* $kind:ident $field:ident $(= $name:literal)?),+ $(,)?
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Default)]
        $visibility struct $set {
            $(
                #[doc = concat!("`", $crate::stats::set::field_name!($field $($name)?), "`")]
                $(#[$field_attribute])*
                pub $field: $crate::stats::set::field_type!($kind),
            )+
        }

        impl $crate::stats::Set for $set {
            const FIELDS: &'static [$crate::stats::Field] = &[
                $($crate::stats::Field {
                    name: $crate::stats::set::field_name!($field $($name)?),
                    kind: $crate::stats::set::field_kind!($kind),
                    rare: $crate::stats::set::field_rare!($kind),
                },)+
            ];

            fn cell(&self, index: usize) -> $crate::stats::Cell<'_> {
                const CELLS: &[fn(&$set) -> $crate::stats::Cell<'_>] =
                    &[$(|set| (&set.$field).into(),)+];
                CELLS[index](self)
            }
        }
    };
}

macro_rules! field_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $name:literal) => {
        $name
    };
}

macro_rules! field_type {
    (counter) => {
        $crate::stats::Counter
    };
    (rare_counter) => {
        $crate::stats::Counter
    };
    (gauge) => {
        $crate::stats::Gauge
    };
    (histogram) => {
        $crate::stats::Histogram
    };
    (shared_counter) => {
        $crate::stats::SharedCounter
    };
    (level) => {
        $crate::stats::Level
    };
    (text) => {
        $crate::stats::TextReadout
    };
}

macro_rules! field_kind {
    (gauge) => {
        $crate::stats::Kind::Gauge
    };
    (level) => {
        $crate::stats::Kind::Gauge
    };
    (histogram) => {
        $crate::stats::Kind::Histogram
    };
    (text) => {
        $crate::stats::Kind::TextReadout
    };
    ($counter:ident) => {
        $crate::stats::Kind::Counter
    };
}

macro_rules! field_rare {
    (rare_counter) => {
        true
    };
    ($other:ident) => {
        false
    };
}

pub(crate) use {field_kind, field_name, field_rare, field_type, statistics};

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    statistics! {
        /// Of this test.
        struct Sample {
            counter events,
            rare_counter odd_events = "events.odd",
            gauge open,
            histogram length_ms,
        }
    }

    #[test]
    fn declared_names_and_kinds_are_kept_in_order() {
        let fields: Vec<_> = Sample::FIELDS
            .iter()
            .map(|field| (field.name, field.kind, field.rare))
            .collect();
        assert_eq!(
            fields,
            [
                ("events", Kind::Counter, false),
                ("events.odd", Kind::Counter, true),
                ("open", Kind::Gauge, false),
                ("length_ms", Kind::Histogram, false),
            ]
        );
    }

    #[test]
    fn nothing_is_made_for_a_worker_that_counts_nothing() {
        let part = PerWorker::<Sample>::default();
        let places = |part: &PerWorker<Sample>| {
            let mut places = 0;
            part.each(0, &mut |_| places += 1);
            places
        };
        assert_eq!(places(&part), 0);
        part.of(Worker::new(1, 3).unwrap()).events.increment();
        assert_eq!(places(&part), 1);
    }

    #[test]
    fn a_set_that_nobody_keeps_is_asked_for_while_somebody_knows_it() {
        #[derive(Debug)]
        struct Five;
        impl Known<Sample> for Five {
            fn tell(&self, set: &Sample) {
                set.events.add(5);
            }
        }
        let part = Asked::<Sample>::default();
        let events = |part: &Asked<Sample>| {
            let mut events = None;
            part.each(0, &mut |cell| {
                if let Cell::Counter(counter) = cell {
                    events = Some(counter.value());
                }
            });
            events
        };
        assert_eq!(events(&part), None);
        let five: Arc<dyn Known<Sample>> = Arc::new(Five);
        part.of(Arc::downgrade(&five));
        assert_eq!(events(&part), Some(5));
        drop(five);
        assert_eq!(events(&part), None);
    }

    #[test]
    fn a_worker_is_one_of_all() {
        assert!(Worker::new(2, 2).is_none());
        assert!(Worker::new(0, 70_000).is_none());
        assert!(Worker::new(1, 2).is_some());
    }
}
