//! Points in time, as `strftime` prints them, and with fractions of a second.

use std::{
    fmt::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How a time is printed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum TimeFormat {
    /// `2026-11-21T22:28:23.487Z`
    Default,
    /// As asked for.
    Items(Box<[Item]>),
}

/// A part of a printed time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Item {
    Literal(Box<str>),
    /// Seconds since 1970.
    Epoch,
    /// So many digits of the fraction of the second; all but trailing zeroes for 0.
    Fraction(u8),
    /// The second with so many digits of its fraction; all but trailing zeroes for 0.
    Second(u8),
    /// The difference to universal time with colons, and with seconds.
    Zone {
        seconds: bool,
    },
    /// A conversion of `strftime`.
    Conversion {
        flag: Flag,
        letter: u8,
    },
}

/// A flag of a conversion, as the C library of GNU has them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flag {
    None,
    NoPadding,
    Spaces,
    Zeroes,
    UpperCase,
    SwapCase,
}

/// The format is one line, and so has to be the time.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct HasNewLine;

const LETTERS: &[u8] = b"aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ%";

impl TimeFormat {
    /// What `%START_TIME_LOCAL%` has for a default.
    pub(super) const LOCAL: &str = "%Y-%m-%dT%H:%M:%E3S%z";

    /// The default for no format.
    pub(super) fn parse(format: &str) -> Result<Self, HasNewLine> {
        if format.is_empty() {
            return Ok(Self::Default);
        }
        let mut items = Vec::new();
        let mut literal = String::new();
        let mut rest = format;
        while let Some(first) = rest.chars().next() {
            let found = rest.strip_prefix('%').and_then(item);
            let length = found
                .as_ref()
                .map_or(first.len_utf8(), |(_, length)| 1 + length);
            match found {
                Some((Item::Conversion { letter: b'n', .. }, _)) => return Err(HasNewLine),
                Some((Item::Conversion { letter: b'%', .. }, _)) => literal.push('%'),
                Some((Item::Conversion { letter: b't', .. }, _)) => literal.push('\t'),
                Some((Item::Conversion { letter: b's', .. }, _)) => {
                    end(&mut literal, &mut items);
                    items.push(Item::Epoch);
                }
                Some((item, _)) => {
                    end(&mut literal, &mut items);
                    items.push(item);
                }
                None => literal.push(first),
            }
            rest = &rest[length..];
        }
        end(&mut literal, &mut items);
        Ok(Self::Items(items.into()))
    }

    /// Prints the time.
    pub(super) fn write(&self, time: SystemTime, out: &mut dyn Write) -> fmt::Result {
        let civil = Civil::of(time);
        match self {
            Self::Default => write!(
                out,
                "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
                civil.year,
                civil.month,
                civil.day,
                civil.hour,
                civil.minute,
                civil.second,
                civil.nanos / 1_000_000,
            ),
            Self::Items(items) => items.iter().try_for_each(|item| civil.item(item, out)),
        }
    }
}

fn end(literal: &mut String, items: &mut Vec<Item>) {
    if !literal.is_empty() {
        items.push(Item::Literal(std::mem::take(literal).into()));
    }
}

