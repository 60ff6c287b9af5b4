//! What Envoy prints of a certificate.

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::FromDer,
    time::ASN1Time,
    x509::{AttributeTypeAndValue, X509Name},
};

/// What is asked of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Attribute {
    UriNames,
    DnsNames,
    IpNames,
    EmailNames,
    OtherNames,
    Subject,
    Issuer,
    Serial,
    Fingerprint256,
    Fingerprint1,
    Pem,
}

/// What is asked for, if the certificate can be read and has it.
pub(super) fn text(certificate: &CertificateDer<'_>, attribute: Attribute) -> Option<String> {
    let text = match attribute {
        // Of what was sent, whatever it says.
        Attribute::Fingerprint256 => fingerprint(&SHA256, certificate),
        Attribute::Fingerprint1 => fingerprint(&SHA1_FOR_LEGACY_USE_ONLY, certificate),
        Attribute::Pem => url_encoded_pem(certificate),
        attribute => parsed(&parse(certificate)?, attribute)?,
    };
    (!text.is_empty()).then_some(text)
}

/// When the certificate becomes valid, and when it ceases to be.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(SystemTime, SystemTime)> {
    let certificate = parse(certificate)?;
    let validity = certificate.validity();
    Some((time(validity.not_before)?, time(validity.not_after)?))
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    // A peer's fault, which the handshake has told of.
    X509Certificate::from_der(certificate)
        .ok()
        .map(|(_, certificate)| certificate)
}

fn time(time: ASN1Time) -> Option<SystemTime> {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        UNIX_EPOCH.checked_sub(distance)
    } else {
        UNIX_EPOCH.checked_add(distance)
    }
}

fn parsed(certificate: &X509Certificate<'_>, attribute: Attribute) -> Option<String> {
    match attribute {
        Attribute::Subject => Some(name(certificate.subject())),
        Attribute::Issuer => Some(name(certificate.issuer())),
        Attribute::Serial => Some(serial(certificate.raw_serial())),
        attribute => {
            let extension = certificate.subject_alternative_name().ok()??;
            let names = extension.value.general_names.iter();
            Some(joined(
                names.filter_map(|name| alternative_name(name, attribute)),
            ))
        }
    }
}

/// The texts, with commas between them.
pub(super) fn joined(texts: impl Iterator<Item = String>) -> String {
    let mut all = String::new();
    for text in texts {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(&text);
    }
    all
}

fn alternative_name(name: &GeneralName<'_>, wanted: Attribute) -> Option<String> {
    match (name, wanted) {
        (GeneralName::URI(uri), Attribute::UriNames) => Some((*uri).to_owned()),
        (GeneralName::DNSName(dns), Attribute::DnsNames) => Some((*dns).to_owned()),
        (GeneralName::RFC822Name(email), Attribute::EmailNames) => Some((*email).to_owned()),
        (GeneralName::IPAddress(bytes), Attribute::IpNames) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|ip| Ipv4Addr::from(ip).to_string()),
            16 => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|ip| Ipv6Addr::from(ip).to_string()),
            _ => None,
        },
        (GeneralName::OtherName(_, value), Attribute::OtherNames) => other_name(value),
        _ => None,
    }
}

/// The text in the value of an other name: a string of ASN.1 in an explicit tag.
fn other_name(value: &[u8]) -> Option<String> {
    let (tag, inside) = element(value)?;
    let (tag, text) = if tag == 0xa0 {
        element(inside)?
    } else {
        (tag, inside)
    };
    // UTF8String, PrintableString, TeletexString and IA5String.
    matches!(tag, 0x0c | 0x13 | 0x14 | 0x16).then(|| String::from_utf8_lossy(text).into_owned())
}

/// The tag and the content of the element that the bytes begin with; of at most 255 bytes.
fn element(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0x81 => rest.split_first()?,
        short if *short < 0x80 => (length, rest),
        _ => return None,
    };
    Some((*tag, rest.get(..usize::from(*length))?))
}

/// The name as RFC 2253 writes it: the most special part first.
fn name(name: &X509Name<'_>) -> String {
    let mut text = String::new();
    let sets: Vec<_> = name.iter_rdn().collect();
    for set in sets.into_iter().rev() {
        for (index, part) in set.iter().enumerate() {
            match index {
                0 if text.is_empty() => {}
                0 => text.push(','),
                _ => text.push('+'),
            }
            text.push_str(&attribute_type(part));
            text.push('=');
            escape(part.attr_value().data, &mut text);
        }
    }
    text
}

fn attribute_type(part: &AttributeTypeAndValue<'_>) -> String {
    let identifier = part.attr_type().to_id_string();
    let short = match identifier.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "SN",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "street",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.42" => "GN",
        "2.5.4.43" => "initials",
        "2.5.4.46" => "dnQualifier",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return identifier,
    };
    short.to_owned()
}

/// What has a meaning in a name gets a backslash, and what is no printable ASCII its number.
fn escape(value: &[u8], text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (index, byte) in value.iter().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                text.push('\\');
                text.push(char::from(*byte));
            }
            b' ' if index == 0 || index == last => text.push_str("\\ "),
            b'#' if index == 0 => text.push_str("\\#"),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => hex(&[*byte], "\\", true, text),
        }
    }
}

fn serial(bytes: &[u8]) -> String {
    // A first byte of 0 only says that the number is positive.
    let number = match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        bytes => bytes,
    };
    let mut text = String::new();
    hex(number, "", false, &mut text);
    text
}

fn fingerprint(algorithm: &'static Algorithm, certificate: &CertificateDer<'_>) -> String {
    let mut text = String::new();
    hex(
        digest(algorithm, certificate).as_ref(),
        "",
        false,
        &mut text,
    );
    text
}

/// The bytes in hexadecimal digits, each behind the mark.
pub(super) fn hex(bytes: &[u8], mark: &str, upper_case: bool, text: &mut String) {
    for byte in bytes {
        // A string takes everything.
        let _ = if upper_case {
            write!(text, "{mark}{byte:02X}")
        } else {
            write!(text, "{mark}{byte:02x}")
        };
    }
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The certificate in PEM, fit for a URL.
fn url_encoded_pem(certificate: &[u8]) -> String {
    let mut text = "-----BEGIN%20CERTIFICATE-----%0A".to_owned();
    // A line of PEM has 64 characters, which are 48 bytes.
    for line in certificate.chunks(48) {
        for group in line.chunks(3) {
            let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or_default());
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for index in 0..4 {
                if index > group.len() {
                    text.push_str("%3D");
                    continue;
                }
                match BASE64[(bits >> (18 - 6 * index) & 63) as usize] {
                    b'+' => text.push_str("%2B"),
                    b'/' => text.push_str("%2F"),
                    digit => text.push(char::from(digit)),
                }
            }
        }
        text.push_str("%0A");
    }
    text.push_str("-----END%20CERTIFICATE-----%0A");
    text
}

#[cfg(test)]
pub(super) mod tests;
