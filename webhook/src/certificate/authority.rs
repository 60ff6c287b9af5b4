//! Keys and certificates: an authority, its successor, and the serving certificates it issues.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    sign::CertifiedKey,
};
use time::{Duration, OffsetDateTime};

use super::pem::{self, Certificate};

/// Long, because whoever copied the bundle elsewhere has to follow when it changes.
const AUTHORITY_LIFETIME: Duration = Duration::days(3650);
/// A successor is made this long before the end. Both are trusted meanwhile.
const SUCCESSOR_AHEAD: Duration = Duration::days(365);
/// Short, because nothing needs to follow: it is issued and renewed in memory.
const LEAF_LIFETIME: Duration = Duration::days(7);
/// Clocks of nodes differ.
const CLOCK_SKEW: Duration = Duration::hours(1);

/// A predecessor is trusted this long after its successor was made: longer than any serving certificate
/// that it has issued.
const RETIREMENT: Duration = Duration::days(8);

/// A certificate authority with its private key.
#[derive(Debug)]
pub(super) struct Authority {
    /// What API servers are to trust, as PEM: this authority, its predecessors and its successor.
    pub(super) bundle: String,
    /// The private key, as PEM.
    pub(super) key: String,
    /// This authority's own certificate, which is in the bundle.
    pub(super) certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A serving certificate.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) certified_key: Arc<CertifiedKey>,
    pub(super) not_after: OffsetDateTime,
    /// When the next one is issued.
    pub(super) renew_at: OffsetDateTime,
}

