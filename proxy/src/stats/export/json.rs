//! `{"stats":[{"name":…,"value":…},…,{"histograms":…}]}`

use std::fmt::Write;

use serde_json::{Value, json};

use super::{Buckets, listing::Form};
use crate::stats::histogram::{Bin, Distribution, Merged, QUANTILES, disjoint};

/// The quantiles, as they are listed.
const PERCENTS: &str = "[0,25,50,75,90,95,99,99.5,99.9,100]";

pub(super) struct Json {
    buckets: Buckets,
    /// Whether an element stands before the next one.
    any: bool,
    /// Whether the element of the histograms is begun.
    histograms: bool,
}

impl Json {
    pub(super) fn new(buckets: Buckets) -> Self {
        Self {
            buckets,
            any: false,
            histograms: false,
        }
    }

    fn separate(&mut self, page: &mut String) {
        if self.any {
            page.push(',');
        }
        self.any = true;
    }

    fn element(&mut self, page: &mut String, name: &str, value: impl Into<Value>) {
        self.separate(page);
        let (name, value) = (Value::from(name), value.into());
        // Writing to a string does not fail.
        let _ = write!(page, r#"{{"name":{name},"value":{value}}}"#);
    }

    /// What stands before the first histogram.
    fn open(&self) -> String {
        match self.buckets {
            Buckets::Unset | Buckets::Summary => format!(
                r#"{{"histograms":{{"supported_quantiles":{PERCENTS},"computed_quantiles":["#
            ),
            Buckets::Detailed => {
                format!(r#"{{"histograms":{{"supported_percentiles":{PERCENTS},"details":["#)
            }
            Buckets::Cumulative | Buckets::Disjoint => r#"{"histograms":["#.to_owned(),
        }
    }

    /// What stands after the last one.
    fn close(&self) -> &'static str {
        match self.buckets {
            Buckets::Unset | Buckets::Summary | Buckets::Detailed => "]}}",
            Buckets::Cumulative | Buckets::Disjoint => "]}",
        }
    }
}

impl Form for Json {
    fn begin(&mut self, page: &mut String) {
        page.push_str(r#"{"stats":["#);
    }

    fn number(&mut self, page: &mut String, name: &str, value: u64) {
        self.element(page, name, value);
    }

    fn text(&mut self, page: &mut String, name: &str, value: &str) {
        self.element(page, name, value);
    }

    fn histogram(&mut self, page: &mut String, name: &str, merged: &Merged, bounds: &[f64]) {
        if self.histograms {
            page.push(',');
        } else {
            self.separate(page);
            self.histograms = true;
            page.push_str(&self.open());
        }
        let name = Value::from(name);
        // Written in this order, while an object of serde's is sorted by name.
        let _ = match self.buckets {
            Buckets::Unset | Buckets::Summary => {
                let values = list(quantiles(merged));
                write!(page, r#"{{"name":{name},"values":{values}}}"#)
            }
            Buckets::Detailed => {
                let totals = list(bins(merged.cumulative()));
                let intervals = list(bins(merged.interval()));
                let percentiles = list(quantiles(merged));
                write!(
                    page,
                    r#"{{"name":{name},"totals":{totals},"intervals":{intervals},"percentiles":{percentiles}}}"#
                )
            }
            Buckets::Cumulative => {
                let buckets = list(buckets(merged, bounds, <[u64]>::to_vec));
                write!(page, r#"{{"name":{name},"buckets":{buckets}}}"#)
            }
            Buckets::Disjoint => {
                let buckets = list(buckets(merged, bounds, disjoint));
                write!(page, r#"{{"name":{name},"buckets":{buckets}}}"#)
            }
        };
    }

    fn end(&mut self, page: &mut String) {
        if self.histograms {
            page.push_str(self.close());
        }
        page.push_str("]}");
    }
}

fn list(elements: impl Iterator<Item = String>) -> String {
    format!("[{}]", elements.collect::<Vec<_>>().join(","))
}

fn quantiles(merged: &Merged) -> impl Iterator<Item = String> {
    QUANTILES.iter().map(|quantile| {
        let cumulative = json!(merged.cumulative().quantile(*quantile));
        let interval = json!(merged.interval().quantile(*quantile));
        format!(r#"{{"cumulative":{cumulative},"interval":{interval}}}"#)
    })
}

fn bins(distribution: &Distribution) -> impl Iterator<Item = String> {
    distribution.bins().iter().map(|bin| {
        let Bin {
            lower_bound,
            width,
            count,
        } = bin;
        format!(r#"{{"lower_bound":{lower_bound},"width":{width},"count":{count}}}"#)
    })
}

fn buckets(
    merged: &Merged,
    bounds: &[f64],
    form: impl Fn(&[u64]) -> Vec<u64>,
) -> impl Iterator<Item = String> {
    let interval = form(&merged.interval().buckets(bounds));
    let cumulative = form(&merged.cumulative().buckets(bounds));
    let counts = interval.into_iter().zip(cumulative);
    bounds
        .iter()
        .zip(counts)
        .map(|(bound, (interval, cumulative))| {
            format!(r#"{{"upper_bound":{bound},"interval":{interval},"cumulative":{cumulative}}}"#)
        })
}
