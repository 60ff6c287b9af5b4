//! Certificates that are named by their hash.

use crate::compile::At;

/// A SHA-256 in hexadecimal digits, with or without colons.
pub(super) fn hash(at: &At<'_>, text: &str) -> Option<[u8; 32]> {
    let digits: String = text.chars().filter(|character| *character != ':').collect();
    let mut hash = [0; 32];
    let sound = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !sound {
        return at.fault("is no SHA-256 of 64 hexadecimal digits");
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(hash)
}

/// A SHA-256 in base64.
pub(super) fn spki(at: &At<'_>, text: &str) -> Option<[u8; 32]> {
    base64(text).map_or_else(
        || at.fault("is no SHA-256 of 44 characters in base64"),
        Some,
    )
}

fn base64(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_suffix('=').filter(|digits| digits.len() == 43)?;
    let (mut hash, mut length, mut bits, mut held) = ([0; 32], 0, 0_u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            let [byte, ..] = (bits >> held).to_le_bytes();
            *hash.get_mut(length)? = byte;
            length += 1;
        }
    }
    (length == 32).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Findings;

    #[test]
    fn hashes_are_read_in_both_forms() {
        let findings = Findings::default();
        let at = findings.at("pin");
        let mut expected = [0; 32];
        expected[0] = 0xab;
        expected[31] = 0x01;
        let plain = format!("ab{}01", "00".repeat(30));
        let colons = format!("AB:{}01", "00:".repeat(30));
        assert_eq!(hash(&at, &plain), Some(expected));
        assert_eq!(hash(&at, &colons), Some(expected));
        assert_eq!(hash(&at, &"zz".repeat(32)), None);
        let text = format!("q{}E=", "A".repeat(41)).replacen("qA", "qw", 1);
        assert_eq!(spki(&at, &text), Some(expected));
        assert_eq!(spki(&at, "short"), None);
        let faults = findings.faults();
        assert_eq!(
            faults[0].to_string(),
            "pin: is no SHA-256 of 64 hexadecimal digits"
        );
        assert_eq!(
            faults[1].to_string(),
            "pin: is no SHA-256 of 44 characters in base64"
        );
    }
}
