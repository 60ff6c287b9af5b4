//! Figures that outlive their run: written as JSON, and compared with those of an earlier one.

use std::{fs, path::Path};

use anyhow::Context;
use serde_json::{Value, json};

use crate::{
    align, rig,
    table::{Table, decimals},
};

/// Of less than this share it cannot be told whether it is more than chance.
const WORTH_A_LINE: f64 = 0.02;

/// Writes the figures, and where they were measured.
pub(crate) fn write(file: &Path, tables: &[Table]) -> anyhow::Result<()> {
    let tables: Vec<Value> = tables.iter().map(Table::json).collect();
    let record = json!({ "rig": rig::describe()?.trim(), "tables": tables });
    fs::write(file, format!("{record:#}\n"))
        .with_context(|| format!("write the figures to {}", file.display()))?;
    println!("The figures lie in {}.", file.display());
    Ok(())
}

/// Reads what an earlier run wrote.
pub(crate) fn read(file: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("read the earlier figures {}", file.display()))?;
    let record: Value = serde_json::from_str(&text)
        .with_context(|| format!("read the earlier figures {} as JSON", file.display()))?;
    record["tables"]
        .is_array()
        .then_some(record)
        .with_context(|| {
            format!(
                "{} was not written by this program: it has no tables",
                file.display()
            )
        })
}

/// What has changed since, row by row.
pub(crate) fn compare(before: &Value, tables: &[Table]) -> String {
    let mut lines = vec![["", "before", "now", "change"].map(str::to_owned)];
    let mut alike = 0;
    for table in tables {
        for row in table.rows() {
            let Some(now) = row.typical() else { continue };
            let number = |value: f64| format!("{value:.0$}", decimals(Some(value)));
            let (before, change) = match typical(before, table.title(), row.label()) {
                Some(before) if before != 0.0 => {
                    let change = now / before - 1.0;
                    if change.abs() < WORTH_A_LINE {
                        alike += 1;
                        continue;
                    }
                    (number(before), format!("{:+.0} %", change * 100.0))
                }
                Some(before) => (number(before), String::new()),
                None => (String::new(), "new".to_owned()),
            };
            lines.push([row.label().to_owned(), before, number(now), change]);
        }
    }
    let rig = before["rig"].as_str().unwrap_or("unknown");
    format!(
        "changes since an earlier run, medians\n{}  {alike} figures changed by less than {:.0} %.\n  Before: {rig}\n",
        align::columns(&lines),
        WORTH_A_LINE * 100.0
    )
}

/// The number that [`Row::typical`](crate::table::Row::typical) said then.
fn typical(record: &Value, title: &str, label: &str) -> Option<f64> {
    let find = |array: &Value, key: &str, name: &str| {
        let mut each = array.as_array()?.iter();
        each.find(|value| value[key] == name).cloned()
    };
    let table = find(&record["tables"], "title", title)?;
    let row = find(&table["rows"], "label", label)?;
    ["median", "min", "p90", "p99", "max"]
        .iter()
        .find_map(|statistic| row[*statistic].as_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Row;

    fn table(rows: &[(&str, f64)]) -> Table {
        let mut table = Table::new("title");
        for (label, value) in rows {
            table.row(Row::samples(*label, [*value]));
        }
        table
    }

    #[test]
    fn rows_are_found_by_their_label_and_small_changes_are_counted_alone() {
        let before = table(&[("a, µs", 100.0), ("b", 2.0), ("gone", 1.0)]);
        let before = json!({ "rig": "a machine", "tables": [before.json()] });
        let now = table(&[("a, µs", 80.0), ("b", 2.01), ("c", 0.5)]);
        let expected = "\
changes since an earlier run, medians
         before   now  change
  a, µs     100  80.0   -20 %
  c              0.50     new
  1 figures changed by less than 2 %.
  Before: a machine
";
        assert_eq!(compare(&before, &[now]), expected);
    }

    #[test]
    fn a_table_of_another_title_has_none_of_the_figures() {
        let before = json!({ "tables": [table(&[("a", 1.0)]).json()] });
        assert_eq!(typical(&before, "title", "a"), Some(1.0));
        assert_eq!(typical(&before, "other", "a"), None);
    }
}
