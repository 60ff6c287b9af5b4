//! What was seen of both, and the ratios of the two.

use super::subject::Subject;
use crate::table::{Limit, Row, Statistic, Table};

/// A quantity with its unit in the label, and what is asked of it.
#[derive(Clone, Debug)]
pub(super) struct Quantity {
    label: String,
    /// Of ours divided by Envoy's, round by round.
    ratio: Option<Limit>,
    /// Of ours.
    own: Option<Limit>,
}

impl Quantity {
    pub(super) fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            ratio: None,
            own: None,
        }
    }

    pub(super) fn ratio(self, limit: Option<Limit>) -> Self {
        Self {
            ratio: limit,
            ..self
        }
    }

    pub(super) fn own(self, limit: Option<Limit>) -> Self {
        Self { own: limit, ..self }
    }
}

/// One of ours beside another one of Envoy's.
#[derive(Clone, Debug)]
struct Cross {
    label: String,
    ours: String,
    theirs: String,
    limit: Limit,
}

#[derive(Debug)]
struct Entry {
    quantity: Quantity,
    fairlead: Vec<f64>,
    envoy: Vec<f64>,
}

/// Samples by quantity, in the order in which the quantities were first seen.
#[derive(Debug)]
pub(super) struct Comparison {
    entries: Vec<Entry>,
    crosses: Vec<Cross>,
    notes: Vec<String>,
}

impl Comparison {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            crosses: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, quantity: Quantity, subject: Subject, value: f64) {
        let known = self
            .entries
            .iter()
            .position(|entry| entry.quantity.label == quantity.label);
        let index = known.unwrap_or(self.entries.len());
        if known.is_none() {
            self.entries.push(Entry {
                quantity,
                fairlead: Vec::new(),
                envoy: Vec::new(),
            });
        }
        let entry = &mut self.entries[index];
        match subject {
            Subject::Fairlead => entry.fairlead.push(value),
            Subject::Envoy => entry.envoy.push(value),
        }
    }

    /// Compares one of our quantities with another one of Envoy's, both by their labels.
    pub(super) fn cross(&mut self, label: &str, ours: &str, theirs: &str, limit: Limit) {
        self.crosses.push(Cross {
            label: label.to_owned(),
            ours: ours.to_owned(),
            theirs: theirs.to_owned(),
            limit,
        });
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The ratios with their limits, and what they are made of.
    pub(super) fn tables(&self) -> Vec<Table> {
        let mut ratios = Table::new("proxy: Fairlead / Envoy, one worker each, by turns");
        for entry in &self.entries {
            ratio(
                &mut ratios,
                &entry.quantity.label,
                [&entry.fairlead, &entry.envoy],
                entry.quantity.ratio,
            );
        }
        for cross in &self.crosses {
            let find = |label: &str| self.entries.iter().find(|e| e.quantity.label == label);
            if let (Some(ours), Some(theirs)) = (find(&cross.ours), find(&cross.theirs)) {
                let samples = [&ours.fairlead, &theirs.envoy];
                ratio(&mut ratios, &cross.label, samples, Some(cross.limit));
            }
        }
        let mut figures = Table::new("proxy: the figures behind the ratios");
        for Entry {
            quantity,
            fairlead,
            envoy,
        } in &self.entries
        {
            for (subject, samples) in [(Subject::Fairlead, fairlead), (Subject::Envoy, envoy)] {
                if samples.is_empty() {
                    continue;
                }
                let label = format!("{}, {subject}", quantity.label);
                let mut row = Row::samples(label, samples.iter().copied());
                if let (Subject::Fairlead, Some(limit)) = (subject, quantity.own) {
                    row = row.limit(Statistic::Median, limit);
                }
                figures.row(row);
            }
        }
        for note in &self.notes {
            ratios.note(note);
        }
        vec![ratios, figures]
    }
}

/// A row of the ratios, if both were measured: each round's own, so that what else the machine did
/// falls on both.
fn ratio(table: &mut Table, label: &str, [ours, theirs]: [&Vec<f64>; 2], limit: Option<Limit>) {
    // Nothing is divided by what was too little to be seen.
    let pairs = ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0);
    let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
    if ratios.is_empty() {
        return;
    }
    let row = Row::samples(label, ratios);
    table.row(match limit {
        Some(limit) => row.limit(Statistic::Median, limit),
        None => row,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_made_round_by_round_and_left_out_where_one_has_no_figure() {
        let mut comparison = Comparison::new();
        let memory = || Quantity::new("memory").ratio(Some(Limit::AtMost(0.5)));
        for (subject, value) in [
            (Subject::Fairlead, 1.0),
            (Subject::Envoy, 4.0),
            (Subject::Envoy, 8.0),
            (Subject::Fairlead, 6.0),
        ] {
            comparison.add(memory(), subject, value);
        }
        comparison.add(Quantity::new("tls"), Subject::Envoy, 4.0);
        comparison.cross("memory / tls", "memory", "tls", Limit::AtMost(1.0));
        let [ratios, figures] = &comparison.tables()[..] else {
            panic!("there are two tables")
        };
        let shown: Vec<_> = ratios
            .rows()
            .iter()
            .map(|row| (row.label(), row.typical()))
            .collect();
        assert_eq!(shown, [("memory", Some(0.5)), ("memory / tls", Some(0.25))]);
        let labels: Vec<_> = figures.rows().iter().map(Row::label).collect();
        assert_eq!(labels, ["memory, Fairlead", "memory, Envoy", "tls, Envoy"]);
    }
}
