//! Points in time, as `strftime` prints them, and with fractions of a second.

mod calendar;

use std::{
    fmt::{self, Write},
    time::SystemTime,
};

use self::calendar::Civil;

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

#[cfg(test)]
mod tests;
