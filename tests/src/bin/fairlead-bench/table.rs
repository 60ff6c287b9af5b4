//! One figure as an aligned table: a line each quantity, its quantiles, its limit and how much of the limit it takes.

use std::fmt;

use crate::summary::Summary;

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

    fn cells(&self) -> [String; COLUMNS.len()] {
        let typical = self.value(Statistic::Median);
        let decimals = decimals(typical.or(self.values.into_iter().flatten().next()));
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
fn decimals(value: Option<f64>) -> usize {
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

    /// What a reader must know to read the rows right.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![COLUMNS.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let widths: Vec<usize> = (0..COLUMNS.len())
            .map(|column| {
                let width = |line: &[String; COLUMNS.len()]| line[column].chars().count();
                lines.iter().map(width).max().unwrap_or_default()
            })
            .collect();
        writeln!(f, "{}", self.title)?;
        for line in &lines {
            let mut text = format!("  {:<width$}", line[0], width = widths[0]);
            for (cell, width) in line.iter().zip(&widths).skip(1) {
                text.push_str(&format!("  {cell:>width$}"));
            }
            writeln!(f, "{}", text.trim_end())?;
        }
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
