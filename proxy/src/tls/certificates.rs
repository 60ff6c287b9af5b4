//! Several certificates of our own: which one a client is shown.

use std::sync::Arc;

use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{certificate::Certificate, witness};

/// The certificates of a server.
#[derive(Debug)]
pub(super) struct Certificates {
    /// At least one.
    pub(super) list: Box<[Certificate]>,
    /// A client whose name none is for is shown any that suits its algorithms, not just the first.
    pub(super) full_scan: bool,
    /// A client without a name is refused.
    pub(super) require_sni: bool,
}

impl Certificates {
    /// The certificate for this name and these algorithms: by the exact name, then by a wildcard, then
    /// the first. Among those of one name an ECDSA key comes first, if the client knows it.
    fn choose(&self, sni: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Certificate> {
        let Some(sni) = sni else {
            return self.choose_without_name(schemes);
        };
        let sni = sni.to_ascii_lowercase();
        let named = |name: &str| {
            let candidates = self.list.iter();
            let candidates = candidates.filter(|own| own.names.iter().any(|own| **own == *name));
            best(candidates, schemes)
        };
        let wildcard = || {
            let (_, parent) = sni.split_once('.')?;
            named(&format!("*.{parent}"))
        };
        named(&sni)
            .or_else(wildcard)
            .or_else(|| self.choose_any(schemes))
    }

    fn choose_without_name(&self, schemes: &[SignatureScheme]) -> Option<&Certificate> {
        if self.require_sni {
            return None;
        }
        self.choose_any(schemes)
    }

    fn choose_any(&self, schemes: &[SignatureScheme]) -> Option<&Certificate> {
        let scanned = self.full_scan.then(|| best(self.list.iter(), schemes));
        scanned.flatten().or_else(|| self.list.first())
    }
}

/// The one that suits the client best, if one suits.
fn best<'a>(
    candidates: impl Iterator<Item = &'a Certificate> + Clone,
    schemes: &[SignatureScheme],
) -> Option<&'a Certificate> {
    let mut suiting =
        candidates.filter(|certificate| certificate.key.key.choose_scheme(schemes).is_some());
    let first = suiting.next()?;
    if first.is_ecdsa {
        return Some(first);
    }
    Some(
        suiting
            .find(|certificate| certificate.is_ecdsa)
            .unwrap_or(first),
    )
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let sni = client_hello.server_name();
        let chosen = self.choose(sni, client_hello.signature_schemes())?;
        witness::own(&chosen.key);
        Some(chosen.key.clone())
    }
}

/// The certificate of a client, or none.
///
/// It is shown whatever CAs the server names: if it trusts none of ours, its answer says so.
#[derive(Debug)]
pub(super) struct OwnCertificate(pub(super) Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for OwnCertificate {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let own = self.0.as_ref()?;
        own.key.choose_scheme(schemes)?;
        Some(own.clone())
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}
