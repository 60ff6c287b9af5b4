//! A serving certificate that somebody else issues, in a Secret of type `kubernetes.io/tls`.

use std::{fmt, sync::Arc};

use k8s_openapi::api::core::v1::Secret;
use rustls::{
    CertificateError, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name},
    crypto::aws_lc_rs::{default_provider, sign::any_supported_type},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use time::OffsetDateTime;

use super::{authority::Leaf, pem};

const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
const BUNDLE: &str = "ca.crt";

/// A certificate that can be served.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) certified_key: Arc<CertifiedKey>,
    pub(super) not_after: OffsetDateTime,
    /// What API servers are to trust, as PEM; empty where somebody else tells them.
    pub(super) bundle: String,
}

impl Brought {
    /// As it is served. Who issues it renews it too.
    pub(super) fn leaf(&self) -> Leaf {
        Leaf {
            certified_key: Arc::clone(&self.certified_key),
            not_after: self.not_after,
            renew_at: self.not_after,
        }
    }
}

/// Everything that is wrong with the Secret.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) struct BroughtError(pub(super) Vec<Fault>);

impl fmt::Display for BroughtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&faults.join("; "))
    }
}

/// One thing that is wrong with it.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error(
        "ca.crt is missing, which is what the caBundle is made of: add it, or keep the caBundle \
         yourself (webhook.certificate.keepCaBundle=false)"
    )]
    MissingBundle,
    #[error("{0} holds no PEM certificate")]
    NoCertificate(&'static str),
    #[error("tls.key is not a private key in PEM that can be used for TLS")]
    Key,
    #[error("tls.key does not belong to the first certificate of tls.crt")]
    Mismatch,
    #[error("the certificate has expired at {0}")]
    Expired(OffsetDateTime),
    #[error("the certificate is not valid before {0}")]
    NotYetValid(OffsetDateTime),
    #[error("the certificate is not for {0}, by which API servers call: add it as DNS name")]
    Name(String),
    #[error("no authority of ca.crt has issued the certificate or its chain")]
    Issuer,
}

/// Reads a Secret. API servers call by `name`; `with_bundle`: they are to trust its `ca.crt`.
pub(super) fn read(
    secret: &Secret,
    name: &str,
    with_bundle: bool,
    now: OffsetDateTime,
) -> Result<Brought, BroughtError> {
    let text = |key| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key))?;
        let text = std::str::from_utf8(&bytes.0).unwrap_or("");
        (!bytes.0.is_empty()).then_some(text)
    };
    let mut faults = Vec::new();
    let chain = match text(CHAIN).map(pem::certificates) {
        None => Err(Fault::Missing(CHAIN)),
        Some(chain) if chain.is_empty() => Err(Fault::NoCertificate(CHAIN)),
        Some(chain) => Ok(chain),
    };
    let key = match text(KEY).map(|text| PrivateKeyDer::from_pem_slice(text.as_bytes())) {
        None => Err(Fault::Missing(KEY)),
        Some(key) => key
            .ok()
            .and_then(|key| any_supported_type(&key).ok())
            .ok_or(Fault::Key),
    };
    let authorities = match text(BUNDLE).map(pem::certificates) {
        None if with_bundle => Err(Fault::MissingBundle),
        None => Ok(Vec::new()),
        Some(authorities) if authorities.is_empty() => Err(Fault::NoCertificate(BUNDLE)),
        Some(authorities) => Ok(authorities),
    };
    if let Ok(chain) = &chain {
        let leaf = &chain[0];
        if leaf.not_after <= now {
            faults.push(Fault::Expired(leaf.not_after));
        }
        if leaf.not_before > now {
            faults.push(Fault::NotYetValid(leaf.not_before));
        }
        if !is_for(&leaf.der, name) {
            faults.push(Fault::Name(name.to_owned()));
        }
        if let Ok(authorities) = &authorities
            && !authorities.is_empty()
            && !is_issued_by(chain, authorities, name, now)
        {
            faults.push(Fault::Issuer);
        }
    }
    match (chain, key, authorities) {
        (Ok(chain), Ok(key), Ok(authorities)) => {
            let not_after = chain[0].not_after;
            let ders = chain.into_iter().map(|certificate| certificate.der);
            let certified_key = CertifiedKey::new(ders.collect(), key);
            // Keys that cannot tell their public half are taken at their word.
            if let Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) =
                certified_key.keys_match()
            {
                faults.push(Fault::Mismatch);
            }
            if faults.is_empty() {
                return Ok(Brought {
                    certified_key: Arc::new(certified_key),
                    not_after,
                    bundle: pem::bundle(&authorities),
                });
            }
        }
        (chain, key, authorities) => {
            let errors = [chain.err(), key.err(), authorities.err()];
            faults.extend(errors.into_iter().flatten());
        }
    }
    Err(BroughtError(faults))
}

/// Whether one of these bundles, which API servers go by, leads to the certificate. An empty bundle
/// leaves the matter to the authorities of the API server's machine, of which nothing is known here.
pub(super) fn is_accepted_by<'a>(
    brought: &Brought,
    name: &str,
    mut bundles: impl Iterator<Item = &'a str>,
    now: OffsetDateTime,
) -> bool {
    bundles.all(|bundle| {
        let authorities = pem::certificates(bundle);
        authorities.is_empty() || verifies(&brought.certified_key.cert, &authorities, name, now)
    })
}

fn is_for(leaf: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(server) = ServerName::try_from(name) else {
        return false;
    };
    ParsedCertificate::try_from(leaf).is_ok_and(|leaf| verify_server_name(&leaf, &server).is_ok())
}

fn is_issued_by(
    chain: &[pem::Certificate],
    authorities: &[pem::Certificate],
    name: &str,
    now: OffsetDateTime,
) -> bool {
    let chain: Vec<_> = chain.iter().map(|one| one.der.clone()).collect();
    verifies(&chain, authorities, name, now)
}

/// Whether the chain leads to one of the authorities; other faults of it are told apart elsewhere, and
/// those that only this verifier minds are none, because API servers may not mind them.
fn verifies(
    chain: &[CertificateDer<'static>],
    authorities: &[pem::Certificate],
    name: &str,
    now: OffsetDateTime,
) -> bool {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        // What cannot be an authority here leads to nothing.
        drop(roots.add(authority.der.clone()));
    }
    let provider = Arc::new(default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let (Ok(verifier), Ok(name)) = (verifier, ServerName::try_from(name)) else {
        return false;
    };
    let (Some((leaf, intermediates)), Ok(seconds)) =
        (chain.split_first(), u64::try_from(now.unix_timestamp()))
    else {
        return false;
    };
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let verified = verifier.verify_server_cert(leaf, intermediates, &name, &[], now);
    !matches!(
        verified,
        Err(rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature
        ))
    )
}

#[cfg(test)]
mod tests;