/// Why an authority or a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    #[error("generate a key or certificate")]
    Generate(#[from] rcgen::Error),
    #[error("use the new key for TLS")]
    Use(#[from] rustls::Error),
    #[error("read the new certificate back")]
    ReadBack(#[from] ParseError),
}

/// Why a bundle and a key are not an authority.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ParseError {
    #[error("the bundle holds no PEM certificate")]
    Certificate,
    #[error("the key's certificate is not an authority's")]
    NotAnAuthority,
    #[error("the key is not a PKCS #8 private key in PEM")]
    Key,
    #[error("the key belongs to no certificate of the bundle")]
    Mismatch,
}

impl Authority {
    /// Makes a new one.
    pub(super) fn generate(now: OffsetDateTime) -> Result<Self, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        // The time tells predecessor and successor apart.
        let (hour, minute, second) = now.to_hms();
        let time = format!("{} {hour:02}:{minute:02}:{second:02}", now.date());
        let name = format!("Fairlead webhook authority of {time}");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = now - CLOCK_SKEW;
        params.not_after = now + AUTHORITY_LIFETIME;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(Self::parse(&certificate.pem(), &key.serialize_pem())?)
    }

    /// Reads one back: its certificate is the one of the bundle to which the key belongs.
    pub(super) fn parse(bundle: &str, key: &str) -> Result<Self, ParseError> {
        let certificates = pem::certificates(bundle);
        if certificates.is_empty() {
            return Err(ParseError::Certificate);
        }
        let key_pair = KeyPair::from_pem(key).map_err(|_| ParseError::Key)?;
        let of_the_key = |certificate: &Certificate| certificate.public_key == key_pair.der_bytes();
        let certificate = certificates.into_iter().find(of_the_key);
        let certificate = certificate.ok_or(ParseError::Mismatch)?;
        if !certificate.is_authority {
            return Err(ParseError::NotAnAuthority);
        }
        let issuer = Issuer::from_ca_cert_der(&certificate.der, key_pair)
            .map_err(|_| ParseError::NotAnAuthority)?;
        Ok(Self {
            bundle: bundle.to_owned(),
            key: key.to_owned(),
            certificate,
            issuer,
        })
    }

    /// When it expires.
    pub(super) fn not_after(&self) -> OffsetDateTime {
        self.certificate.not_after
    }

    /// Whether its end is near enough for a successor.
    pub(super) fn needs_successor(&self, now: OffsetDateTime) -> bool {
        self.not_after() - now < SUCCESSOR_AHEAD
    }

    /// Makes the successor, whose bundle trusts this one and its predecessors too.
    pub(super) fn successor(&self, now: OffsetDateTime) -> Result<Self, IssueError> {
        let mut successor = Self::generate(now)?;
        let before = pem::certificates(&self.bundle);
        successor.bundle += &pem::bundle(before.iter().filter(|one| one.not_after > now));
        Ok(successor)
    }

    /// The bundle without predecessors, if there are any and nobody can need them anymore.
    pub(super) fn without_predecessors(&self, now: OffsetDateTime) -> Option<String> {
        let made = self.certificate.not_before + CLOCK_SKEW;
        let alone = pem::bundle([&self.certificate]);
        (now >= made + RETIREMENT && self.bundle != alone).then_some(alone)
    }

    /// Issues a serving certificate for the names.
    pub(super) fn issue(&self, names: &[String], now: OffsetDateTime) -> Result<Leaf, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, "fairlead-webhook");
        params.not_before = now - CLOCK_SKEW;
        params.not_after = (now + LEAF_LIFETIME).min(self.not_after());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let private_key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![certificate.der().clone()];
        let certified_key = CertifiedKey::new(chain, any_supported_type(&private_key)?);
        Ok(Leaf {
            certified_key: Arc::new(certified_key),
            not_after: params.not_after,
            renew_at: now + (params.not_after - now) / 2,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-01-01 00:00 UTC);

    #[test]
    fn what_is_written_is_read_back() {
        let authority = Authority::generate(NOW).unwrap();
        let again = Authority::parse(&authority.bundle, &authority.key).unwrap();
        assert_eq!(again.not_after(), authority.not_after());
        assert_eq!(again.bundle, authority.bundle);
        assert!(!again.needs_successor(NOW));
    }

    #[test]
    fn a_certificate_of_another_key_is_told() {
        let (one, other) = (
            Authority::generate(NOW).unwrap(),
            Authority::generate(NOW).unwrap(),
        );
        for (bundle, key, expected) in [
            (
                one.bundle.as_str(),
                other.key.as_str(),
                ParseError::Mismatch,
            ),
            ("x", &one.key, ParseError::Certificate),
            ("", &one.key, ParseError::Certificate),
            (&one.bundle, "x", ParseError::Key),
        ] {
            assert_eq!(Authority::parse(bundle, key).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_successor_keeps_predecessors_until_they_expire() {
        let first = Authority::generate(NOW).unwrap();
        let later = first.not_after() - Duration::days(100);
        assert!(first.needs_successor(later));
        let second = first.successor(later).unwrap();
        assert!(second.bundle.ends_with(&first.bundle));
        assert!(!second.needs_successor(later));
        // Both keys find their certificate in the one bundle.
        for (key, expected) in [(&second.key, &second), (&first.key, &first)] {
            let again = Authority::parse(&second.bundle, key).unwrap();
            assert_eq!(again.certificate.der, expected.certificate.der);
        }
        let much_later = first.not_after() + Duration::days(1);
        let third = second.successor(much_later).unwrap();
        assert_eq!(pem::certificates(&third.bundle).len(), 2);
    }

    #[test]
    fn predecessors_retire_when_what_they_issued_has_expired() {
        let first = Authority::generate(NOW).unwrap();
        let second = first.successor(NOW).unwrap();
        assert!(RETIREMENT > LEAF_LIFETIME + CLOCK_SKEW);
        for (authority, age, expected) in [
            (&first, Duration::ZERO, None),
            (&first, RETIREMENT * 2, None),
            (&second, Duration::ZERO, None),
            (&second, RETIREMENT - Duration::SECOND, None),
            (
                &second,
                RETIREMENT,
                Some(pem::bundle([&second.certificate])),
            ),
        ] {
            assert_eq!(authority.without_predecessors(NOW + age), expected, "{age}");
        }
    }

    #[test]
    fn a_serving_certificate_never_outlives_its_authority() {
        let authority = Authority::generate(NOW).unwrap();
        let names = ["fairlead-webhook.mesh.svc".to_owned()];
        let leaf = authority.issue(&names, NOW).unwrap();
        assert_eq!(leaf.not_after, NOW + LEAF_LIFETIME);
        assert_eq!(leaf.renew_at, NOW + LEAF_LIFETIME / 2);
        let late = authority.not_after() - Duration::hours(2);
        let leaf = authority.issue(&names, late).unwrap();
        assert_eq!(leaf.not_after, authority.not_after());
        assert_eq!(leaf.renew_at, late + Duration::hours(1));
    }
}
