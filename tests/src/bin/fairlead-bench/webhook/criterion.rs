//! What criterion has measured of one review, in the directory that the environment names.

use std::{env, fs, path::Path};

use anyhow::Context;
use serde_json::Value;

use crate::table::{Limit, Row, Statistic, Table};

const DIRECTORY: &str = "FAIRLEAD_BENCH_CRITERION";

/// Each benchmark of the group `review`, and its limit in milliseconds.
const BENCHMARKS: [(&str, f64); 2] = [("ordinary pod", 0.15), ("pod of 100 containers", 5.0)];

/// Adds the benchmarks to the table; none if this was not started by what runs them.
pub(super) fn read(table: &mut Table) -> anyhow::Result<()> {
    let Some(directory) = env::var_os(DIRECTORY) else {
        table.note(format!(
            "{DIRECTORY} is unset: no benchmark of a review alone."
        ));
        return Ok(());
    };
    for (name, limit) in BENCHMARKS {
        let file = Path::new(&directory)
            .join("review")
            .join(name)
            .join("new/sample.json");
        let read = || format!("read {}", file.display());
        let text = fs::read(&file).with_context(read)?;
        let sample: Value = serde_json::from_slice(&text).with_context(read)?;
        let each = milliseconds(&sample).with_context(read)?;
        table.row(
            Row::samples(format!("CPU of deciding and patching, {name}, ms"), each)
                .limit(Statistic::Median, Limit::AtMost(limit)),
        );
    }
    Ok(())
}

/// Of one iteration: each sample is the nanoseconds of several.
fn milliseconds(sample: &Value) -> Option<Vec<f64>> {
    let numbers = |field: &str| -> Option<Vec<f64>> {
        sample
            .get(field)?
            .as_array()?
            .iter()
            .map(Value::as_f64)
            .collect()
    };
    let (iterations, times) = (numbers("iters")?, numbers("times")?);
    let each = times
        .iter()
        .zip(&iterations)
        .map(|(time, iterations)| time / iterations / 1e6);
    Some(each.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn samples_are_divided_by_their_iterations() {
        let sample = json!({ "iters": [2.0, 4.0], "times": [2e6, 8e6] });
        assert_eq!(milliseconds(&sample), Some(vec![1.0, 2.0]));
        assert_eq!(milliseconds(&json!({ "iters": [2.0] })), None);
    }
}
