//! What a certificate says of its owner.

use std::{
    fmt::Write,
    net::IpAddr,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    objects::{oid_registry, oid2abbrev},
    prelude::FromDer,
    time::ASN1Time,
    x509::X509Name,
};

/// The certificate of a peer. What it says is read when somebody asks.
#[derive(Debug)]
pub struct PeerCertificate {
    der: CertificateDer<'static>,
    parsed: OnceLock<Option<Box<ParsedCertificate>>>,
}

/// What stands in a certificate.
#[derive(Debug)]
pub struct ParsedCertificate {
    /// The URIs among its subject alternative names.
    pub uri_sans: Box<[Box<str>]>,
    /// The DNS names among them.
    pub dns_sans: Box<[Box<str>]>,
    /// The addresses among them.
    pub ip_sans: Box<[IpAddr]>,
    /// The mail addresses among them.
    pub email_sans: Box<[Box<str>]>,
    /// As in RFC 2253, the most specific part first.
    pub subject: Box<str>,
    /// As in RFC 2253.
    pub issuer: Box<str>,
    /// The last common name of the subject.
    pub common_name: Option<Box<str>>,
    /// In lower case hexadecimal digits, without leading zeros.
    pub serial: Box<str>,
    /// The first moment of its validity.
    pub not_before: SystemTime,
    /// The last.
    pub not_after: SystemTime,
    /// The public key as it stands in the certificate, hashed.
    spki_sha256: [u8; 32],
}

impl PeerCertificate {
    /// Takes a copy of the certificate.
    pub fn new(der: &CertificateDer<'_>) -> Self {
        Self {
            der: der.clone().into_owned(),
            parsed: OnceLock::new(),
        }
    }

    /// The certificate.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// What it says; nothing if it is no certificate of X.509.
    pub fn parsed(&self) -> Option<&ParsedCertificate> {
        let parsed = self.parsed.get_or_init(|| parse(&self.der).map(Box::new));
        parsed.as_deref()
    }

    pub(super) fn sha256(&self) -> [u8; 32] {
        sha256(&self.der)
    }
}

impl ParsedCertificate {
    pub(super) fn spki_sha256(&self) -> &[u8; 32] {
        &self.spki_sha256
    }

    /// All subject alternative names, for messages.
    pub(super) fn sans(&self) -> String {
        let mut sans = String::new();
        let mut add = |kind: &str, name: &dyn std::fmt::Display| {
            let separator = if sans.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(sans, "{separator}{kind} {name}");
        };
        for uri in &self.uri_sans {
            add("URI", uri);
        }
        for name in &self.dns_sans {
            add("DNS", name);
        }
        for ip in &self.ip_sans {
            add("IP", ip);
        }
        for email in &self.email_sans {
            add("EMAIL", email);
        }
        if sans.is_empty() {
            sans.push_str("none");
        }
        sans
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parse(der: &[u8]) -> Option<ParsedCertificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let (mut uri, mut dns, mut ip, mut email) = (vec![], vec![], vec![], vec![]);
    // A list of names that cannot be read is none: nothing is matched by it.
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        for name in &names.value.general_names {
            match name {
                GeneralName::URI(name) => uri.push((*name).into()),
                GeneralName::DNSName(name) => dns.push((*name).into()),
                GeneralName::RFC822Name(name) => email.push((*name).into()),
                GeneralName::IPAddress(bytes) => ip.extend(address(bytes)),
                _ => {}
            }
        }
    }
    let common_name = certificate.subject().iter_common_name().last();
    let serial = hex(certificate.raw_serial());
    let serial = match serial.trim_start_matches('0') {
        "" => "0",
        serial => serial,
    };
    Some(ParsedCertificate {
        uri_sans: uri.into(),
        dns_sans: dns.into(),
        ip_sans: ip.into(),
        email_sans: email.into(),
        subject: rfc2253(certificate.subject()),
        issuer: rfc2253(certificate.issuer()),
        common_name: common_name.and_then(|name| Some(name.as_str().ok()?.into())),
        serial: serial.into(),
        not_before: time(certificate.validity().not_before),
        not_after: time(certificate.validity().not_after),
        spki_sha256: sha256(certificate.public_key().raw),
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(<[u8; 4]>::try_from(bytes).ok()?.into()),
        16 => Some(<[u8; 16]>::try_from(bytes).ok()?.into()),
        _ => None,
    }
}

fn time(time: ASN1Time) -> SystemTime {
    let seconds = Duration::from_secs(time.timestamp().unsigned_abs());
    let moment = if time.timestamp() < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    moment.unwrap_or(SystemTime::UNIX_EPOCH)
}

/// A name as RFC 2253 writes it: the last part first, special characters escaped.
fn rfc2253(name: &X509Name<'_>) -> Box<str> {
    let parts: Vec<_> = name.iter_rdn().collect();
    let parts = parts.into_iter().rev().map(|part| {
        let attributes = part.iter().map(|attribute| {
            let kind = oid2abbrev(attribute.attr_type(), oid_registry())
                .map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned);
            match attribute.as_str() {
                Ok(value) => format!("{kind}={}", escaped(value)),
                Err(_) => format!("{kind}=#{}", hex(attribute.as_slice())),
            }
        });
        attributes.collect::<Vec<_>>().join("+")
    });
    parts.collect::<Vec<_>>().join(",").into()
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, character) in value.chars().enumerate() {
        let at_an_end =
            (index == 0 && matches!(character, ' ' | '#')) || (index == last && character == ' ');
        if at_an_end || matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(character);
    }
    text
}
