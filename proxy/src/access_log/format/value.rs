//! What a command yields, and how it is written: into text, into a JSON string, or as JSON.

use std::{
    fmt::{self, Display, Write},
    net::{IpAddr, SocketAddr},
    time::SystemTime,
};

use serde_json::Value as Json;

use super::time::TimeFormat;
use crate::ending::ResponseFlags;

/// What a command yields. Nearly all borrow or are numbers, so that a line costs no allocation but
/// its own.
#[derive(Debug)]
pub(super) enum Value<'a> {
    /// Nothing: `-`, and null in JSON.
    Absent,
    Text(&'a str),
    /// What a peer or an error says: may have quotation marks and line ends.
    Words(&'a str),
    Owned(String),
    Number(u128),
    Address(SocketAddr),
    Ip(IpAddr),
    Network(IpAddr, u8),
    Time(SystemTime, &'a TimeFormat),
    Flags(ResponseFlags),
    LongFlags(ResponseFlags),
    /// A number that identifies something anywhere, as a UUID.
    Uuid(u128),
    Json(&'a Json),
    /// JSON, texts in quotation marks wherever they stand.
    Typed(&'a Json),
}

impl Value<'_> {
    pub(super) fn is_absent(&self) -> bool {
        matches!(
            self,
            Self::Absent | Self::Json(Json::Null) | Self::Typed(Json::Null)
        )
    }

    /// Whether JSON has it in quotation marks.
    pub(super) fn is_text(&self) -> bool {
        match self {
            Self::Absent | Self::Number(_) | Self::Typed(_) => false,
            Self::Json(json) => json.is_string(),
            _ => true,
        }
    }

    /// Whether there is nothing to be read.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) | Self::Words(text) => text.is_empty(),
            Self::Owned(text) => text.is_empty(),
            value => value.is_absent(),
        }
    }

    /// Writes the value as text, nothing if it is absent.
    pub(super) fn write_text(&self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Self::Absent | Self::Json(Json::Null) => Ok(()),
            Self::Text(text) | Self::Words(text) => out.write_str(text),
            Self::Owned(text) => out.write_str(text),
            Self::Number(number) => write!(out, "{number}"),
            Self::Address(address) => write!(out, "{address}"),
            Self::Ip(ip) => write!(out, "{ip}"),
            Self::Network(ip, length) => write!(out, "{ip}/{length}"),
            Self::Time(time, format) => format.write(*time, out),
            Self::Flags(flags) => write!(out, "{flags}"),
            Self::LongFlags(flags) => write!(out, "{}", flags.long()),
            Self::Uuid(uuid) => write!(
                out,
                "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
                uuid >> 96,
                uuid >> 80 & 0xffff,
                uuid >> 64 & 0xffff,
                uuid >> 48 & 0xffff,
                uuid & 0xffff_ffff_ffff,
            ),
            Self::Json(Json::String(text)) => out.write_str(text),
            Self::Json(json) | Self::Typed(json) => write!(out, "{json}"),
        }
    }

    /// Writes the value as text of a line, which is one line whatever a peer says.
    pub(super) fn write_line(&self, out: &mut dyn Write) -> fmt::Result {
        match self {
            Self::Words(_) | Self::Owned(_) | Self::Json(Json::String(_)) => {
                self.write_text(&mut OneLine(out))
            }
            value => value.write_text(out),
        }
    }

    /// Writes the value as JSON of its own type.
    pub(super) fn write_json(&self, out: &mut String) -> fmt::Result {
        match self {
            Self::Absent => out.write_str("null"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Json(json) | Self::Typed(json) => write!(out, "{json}"),
            value => {
                out.push('"');
                value.write_text(&mut Escaped(out))?;
                out.push('"');
                Ok(())
            }
        }
    }
}

/// Turns quotation marks into apostrophes and control characters into spaces.
struct OneLine<'a>(&'a mut dyn Write);

impl Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = text;
        while let Some(index) = plain.find(|char: char| char == '"' || char.is_control()) {
            self.0.write_str(&plain[..index])?;
            let (replaced, rest) = plain[index..].split_at(first_length(&plain[index..]));
            self.0
                .write_char(if replaced == "\"" { '\'' } else { ' ' })?;
            plain = rest;
        }
        self.0.write_str(plain)
    }
}

/// Escapes what may not stand in a JSON string.
pub(super) struct Escaped<'a>(pub(super) &'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = text;
        while let Some(index) = plain.find(|char| matches!(char, '"' | '\\' | '\0'..='\x1f')) {
            self.0.push_str(&plain[..index]);
            let (special, rest) = plain[index..].split_at(first_length(&plain[index..]));
            match special {
                "\"" => self.0.push_str("\\\""),
                "\\" => self.0.push_str("\\\\"),
                "\n" => self.0.push_str("\\n"),
                "\r" => self.0.push_str("\\r"),
                "\t" => self.0.push_str("\\t"),
                "\x08" => self.0.push_str("\\b"),
                "\x0c" => self.0.push_str("\\f"),
                control => {
                    for byte in control.bytes() {
                        write!(self.0, "\\u{byte:04x}")?;
                    }
                }
            }
            plain = rest;
        }
        self.0.push_str(plain);
        Ok(())
    }
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// Lets only so many bytes through, and no half of a character.
pub(super) struct Limited<'a> {
    pub(super) out: &'a mut dyn Write,
    pub(super) left: usize,
}

impl Write for Limited<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.floor_char_boundary(self.left);
        // After the first cut nothing more may follow.
        self.left = if end < text.len() { 0 } else { self.left - end };
        self.out.write_str(&text[..end])
    }
}

/// The text, cut off.
pub(super) fn limited(text: &dyn Display, length: usize) -> String {
    let mut out = String::new();
    // A string takes everything.
    let _ = write!(
        Limited {
            out: &mut out,
            left: length
        },
        "{text}"
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        let mut out = String::new();
        let value = Value::Words("a \"b\"\r\nc\u{85}é\x1b[0m");
        value.write_line(&mut out).unwrap();
        assert_eq!(out, "a 'b'  c é [0m");
    }

    #[test]
    fn json_strings_are_escaped() {
        for text in [
            "",
            "a",
            "q\" \\ é \u{2028} \x7f / < \t\r\u{8}\u{c}\n\x01\x1f",
            "\"\"",
            "\0",
        ] {
            let mut out = String::new();
            Value::Text(text).write_json(&mut out).unwrap();
            assert_eq!(out, serde_json::to_string(text).unwrap());
        }
    }

    #[test]
    fn a_limit_cuts_no_character_in_half() {
        for (length, expected) in [
            (0, ""),
            (1, "a"),
            (2, "a"),
            (3, "aé"),
            (4, "aéb"),
            (9, "aéb"),
        ] {
            assert_eq!(limited(&"aéb", length), expected);
            let mut out = String::new();
            let mut limited = Limited {
                out: &mut out,
                left: length,
            };
            for char in ["a", "é", "b"] {
                limited.write_str(char).unwrap();
            }
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn a_uuid_has_five_groups() {
        let mut out = String::new();
        Value::Uuid(0x0123_4567_89ab_4def_8123_4567_89ab_cdef)
            .write_text(&mut out)
            .unwrap();
        assert_eq!(out, "01234567-89ab-4def-8123-456789abcdef");
    }
}
