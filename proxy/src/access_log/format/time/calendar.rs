//! Days, weeks and months of a time, and their names.

use std::{
    fmt::{self, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{Flag, Item};

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
pub(super) struct Civil {
    pub(super) epoch: i64,
    pub(super) nanos: u32,
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    /// From 0.
    day_of_year: i64,
    /// From Sunday.
    weekday: i64,
}

impl Civil {
    pub(super) fn of(time: SystemTime) -> Self {
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

    pub(super) fn item(&self, item: &Item, out: &mut dyn Write) -> fmt::Result {
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
        // There are only names, which the C library has in upper case then, too.
        Flag::UpperCase | Flag::SwapCase => text
            .chars()
            .try_for_each(|char| out.write_char(char.to_ascii_uppercase())),
        _ => out.write_str(text),
    }
}
