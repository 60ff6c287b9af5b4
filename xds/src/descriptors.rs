//! What is known of the messages: their fields, and the rules that Envoy's definitions put on these.
//!
//! The tables are made at build time (`build/tables.rs` has their form) and are read in place. A pool of
//! decoded descriptors would cost megabytes and milliseconds; a program pays for the pages it looks at.

use std::fmt;

static TABLES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// No oneof, no type, no rules.
const NONE: u32 = u32::MAX;

/// A table's place in the header, and the words of one of its rows.
#[derive(Clone, Copy)]
struct Table {
    index: usize,
    width: usize,
}

const MESSAGES: Table = Table { index: 0, width: 6 };
const FIELDS: Table = Table { index: 1, width: 7 };
const ONEOFS: Table = Table { index: 2, width: 2 };
const ENUMS: Table = Table { index: 3, width: 3 };
const VALUES: Table = Table { index: 4, width: 2 };
/// The texts follow the last table.
const TEXTS: usize = 5;

fn word(offset: usize) -> u32 {
    let bytes = TABLES[offset..].first_chunk();
    u32::from_le_bytes(*bytes.expect("a table names places that it has"))
}

fn start(index: usize) -> usize {
    word(4 * index) as usize
}

impl Table {
    fn rows(self) -> u32 {
        let length = start(self.index + 1) - start(self.index);
        u32::try_from(length / (4 * self.width)).expect("rows are counted in 32 bits")
    }

    fn get(self, row: u32, column: usize) -> u32 {
        word(start(self.index) + 4 * (row as usize * self.width + column))
    }

    /// The row of that name, in a table that is in the order of its names.
    fn named(self, name: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.rows());
        while low < high {
            let middle = low + (high - low) / 2;
            match text(self.get(middle, 0)).cmp(name.as_bytes()) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

fn text(place: u32) -> &'static [u8] {
    let texts = &TABLES[start(TEXTS) + place as usize..];
    let (length, text) = texts.split_first_chunk().expect("a text has a length");
    &text[..usize::from(u16::from_le_bytes(*length))]
}

fn name(place: u32) -> &'static str {
    str::from_utf8(text(place)).expect("names are ASCII")
}

/// A type of message.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct MessageType(u32);