/// The conversion that the text after a percent sign begins with, and how long it is.
fn item(text: &str) -> Option<(Item, usize)> {
    let bytes = text.as_bytes();
    let conversion = |flag, letter: u8, length| {
        let known = LETTERS.contains(&letter);
        known.then_some((Item::Conversion { flag, letter }, length))
    };
    match bytes {
        [b'f', ..] => Some((Item::Fraction(9), 1)),
        [digits @ b'1'..=b'9', b'f', ..] => Some((Item::Fraction(digits - b'0'), 2)),
        [b'E', b'*', b'S', ..] => Some((Item::Second(0), 3)),
        [b'E', b'*', b'f', ..] => Some((Item::Fraction(0), 3)),
        [b'E', b'*', b'z', ..] => Some((Item::Zone { seconds: true }, 3)),
        [b'E', b'z', ..] => Some((Item::Zone { seconds: false }, 2)),
        [b'E', digits @ b'1'..=b'9', b'S', ..] => Some((Item::Second(digits - b'0'), 3)),
        [b'E', digits @ b'1'..=b'9', b'f', ..] => Some((Item::Fraction(digits - b'0'), 3)),
        [b'E', b'4', b'Y', ..] => conversion(Flag::None, b'Y', 3),
        [b'E', b'T', ..] => Some((Item::Literal("T".into()), 2)),
        // Other calendars and digits: those of the C locale are the common ones.
        [b'E' | b'O', letter, ..] => conversion(Flag::None, *letter, 2),
        [flag @ (b'-' | b'_' | b'0' | b'^' | b'#'), letter, ..] => {
            let flag = match flag {
                b'-' => Flag::NoPadding,
                b'_' => Flag::Spaces,
                b'0' => Flag::Zeroes,
                b'^' => Flag::UpperCase,
                _ => Flag::SwapCase,
            };
            conversion(flag, *letter, 2)
        }
        [letter, ..] => conversion(Flag::None, *letter, 1),
        [] => None,
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

const DAY: i64 = 24 * 60 * 60;

/// A time in the Gregorian calendar and in universal time.
struct Civil {
    epoch: i64,
    nanos: u32,
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    /// From 0.
    day_of_year: i64,
    /// From Sunday.
    weekday: i64,
}

impl Civil {
    fn of(time: SystemTime) -> Self {
        let (epoch, nanos) = since_epoch(time);
        let days = epoch.div_euclid(DAY);
        let second_of_day = epoch.rem_euclid(DAY);
        // Years begin in March here, so that the leap day is the last of its year; 400 years are
        // one period of the calendar.
        let since_march = days + 719_468;
        let period = since_march.div_euclid(146_097);
        let day_of_period = since_march.rem_euclid(146_097);
        let year_of_period = (day_of_period - day_of_period / 1_460 + day_of_period / 36_524
            - day_of_period / 146_096)
            / 365;
        let day_of_march_year =
            day_of_period - (365 * year_of_period + year_of_period / 4 - year_of_period / 100);
        let march_month = (5 * day_of_march_year + 2) / 153;
        let day = day_of_march_year - (153 * march_month + 2) / 5 + 1;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        let year = period * 400 + year_of_period + i64::from(month <= 2);
        let leap = i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
        // The first of March is day 59 of a common year.
        let day_of_year = if month > 2 {
            day_of_march_year + 59 + leap
        } else {
            day_of_march_year - 306
        };
        Self {
            epoch,
            nanos,
            year,
            month,
            day,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            day_of_year,
            weekday: (days + 4).rem_euclid(7),
        }
    }

    fn item(&self, item: &Item, out: &mut dyn Write) -> fmt::Result {
        match item {
            Item::Literal(text) => out.write_str(text),
            Item::Epoch => write!(out, "{}", self.epoch),
            Item::Fraction(digits) => self.fraction(*digits, "", out),
            Item::Second(digits) => {
                write!(out, "{:02}", self.second)?;
                self.fraction(*digits, ".", out)
            }
            Item::Zone { seconds: true } => out.write_str("+00:00:00"),
            Item::Zone { seconds: false } => out.write_str("+00:00"),
            Item::Conversion { flag, letter } => self.conversion(*flag, *letter, out),
        }
    }

    fn fraction(&self, digits: u8, sign: &str, out: &mut dyn Write) -> fmt::Result {
        let (mut digits, mut value) = (u32::from(digits), self.nanos);
        if digits == 0 {
            digits = 9;
            while digits > 0 && value.is_multiple_of(10) {
                digits -= 1;
                value /= 10;
            }
            if digits == 0 {
                return if sign.is_empty() {
                    out.write_str("0")
                } else {
                    Ok(())
                };
            }
        } else {
            value /= 10_u32.pow(9 - digits.min(9));
        }
        write!(out, "{sign}{value:0width$}", width = digits as usize)
    }

    fn conversion(&self, flag: Flag, letter: u8, out: &mut dyn Write) -> fmt::Result {
        let month = MONTHS[(self.month - 1) as usize];
        let weekday = DAYS[self.weekday as usize];
        let hour = if self.hour % 12 == 0 {
            12
        } else {
            self.hour % 12
        };
        let half = if self.hour < 12 {
            ("AM", "am")
        } else {
            ("PM", "pm")
        };
        let plain = |letter| (Flag::None, letter);
        let combined = |parts: &[(Flag, u8)], between: &str, out: &mut dyn Write| {
            for (index, (flag, letter)) in parts.iter().enumerate() {
                if index > 0 {
                    out.write_str(between)?;
                }
                self.conversion(*flag, *letter, out)?;
            }
            Ok(())
        };
        match letter {
            b'a' => words(&weekday[..3], flag, out),
            b'A' => words(weekday, flag, out),
            b'b' | b'h' => words(&month[..3], flag, out),
            b'B' => words(month, flag, out),
            b'c' => combined(
                &[
                    plain(b'a'),
                    plain(b'b'),
                    plain(b'e'),
                    plain(b'T'),
                    plain(b'Y'),
                ],
                " ",
                out,
            ),
            b'C' => number(self.year.div_euclid(100), 2, '0', flag, out),
            b'd' => number(self.day, 2, '0', flag, out),
            b'D' | b'x' => combined(&[plain(b'm'), plain(b'd'), plain(b'y')], "/", out),
            b'e' => number(self.day, 2, ' ', flag, out),
            b'F' => combined(&[plain(b'Y'), plain(b'm'), plain(b'd')], "-", out),
            b'g' => number(self.week().0.rem_euclid(100), 2, '0', flag, out),
            b'G' => number(self.week().0, 1, '0', flag, out),
            b'H' => number(self.hour, 2, '0', flag, out),
            b'I' => number(hour, 2, '0', flag, out),
            b'j' => number(self.day_of_year + 1, 3, '0', flag, out),
            b'k' => number(self.hour, 2, ' ', flag, out),
            b'l' => number(hour, 2, ' ', flag, out),
            b'm' => number(self.month, 2, '0', flag, out),
            b'M' => number(self.minute, 2, '0', flag, out),
            b'p' if flag == Flag::SwapCase => out.write_str(half.1),
            b'p' => out.write_str(half.0),
            b'P' if flag == Flag::UpperCase => out.write_str(half.0),
            b'P' => out.write_str(half.1),
            b'r' => {
                combined(&[plain(b'I'), plain(b'M'), plain(b'S')], ":", out)?;
                write!(out, " {}", half.0)
            }
            b'R' => combined(&[plain(b'H'), plain(b'M')], ":", out),
            b'S' => number(self.second, 2, '0', flag, out),
            b'T' | b'X' => combined(&[plain(b'H'), plain(b'M'), plain(b'S')], ":", out),
            b'u' => number((self.weekday + 6) % 7 + 1, 1, '0', flag, out),
            b'U' => number((self.day_of_year + 7 - self.weekday) / 7, 2, '0', flag, out),
            b'V' => number(self.week().1, 2, '0', flag, out),
            b'w' => number(self.weekday, 1, '0', flag, out),
            b'W' => {
                let since_monday = (self.weekday + 6) % 7;
                number((self.day_of_year + 7 - since_monday) / 7, 2, '0', flag, out)
            }
            b'y' => number(self.year.rem_euclid(100), 2, '0', flag, out),
            b'Y' => number(self.year, 1, '0', flag, out),
            b'z' => out.write_str("+0000"),
            _ => words("UTC", flag, out),
        }
    }

    /// The year that the week belongs to, and the week's number, as ISO 8601 counts them.
    fn week(&self) -> (i64, i64) {
        let since_monday = (self.weekday + 6) % 7;
        // A week belongs to the year that its Thursday is in.
        let thursday = self.day_of_year - since_monday + 3;
        let length =
            |year: i64| 365 + i64::from(year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
        if thursday < 0 {
            (self.year - 1, (thursday + length(self.year - 1)) / 7 + 1)
        } else if thursday >= length(self.year) {
            (self.year + 1, (thursday - length(self.year)) / 7 + 1)
        } else {
            (self.year, thursday / 7 + 1)
        }
    }
}

fn since_epoch(time: SystemTime) -> (i64, u32) {
    let whole = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 2);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => (whole(after), after.subsec_nanos()),
        Err(error) => {
            let before = error.duration();
            match before.subsec_nanos() {
                0 => (-whole(before), 0),
                nanos => (-whole(before) - 1, 1_000_000_000 - nanos),
            }
        }
    }
}

fn number(value: i64, width: usize, padding: char, flag: Flag, out: &mut dyn Write) -> fmt::Result {
    match (flag, padding) {
        (Flag::NoPadding, _) => write!(out, "{value}"),
        (Flag::Spaces, _) | (Flag::None | Flag::UpperCase | Flag::SwapCase, ' ') => {
            write!(out, "{value:width$}")
        }
        _ => write!(out, "{value:0width$}"),
    }
}

fn words(text: &str, flag: Flag, out: &mut dyn Write) -> fmt::Result {
    match flag {
        Flag::UpperCase => text
            .chars()
            .try_for_each(|char| out.write_char(char.to_ascii_uppercase())),
        Flag::SwapCase => text
            .chars()
            .try_for_each(|char| out.write_char(char.to_ascii_uppercase())),
        _ => out.write_str(text),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(epoch: i64, nanos: u32) -> SystemTime {
        let whole = Duration::from_secs(epoch.unsigned_abs());
        let time = if epoch < 0 {
            UNIX_EPOCH - whole
        } else {
            UNIX_EPOCH + whole
        };
        time + Duration::from_nanos(nanos.into())
    }

    #[track_caller]
    fn check(time: SystemTime, format: &str, expected: &str) {
        let mut out = String::new();
        TimeFormat::parse(format)
            .unwrap()
            .write(time, &mut out)
            .unwrap();
        assert_eq!(out, expected, "{format}");
    }

    #[test]
    fn each_conversion_prints_what_envoy_prints() {
        let time = at(1_795_300_103, 487_688_000);
        for (format, expected) in [
            ("", "2026-11-21T22:28:23.487Z"),
            (TimeFormat::LOCAL, "2026-11-21T22:28:23.487+0000"),
            ("%s.%3f", "1795300103.487"),
            ("%f", "487688000"),
            ("%1f|%6f|%9f", "4|487688|487688000"),
            ("%Y/%m/%dT%H:%M:%S%z", "2026/11/21T22:28:23+0000"),
            ("%a|%A|%b|%B|%h", "Sat|Saturday|Nov|November|Nov"),
            ("%c", "Sat Nov 21 22:28:23 2026"),
            ("%C|%d|%D|%e|%F", "20|21|11/21/26|21|2026-11-21"),
            ("%g|%G|%H|%I|%j|%k|%l", "26|2026|22|10|325|22|10"),
            ("%m|%M|%p|%P|%r|%R", "11|28|PM|pm|10:28:23 PM|22:28"),
            ("%S|%T|%u|%U|%V|%w|%W", "23|22:28:23|6|46|47|6|46"),
            (
                "%x|%X|%y|%Y|%z|%Z|%%|%t|",
                "11/21/26|22:28:23|26|2026|+0000|UTC|%|\t|",
            ),
            (
                "%E3S|%E*S|%Ez|%E*z|%E4Y",
                "23.487|23.487688|+00:00|+00:00:00|2026",
            ),
            ("%E2f|%E*f|%ET", "48|487688|T"),
            ("%-d|%_d|%0e|%^a|%#p", "21|21|21|SAT|pm"),
            ("%q|%Q|%L|%0f|%3|%10f|é%", "%q|%Q|%L|%0f|%3|%10f|é%"),
            ("abc", "abc"),
        ] {
            check(time, format, expected);
        }
    }

    #[test]
    fn days_are_found_in_the_calendar() {
        for (epoch, expected) in [
            (0, "1970-01-01 00:00:00 001 4 1970-W01"),
            (951_782_399, "2000-02-28 23:59:59 059 1 2000-W09"),
            (951_782_400, "2000-02-29 00:00:00 060 2 2000-W09"),
            (4_107_542_400, "2100-03-01 00:00:00 060 1 2100-W09"),
            (1_609_459_200, "2021-01-01 00:00:00 001 5 2020-W53"),
            (1_735_603_200, "2024-12-31 00:00:00 366 2 2025-W01"),
            (-1, "1969-12-31 23:59:59 365 3 1970-W01"),
            (-2_208_988_800, "1900-01-01 00:00:00 001 1 1900-W01"),
        ] {
            check(at(epoch, 0), "%F %T %j %w %G-W%V", expected);
        }
    }

    #[test]
    fn whole_seconds_have_no_fraction_unless_asked_for() {
        check(at(1, 0), "%E*S|%E*f|%E3S", "01|0|01.000");
    }

    #[test]
    fn a_line_end_is_refused() {
        for format in ["%n", "a%n", "%En", "%_n", "%^n"] {
            assert_eq!(TimeFormat::parse(format), Err(HasNewLine), "{format}");
        }
    }

    proptest! {
        #[test]
        fn no_format_and_no_time_is_too_strange(
            format in any::<String>(),
            conversion in "(%[-_0^#EO0-9*]{0,3}[a-zA-Z%]){0,4}",
            epoch in -10_000_000_000_000_i64..10_000_000_000_000,
            nanos in 0_u32..1_000_000_000,
        ) {
            for format in [format, conversion] {
                if let Ok(format) = TimeFormat::parse(&format) {
                    format.write(at(epoch, nanos), &mut String::new()).unwrap();
                }
            }
        }
    }
}
