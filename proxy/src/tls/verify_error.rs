//! Why the certificate of a peer is not accepted.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{CertificateError, Error, OtherError, pki_types::UnixTime};

/// Why a certificate is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum VerifyError {
    /// It cannot be read.
    #[error("the peer's certificate cannot be read")]
    Malformed,
    /// It, or one above it, has come to its end.
    #[error("the peer's certificate, or one above it, expired at {}", moment(*.at))]
    Expired {
        /// The end of its validity.
        at: UnixTime,
    },
    /// It, or one above it, is not yet valid.
    #[error("the peer's certificate, or one above it, is valid only from {}: are the clocks right?", moment(*.from))]
    NotYetValid {
        /// The start of its validity.
        from: UnixTime,
    },
    /// Nobody who is trusted has signed it.
    #[error(
        "the peer's certificate has an unknown issuer: no certificate of trusted_ca has signed it"
    )]
    UnknownIssuer,
    /// It, or one above it, is revoked.
    #[error("the peer's certificate, or one above it, is revoked")]
    Revoked,
    /// No revocation list says whether it is.
    #[error("no valid revocation list covers the peer's certificate")]
    RevocationUnknown,
    /// The chain is longer than allowed.
    #[error("the peer's certificate has more than {max} certificates above it")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// Another rule of certificates is broken.
    #[error("the peer's certificate is not valid: {0}")]
    Invalid(String),
    /// Neither its hash nor that of its key is named.
    #[error("the peer's certificate is none of those that are named by their hash")]
    Hash,
    /// Its names are others than those expected.
    #[error(
        "the peer's certificate is for others (SAN: {present}) than those who are accepted ({accepted})"
    )]
    San {
        /// What it holds.
        present: String,
        /// What would do.
        accepted: String,
    },
    /// It is no SPIFFE identity.
    #[error("the peer's certificate is no SPIFFE identity: {0}")]
    NotSpiffe(&'static str),
    /// It is of a trust domain without a bundle.
    #[error("the peer is of the trust domain '{domain}', trusted are {trusted}")]
    TrustDomain {
        /// Its own.
        domain: String,
        /// Those that there are bundles of.
        trusted: String,
    },
}

fn moment(time: UnixTime) -> humantime::Rfc3339Timestamp {
    // The end of what humantime can write is the year 9999, as in certificates.
    let since = Duration::from_secs(time.as_secs().min(253_402_300_799));
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since)
}

impl VerifyError {
    pub(super) fn of(error: webpki::Error) -> Self {
        match error {
            webpki::Error::CertExpired { not_after, .. } => Self::Expired { at: not_after },
            webpki::Error::CertNotValidYet { not_before, .. } => {
                Self::NotYetValid { from: not_before }
            }
            webpki::Error::UnknownIssuer => Self::UnknownIssuer,
            webpki::Error::CertRevoked => Self::Revoked,
            webpki::Error::UnknownRevocationStatus | webpki::Error::CrlExpired { .. } => {
                Self::RevocationUnknown
            }
            error => Self::Invalid(error.to_string()),
        }
    }

    /// As the library says it, which chooses the alert that the peer is sent.
    pub(super) fn into_rustls(self) -> Error {
        Error::InvalidCertificate(match self {
            Self::Expired { at } => CertificateError::ExpiredContext {
                time: UnixTime::now(),
                not_after: at,
            },
            Self::NotYetValid { from } => CertificateError::NotValidYetContext {
                time: UnixTime::now(),
                not_before: from,
            },
            Self::UnknownIssuer => CertificateError::UnknownIssuer,
            Self::Revoked => CertificateError::Revoked,
            Self::RevocationUnknown => CertificateError::UnknownRevocationStatus,
            Self::Malformed => CertificateError::BadEncoding,
            error => return error.into_unknown(),
        })
    }

    /// The same without a reason that the peer is told.
    pub(super) fn into_unknown(self) -> Error {
        CertificateError::Other(OtherError(Arc::new(self))).into()
    }

    /// Back from the library.
    pub(super) fn of_rustls(error: &CertificateError) -> Self {
        match error {
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired { at: *not_after },
            CertificateError::NotValidYetContext { not_before, .. } => {
                Self::NotYetValid { from: *not_before }
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus => Self::RevocationUnknown,
            CertificateError::BadEncoding => Self::Malformed,
            CertificateError::Other(OtherError(other)) => match other.downcast_ref::<Self>() {
                Some(error) => error.clone(),
                None => Self::Invalid(other.to_string()),
            },
            other => Self::Invalid(other.to_string()),
        }
    }
}
