//! What is counted, by Envoy's names under `ssl.`.

use std::borrow::Cow;

use rustls::SignatureScheme;

use super::{
    error::{TlsCause, TlsError},
    handshake::Handshaked,
    parameters::scheme_name,
    verify_error::VerifyError,
};

/// Something that a listener or a cluster counts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// A handshake was done.
    Handshake,
    /// It resumed a session.
    SessionReused,
    /// The peer showed no certificate.
    NoCertificate,
    /// The peer's chain was refused.
    FailVerifyError,
    /// The peer had to show a certificate and did not.
    FailVerifyNoCertificate,
    /// The peer's names were refused.
    FailVerifySan,
    /// The peer's certificate is none of those named by hash.
    FailVerifyHash,
    /// The protocol failed otherwise.
    ConnectionError,
    /// A peer spoke plaintext where it must not. Envoy counts it as an error of the connection alone.
    PlaintextRefused,
    /// The suite of a handshake.
    Cipher(&'static str),
    /// Its version.
    Version(&'static str),
    /// Its curve.
    Curve(&'static str),
    /// How the peer signed in it.
    Signature(SignatureScheme),
}

impl Event {
    /// The name behind that of the listener or cluster.
    pub fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Handshake => "ssl.handshake",
            Self::SessionReused => "ssl.session_reused",
            Self::NoCertificate => "ssl.no_certificate",
            Self::FailVerifyError => "ssl.fail_verify_error",
            Self::FailVerifyNoCertificate => "ssl.fail_verify_no_cert",
            Self::FailVerifySan => "ssl.fail_verify_san",
            Self::FailVerifyHash => "ssl.fail_verify_cert_hash",
            Self::ConnectionError => "ssl.connection_error",
            Self::PlaintextRefused => "ssl.plaintext_refused",
            Self::Cipher(name) => return format!("ssl.ciphers.{name}").into(),
            Self::Version(name) => return format!("ssl.versions.{name}").into(),
            Self::Curve(name) => return format!("ssl.curves.{name}").into(),
            Self::Signature(scheme) => {
                return format!("ssl.sigalgs.{}", scheme_name(*scheme)).into();
            }
        })
    }
}

impl Handshaked {
    /// What is counted of it.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        [
            Some(Event::Handshake),
            self.resumed.then_some(Event::SessionReused),
            self.peer.is_none().then_some(Event::NoCertificate),
            self.cipher.map(Event::Cipher),
            Some(Event::Version(self.version)),
            self.curve.map(Event::Curve),
            self.scheme.map(Event::Signature),
        ]
        .into_iter()
        .flatten()
    }
}

impl TlsError {
    /// What is counted of it.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        let verify = match &self.cause {
            TlsCause::NoCertificate => Some(Event::FailVerifyNoCertificate),
            TlsCause::Verify(VerifyError::San { .. }) => Some(Event::FailVerifySan),
            TlsCause::Verify(VerifyError::Hash) => Some(Event::FailVerifyHash),
            TlsCause::Verify(_) => Some(Event::FailVerifyError),
            _ => None,
        };
        let error = self.cause.is_protocol_error();
        [
            verify,
            error.then_some(Event::ConnectionError),
            self.is_plaintext().then_some(Event::PlaintextRefused),
        ]
        .into_iter()
        .flatten()
    }
}
