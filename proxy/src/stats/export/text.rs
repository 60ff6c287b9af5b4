//! `name: value`

use std::fmt::Write;

use super::{Buckets, listing::Form, number::general};
use crate::stats::histogram::{Distribution, Merged, QUANTILES, disjoint};

pub(super) struct Text {
    buckets: Buckets,
}

impl Text {
    pub(super) fn new(buckets: Buckets) -> Self {
        Self { buckets }
    }
}

// Writing to a string does not fail.
impl Form for Text {
    fn number(&mut self, page: &mut String, name: &str, value: u64) {
        let _ = writeln!(page, "{name}: {value}");
    }

    fn text(&mut self, page: &mut String, name: &str, value: &str) {
        let escaped = value
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&#39;");
        let _ = writeln!(page, "{name}: \"{escaped}\"");
    }

    fn histogram(&mut self, page: &mut String, name: &str, merged: &Merged, bounds: &[f64]) {
        if merged.cumulative().count() == 0 {
            let _ = writeln!(page, "{name}: No recorded values");
            return;
        }
        let _ = match self.buckets {
            Buckets::Unset | Buckets::Summary => writeln!(page, "{name}: {}", summary(merged)),
            Buckets::Cumulative => {
                writeln!(page, "{name}: {}", buckets(merged, bounds, <[u64]>::to_vec))
            }
            Buckets::Disjoint => {
                writeln!(page, "{name}: {}", buckets(merged, bounds, disjoint))
            }
            Buckets::Detailed => writeln!(
                page,
                "{name}:\n  totals={}\n  intervals={}\n  summary={}",
                bins(merged.cumulative()),
                bins(merged.interval()),
                summary(merged)
            ),
        };
    }
}

/// `P50(1,2)`: of the last interval and since the start.
fn summary(merged: &Merged) -> String {
    let value = |distribution: &Distribution, quantile| match distribution.quantile(quantile) {
        Some(value) => value.to_string(),
        None => "nan".to_owned(),
    };
    let quantiles = QUANTILES.iter().map(|quantile| {
        let interval = value(merged.interval(), *quantile);
        let cumulative = value(merged.cumulative(), *quantile);
        format!("P{}({interval},{cumulative})", general(quantile * 100.0))
    });
    quantiles.collect::<Vec<_>>().join(" ")
}

/// `B5(1,2)`: of the last interval and since the start.
fn buckets(merged: &Merged, bounds: &[f64], form: impl Fn(&[u64]) -> Vec<u64>) -> String {
    let interval = form(&merged.interval().buckets(bounds));
    let cumulative = form(&merged.cumulative().buckets(bounds));
    let counts = interval.iter().zip(&cumulative);
    let buckets = bounds
        .iter()
        .zip(counts)
        .map(|(bound, (interval, cumulative))| {
            format!("B{}({interval},{cumulative})", general(*bound))
        });
    buckets.collect::<Vec<_>>().join(" ")
}

/// `10,2:3`: the lower bound and the width, and how many values there are.
fn bins(distribution: &Distribution) -> String {
    let bins = distribution
        .bins()
        .iter()
        .map(|bin| format!("{},{}:{}", bin.lower_bound, bin.width, bin.count));
    bins.collect::<Vec<_>>().join(", ")
}
