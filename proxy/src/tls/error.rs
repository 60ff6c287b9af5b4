//! Why a connection could not be encrypted, in words that say what to change.

use std::{fmt, io, net::SocketAddr, time::Duration};

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

use super::{handshake::Handshaked, parameters::Role, verify_error::VerifyError};

/// The addresses of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ends {
    /// The other side.
    pub peer: SocketAddr,
    /// Downstream: where the peer wanted to go, before any redirect.
    pub local: SocketAddr,
}

/// A connection that could not be encrypted, or broke as one.
#[derive(Debug)]
pub struct TlsError {
    /// Our own side.
    pub role: Role,
    /// Whose connection it is.
    pub ends: Ends,
    /// What happened.
    pub cause: TlsCause,
    /// What was agreed on by then, if it was in the handshake.
    pub known: Option<Box<Handshaked>>,
}

/// What happened.
#[derive(Debug)]
pub enum TlsCause {
    /// The peer does not speak TLS to a port where it must.
    Plaintext {
        /// What its first bytes look like.
        looks_like: &'static str,
        /// Whether it would also need a certificate.
        mtls: bool,
    },
    /// What was asked for TLS answered something else.
    PlaintextAnswer,
    /// We show no certificate, and the peer needs one.
    PeerRequiresMtls,
    /// The peer shows no certificate, and we need one.
    NoCertificate,
    /// We do not accept the certificate of the peer.
    Verify(VerifyError),
    /// The peer ended it with an alert.
    Alert(AlertDescription),
    /// No version of TLS is spoken by both sides.
    Version,
    /// No cipher suite, curve or signature is known to both sides.
    Cipher(PeerIncompatible),
    /// None of our certificates is for the name that the peer asks for.
    NoCertificateForName,
    /// It took too long.
    TimedOut {
        /// The limit.
        within: Duration,
    },
    /// The peer reset the connection in the handshake.
    Reset,
    /// The peer closed the connection in the handshake.
    Closed,
    /// The name is none that can be asked for.
    Name(String),
    /// The peer breaks the protocol.
    Protocol(Error),
    /// The socket broke otherwise.
    Io(io::Error),
}

impl TlsCause {
    /// What the library says. `has_certificate`: of our own.
    pub(super) fn of(error: Error, role: Role, has_certificate: bool) -> Self {
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(error) => Self::Verify(VerifyError::of_rustls(&error)),
            Error::AlertReceived(alert) => match alert {
                AlertDescription::CertificateRequired if role == Role::Client => {
                    Self::PeerRequiresMtls
                }
                // How servers of TLS 1.2 say it.
                AlertDescription::HandshakeFailure
                | AlertDescription::BadCertificate
                | AlertDescription::NoCertificate
                    if role == Role::Client && !has_certificate =>
                {
                    Self::PeerRequiresMtls
                }
                alert => Self::Alert(alert),
            },
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) if role == Role::Client => Self::PlaintextAnswer,
            Error::PeerIncompatible(
                // Clients before TLS 1.2 know no such extension.
                PeerIncompatible::SignatureAlgorithmsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::Tls13RequiredForQuic
                | PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::Version,
            Error::PeerIncompatible(incompatible) => Self::Cipher(incompatible),
            Error::General(text) if text.contains("no server certificate chain resolved") => {
                Self::NoCertificateForName
            }
            error => Self::Protocol(error),
        }
    }

    /// What the socket says, whose error may hold one of the library.
    pub(super) fn of_io(error: io::Error, role: Role, has_certificate: bool) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => return Self::Closed,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => return Self::Reset,
            _ => {}
        }
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            Some(inner) => Self::of(inner.clone(), role, has_certificate),
            None => Self::Io(error),
        }
    }

    /// Whether a server would count it as an error of the connection.
    pub(super) fn is_protocol_error(&self) -> bool {
        match self {
            Self::Plaintext { .. }
            | Self::PlaintextAnswer
            | Self::PeerRequiresMtls
            | Self::Alert(_)
            | Self::Version
            | Self::Cipher(_)
            | Self::NoCertificateForName
            | Self::Protocol(_) => true,
            Self::NoCertificate
            | Self::Verify(_)
            | Self::TimedOut { .. }
            | Self::Reset
            | Self::Closed
            | Self::Name(_)
            | Self::Io(_) => false,
        }
    }
}

impl std::error::Error for TlsError {}

impl TlsError {
    pub(super) fn new(role: Role, ends: Ends, cause: TlsCause) -> Self {
        Self {
            role,
            ends,
            cause,
            known: None,
        }
    }

