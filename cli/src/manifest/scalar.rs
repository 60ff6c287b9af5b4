//! What an unquoted word means in YAML.
//!
//! kubectl reads YAML 1.1 with exceptions: `yes` is a boolean, `0644` is octal, `1_000` is a number,
//! a date is text. Whatever is written anew has to mean to it what was read, so these are its rules.

use serde_json::{Number, Value};

/// The value of an unquoted word; none for a number that JSON cannot hold.
pub(super) fn resolve(word: &str) -> Option<Value> {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Some(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Some(Value::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => return None,
        _ => {}
    }
    let first = word.as_bytes()[0];
    let number = match first {
        b'.' => float(word),
        b'0'..=b'9' | b'+' | b'-' => {
            let digits = word.replace('_', "");
            integer(&digits).or_else(|| float(&digits))
        }
        _ => None,
    };
    Some(number.map_or_else(|| Value::String(word.to_owned()), Value::Number))
}

fn integer(word: &str) -> Option<Number> {
    let (negative, digits) = match word.as_bytes().first()? {
        b'-' => (true, &word[1..]),
        b'+' => (false, &word[1..]),
        _ => (false, word),
    };
    let signed = digits.len() < word.len();
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(digits) = lower.strip_prefix("0x") {
        (16, digits)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (8, digits)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (2, digits)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..])
    } else {
        (10, lower.as_str())
    };
    // Rust's parser would take a second sign.
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    match (i64::try_from(value), u64::try_from(value)) {
        (Ok(value), _) => Some(value.into()),
        (_, Ok(value)) if !signed => Some(value.into()),
        _ => None,
    }
}

fn float(word: &str) -> Option<Number> {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let is_number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = is_number(whole) && is_number(fraction);
    let enough = !whole.is_empty() || !fraction.is_empty();
    let exponent = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && is_number(exponent)
    });
    if !(digits && enough && exponent) {
        return None;
    }
    let value: f64 = word.parse().ok()?;
    // A field that takes whole numbers takes no 1000.0, which is what 1e3 would be written as.
    if value.fract() == 0.0 && value.abs() < 1e15 {
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
        return Some((value as i64).into());
    }
    Number::from_f64(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(word: &str, expected: impl Into<Value>) {
        assert_eq!(resolve(word), Some(expected.into()), "{word}");
    }

    #[test]
    fn words_of_yaml_1_1_are_booleans_and_null() {
        for word in ["yes", "On", "true", "TRUE", "y"] {
            check(word, true);
        }
        for word in ["no", "Off", "False", "n"] {
            check(word, false);
        }
        for word in ["", "~", "null", "NULL"] {
            check(word, Value::Null);
        }
        for word in ["yEs", "tRUE", "none", "nULL", "o"] {
            check(word, word);
        }
    }

    #[test]
    fn integers_have_four_bases_and_underscores() {
        for (word, value) in [
            ("0", 0),
            ("-0", 0),
            ("+7", 7),
            ("0644", 420),
            ("00", 0),
            ("0o17", 15),
            ("0x1F", 31),
            ("-0x1f", -31),
            ("0b101", 5),
            ("1_000", 1000),
            ("08", 8),
            ("1e3", 1000),
            ("9223372036854775807", i64::MAX),
        ] {
            check(word, value);
        }
        check("18446744073709551615", u64::MAX);
    }

    #[test]
    fn floats_are_those_of_json_and_some_more() {
        for (word, value) in [
            ("0.5", 0.5),
            (".5", 0.5),
            ("-1.5e-3", -0.0015),
            ("+.25", 0.25),
        ] {
            check(word, value);
        }
        check("2.", 2);
        check("18446744073709551616", json!(18446744073709551616.0));
        for word in [".nan", "-.inf", ".Inf"] {
            assert_eq!(resolve(word), None, "{word}");
        }
    }

    #[test]
    fn other_words_are_text() {
        for word in [
            "2026-01-02",
            "10.0.0.1",
            "1.2.3",
            "12:30",
            "100m",
            "1Gi",
            "0x",
            "0xg",
            "0b2",
            "-",
            "+",
            ".",
            "..",
            "1e",
            "e1",
            "--1",
            "1e400",
            "_1",
            "<<",
            "=",
            "a",
            "-a",
        ] {
            check(word, word);
        }
    }
}
