//! Floating-point numbers as protobuf prints them: the shortest digits that name the number.

use std::fmt;

/// `1`, `0.25`, `1e+20`; in quotes what JSON has no number for.
pub(super) struct Number(pub(super) f64);

/// The same of a float, whose shortest digits are fewer.
pub(super) struct SingleNumber(pub(super) f32);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_finite() => digits(f, &format!("{value:e}"), 15),
            value => special(f, value),
        }
    }
}

impl fmt::Display for SingleNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value.is_finite() => digits(f, &format!("{value:e}"), 6),
            value => special(f, value.into()),
        }
    }
}

fn special(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    f.write_str(match value {
        f64::INFINITY => "\"Infinity\"",
        f64::NEG_INFINITY => "\"-Infinity\"",
        _ => "\"NaN\"",
    })
}

/// The rule of `%g`: an exponent where the plain form would be longer than the precision.
fn digits(f: &mut fmt::Formatter<'_>, scientific: &str, precision: usize) -> fmt::Result {
    let (mantissa, exponent) = scientific
        .split_once('e')
        .expect("the form has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    let precision = digits.len().max(precision);
    let Ok(whole) = usize::try_from(exponent) else {
        if exponent < -4 {
            return write!(f, "{sign}{mantissa}e-{:02}", -exponent);
        }
        let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
        return write!(f, "{sign}0.{}{digits}", "0".repeat(zeros));
    };
    if whole >= precision {
        return write!(f, "{sign}{mantissa}e+{whole:02}");
    }
    match digits.split_at_checked(whole + 1) {
        Some((whole, "")) => write!(f, "{sign}{whole}"),
        Some((whole, fraction)) => write!(f, "{sign}{whole}.{fraction}"),
        None => write!(f, "{sign}{digits}{}", "0".repeat(whole + 1 - digits.len())),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(value: f64, expected: &str) {
        assert_eq!(Number(value).to_string(), expected);
    }

    #[test]
    fn a_number_has_the_fewest_digits() {
        check(0.0, "0");
        check(-0.0, "-0");
        check(1.0, "1");
        check(100.0, "100");
        check(-12.5, "-12.5");
        check(0.25, "0.25");
        check(0.0001, "0.0001");
        check(0.00001, "1e-05");
        check(1e14, "100000000000000");
        check(1e15, "1e+15");
        check(1.5e300, "1.5e+300");
        check(0.1 + 0.2, "0.30000000000000004");
        check(4_294_967_295.0, "4294967295");
        check(f64::NAN, "\"NaN\"");
        check(f64::NEG_INFINITY, "\"-Infinity\"");
        assert_eq!(SingleNumber(0.1).to_string(), "0.1");
        assert_eq!(SingleNumber(16_777_216.0).to_string(), "16777216");
        assert_eq!(SingleNumber(1e6).to_string(), "1e+06");
    }

    proptest! {
        #[test]
        fn a_number_is_read_again_as_itself(bits: u64, single: f32) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                prop_assert_eq!(Number(value).to_string().parse(), Ok(value));
            }
            if single.is_finite() {
                prop_assert_eq!(SingleNumber(single).to_string().parse(), Ok(single));
            }
        }
    }
}
