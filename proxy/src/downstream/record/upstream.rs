//! The upstream connection: what is kept of it, and its counts.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use rustls::sign::CertifiedKey;

use super::Record;
use crate::{
    ending::Ending,
    tcp::Side,
    tls::PeerCertificate,
    upstream::{
        Upstream,
        account::{self, Closed},
    },
};

/// The upstream connection.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) id: u64,
    pub(super) local: Option<SocketAddr>,
    pub(super) tls: Option<Handshake>,
    pub(super) since: Instant,
    active: bool,
}

/// What of a handshake is told.
#[derive(Debug)]
pub(super) struct Handshake {
    pub(super) version: &'static str,
    pub(super) cipher: Option<&'static str>,
    pub(super) curve: Option<&'static str>,
    pub(super) sni: Option<Box<str>>,
    pub(super) peer: Option<Arc<PeerCertificate>>,
    pub(super) own: Option<Arc<CertifiedKey>>,
}

impl Record {
    /// The upstream connection is there.
    pub(in crate::downstream) fn connected(&mut self, upstream: &Upstream) {
        let plane = &self.worker.plane;
        if let (Some(telemetry), Some(direction)) = (&plane.telemetry, self.listener.direction) {
            telemetry
                .of(self.worker.number, direction)
                .opened
                .count(None);
        }
        let tls = upstream.tls.as_ref().map(|handshaked| Handshake {
            version: handshaked.version,
            cipher: handshaked.cipher,
            curve: handshaked.curve,
            sni: handshaked.sni.clone(),
            peer: handshaked.peer.clone(),
            own: handshaked.own.clone(),
        });
        self.upstream = Some(Reached {
            id: self.worker.plane.connection_id(),
            local: upstream.transport.stream().tcp().local_addr().ok(),
            tls,
            since: upstream.since,
            active: true,
        });
    }

    /// The upstream connection is gone.
    pub(in crate::downstream) fn disconnected(&mut self, ending: &Ending) {
        let (Some(upstream), Some(cluster)) = (&mut self.upstream, &self.attempts.cluster) else {
            return;
        };
        if !std::mem::replace(&mut upstream.active, false) {
            return;
        }
        let counted = cluster.statistics.connections.of(self.worker.number);
        let by = match ending {
            Ending::UpstreamBroke { .. }
            | Ending::PlaintextRefused {
                end: Err(_) | Ok(Side::Upstream),
                ..
            }
            | Ending::Completed {
                last: Side::Upstream,
            } => Closed::ByUpstream,
            _ => Closed::ByUs,
        };
        account::closed(counted, by, upstream.since.elapsed());
    }
}
