//! Durations (`1.5s`) and points in time (RFC 3339).

use prost::Message;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    google::protobuf::{Duration, Timestamp},
    read::{path::Path, walk::Walk},
    tree::Node,
};

/// What protobuf allows: about 10,000 years.
const LONGEST: i64 = 315_576_000_000;

impl Walk {
    pub(super) fn duration(
        &mut self,
        path: Path<'_>,
        node: &Node,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let duration = match node {
            Node::String(text) => duration(text),
            _ => None,
        };
        let Some(duration) = duration else {
            return self.expected(path, "a duration in seconds such as '1.5s'", node);
        };
        out.extend(duration.encode_to_vec());
        Some(())
    }

    pub(super) fn timestamp(
        &mut self,
        path: Path<'_>,
        node: &Node,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let time = match node {
            Node::String(text) => OffsetDateTime::parse(text, &Rfc3339).ok(),
            _ => None,
        };
        let Some(time) = time else {
            return self.expected(path, "a time such as '2026-11-21T08:30:00Z'", node);
        };
        let timestamp = Timestamp {
            seconds: time.unix_timestamp(),
            nanos: time.nanosecond().cast_signed(),
        };
        out.extend(timestamp.encode_to_vec());
        Some(())
    }
}

/// `-?digits[.digits]s`, with up to nine digits behind the point.
fn duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, number),
    };
    let (seconds, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(seconds) || !is_number(fraction) || fraction.len() > 9 {
        return None;
    }
    let seconds: i64 = seconds.parse().ok()?;
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    let longest = seconds == LONGEST && nanos == 0;
    (seconds < LONGEST || longest).then_some(Duration {
        seconds: sign * seconds,
        nanos: i32::try_from(sign).ok()? * nanos,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(i64, i32)>) {
        let found = duration(text).map(|duration| (duration.seconds, duration.nanos));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_duration_has_seconds_and_nanoseconds() {
        check("0s", Some((0, 0)));
        check("1s", Some((1, 0)));
        check("1.5s", Some((1, 500_000_000)));
        check("0.000000001s", Some((0, 1)));
        check("-0.25s", Some((0, -250_000_000)));
        check("-3.5s", Some((-3, -500_000_000)));
        check("315576000000s", Some((LONGEST, 0)));
    }

    #[test]
    fn what_is_no_duration_is_none() {
        for text in [
            "",
            "s",
            "1",
            "1m",
            "1.s",
            ".5s",
            "1.0000000001s",
            "--1s",
            "1 s",
            "+1s",
        ] {
            check(text, None);
        }
        check("315576000000.1s", None);
        check("99999999999999999999s", None);
        check("1e3s", None);
    }
}
