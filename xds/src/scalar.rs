//! A value that is no message, between its forms: on the wire, and as the rules see it.

use crate::{
    descriptors::{EnumType, Field, Kind},
    wire::{self, Raw},
};

/// The value of a field, of an element or of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f32),
    Double(f64),
    String(String),
    Bytes(Vec<u8>),
    Enum(EnumType, i32),
}

impl Scalar {
    /// What a field of that kind is that is not given; none if the kind is a message.
    pub(crate) fn default_of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Message(_) => None,
            Kind::String => Some(Self::String(String::new())),
            Kind::Bytes => Some(Self::Bytes(Vec::new())),
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => Self::of(kind, Raw::Fixed64(0)),
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => Self::of(kind, Raw::Fixed32(0)),
            _ => Self::of(kind, Raw::Varint(0)),
        }
    }

    /// The value on the wire; none if the two do not fit, or a text is no UTF-8.
    pub(crate) fn of(kind: Kind, raw: Raw<'_>) -> Option<Self> {
        Some(match (kind, raw) {
            (Kind::Bool, Raw::Varint(value)) => Self::Bool(value != 0),
            (Kind::Int32, Raw::Varint(value)) => Self::Signed(low(value).cast_signed().into()),
            (Kind::Int64, Raw::Varint(value)) => Self::Signed(value.cast_signed()),
            (Kind::Sint32, Raw::Varint(value)) => Self::Signed(zigzag(low(value).into())),
            (Kind::Sint64, Raw::Varint(value)) => Self::Signed(zigzag(value)),
            (Kind::Uint32, Raw::Varint(value)) => Self::Unsigned(low(value).into()),
            (Kind::Uint64, Raw::Varint(value)) => Self::Unsigned(value),
            (Kind::Enum(r#enum), Raw::Varint(value)) => {
                Self::Enum(r#enum, low(value).cast_signed())
            }
            (Kind::Fixed32, Raw::Fixed32(value)) => Self::Unsigned(value.into()),
            (Kind::Sfixed32, Raw::Fixed32(value)) => Self::Signed(value.cast_signed().into()),
            (Kind::Float, Raw::Fixed32(value)) => Self::Float(f32::from_bits(value)),
            (Kind::Fixed64, Raw::Fixed64(value)) => Self::Unsigned(value),
            (Kind::Sfixed64, Raw::Fixed64(value)) => Self::Signed(value.cast_signed()),
            (Kind::Double, Raw::Fixed64(value)) => Self::Double(f64::from_bits(value)),
            (Kind::String, Raw::Bytes(bytes)) => {
                Self::String(str::from_utf8(bytes).ok()?.to_owned())
            }
            (Kind::Bytes, Raw::Bytes(bytes)) => Self::Bytes(bytes.to_owned()),
            _ => return None,
        })
    }

    /// The value on the wire, in the form that fields of that kind have.
    pub(crate) fn raw(&self, kind: Kind) -> Raw<'_> {
        match self {
            Self::Bool(value) => Raw::Varint((*value).into()),
            Self::Enum(_, value) => Raw::Varint(i64::from(*value).cast_unsigned()),
            Self::Float(value) => Raw::Fixed32(value.to_bits()),
            Self::Double(value) => Raw::Fixed64(value.to_bits()),
            Self::String(text) => Raw::Bytes(text.as_bytes()),
            Self::Bytes(bytes) => Raw::Bytes(bytes),
            Self::Unsigned(value) => whole(kind, *value),
            Self::Signed(value) => match kind {
                Kind::Sint32 | Kind::Sint64 => {
                    Raw::Varint(((value << 1) ^ (value >> 63)).cast_unsigned())
                }
                _ => whole(kind, value.cast_unsigned()),
            },
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        match self {
            Self::Bool(value) => !value,
            Self::Signed(value) => *value == 0,
            Self::Unsigned(value) => *value == 0,
            // Minus zero is no default: its bits differ.
            Self::Float(value) => value.to_bits() == 0,
            Self::Double(value) => value.to_bits() == 0,
            Self::String(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Enum(_, value) => *value == 0,
        }
    }

    /// Puts the value behind the others, as this field.
    pub(crate) fn put(&self, field: Field, out: &mut Vec<u8>) {
        wire::put(out, field.number(), self.raw(field.kind()));
    }

    /// The same, if the field cannot tell a default from nothing.
    pub(crate) fn put_unless_default(&self, field: Field, out: &mut Vec<u8>) {
        if !self.is_default() {
            self.put(field, out);
        }
    }
}

/// An integer's bits, in the form of the kind.
fn whole(kind: Kind, bits: u64) -> Raw<'static> {
    match kind {
        Kind::Fixed64 | Kind::Sfixed64 => Raw::Fixed64(bits),
        Kind::Fixed32 | Kind::Sfixed32 => Raw::Fixed32(low(bits)),
        _ => Raw::Varint(bits),
    }
}

/// The low half: protobuf cuts numbers that are too long for their field.
fn low(bits: u64) -> u32 {
    let [a, b, c, d, ..] = bits.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn zigzag(bits: u64) -> i64 {
    (bits >> 1).cast_signed() ^ -(bits & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, scalar: &Scalar, raw: Raw<'_>) {
        assert_eq!(scalar.raw(kind), raw);
        assert_eq!(Scalar::of(kind, raw).as_ref(), Some(scalar));
    }

    #[test]
    fn each_kind_has_its_form_on_the_wire() {
        check(Kind::Bool, &Scalar::Bool(true), Raw::Varint(1));
        check(Kind::Int32, &Scalar::Signed(-1), Raw::Varint(u64::MAX));
        check(Kind::Int64, &Scalar::Signed(-2), Raw::Varint(u64::MAX - 1));
        check(Kind::Sint32, &Scalar::Signed(-1), Raw::Varint(1));
        check(
            Kind::Sint64,
            &Scalar::Signed(i64::MIN),
            Raw::Varint(u64::MAX),
        );
        check(Kind::Uint32, &Scalar::Unsigned(7), Raw::Varint(7));
        check(Kind::Fixed32, &Scalar::Unsigned(7), Raw::Fixed32(7));
        check(Kind::Sfixed32, &Scalar::Signed(-1), Raw::Fixed32(u32::MAX));
        check(Kind::Fixed64, &Scalar::Unsigned(7), Raw::Fixed64(7));
        check(Kind::Sfixed64, &Scalar::Signed(-1), Raw::Fixed64(u64::MAX));
        check(Kind::Float, &Scalar::Float(1.0), Raw::Fixed32(0x3f80_0000));
        let one = Raw::Fixed64(0x3ff0_0000_0000_0000);
        check(Kind::Double, &Scalar::Double(1.0), one);
        check(Kind::String, &Scalar::String("a".into()), Raw::Bytes(b"a"));
        check(Kind::Bytes, &Scalar::Bytes(vec![255]), Raw::Bytes(&[255]));
    }

    #[test]
    fn what_does_not_fit_is_nothing() {
        assert_eq!(Scalar::of(Kind::String, Raw::Bytes(&[255])), None);
        assert_eq!(Scalar::of(Kind::String, Raw::Varint(1)), None);
        assert_eq!(Scalar::of(Kind::Double, Raw::Fixed32(1)), None);
        // As protobuf does, a long number is cut.
        let cut = Scalar::of(Kind::Uint32, Raw::Varint(1 << 32 | 5));
        assert_eq!(cut, Some(Scalar::Unsigned(5)));
    }
}
