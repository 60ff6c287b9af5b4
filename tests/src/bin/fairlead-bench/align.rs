//! Text in columns.

/// Lines whose first cell is set to the left and the others to the right, indented by two spaces.
pub(crate) fn columns<const N: usize>(lines: &[[String; N]]) -> String {
    let widths: Vec<usize> = (0..N)
        .map(|column| {
            let width = |line: &[String; N]| line[column].chars().count();
            lines.iter().map(width).max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let mut shown = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            shown.push_str(&if column == 0 {
                format!("  {cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            });
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_cell_makes_the_column_in_characters_not_bytes() {
        let lines = [["", "µs"], ["label", "1"], ["l", "100"]];
        let text = columns(&lines.map(|line| line.map(str::to_owned)));
        assert_eq!(text, "          µs\n  label    1\n  l      100\n");
    }
}
