//! Chains that were found good: a peer that comes again costs one signature less to verify.
//!
//! They are of one trust, and gone with it when it is read again. A peer still proves in each handshake
//! that it has the key, and its names are looked at each time.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use rustls::pki_types::{CertificateDer, UnixTime};

use super::peer::{PeerCertificate, sha256};

/// The most chains that are remembered: about 2 MB of them. Then all are forgotten.
const MOST: usize = 1024;

/// Chains that were found good.
#[derive(Debug, Default)]
pub(super) struct Verified(ArcSwap<HashMap<[u8; 32], Known>>);

#[derive(Clone, Debug)]
struct Known {
    peer: Arc<PeerCertificate>,
    /// When it was verified: the clock may be set back.
    since: UnixTime,
    /// The first end of validity among all that the peer showed.
    until: UnixTime,
}

impl Verified {
    /// The peer's certificate, if its chain was found good and still is.
    pub(super) fn find(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<Arc<PeerCertificate>> {
        let known = self.0.load();
        if known.is_empty() {
            return None;
        }
        let known = known.get(&digest(leaf, intermediates))?;
        (known.since <= now && now <= known.until).then(|| known.peer.clone())
    }

    /// Remembers a chain that was found good now. Workers that do so at once may forget one another's.
    pub(super) fn remember(
        &self,
        peer: &Arc<PeerCertificate>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) {
        let Some(until) = end(peer, intermediates) else {
            return;
        };
        let known = self.0.load();
        let mut known = if known.len() < MOST {
            HashMap::clone(&known)
        } else {
            HashMap::new()
        };
        known.insert(
            digest(peer.der(), intermediates),
            Known {
                peer: peer.clone(),
                since: now,
                until,
            },
        );
        self.0.store(Arc::new(known));
    }
}

fn digest(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> [u8; 32] {
    if intermediates.is_empty() {
        return sha256(leaf);
    }
    // Of hashes rather than of certificates: where one ends is beyond doubt.
    let mut hashes = sha256(leaf).to_vec();
    for certificate in intermediates {
        hashes.extend_from_slice(&sha256(certificate));
    }
    sha256(&hashes)
}

fn end(peer: &PeerCertificate, intermediates: &[CertificateDer<'_>]) -> Option<UnixTime> {
    let mut end = peer.parsed()?.not_after;
    for certificate in intermediates {
        end = end.min(PeerCertificate::new(certificate).parsed()?.not_after);
    }
    let since: Duration = end.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(UnixTime::since_unix_epoch(since))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ends in 2100.
    fn certificate() -> CertificateDer<'static> {
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    #[test]
    fn a_chain_is_known_by_all_its_certificates_and_while_all_are_valid() {
        let (leaf, above) = (certificate(), certificate());
        let verified = Verified::default();
        let (since, end) = (at(1_800_000_000), 4_102_444_800);
        assert!(verified.find(&leaf, &[], since).is_none());
        let peer = Arc::new(PeerCertificate::new(&leaf));
        verified.remember(&peer, std::slice::from_ref(&above), since);
        let known = |leaf, above: &[_], now| verified.find(leaf, above, now).is_some();
        let chain = std::slice::from_ref(&above);
        assert!(known(&leaf, chain, since));
        assert!(known(&leaf, chain, at(end)));
        assert!(!known(&leaf, chain, at(end + 1)));
        assert!(!known(&leaf, chain, at(1_799_999_999)));
        assert!(!known(&leaf, &[], since));
        assert!(!known(&above, chain, since));
        assert!(!known(&leaf, std::slice::from_ref(&leaf), since));
    }

    #[test]
    fn chains_are_not_remembered_without_bound() {
        let peer = Arc::new(PeerCertificate::new(&certificate()));
        let verified = Verified::default();
        let above: Vec<_> = (0..2).map(|_| certificate()).collect();
        let many: HashMap<_, _> = (0..MOST)
            .map(|number| {
                let known = Known {
                    peer: peer.clone(),
                    since: at(0),
                    until: at(1),
                };
                (sha256(&number.to_le_bytes()), known)
            })
            .collect();
        verified.0.store(Arc::new(many));
        verified.remember(&peer, &above, at(1_800_000_000));
        assert_eq!(verified.0.load().len(), 1);
    }
}