    pub(super) fn knowing(mut self, known: Handshaked) -> Self {
        self.known = Some(Box::new(known));
        self
    }

    /// One token for machines.
    pub fn token(&self) -> &'static str {
        match &self.cause {
            TlsCause::Plaintext { .. } => "tls_plaintext_refused",
            TlsCause::PlaintextAnswer => "tls_peer_speaks_plaintext",
            TlsCause::PeerRequiresMtls => "tls_peer_requires_mtls",
            TlsCause::NoCertificate => "tls_no_peer_certificate",
            TlsCause::Verify(error) => match error {
                VerifyError::Expired { .. } => "tls_peer_certificate_expired",
                VerifyError::NotYetValid { .. } => "tls_peer_certificate_not_yet_valid",
                VerifyError::UnknownIssuer => "tls_peer_certificate_unknown_issuer",
                VerifyError::Revoked => "tls_peer_certificate_revoked",
                VerifyError::San { .. } => "tls_peer_san_mismatch",
                VerifyError::TrustDomain { .. } | VerifyError::NotSpiffe(_) => {
                    "tls_peer_wrong_trust_domain"
                }
                _ => "tls_peer_certificate_invalid",
            },
            TlsCause::Alert(AlertDescription::UnknownCA) => "tls_peer_does_not_know_our_ca",
            TlsCause::Alert(AlertDescription::CertificateExpired) => "tls_our_certificate_expired",
            TlsCause::Alert(AlertDescription::ProtocolVersion) | TlsCause::Version => {
                "tls_no_common_version"
            }
            TlsCause::Alert(AlertDescription::HandshakeFailure) | TlsCause::Cipher(_) => {
                "tls_no_common_cipher"
            }
            TlsCause::Alert(_) => "tls_refused_by_peer",
            TlsCause::NoCertificateForName => "tls_no_certificate_for_name",
            TlsCause::TimedOut { .. } => "tls_handshake_timeout",
            TlsCause::Reset => "tls_reset_in_handshake",
            TlsCause::Closed => "tls_closed_in_handshake",
            TlsCause::Name(_) => "tls_name_invalid",
            TlsCause::Protocol(_) => "tls_protocol_error",
            TlsCause::Io(_) => "tls_io_error",
        }
    }

    /// Envoy's text for `%UPSTREAM_TRANSPORT_FAILURE_REASON%` and its downstream sibling, where it has
    /// one; ours follows in words.
    pub fn transport_failure_reason(&self) -> String {
        match self.library_reason() {
            Some((code, reason)) => format!(
                "TLS_error:|{}:SSL routines:OPENSSL_internal:{reason}:TLS_error_end: {}",
                LIBRARY | code,
                self.cause
            ),
            None => self.cause.to_string(),
        }
    }

    /// The number and name that BoringSSL gives it.
    fn library_reason(&self) -> Option<(u32, String)> {
        let reason = match &self.cause {
            TlsCause::Plaintext { looks_like, .. } if *looks_like == HTTP => (156, "HTTP_REQUEST"),
            TlsCause::Plaintext { .. } | TlsCause::PlaintextAnswer => (247, "WRONG_VERSION_NUMBER"),
            TlsCause::NoCertificate => (192, "PEER_DID_NOT_RETURN_A_CERTIFICATE"),
            TlsCause::Verify(_) => (125, "CERTIFICATE_VERIFY_FAILED"),
            TlsCause::PeerRequiresMtls => (1116, "TLSV1_ALERT_CERTIFICATE_REQUIRED"),
            TlsCause::Version => (240, "UNSUPPORTED_PROTOCOL"),
            TlsCause::Cipher(_) => (184, "NO_SHARED_CIPHER"),
            TlsCause::Protocol(
                Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. },
            ) => (223, "UNEXPECTED_MESSAGE"),
            TlsCause::Alert(alert) => {
                let code = u32::from(u8::from(*alert));
                // Those that SSL 3 had, and those that came later.
                let prefix = match code {
                    0..=47 => "SSLV3_ALERT",
                    _ => "TLSV1_ALERT",
                };
                return Some((1000 + code, format!("{prefix}_{}", alert_name(*alert))));
            }
            TlsCause::NoCertificateForName
            | TlsCause::TimedOut { .. }
            | TlsCause::Reset
            | TlsCause::Closed
            | TlsCause::Name(_)
            | TlsCause::Protocol(_)
            | TlsCause::Io(_) => return None,
        };
        Some((reason.0, reason.1.to_owned()))
    }

    /// Whether it took too long.
    pub fn is_time_out(&self) -> bool {
        matches!(self.cause, TlsCause::TimedOut { .. })
    }

    /// Whether the peer spoke plaintext to a port that takes TLS alone.
    pub fn is_plaintext(&self) -> bool {
        matches!(self.cause, TlsCause::Plaintext { .. })
    }
}

