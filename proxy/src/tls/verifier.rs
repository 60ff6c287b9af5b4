//! Holds the certificate of a peer against what is trusted.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use webpki::{
    EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy,
};

use super::{
    parameters::{Parameters, Role},
    peer::{ParsedCertificate, PeerCertificate},
    san::{SanMatcher, is_name_of},
    trust::{Anchors, Trust, TrustDomain},
    verify_error::VerifyError,
    witness,
};

/// Verifies one side's peers.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) trust: Arc<Trust>,
    /// Names that are expected beside those of the trust: one of all of them must be met.
    pub(super) sans: Arc<[SanMatcher]>,
    /// The name that is asked for must be among the certificate's; the others count no more.
    pub(super) name_is_expected: bool,
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) schemes: Box<[SignatureScheme]>,
    /// Our own side.
    pub(super) role: Role,
    /// Whether a client must have a certificate.
    pub(super) mandatory: bool,
}

impl Verifier {
    pub(super) fn new(
        trust: Arc<Trust>,
        sans: Arc<[SanMatcher]>,
        parameters: &Parameters,
        role: Role,
    ) -> Self {
        Self {
            trust,
            sans,
            name_is_expected: false,
            provider: parameters.provider.clone(),
            schemes: parameters.schemes.clone(),
            role,
            mandatory: false,
        }
    }

    /// Whether the certificate is accepted for what it proves.
    pub(super) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: Option<&str>,
        now: UnixTime,
    ) -> Result<(), VerifyError> {
        let trust = &*self.trust;
        let known = self.known(leaf, intermediates, now);
        let is_known = known.is_some();
        let peer = known.unwrap_or_else(|| Arc::new(PeerCertificate::new(leaf)));
        witness::peer(peer.clone());
        if !trust.verifies() {
            return Ok(());
        }
        // Only if somebody asks for what it says, which costs as much as half the chain.
        let parsed = || peer.parsed().ok_or(VerifyError::Malformed);
        let anchors = match &trust.anchors {
            Anchors::None => None,
            Anchors::Bundle(anchors) => Some(&**anchors),
            Anchors::Spiffe(domains) => Some(spiffe_anchors(parsed()?, domains)?),
        };
        if let Some(anchors) = anchors
            && !is_known
        {
            self.verify_chain(leaf, intermediates, anchors, now)?;
            if trust.is_lasting() {
                trust.verified.remember(&peer, intermediates, now);
            }
        }
        if self.name_is_expected || !self.sans.is_empty() || !trust.sans.is_empty() {
            self.verify_names(parsed()?, name)?;
        }
        let is_named = !trust.pins()
            || trust.hashes.contains(&peer.sha256())
            || trust.spkis.contains(parsed()?.spki_sha256());
        is_named.then_some(()).ok_or(VerifyError::Hash)
    }

    /// The certificate, if its chain is known to be good.
    pub(super) fn known(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<Arc<PeerCertificate>> {
        self.trust.verified.find(leaf, intermediates, now)
    }

    fn verify_names(
        &self,
        parsed: &ParsedCertificate,
        name: Option<&str>,
    ) -> Result<(), VerifyError> {
        let mismatch = |accepted| {
            Err(VerifyError::San {
                present: parsed.sans(),
                accepted,
            })
        };
        if self.name_is_expected {
            return match name {
                Some(name) if parsed.dns_sans.iter().any(|san| is_name_of(name, san)) => Ok(()),
                Some(name) => mismatch(format!("DNS exact '{name}'")),
                None => mismatch("none, since no SNI is known".to_owned()),
            };
        }
        let accepted = || self.sans.iter().chain(&self.trust.sans);
        let is_spiffe = matches!(self.trust.anchors, Anchors::Spiffe(_));
        let matches = |san: &SanMatcher| match is_spiffe {
            true => san.matches_uri(parsed),
            false => san.matches(parsed),
        };
        if accepted().any(matches) {
            return Ok(());
        }
        let words: Vec<_> = accepted().map(|san| &*san.words).collect();
        mismatch(words.join(", "))
    }

    fn verify_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        anchors: &[TrustAnchor<'_>],
        now: UnixTime,
    ) -> Result<(), VerifyError> {
        let leaf = EndEntityCert::try_from(leaf).map_err(VerifyError::of)?;
        let mut now = now;
        // Each turn looks at another moment, at which a certificate that is too old was still valid.
        for _ in 0..EXPIRED_CERTIFICATES {
            match self.verify_chain_at(&leaf, intermediates, anchors, now) {
                Err(webpki::Error::CertExpired { not_after, .. }) if self.trust.allow_expired => {
                    now = not_after;
                }
                Err(webpki::Error::CertNotValidYet { not_before, .. })
                    if self.trust.allow_expired =>
                {
                    now = not_before;
                }
                // What our own limit is answered with.
                Err(webpki::Error::MaximumPathDepthExceeded) => {
                    return Err(VerifyError::TooDeep {
                        max: self.trust.max_depth.unwrap_or(MAX_DEPTH),
                    });
                }
                result => return result.map_err(VerifyError::of),
            }
        }
        Err(VerifyError::Expired { at: now })
    }

    fn verify_chain_at(
        &self,
        leaf: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        anchors: &[TrustAnchor<'_>],
        now: UnixTime,
    ) -> Result<(), webpki::Error> {
        let lists: Vec<_> = self.trust.revoked.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            let depth = match self.trust.only_leaf_revocation {
                true => RevocationCheckDepth::EndEntity,
                false => RevocationCheckDepth::Chain,
            };
            options
                .with_depth(depth)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let usage = match self.role {
            Role::Client => KeyUsage::server_auth(),
            Role::Server => KeyUsage::client_auth(),
        };
        let max_depth = self.trust.max_depth.unwrap_or(usize::MAX);
        let is_short = |path: &webpki::VerifiedPath<'_>| {
            // The anchor is one of those above the leaf.
            let above = path.intermediate_certificates().count() + 1;
            if above > max_depth {
                return Err(webpki::Error::MaximumPathDepthExceeded);
            }
            Ok(())
        };
        leaf.verify_for_usage(
            self.provider.signature_verification_algorithms.all,
            anchors,
            intermediates,
            now,
            usage,
            revocation,
            Some(&is_short),
        )
        .map(|_| ())
    }

    fn check_scheme(&self, scheme: SignatureScheme) -> Result<(), Error> {
        if self.schemes.is_empty() || self.schemes.contains(&scheme) {
            return Ok(());
        }
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }

    fn supported_schemes(&self) -> Vec<SignatureScheme> {
        let mut schemes = self
            .provider
            .signature_verification_algorithms
            .supported_schemes();
        schemes.retain(|scheme| self.check_scheme(*scheme).is_ok());
        schemes
    }

    fn accept(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: Option<&str>,
        now: UnixTime,
    ) -> Result<(), Error> {
        match self.verify(leaf, intermediates, name, now) {
            Err(_) if self.trust.accept_untrusted => Ok(()),
            // Which alert it is tells no more than that, as in Envoy.
            Err(error) if matches!(self.trust.anchors, Anchors::Spiffe(_)) => {
                Err(error.into_unknown())
            }
            Err(error) => Err(error.into_rustls()),
            Ok(()) => Ok(()),
        }
    }

    fn verify_12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_scheme(signed.scheme)?;
        witness::scheme(signed.scheme);
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_scheme(signed.scheme)?;
        witness::scheme(signed.scheme);
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }
}

