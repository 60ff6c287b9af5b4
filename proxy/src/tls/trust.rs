//! Which peers are trusted
//! (`envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext`).

use std::cell::RefCell;

use fairlead_xds::{
    envoy::extensions::transport_sockets::tls::v3::{
        CertificateValidationContext as Message, SpiffeCertValidatorConfig,
        certificate_validation_context::TrustChainVerification,
        spiffe_cert_validator_config::TrustDomain as TrustDomainMessage,
    },
    google::protobuf::Any,
};
use rustls::{
    DistinguishedName,
    pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, pem::PemObject},
};
use webpki::{CertRevocationList, OwnedCertRevocationList};

use super::{
    certificate::chain,
    inputs::{Inputs, watched},
    peer::sha256,
    pins::{hash, spki},
    san::SanMatcher,
    verified::Verified,
};
use crate::compile::At;

/// What a peer's certificate is held against.
#[derive(Debug, Default)]
pub(super) struct Trust {
    pub(super) anchors: Anchors,
    pub(super) revoked: Box<[CertRevocationList<'static>]>,
    crl_digest: [u8; 32],
    pub(super) only_leaf_revocation: bool,
    pub(super) allow_expired: bool,
    /// The checks are made, but do not end the handshake.
    pub(super) accept_untrusted: bool,
    /// The most certificates above the leaf.
    pub(super) max_depth: Option<usize>,
    /// SHA-256 of the certificates that are accepted alone.
    pub(super) hashes: Box<[[u8; 32]]>,
    /// SHA-256 of their public keys.
    pub(super) spkis: Box<[[u8; 32]]>,
    /// One of them must be met, unless there are none.
    pub(super) sans: Box<[SanMatcher]>,
    /// What clients are told to choose their certificate by.
    pub(super) hints: Box<[DistinguishedName]>,
    /// The certificates of the anchors, to be shown to operators.
    pub(super) certificates: Box<[CertificateDer<'static>]>,
    /// Chains that were held against it.
    pub(super) verified: Verified,
}

/// Whose signatures count.
#[derive(Debug, Default)]
pub(super) enum Anchors {
    /// Nobody's: a chain is not looked at.
    #[default]
    None,
    /// Theirs.
    Bundle(Box<[TrustAnchor<'static>]>),
    /// By the trust domain of the peer's SPIFFE identity.
    Spiffe(Box<[TrustDomain]>),
}

/// A trust domain and its bundle.
#[derive(Debug)]
pub(super) struct TrustDomain {
    pub(super) name: Box<str>,
    pub(super) anchors: Box<[TrustAnchor<'static>]>,
}

impl Trust {
    /// Reads what the message names. `has_sans`: names are expected that the message does not hold.
    pub(super) fn compile(
        at: &At<'_>,
        message: &Message,
        has_sans: bool,
        inputs: &Inputs<'_>,
    ) -> Option<Self> {
        #[expect(deprecated, reason = "what is deprecated is still sent")]
        let Message {
            trusted_ca,
            ca_certificate_provider_instance,
            system_root_certs,
            watched_directory,
            verify_certificate_spki,
            verify_certificate_hash,
            match_typed_subject_alt_names,
            match_subject_alt_names,
            require_signed_certificate_timestamp,
            crl,
            allow_expired_certificate,
            trust_chain_verification,
            custom_validator_config,
            only_verify_leaf_cert_crl,
            max_verify_depth,
            suppress_client_ca_list,
        } = message;
        let mut refused = false;
        let mut refuse = |is_asked: bool, field: &str| {
            if is_asked {
                refused = true;
                at.field(field).fault::<()>("is not supported");
            }
        };
        refuse(
            ca_certificate_provider_instance.is_some(),
            "ca_certificate_provider_instance",
        );
        refuse(system_root_certs.is_some(), "system_root_certs");
        refuse(
            require_signed_certificate_timestamp.is_some_and(|required| required.value),
            "require_signed_certificate_timestamp",
        );
        watched(at, watched_directory.as_ref())?;
        let sans = sans(at, match_typed_subject_alt_names, match_subject_alt_names);
        let hashes = at.each(
            "verify_certificate_hash",
            verify_certificate_hash,
            |at, text| hash(at, text),
        );
        let spkis = at.each(
            "verify_certificate_spki",
            verify_certificate_spki,
            |at, text| spki(at, text),
        );
        let at_mode = at.field("trust_chain_verification");
        let accept_untrusted = match TrustChainVerification::try_from(*trust_chain_verification) {
            Ok(mode) => Some(mode == TrustChainVerification::AcceptUntrusted),
            Err(_) => at_mode.fault(format!("{trust_chain_verification} is no mode")),
        };
        let max_depth = match max_verify_depth {
            Some(depth) if depth.value > 100 => {
                return at
                    .field("max_verify_depth")
                    .fault(format!("{} is more than 100", depth.value));
            }
            depth => depth.map(|depth| depth.value as usize),
        };
        let mut certificates = Vec::new();
        let anchors = match (custom_validator_config, trusted_ca) {
            (Some(custom), _) => {
                let at = at.field("custom_validator_config");
                if custom.name != SPIFFE {
                    return at
                        .field("name")
                        .fault(format!("'{}' is not supported, only {SPIFFE}", custom.name));
                }
                let any = at.required("typed_config", custom.typed_config.as_ref())?;
                spiffe(&at.field("typed_config"), any, inputs, &mut certificates)
            }
            (None, Some(source)) => {
                let at = at.field("trusted_ca");
                let pem = inputs.read(&at, source)?;
                bundle(&at, &pem, &mut certificates).map(Anchors::Bundle)
            }
            (None, None) => Some(Anchors::None),
        };
        let (revoked, crl_digest) = match crl {
            Some(source) => {
                let at = at.field("crl");
                let pem = inputs.read(&at, source)?;
                (revoked(&at, &pem)?, sha256(&pem))
            }
            None => Default::default(),
        };
        let (anchors, sans, accept_untrusted) = (anchors?, sans?, accept_untrusted?);
        if matches!(anchors, Anchors::None) {
            if !sans.is_empty() || has_sans {
                return at
                    .field("match_typed_subject_alt_names")
                    .fault("names prove nothing without trusted_ca");
            }
            if crl.is_some() {
                return at.field("crl").fault("proves nothing without trusted_ca");
            }
            if *allow_expired_certificate {
                return at
                    .field("allow_expired_certificate")
                    .fault("means nothing without trusted_ca");
            }
        }
        if refused
            || hashes.len() < verify_certificate_hash.len()
            || spkis.len() < verify_certificate_spki.len()
        {
            return None;
        }
        let hints = if *suppress_client_ca_list {
            Box::default()
        } else {
            anchors.subjects()
        };
        Some(Self {
            anchors,
            revoked,
            crl_digest,
            only_leaf_revocation: *only_verify_leaf_cert_crl,
            allow_expired: *allow_expired_certificate,
            accept_untrusted,
            max_depth,
            hashes: hashes.into(),
            spkis: spkis.into(),
            sans,
            hints,
            certificates: certificates.into(),
            verified: Verified::default(),
        })
    }

    /// Changes with the anchors and the revoked certificates.
    pub(super) fn digest(&self) -> [u8; 32] {
        let (empty, of_domains): (&[_], &[_]) = (&[], &[]);
        let (bundle, domains) = match &self.anchors {
            Anchors::None => (empty, of_domains),
            Anchors::Bundle(anchors) => (&**anchors, of_domains),
            Anchors::Spiffe(domains) => (empty, &**domains),
        };
        let mut bytes = Vec::new();
        let mut add = |anchors: &[TrustAnchor<'_>]| {
            for anchor in anchors {
                bytes.extend_from_slice(&sha256(&anchor.subject));
                bytes.extend_from_slice(&sha256(&anchor.subject_public_key_info));
            }
        };
        add(bundle);
        for domain in domains {
            add(&domain.anchors);
        }
        bytes.extend_from_slice(&self.crl_digest);
        sha256(&bytes)
    }

    /// Whether a certificate is looked at.
    pub(super) fn verifies(&self) -> bool {
        !matches!(self.anchors, Anchors::None) || self.pins()
    }

    /// Whether a chain stays good until one of its certificates ends.
    pub(super) fn is_lasting(&self) -> bool {
        self.revoked.is_empty() && !self.allow_expired
    }

    /// Whether single certificates are named.
    pub(super) fn pins(&self) -> bool {
        !self.hashes.is_empty() || !self.spkis.is_empty()
    }
}

impl Anchors {
    fn subjects(&self) -> Box<[DistinguishedName]> {
        let name = |anchor: &TrustAnchor<'_>| DistinguishedName::in_sequence(&anchor.subject);
        match self {
            Self::None => Box::default(),
            Self::Bundle(anchors) => anchors.iter().map(name).collect(),
            Self::Spiffe(domains) => {
                let anchors = domains.iter().flat_map(|domain| &domain.anchors);
                anchors.map(name).collect()
            }
        }
    }
}

const SPIFFE: &str = "envoy.tls.cert_validator.spiffe";

const SPIFFE_TYPE: &str =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";

/// The matchers of both lists; the deprecated one counts only alone.
pub(super) fn sans(
    at: &At<'_>,
    typed: &[fairlead_xds::envoy::extensions::transport_sockets::tls::v3::SubjectAltNameMatcher],
    untyped: &[fairlead_xds::envoy::r#type::matcher::v3::StringMatcher],
) -> Option<Box<[SanMatcher]>> {
    let (sans, asked) = if typed.is_empty() {
        let name = "match_subject_alt_names";
        let sans = at.each(name, untyped, SanMatcher::compile_untyped);
        (sans, untyped.len())
    } else {
        let name = "match_typed_subject_alt_names";
        (at.each(name, typed, SanMatcher::compile), typed.len())
    };
    (sans.len() == asked).then(|| sans.into())
}

fn bundle(
    at: &At<'_>,
    pem: &[u8],
    certificates: &mut Vec<CertificateDer<'static>>,
) -> Option<Box<[TrustAnchor<'static>]>> {
    let chain = chain(at, pem)?;
    certificates.extend(chain.iter().cloned());
    let anchors = chain.iter().enumerate().map(|(index, certificate)| {
        webpki::anchor_from_trusted_cert(certificate).map_or_else(
            |error| at.fault(format!("certificate {index} is no X.509: {error}")),
            |anchor| Some(anchor.to_owned()),
        )
    });
    anchors.collect()
}

fn spiffe(
    at: &At<'_>,
    any: &Any,
    inputs: &Inputs<'_>,
    certificates: &mut Vec<CertificateDer<'static>>,
) -> Option<Anchors> {
    if any.type_url != SPIFFE_TYPE {
        return at.fault(format!("is a {}, not a {SPIFFE_TYPE}", any.type_url));
    }
    let SpiffeCertValidatorConfig {
        trust_domains,
        trust_bundles,
    } = at.decode(any)?;
    if trust_bundles.is_some() {
        return at
            .field("trust_bundles")
            .fault("is not supported: name trust_domains with a bundle each");
    }
    if trust_domains.is_empty() {
        return at.field("trust_domains").fault("is empty");
    }
    let certificates = RefCell::new(certificates);
    let domains = at.each("trust_domains", &trust_domains, |at, domain| {
        let TrustDomainMessage {
            name,
            trust_bundle,
            workload_trust_domain,
        } = domain;
        if name.is_empty() {
            return at.field("name").fault("is empty");
        }
        if !workload_trust_domain.is_empty() {
            return at.field("workload_trust_domain").fault("is not supported");
        }
        let source = at.required("trust_bundle", trust_bundle.as_ref())?;
        let at = at.field("trust_bundle");
        let pem = inputs.read(&at, source)?;
        let anchors = bundle(&at, &pem, &mut certificates.borrow_mut())?;
        Some(TrustDomain {
            name: name.as_str().into(),
            anchors,
        })
    });
    for (index, domain) in domains.iter().enumerate() {
        if domains[..index]
            .iter()
            .any(|other| other.name == domain.name)
        {
            return at
                .field("trust_domains")
                .fault(format!("'{}' is there twice", domain.name));
        }
    }
    (domains.len() == trust_domains.len()).then(|| Anchors::Spiffe(domains.into()))
}

fn revoked(at: &At<'_>, pem: &[u8]) -> Option<Box<[CertRevocationList<'static>]>> {
    let lists = CertificateRevocationListDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let lists = match lists {
        Ok(lists) if lists.is_empty() => return at.fault("holds no revocation list in PEM"),
        Ok(lists) => lists,
        Err(error) => return at.fault(format!("is no PEM: {error}")),
    };
    let lists = lists.iter().map(|list| {
        OwnedCertRevocationList::from_der(list).map_or_else(
            |error| at.fault(format!("is no revocation list: {error}")),
            |list| Some(CertRevocationList::Owned(list)),
        )
    });
    lists.collect()
}
