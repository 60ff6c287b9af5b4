//! Durations as Istio's configuration and Go write them, and as ours does.

use std::time::Duration;

use crate::values::ValueError;

/// Reads numbers with units, such as `5s`, `1.5s`, `1m30s` or `1m 30s`.
///
/// # Errors
/// It is something else, or longer than can be counted.
pub(super) fn parse(text: &str) -> Result<Duration, ValueError> {
    total(text)
        .ok_or_else(|| ValueError::new("a duration such as 5s, 1.5s, 500ms or 1m30s is accepted"))
}

fn total(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = (!rest.is_empty()).then_some(Duration::ZERO)?;
    if rest == "0" {
        return Some(total);
    }
    while !rest.is_empty() {
        let number = rest.find(|sign: char| !(sign.is_ascii_digit() || sign == '.'))?;
        let (number, tail) = rest.split_at(number);
        let unit = tail.find(|sign: char| !sign.is_alphabetic());
        let (unit, tail) = tail.split_at(unit.unwrap_or(tail.len()));
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        let part = Duration::try_from_secs_f64(number * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = tail.trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_the_forms_of_istio_and_of_go() {
        for (text, milliseconds) in [
            ("5s", Some(5000)),
            ("1.5s", Some(1500)),
            ("0s", Some(0)),
            ("0", Some(0)),
            ("250ms", Some(250)),
            ("1m30s", Some(90_000)),
            ("1m 30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("5 parsecs", None),
            ("1e9s", None),
            ("1.2.3s", None),
            ("99999999999999999999h", None),
            ("", None),
        ] {
            let parsed = parse(text).ok();
            assert_eq!(parsed, milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