/// The number of the TLS library among BoringSSL's.
const LIBRARY: u32 = 16 << 24;

/// What the first bytes of HTTP are called.
pub(super) const HTTP: &str = "HTTP";

fn alert_name(alert: AlertDescription) -> String {
    let name = alert.as_str().unwrap_or("UNKNOWN");
    let mut words = String::new();
    let mut before_is_lower = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && before_is_lower {
            words.push('_');
        }
        before_is_lower = character.is_ascii_lowercase();
        words.push(character.to_ascii_uppercase());
    }
    words
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ends { peer, local } = self.ends;
        match (self.role, &self.cause) {
            (_, TlsCause::Plaintext { looks_like, mtls }) => {
                let needed = if *mtls { "mTLS" } else { "TLS" };
                write!(
                    f,
                    "{peer} sent plaintext ({looks_like}) to {local}, where {needed} is required: \
                     its side must speak {needed}, or this port allow plaintext"
                )
            }
            (Role::Server, cause) => write!(f, "TLS with the client {peer} at {local}: {cause}"),
            (Role::Client, cause) => write!(f, "TLS with the server {peer}: {cause}"),
        }
    }
}

impl fmt::Display for TlsCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plaintext { looks_like, mtls } => {
                let needed = if *mtls { "mTLS" } else { "TLS" };
                write!(f, "plaintext ({looks_like}) where {needed} is required")
            }
            Self::PlaintextAnswer => f.write_str(
                "the peer answers in plaintext: it has no TLS on that port, or no sidecar",
            ),
            Self::PeerRequiresMtls => f.write_str(
                "peer requires mTLS: it needs a client certificate, and this side has none",
            ),
            Self::NoCertificate => {
                f.write_str("the peer shows no certificate, and one is required (mTLS)")
            }
            Self::Verify(error) => error.fmt(f),
            Self::Alert(alert) => match alert {
                AlertDescription::UnknownCA => {
                    f.write_str("the peer does not know the CA that issued our certificate")
                }
                AlertDescription::CertificateExpired => f.write_str(
                    "the peer finds our certificate expired: is it renewed, are the clocks right?",
                ),
                AlertDescription::CertificateRequired => {
                    f.write_str("the peer requires a certificate")
                }
                AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::AccessDenied => write!(
                    f,
                    "the peer does not accept our certificate ({}): its log says why",
                    alert_name(*alert).to_ascii_lowercase()
                ),
                AlertDescription::ProtocolVersion => {
                    f.write_str("no version of TLS is spoken by both sides, says the peer")
                }
                AlertDescription::HandshakeFailure => f.write_str(
                    "the peer finds no cipher suite, curve or signature that both sides know",
                ),
                AlertDescription::UnrecognisedName => {
                    f.write_str("the peer has no certificate for the name that is asked for (SNI)")
                }
                AlertDescription::NoApplicationProtocol => {
                    f.write_str("the peer speaks none of the protocols that are offered (ALPN)")
                }
                alert => write!(
                    f,
                    "the peer ended it with the alert {}",
                    alert_name(*alert).to_ascii_lowercase()
                ),
            },
            Self::Version => f.write_str("no version of TLS is spoken by both sides"),
            Self::Cipher(incompatible) => write!(
                f,
                "no cipher suite, curve or signature is known to both sides ({incompatible:?})"
            ),
            Self::NoCertificateForName => {
                f.write_str("no certificate here is for the name that is asked for (SNI)")
            }
            Self::TimedOut { within } => write!(
                f,
                "the handshake was not done within {}",
                humantime::format_duration(*within)
            ),
            Self::Reset => f.write_str(
                "the peer reset the connection in the handshake: it takes no TLS on that port, or \
                 was ended",
            ),
            Self::Closed => f.write_str(
                "the peer closed the connection in the handshake: it takes no TLS on that port, or \
                 was ended",
            ),
            Self::Name(name) => write!(f, "'{name}' is no DNS name and cannot be asked for (SNI)"),
            Self::Protocol(error) => write!(f, "the protocol is broken: {error}"),
            Self::Io(error) => error.fmt(f),
        }
    }
}