impl MessageType {
    /// The message of that full name: `envoy.config.listener.v3.Listener`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        MESSAGES.named(name).map(Self)
    }

    /// The message of a type URL: `type.googleapis.com/` and its full name.
    #[must_use]
    pub fn of_url(url: &str) -> Option<Self> {
        url.rsplit_once('/').and_then(|(_, name)| Self::named(name))
    }

    /// The full name.
    #[must_use]
    pub fn name(self) -> &'static str {
        name(MESSAGES.get(self.0, 0))
    }

    /// The fields, in the order of their numbers.
    pub fn fields(self) -> impl Iterator<Item = Field> + use<> {
        let first = MESSAGES.get(self.0, 1);
        (first..first + MESSAGES.get(self.0, 2)).map(Field)
    }

    /// The field of that name, be it as in the definition or as JSON has it.
    #[must_use]
    pub fn field(self, name: &str) -> Option<Field> {
        let name = name.as_bytes();
        self.fields()
            .find(|field| field.text(0) == name || field.text(1) == name)
    }

    /// The field of that number.
    #[must_use]
    pub fn numbered(self, number: u32) -> Option<Field> {
        self.fields().find(|field| field.number() == number)
    }

    /// The groups of fields of which one at most is given.
    pub fn oneofs(self) -> impl Iterator<Item = Oneof> + use<> {
        let first = MESSAGES.get(self.0, 3);
        (0..MESSAGES.get(self.0, 4)).map(move |index| Oneof {
            row: first + index,
            index,
        })
    }

    /// Whether this is an entry of a map, and no message of its own.
    pub(crate) fn is_map_entry(self) -> bool {
        MESSAGES.get(self.0, 5) & 1 != 0
    }

    /// Whether Envoy's definition takes the rules back.
    pub(crate) fn is_unchecked(self) -> bool {
        MESSAGES.get(self.0, 5) & 2 != 0
    }

    /// Which of the messages this is that JSON has forms of their own for.
    pub(crate) fn well_known(self) -> Option<WellKnown> {
        let name = self.name().strip_prefix("google.protobuf.")?;
        Some(match name {
            "Any" => WellKnown::Any,
            "Duration" => WellKnown::Duration,
            "Timestamp" => WellKnown::Timestamp,
            "Struct" => WellKnown::Struct,
            "Value" => WellKnown::Value,
            "ListValue" => WellKnown::ListValue,
            "Empty" => WellKnown::Empty,
            "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
            | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => {
                WellKnown::Wrapper(self.fields().next()?)
            }
            _ => return None,
        })
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A message that JSON has a form of its own for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WellKnown {
    Any,
    Duration,
    Timestamp,
    Struct,
    Value,
    ListValue,
    Empty,
    /// A scalar that can be absent, and its one field.
    Wrapper(Field),
}

/// A field of a message.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Field(u32);

impl Field {
    fn text(self, column: usize) -> &'static [u8] {
        text(FIELDS.get(self.0, column))
    }

    /// The name in the definition, which is what Envoy prints.
    #[must_use]
    pub fn name(self) -> &'static str {
        name(FIELDS.get(self.0, 0))
    }

    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u32 {
        FIELDS.get(self.0, 2)
    }

    /// What the field, or each of its elements, is.
    #[must_use]
    pub fn kind(self) -> Kind {
        let index = FIELDS.get(self.0, 4);
        match FIELDS.get(self.0, 3) & 0xff {
            1 => Kind::Double,
            2 => Kind::Float,
            3 => Kind::Int64,
            4 => Kind::Uint64,
            5 => Kind::Int32,
            6 => Kind::Fixed64,
            7 => Kind::Fixed32,
            8 => Kind::Bool,
            9 => Kind::String,
            11 => Kind::Message(MessageType(index)),
            12 => Kind::Bytes,
            13 => Kind::Uint32,
            14 => Kind::Enum(EnumType(index)),
            15 => Kind::Sfixed32,
            16 => Kind::Sfixed64,
            17 => Kind::Sint32,
            18 => Kind::Sint64,
            other => unreachable!("protobuf has no type {other}, and the build refuses groups"),
        }
    }

    fn is(self, bit: u32) -> bool {
        FIELDS.get(self.0, 3) & (1 << bit) != 0
    }

    /// Whether this is a list or a map.
    #[must_use]
    pub fn is_repeated(self) -> bool {
        self.is(8)
    }

    /// Whether the elements of this list stand in one piece on the wire.
    pub(crate) fn is_packed(self) -> bool {
        self.is(9)
    }

    /// Whether a default that is given differs from one that is not.
    pub(crate) fn has_presence(self) -> bool {
        self.is(10)
    }

    /// Whether Envoy says not to use the field any more.
    #[must_use]
    pub fn is_deprecated(self) -> bool {
        self.is(11)
    }

    /// Whether Envoy refuses the field unless its runtime allows it.
    pub(crate) fn is_disallowed(self) -> bool {
        self.is(12)
    }

    /// Whether the content is a secret.
    #[must_use]
    pub fn is_sensitive(self) -> bool {
        self.is(13)
    }

    /// The keys and values, if this is a map.
    pub(crate) fn map_entry(self) -> Option<(Field, Field)> {
        let Kind::Message(entry) = self.kind() else {
            return None;
        };
        if !entry.is_map_entry() {
            return None;
        }
        Some((entry.numbered(1)?, entry.numbered(2)?))
    }

    /// Which oneof of its message the field is in.
    pub(crate) fn oneof(self) -> Option<u32> {
        let index = FIELDS.get(self.0, 5);
        (index != NONE).then_some(index)
    }

    /// The encoded `validate.FieldRules`.
    pub(crate) fn rules(self) -> Option<&'static [u8]> {
        let place = FIELDS.get(self.0, 6);
        (place != NONE).then(|| text(place))
    }
}

impl fmt::Debug for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}", self.name(), self.number())
    }
}

/// What a field, or each element of a list, is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the kinds are protobuf's, by their names")]
pub enum Kind {
    Double,
    Float,
    Int64,
    Uint64,
    Int32,
    Fixed64,
    Fixed32,
    Bool,
    String,
    Bytes,
    Uint32,
    Sfixed32,
    Sfixed64,
    Sint32,
    Sint64,
    Message(MessageType),
    Enum(EnumType),
}

/// A group of fields of which one at most is given.
#[derive(Clone, Copy, Debug)]
pub struct Oneof {
    row: u32,
    pub(crate) index: u32,
}

impl Oneof {
    /// The name in the definition.
    #[must_use]
    pub fn name(self) -> &'static str {
        name(ONEOFS.get(self.row, 0))
    }

    /// Whether one of the fields must be given.
    pub(crate) fn is_required(self) -> bool {
        ONEOFS.get(self.row, 1) != 0
    }
}

/// A type of enum.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct EnumType(u32);

impl EnumType {
    /// The full name.
    #[must_use]
    pub fn name(self) -> &'static str {
        name(ENUMS.get(self.0, 0))
    }

    /// The names and numbers, in the order of the definition; the first is the default.
    pub fn values(self) -> impl Iterator<Item = (&'static str, i32)> + use<> {
        let first = ENUMS.get(self.0, 1);
        (first..first + ENUMS.get(self.0, 2))
            .map(|row| (name(VALUES.get(row, 0)), VALUES.get(row, 1).cast_signed()))
    }

    /// The number of that name.
    #[must_use]
    pub fn number(self, name: &str) -> Option<i32> {
        let value = self.values().find(|(known, _)| *known == name);
        value.map(|(_, number)| number)
    }

    /// The name of that number.
    #[must_use]
    pub fn value_name(self, number: i32) -> Option<&'static str> {
        let value = self.values().find(|(_, known)| *known == number);
        value.map(|(name, _)| name)
    }
}

impl fmt::Debug for EnumType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
