//! Statistics that are counted elsewhere and computed when they are asked for.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    scope::{Reading, Series, Source, Value},
    set::Kind,
};

/// One statistic, with its name in both forms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Given {
    /// Envoy's name.
    pub name: String,
    /// The name for Prometheus.
    pub family: String,
    /// The labels for Prometheus.
    pub labels: Vec<(String, String)>,
    /// How it counts: up, or up and down.
    pub kind: Kind,
    /// The value.
    pub value: u64,
    /// Whether anything happened that it counts.
    pub used: bool,
}

impl Given {
    /// A counter of our own, `fairlead.<name>`, which is no statistic of Envoy's.
    pub fn own_counter(name: &str, value: u64) -> Self {
        Self {
            name: format!("fairlead.{name}"),
            family: format!("fairlead_{}_total", name.replace('.', "_")),
            labels: Vec::new(),
            kind: Kind::Counter,
            value,
            used: value > 0,
        }
    }

    /// Them as sources, to be shown together with those of the store.
    pub fn sources(statistics: Vec<Self>) -> Vec<Arc<dyn Source>> {
        let mut by_prefix: BTreeMap<String, Vec<Self>> = BTreeMap::new();
        for statistic in statistics {
            let prefix = statistic.name.split_inclusive('.').next();
            let prefix = prefix.unwrap_or_default().to_owned();
            by_prefix.entry(prefix).or_default().push(statistic);
        }
        let sources = by_prefix.into_iter();
        sources
            .map(|(prefix, statistics)| Arc::new(Together { prefix, statistics }) as Arc<_>)
            .collect()
    }
}

/// Statistics with the same first word.
struct Together {
    prefix: String,
    statistics: Vec<Given>,
}

impl Source for Together {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn fields(&self) -> usize {
        self.statistics.len()
    }

    fn field(&self, index: usize) -> (&str, Kind) {
        let Given { name, kind, .. } = &self.statistics[index];
        (&name[self.prefix.len()..], *kind)
    }

    fn read(&self, index: usize) -> Option<Reading> {
        let Given { value, used, .. } = &self.statistics[index];
        Some(Reading {
            value: Value::Number(*value),
            used: *used,
        })
    }

    fn series(&self, index: usize) -> Option<Series<'_>> {
        let Given { family, labels, .. } = &self.statistics[index];
        Some(Series { family, labels })
    }
}
