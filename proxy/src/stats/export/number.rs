//! How bounds are written.

/// With six significant digits, as C's `%g`.
pub(super) fn general(value: f64) -> String {
    let scientific = format!("{value:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        let places = usize::try_from(5 - exponent).unwrap_or(0);
        return trim(&format!("{value:.places$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trim(digits), exponent.abs())
}

/// A number without the zeros at the end of its fraction.
fn trim(number: &str) -> &str {
    if !number.contains('.') {
        return number;
    }
    number.trim_end_matches('0').trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_digits_are_significant() {
        for (value, expected) in [
            (0.5, "0.5"),
            (1.0, "1"),
            (10.0, "10"),
            (600_000.0, "600000"),
            (1_800_000.0, "1.8e+06"),
            (1_234_567.0, "1.23457e+06"),
            (999_999.9, "1e+06"),
            (0.000_25, "0.00025"),
            (0.000_025, "2.5e-05"),
            (99.999_96, "100"),
        ] {
            assert_eq!(general(value), expected);
        }
    }
}
