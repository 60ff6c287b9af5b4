//! Amounts of CPU and memory.

use std::str::FromStr;

use super::ValueError;

/// A Kubernetes resource quantity that passed the API server's syntax, such as `100m` or `64Mi`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Quantity(String);

impl Quantity {
    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both name one amount: the API server writes `0.5` back as `500m` and `1024Mi` as
    /// `1Gi`.
    pub fn same_amount(&self, other: &Self) -> bool {
        self == other
            || matches!((self.factors(), other.factors()), (Some(own), Some(others)) if own == others)
    }

    /// The amount as `mantissa · 2^twos · 5^fives` with a mantissa that neither divides, which is
    /// unique; none if the mantissa is beyond any real resource.
    fn factors(&self) -> Option<(u128, i32, i32)> {
        let (number, suffix) = split_quantity(&self.0);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let mut mantissa: u128 = format!("{whole}{fraction}").parse().ok()?;
        if mantissa == 0 {
            return Some((0, 0, 0));
        }
        let (tens, mut twos) = match suffix {
            "n" => (-9, 0),
            "u" => (-6, 0),
            "m" => (-3, 0),
            "k" => (3, 0),
            "M" => (6, 0),
            "G" => (9, 0),
            "T" => (12, 0),
            "P" => (15, 0),
            "E" => (18, 0),
            "Ki" => (0, 10),
            "Mi" => (0, 20),
            "Gi" => (0, 30),
            "Ti" => (0, 40),
            "Pi" => (0, 50),
            "Ei" => (0, 60),
            _ => (suffix.get(1..).and_then(|e| e.parse().ok()).unwrap_or(0), 0),
        };
        let tens = tens - i32::try_from(fraction.len()).ok()?;
        twos += tens;
        let mut fives = tens;
        while mantissa.is_multiple_of(2) {
            mantissa /= 2;
            twos += 1;
        }
        while mantissa.is_multiple_of(5) {
            mantissa /= 5;
            fives += 1;
        }
        Some((mantissa, twos, fives))
    }
}

fn split_quantity(text: &str) -> (&str, &str) {
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    text.split_at(number_end)
}

/// Reads the grammar of `k8s.io/apimachinery/pkg/api/resource.Quantity`, without a sign: a
/// resource cannot be negative.
impl FromStr for Quantity {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (number, suffix) = split_quantity(text);
        let number_fits = number.chars().any(|c| c.is_ascii_digit())
            && number.chars().filter(|c| *c == '.').count() <= 1;
        let suffix_fits = match suffix {
            "" | "n" | "u" | "m" | "k" | "M" | "G" | "T" | "P" | "E" => true,
            "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => true,
            _ => suffix
                .strip_prefix(['e', 'E'])
                .is_some_and(|exponent| exponent.parse::<i16>().is_ok()),
        };
        if number_fits && suffix_fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError(
                "a Kubernetes quantity such as 100m, 0.5, 64Mi or 1Gi is accepted".to_owned(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_follow_kubernetes() {
        for good in [
            "1", "0.5", ".5", "100m", "64Mi", "1Gi", "1e3", "2E", "5n", "1E-2",
        ] {
            assert!(good.parse::<Quantity>().is_ok(), "{good}");
        }
        for bad in ["", "m", "1.2.3", "10mi", "64 Mi", "-1", "1e", "0x10", "1\n"] {
            assert!(bad.parse::<Quantity>().is_err(), "{bad}");
        }
    }

    #[test]
    fn amounts_are_compared_whatever_the_notation() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        for (one, other, same) in [
            ("0.5", "500m", true),
            ("1024Mi", "1Gi", true),
            ("2000m", "2", true),
            ("1e3", "1k", true),
            ("128974848", "123Mi", true),
            ("0", "0Mi", true),
            ("1G", "1Gi", false),
            ("100m", "10m", false),
            ("1M", "1m", false),
        ] {
            assert_eq!(
                quantity(one).same_amount(&quantity(other)),
                same,
                "{one} {other}"
            );
        }
    }
}
