//! Keys and certificates: an authority, its successor, and the serving certificates it issues.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use time::{Duration, OffsetDateTime};
use x509_parser::parse_x509_certificate;

/// Long, because whoever copied the bundle elsewhere has to follow when it changes.
const AUTHORITY_LIFETIME: Duration = Duration::days(3650);
/// A successor is made this long before the end. Both are trusted meanwhile.
const SUCCESSOR_AHEAD: Duration = Duration::days(365);
/// Short, because nothing needs to follow: it is issued and renewed in memory.
const LEAF_LIFETIME: Duration = Duration::days(7);
/// Clocks of nodes differ.
const CLOCK_SKEW: Duration = Duration::hours(1);

const END_OF_CERTIFICATE: &str = "-----END CERTIFICATE-----";

/// A certificate authority with its private key.
#[derive(Debug)]
pub(super) struct Authority {
    /// What API servers are to trust, as PEM: this authority first, then its predecessors.
    pub(super) bundle: String,
    /// The private key, as PEM.
    pub(super) key: String,
    /// When it expires.
    pub(super) not_after: OffsetDateTime,
    issuer: Issuer<'static, KeyPair>,
}

/// A serving certificate.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) certified_key: Arc<CertifiedKey>,
    pub(super) not_after: OffsetDateTime,
    /// When the next one is issued.
    pub(super) renew_at: OffsetDateTime,
    /// The bundle of the authority that issued it.
    pub(super) bundle: String,
}

/// Why an authority or a certificate cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    #[error("generate a key or certificate")]
    Generate(#[from] rcgen::Error),
    #[error("use the new key for TLS")]
    Use(#[from] rustls::Error),
}

/// Why a bundle and a key are not an authority.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum ParseError {
    #[error("the bundle does not begin with a PEM certificate")]
    Certificate,
    #[error("the first certificate of the bundle is not an authority's")]
    NotAnAuthority,
    #[error("the key is not a PKCS #8 private key in PEM")]
    Key,
    #[error("the key does not belong to the first certificate of the bundle")]
    Mismatch,
}

impl Authority {
    /// Makes a new one.
    pub(super) fn generate(now: OffsetDateTime) -> Result<Self, IssueError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        // The date tells predecessor and successor apart.
        let name = format!("Fairlead webhook authority of {}", now.date());
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = now - CLOCK_SKEW;
        params.not_after = now + AUTHORITY_LIFETIME;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            bundle: certificate.pem(),
            key: key.serialize_pem(),
            not_after: params.not_after,
            issuer: Issuer::new(params, key),
        })
    }

    /// Reads one back.
    pub(super) fn parse(bundle: &str, key: &str) -> Result<Self, ParseError> {
        let certificate = CertificateDer::from_pem_slice(bundle.as_bytes())
            .map_err(|_| ParseError::Certificate)?;
        let (_, x509) =
            parse_x509_certificate(&certificate).map_err(|_| ParseError::Certificate)?;
        if !x509.is_ca() {
            return Err(ParseError::NotAnAuthority);
        }
        let key_pair = KeyPair::from_pem(key).map_err(|_| ParseError::Key)?;
        if x509.public_key().subject_public_key.data.as_ref() != key_pair.der_bytes() {
            return Err(ParseError::Mismatch);
        }
        let not_after = x509.validity().not_after.to_datetime();
        let issuer = Issuer::from_ca_cert_der(&certificate, key_pair)
            .map_err(|_| ParseError::NotAnAuthority)?;
        Ok(Self {
            bundle: bundle.to_owned(),
            key: key.to_owned(),
            not_after,
            issuer,
        })
    }

    /// Whether its end is near enough for a successor.
    pub(super) fn needs_successor(&self, now: OffsetDateTime) -> bool {
        self.not_after - now < SUCCESSOR_AHEAD
    }

    /// Makes the successor, whose bundle trusts the predecessors too until they expire.
    pub(super) fn successor(&self, now: OffsetDateTime) -> Result<Self, IssueError> {
        let mut successor = Self::generate(now)?;
        for predecessor in self.bundle.split_inclusive(END_OF_CERTIFICATE) {
            if expires_after(predecessor, now) {
                successor.bundle += predecessor.trim();
                successor.bundle.push('\n');
            }
        }
        Ok(successor)
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
        params.not_after = (now + LEAF_LIFETIME).min(self.not_after);
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
            bundle: self.bundle.clone(),
        })
    }
}

fn expires_after(certificate: &str, now: OffsetDateTime) -> bool {
    let Ok(der) = CertificateDer::from_pem_slice(certificate.as_bytes()) else {
        return false;
    };
    let parsed = parse_x509_certificate(&der);
    parsed.is_ok_and(|(_, x509)| x509.validity().not_after.to_datetime() > now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = time::macros::datetime!(2026-01-01 00:00 UTC);

    #[test]
    fn what_is_written_is_read_back() {
        let authority = Authority::generate(NOW).unwrap();
        let again = Authority::parse(&authority.bundle, &authority.key).unwrap();
        assert_eq!(again.not_after, authority.not_after);
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
        let later = first.not_after - Duration::days(100);
        assert!(first.needs_successor(later));
        let second = first.successor(later).unwrap();
        assert!(second.bundle.ends_with(&first.bundle));
        assert!(!second.needs_successor(later));
        let again = Authority::parse(&second.bundle, &second.key).unwrap();
        assert_eq!(again.not_after, second.not_after);
        let much_later = first.not_after + Duration::days(1);
        let third = second.successor(much_later).unwrap();
        assert_eq!(third.bundle.matches(END_OF_CERTIFICATE).count(), 2);
    }

    #[test]
    fn a_serving_certificate_never_outlives_its_authority() {
        let authority = Authority::generate(NOW).unwrap();
        let names = ["fairlead-webhook.mesh.svc".to_owned()];
        let leaf = authority.issue(&names, NOW).unwrap();
        assert_eq!(leaf.not_after, NOW + LEAF_LIFETIME);
        assert_eq!(leaf.renew_at, NOW + LEAF_LIFETIME / 2);
        let late = authority.not_after - Duration::hours(2);
        let leaf = authority.issue(&names, late).unwrap();
        assert_eq!(leaf.not_after, authority.not_after);
        assert_eq!(leaf.renew_at, late + Duration::hours(1));
    }
}
