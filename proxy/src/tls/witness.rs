//! What of a handshake the library shows to those it asks, and keeps from those who drive it.
//!
//! Verifiers and resolvers are shared by all connections of a context, and are called with nothing that
//! names one. They are called from within the driver's own call, on its thread, though: what they put
//! here meanwhile is of the connection that the driver holds.

use std::{cell::RefCell, sync::Arc};

use rustls::{SignatureScheme, sign::CertifiedKey};

use super::peer::PeerCertificate;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The peer's certificate, also one that was refused.
    pub(super) peer: Option<Arc<PeerCertificate>>,
    /// How the peer proved that it has the key.
    pub(super) scheme: Option<SignatureScheme>,
    /// The certificate that the peer is shown.
    pub(super) own: Option<Arc<CertifiedKey>>,
}

impl Seen {
    fn add(&mut self, later: Self) {
        let Self { peer, scheme, own } = later;
        self.peer = peer.or(self.peer.take());
        self.scheme = scheme.or(self.scheme);
        self.own = own.or(self.own.take());
    }
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// Calls the library, and adds to `seen` what it shows meanwhile.
pub(super) fn observe<T>(seen: &mut Seen, call: impl FnOnce() -> T) -> T {
    // What was shown to nobody is of nobody.
    SEEN.take();
    let result = call();
    seen.add(SEEN.take());
    result
}

/// Notes the certificate that a peer shows.
pub(super) fn peer(certificate: Arc<PeerCertificate>) {
    SEEN.with_borrow_mut(|seen| seen.peer = Some(certificate));
}

/// Notes how a peer signs.
pub(super) fn scheme(scheme: SignatureScheme) {
    SEEN.with_borrow_mut(|seen| seen.scheme = Some(scheme));
}

/// Notes the certificate that the peer is shown.
pub(super) fn own(key: &Arc<CertifiedKey>) {
    SEEN.with_borrow_mut(|seen| seen.own = Some(key.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_of_the_one_who_calls() {
        scheme(SignatureScheme::ED25519);
        let mut seen = Seen::default();
        observe(&mut seen, || ());
        assert!(seen.scheme.is_none());
        observe(&mut seen, || scheme(SignatureScheme::RSA_PSS_SHA256));
        observe(&mut seen, || ());
        assert_eq!(seen.scheme, Some(SignatureScheme::RSA_PSS_SHA256));
    }
}
