//! One figure as an aligned table: a line each quantity, its quantiles, its limit and how much of the limit it takes.

use std::fmt;

use serde_json::{Value, json};

use crate::{align, summary::Summary};

const COLUMNS: [&str; 9] = [
    "", "n", "min", "median", "p90", "p99", "max", "limit", "of limit",
];

/// Fewer samples than this have no 99th percentile apart from their greatest.
const SAMPLES_FOR_P99: usize = 100;

/// A quantile that has a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Statistic {
    Min,
    Median,
    P90,
    P99,
    Max,
}

impl Statistic {
    const ALL: [Self; 5] = [Self::Min, Self::Median, Self::P90, Self::P99, Self::Max];

    fn name(self) -> &'static str {
        match self {
            Self::Min => "min",
            Self::Median => "median",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::Max => "max",
        }
    }

    fn share(self) -> f64 {
        match self {
            Self::Min => 0.0,
            Self::Median => 0.5,
            Self::P90 => 0.9,
            Self::P99 => 0.99,
            Self::Max => 1.0,
        }
    }
}

/// What a quantity should be. It is shown, never enforced: another machine has other figures.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    fn value(self) -> f64 {
        match self {
            Self::AtMost(value) | Self::AtLeast(value) => value,
        }
    }

    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::AtMost(_) => "at most",
            Self::AtLeast(_) => "at least",
        }
    }

    fn sign(self) -> char {
        match self {
            Self::AtMost(_) => '≤',
            Self::AtLeast(_) => '≥',
        }
    }
}

/// One quantity, its unit in the label.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    label: String,
    count: Option<usize>,
    values: [Option<f64>; Statistic::ALL.len()],
    limit: Option<(Statistic, Limit)>,
}

impl Row {
    /// A quantity that was measured many times.
    pub(crate) fn samples(
        label: impl Into<String>,
        samples: impl IntoIterator<Item = f64>,
    ) -> Self {
        Self::summary(label, &Summary::of(samples))
    }

    /// As [`samples`](Self::samples), of samples in order.
    pub(crate) fn summary(label: impl Into<String>, summary: &Summary) -> Self {
        let shown = |statistic: &Statistic| {
            *statistic != Statistic::P99 || summary.count() >= SAMPLES_FOR_P99
        };
        let value = |statistic: Statistic| {
            Some(statistic)
                .filter(shown)
                .and_then(|statistic| summary.quantile(statistic.share()))
        };
        Self {
            label: label.into(),
            count: Some(summary.count()),
            values: Statistic::ALL.map(value),
            limit: None,
        }
    }

    /// One number, in the column of what it was made from.
    pub(crate) fn single(label: impl Into<String>, column: Statistic, value: Option<f64>) -> Self {
        Self {
            label: label.into(),
            count: None,
            values: Statistic::ALL.map(|each| value.filter(|_| each == column)),
            limit: None,
        }
    }

    /// Puts a limit on one of the values.
    pub(crate) fn limit(self, statistic: Statistic, limit: Limit) -> Self {
        Self {
            limit: Some((statistic, limit)),
            ..self
        }
    }

    fn value(&self, statistic: Statistic) -> Option<f64> {
        Statistic::ALL
            .iter()
            .zip(self.values)
            .find_map(|(each, value)| (*each == statistic).then_some(value)?)
    }

    /// The number that says most: the median, or the only one.
    pub(crate) fn typical(&self) -> Option<f64> {
        self.value(Statistic::Median)
            .or_else(|| self.values.into_iter().flatten().next())
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// For programs, and for a later run to be compared with.
    fn json(&self) -> Value {
        let mut row = json!({ "label": self.label });
        if let Some(count) = self.count {
            row["n"] = count.into();
        }
        for (statistic, value) in Statistic::ALL.iter().zip(self.values) {
            if let Some(value) = value {
                row[statistic.name()] = value.into();
            }
        }
        if let Some((statistic, limit)) = self.limit {
            row["limit"] = json!({ "of": statistic.name(), limit.name(): limit.value() });
            row["holds"] = self.value(statistic).map(|value| limit.holds(value)).into();
        }
        row
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let decimals = decimals(self.typical());
        let number = |value: f64| format!("{value:.decimals$}");
        let [min, median, p90, p99, max] = self
            .values
            .map(|value| value.map_or_else(String::new, number));
        let (limit, share) = match self.limit {
            None => Default::default(),
            Some((statistic, limit)) => (
                format!("{} {}", limit.sign(), limit.value()),
                self.value(statistic)
                    .map_or_else(String::new, |value| format!("{:.2}", value / limit.value())),
            ),
        };
        let count = self.count.map_or_else(String::new, |n| n.to_string());
        [
            self.label.clone(),
            count,
            min,
            median,
            p90,
            p99,
            max,
            limit,
            share,
        ]
    }
}

/// Three significant digits, as far as a fraction can give them.
pub(crate) fn decimals(value: Option<f64>) -> usize {
    match value.unwrap_or_default().abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    }
}

/// A figure.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    title: String,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn json(&self) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        json!({ "title": self.title, "rows": rows, "notes": self.notes })
    }

    /// What a reader must know to read the rows right.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![COLUMNS.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        writeln!(f, "{}", self.title)?;
        f.write_str(&align::columns(&lines))?;
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_whatever_their_width() {
        let mut table = Table::new("title");
        table.row(
            Row::samples("first run, ms", [6.0, 8.0, 7.0])
                .limit(Statistic::Median, Limit::AtMost(14.0)),
        );
        table.row(
            Row::single("through the proxy", Statistic::Median, Some(0.5))
                .limit(Statistic::Median, Limit::AtLeast(0.85)),
        );
        table.note("a note");
        let expected = "\
title
                     n   min  median   p90  p99   max   limit  of limit
  first run, ms      3  6.00    7.00  7.80       8.00    ≤ 14      0.50
  through the proxy             0.50                   ≥ 0.85      0.59
  a note
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn json_says_what_was_measured_and_whether_the_limit_holds() {
        let mut table = Table::new("title");
        let limit = Limit::AtLeast(2.0);
        table.row(Row::samples("ratio", [1.5]).limit(Statistic::Median, limit));
        table.note("a note");
        let row = json!({
            "label": "ratio", "n": 1, "min": 1.5, "median": 1.5, "p90": 1.5, "max": 1.5,
            "limit": { "of": "median", "at least": 2.0 }, "holds": false,
        });
        let expected = json!({ "title": "title", "rows": [row], "notes": ["a note"] });
        assert_eq!(table.json(), expected);
    }

    #[test]
    fn few_samples_have_no_99th_percentile() {
        let row = |count: u32| Row::samples("", (0..count).map(f64::from));
        assert_eq!(row(99).value(Statistic::P99), None);
        assert_eq!(row(101).value(Statistic::P99), Some(99.0));
    }

    #[test]
    fn numbers_have_three_digits() {
        for (value, expected) in [(0.5, 2), (9.9, 2), (12.3, 1), (-12.3, 1), (250.0, 0)] {
            assert_eq!(decimals(Some(value)), expected, "{value}");
        }
    }
}
