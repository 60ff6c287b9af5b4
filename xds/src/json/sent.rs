//! What the wire holds of one message, field by field.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    descriptors::{Field, Kind, MessageType},
    json::JsonError,
    scalar::Scalar,
    wire::{self, Raw, WireError},
};

/// Of each field that is known, all that was sent.
pub(super) struct Sent<'a> {
    pub(super) message: MessageType,
    fields: BTreeMap<u32, (Field, Vec<Raw<'a>>)>,
}

impl<'a> Sent<'a> {
    pub(super) fn of(message: MessageType, bytes: &'a [u8]) -> Result<Self, JsonError> {
        let mut fields: BTreeMap<u32, (Field, Vec<Raw<'a>>)> = BTreeMap::new();
        let mut oneofs = BTreeMap::new();
        for sent in wire::fields(bytes) {
            let (number, raw) = sent.map_err(|source| JsonError::Wire {
                message: message.name(),
                source,
            })?;
            // A newer version has fields that this one does not know.
            let Some(field) = message.numbered(number) else {
                continue;
            };
            // Of a oneof, the last one holds.
            let before = field.oneof().and_then(|oneof| oneofs.insert(oneof, number));
            if let Some(before) = before.filter(|before| *before != number) {
                fields.remove(&before);
            }
            let (_, raws) = fields.entry(number).or_insert((field, Vec::new()));
            raws.push(raw);
        }
        Ok(Self { message, fields })
    }

    /// The fields, in the order of their numbers.
    pub(super) fn fields(&self) -> impl Iterator<Item = (Field, &[Raw<'a>])> {
        let fields = self.fields.values();
        fields.map(|(field, raws)| (*field, &**raws))
    }

    /// All that was sent of one field.
    pub(super) fn raws(&self, number: u32) -> &[Raw<'a>] {
        match self.fields.get(&number) {
            Some((_, raws)) => raws,
            None => &[],
        }
    }
}

fn mistyped(message: MessageType, field: Field) -> JsonError {
    JsonError::Field {
        message: message.name(),
        field: field.name(),
    }
}

/// The bytes of a message: what is sent in several pieces is one.
pub(super) fn whole<'a>(
    message: MessageType,
    field: Field,
    raws: &[Raw<'a>],
) -> Result<Cow<'a, [u8]>, JsonError> {
    let piece = |raw: &Raw<'a>| match raw {
        Raw::Bytes(bytes) => Ok(*bytes),
        _ => Err(mistyped(message, field)),
    };
    match raws {
        [raw] => piece(raw).map(Cow::Borrowed),
        raws => {
            let pieces: Result<Vec<_>, _> = raws.iter().map(piece).collect();
            Ok(pieces?.concat().into())
        }
    }
}

/// The value that holds, which is the last one; none if none was sent.
pub(super) fn last(
    message: MessageType,
    field: Field,
    raws: &[Raw<'_>],
) -> Result<Option<Scalar>, JsonError> {
    let Some(raw) = raws.last() else {
        return Ok(None);
    };
    let scalar = Scalar::of(field.kind(), *raw);
    scalar.map(Some).ok_or_else(|| mistyped(message, field))
}

/// The elements of a list, whether they were sent in one piece or one by one.
pub(super) fn list(
    message: MessageType,
    field: Field,
    raws: &[Raw<'_>],
) -> Result<Vec<Scalar>, JsonError> {
    let kind = field.kind();
    let mut scalars = Vec::new();
    for raw in raws {
        let elements = match raw {
            Raw::Bytes(bytes) => packed(kind, bytes).map_err(|source| JsonError::Wire {
                message: message.name(),
                source,
            })?,
            _ => vec![*raw],
        };
        for element in elements {
            let scalar = Scalar::of(kind, element);
            scalars.push(scalar.ok_or_else(|| mistyped(message, field))?);
        }
    }
    Ok(scalars)
}

fn packed(kind: Kind, bytes: &[u8]) -> Result<Vec<Raw<'_>>, WireError> {
    match kind {
        Kind::String | Kind::Bytes | Kind::Message(_) => Ok(vec![Raw::Bytes(bytes)]),
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => wire::packed(bytes, wire::packed_fixed64),
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => wire::packed(bytes, wire::packed_fixed32),
        _ => wire::packed(bytes, wire::packed_varint),
    }
}
