//! Durations (`0.250s`) and points in time, with three, six or nine digits behind the point.

use std::fmt;

use time::OffsetDateTime;

use crate::google::protobuf::{Duration, Timestamp};

/// A duration as proto3 JSON has it.
pub(super) struct Seconds(pub(super) Duration);

/// A point in time, in UTC.
pub(super) struct Instant(pub(super) Timestamp);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Duration { seconds, nanos } = self.0;
        let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
        write!(f, "{sign}{}", seconds.unsigned_abs())?;
        fraction(f, nanos.unsigned_abs())?;
        f.write_str("s")
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What lies beyond the years of four digits has no form.
        let time = OffsetDateTime::from_unix_timestamp(self.0.seconds);
        let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second) = time.to_hms();
        let month = u8::from(month);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        fraction(f, self.0.nanos.unsigned_abs())?;
        f.write_str("Z")
    }
}

fn fraction(f: &mut fmt::Formatter<'_>, nanos: u32) -> fmt::Result {
    match nanos {
        0 => Ok(()),
        _ if nanos.is_multiple_of(1_000_000) => write!(f, ".{:03}", nanos / 1_000_000),
        _ if nanos.is_multiple_of(1_000) => write!(f, ".{:06}", nanos / 1_000),
        _ => write!(f, ".{nanos:09}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_has_three_six_or_nine_digits() {
        let check = |seconds, nanos, expected: &str| {
            assert_eq!(Seconds(Duration { seconds, nanos }).to_string(), expected);
        };
        check(0, 0, "0s");
        check(0, 250_000_000, "0.250s");
        check(1, 500, "1.000000500s");
        check(1, 5_000, "1.000005s");
        check(0, -500_000_000, "-0.500s");
        check(-3, 0, "-3s");
    }

    #[test]
    fn a_point_in_time_is_utc() {
        let check = |seconds, nanos, expected: &str| {
            assert_eq!(Instant(Timestamp { seconds, nanos }).to_string(), expected);
        };
        check(0, 0, "1970-01-01T00:00:00Z");
        check(1_795_249_800, 1_000_000, "2026-11-21T08:30:00.001Z");
        check(-1, 0, "1969-12-31T23:59:59Z");
    }
}