/// The most certificates of a chain whose validity is over and is forgiven.
const EXPIRED_CERTIFICATES: usize = 8;

/// The most certificates above the leaf that the library follows.
const MAX_DEPTH: usize = 7;

/// The bundle of the trust domain that the certificate is of.
fn spiffe_anchors<'a>(
    parsed: &ParsedCertificate,
    domains: &'a [TrustDomain],
) -> Result<&'a [TrustAnchor<'static>], VerifyError> {
    let uri = match &*parsed.uri_sans {
        [uri] => uri,
        [] => return Err(VerifyError::NotSpiffe("it holds no URI")),
        _ => return Err(VerifyError::NotSpiffe("it holds more than one URI")),
    };
    let domain = trust_domain(uri).ok_or(VerifyError::NotSpiffe("its URI is no SPIFFE ID"))?;
    let found = domains.iter().find(|trusted| *trusted.name == *domain);
    found.map(|found| &*found.anchors).ok_or_else(|| {
        let trusted: Vec<_> = domains.iter().map(|trusted| &*trusted.name).collect();
        VerifyError::TrustDomain {
            domain: domain.to_owned(),
            trusted: trusted.join(", "),
        }
    })
}

fn trust_domain(uri: &str) -> Option<&str> {
    let (domain, _) = uri.strip_prefix("spiffe://")?.split_once('/')?;
    (!domain.is_empty()).then_some(domain)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = match server_name {
            ServerName::DnsName(name) => Some(name.as_ref()),
            _ => None,
        };
        self.accept(end_entity, intermediates, name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.trust.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.accept(end_entity, intermediates, None, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_12(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify_13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.supported_schemes()
    }
}
