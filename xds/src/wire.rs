//! Protobuf's wire format: numbers and lengths, one field after the other.

/// What one field holds, before anything is known of its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Raw<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum WireError {
    /// They end inside a field.
    #[error("they end inside a field")]
    Truncated,
    /// A number has more than ten bytes.
    #[error("a number has more than 64 bits")]
    Varint,
    /// No field is numbered so.
    #[error("the field number {0} is none")]
    FieldNumber(u64),
    /// Groups, which no message of Envoy has, and what does not exist.
    #[error("the wire type {0} is none that Envoy's messages have")]
    WireType(u64),
}

/// The fields in `bytes`, one after the other; it ends with the first fault.
pub(crate) fn fields(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u32, Raw<'_>), WireError>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let field = field(&mut bytes);
        if field.is_err() {
            bytes = &[];
        }
        Some(field)
    })
}

/// The field numbers that there are.
const LAST_FIELD: u64 = (1 << 29) - 1;

fn field<'a>(bytes: &mut &'a [u8]) -> Result<(u32, Raw<'a>), WireError> {
    let tag = varint(bytes)?;
    let number = u32::try_from(tag >> 3)
        .ok()
        .filter(|number| (1..=LAST_FIELD).contains(&u64::from(*number)))
        .ok_or(WireError::FieldNumber(tag >> 3))?;
    let raw = match tag & 7 {
        0 => Raw::Varint(varint(bytes)?),
        1 => Raw::Fixed64(u64::from_le_bytes(chunk(bytes)?)),
        2 => {
            let length = varint(bytes)?;
            let length = usize::try_from(length).map_err(|_| WireError::Truncated)?;
            let (content, rest) = bytes.split_at_checked(length).ok_or(WireError::Truncated)?;
            *bytes = rest;
            Raw::Bytes(content)
        }
        5 => Raw::Fixed32(u32::from_le_bytes(chunk(bytes)?)),
        other => return Err(WireError::WireType(other)),
    };
    Ok((number, raw))
}

/// The elements of a list that stands in one piece.
pub(crate) fn packed<'a>(
    mut bytes: &'a [u8],
    element: fn(&mut &'a [u8]) -> Result<Raw<'a>, WireError>,
) -> Result<Vec<Raw<'a>>, WireError> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        elements.push(element(&mut bytes)?);
    }
    Ok(elements)
}

/// One element of a packed list of varints.
pub(crate) fn packed_varint<'a>(bytes: &mut &'a [u8]) -> Result<Raw<'a>, WireError> {
    varint(bytes).map(Raw::Varint)
}

/// One element of a packed list of 32-bit words.
pub(crate) fn packed_fixed32<'a>(bytes: &mut &'a [u8]) -> Result<Raw<'a>, WireError> {
    Ok(Raw::Fixed32(u32::from_le_bytes(chunk(bytes)?)))
}

/// One element of a packed list of 64-bit words.
pub(crate) fn packed_fixed64<'a>(bytes: &mut &'a [u8]) -> Result<Raw<'a>, WireError> {
    Ok(Raw::Fixed64(u64::from_le_bytes(chunk(bytes)?)))
}

fn chunk<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], WireError> {
    let (chunk, rest) = bytes.split_first_chunk().ok_or(WireError::Truncated)?;
    *bytes = rest;
    Ok(*chunk)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, WireError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or(WireError::Truncated)?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(WireError::Varint)
}

/// Puts a field that holds a length and as many bytes behind the others.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, content.len() as u64);
    out.extend(content);
}

/// Puts a field behind the others.
pub(crate) fn put(out: &mut Vec<u8>, number: u32, raw: Raw<'_>) {
    let wire_type = match raw {
        Raw::Varint(_) => 0,
        Raw::Fixed64(_) => 1,
        Raw::Bytes(_) => 2,
        Raw::Fixed32(_) => 5,
    };
    put_varint(out, u64::from(number) << 3 | wire_type);
    put_value(out, raw);
}

/// Puts an element of a packed list, or what follows a tag.
pub(crate) fn put_value(out: &mut Vec<u8>, raw: Raw<'_>) {
    match raw {
        Raw::Varint(value) => put_varint(out, value),
        Raw::Fixed64(value) => out.extend(value.to_le_bytes()),
        Raw::Fixed32(value) => out.extend(value.to_le_bytes()),
        Raw::Bytes(content) => {
            put_varint(out, content.len() as u64);
            out.extend(content);
        }
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &[Result<(u32, Raw<'_>), WireError>]) {
        assert_eq!(fields(bytes).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn fields_follow_one_another() {
        check(&[], &[]);
        check(
            &[0x08, 0x96, 0x01, 0x12, 0x01, b'a'],
            &[Ok((1, Raw::Varint(150))), Ok((2, Raw::Bytes(b"a")))],
        );
        check(&[0x0d, 1, 0, 0, 0], &[Ok((1, Raw::Fixed32(1)))]);
        check(&[0x09, 1, 0, 0, 0, 0, 0, 0, 0], &[Ok((1, Raw::Fixed64(1)))]);
    }

    #[test]
    fn the_first_fault_is_the_end() {
        check(&[0x08], &[Err(WireError::Truncated)]);
        check(&[0x12, 5, b'a'], &[Err(WireError::Truncated)]);
        check(&[0x0d, 1, 0, 0], &[Err(WireError::Truncated)]);
        check(&[0x00, 1], &[Err(WireError::FieldNumber(0))]);
        check(&[0x0b, 0x0c], &[Err(WireError::WireType(3))]);
        let mut long = vec![0x08];
        long.extend([0xff; 10]);
        check(&long, &[Err(WireError::Varint)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = fields(&bytes).count();
        }

        #[test]
        fn what_is_put_is_found(number in 1..1u32 << 29, value: u64, content: Vec<u8>) {
            let mut out = Vec::new();
            put(&mut out, number, Raw::Varint(value));
            put(&mut out, number, Raw::Fixed64(value));
            put_bytes(&mut out, number, &content);
            let found: Result<Vec<_>, _> = fields(&out).collect();
            let expected = [Raw::Varint(value), Raw::Fixed64(value), Raw::Bytes(&content)];
            prop_assert_eq!(found, Ok(expected.map(|raw| (number, raw)).to_vec()));
        }
    }
}
