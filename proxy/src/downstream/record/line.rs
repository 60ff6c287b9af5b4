//! The lines of the access logs.

use std::{
    io,
    time::{Instant, SystemTime},
};

use super::Record;
use crate::{
    access_log::{AccessLogs, Attempt, CloseType, Fields, LogType, Times, Tls},
    ending::{Ending, ResponseFlag, ResponseFlags},
    tls::PeerCertificate,
};

impl Record {
    /// Writes a line while the connection lasts.
    pub(in crate::downstream) fn log_now(&self, logs: &AccessLogs, kind: LogType) {
        self.log(logs, kind, None);
    }

    pub(super) fn log(&self, logs: &AccessLogs, log_type: LogType, ending: Option<&Ending>) {
        if logs.is_empty() {
            return;
        }
        let upstream_failure = ending.and_then(Ending::upstream_failure);
        let downstream_failure = ending.and_then(Ending::downstream_failure);
        let (upstream_close, downstream_close) = closes(ending);
        let cluster = self
            .attempts
            .cluster
            .as_ref()
            .map(|cluster| &cluster.config);
        let endpoint = self.attempts.endpoint.as_ref();
        let attempted: Vec<Attempt<'_>> = self
            .attempts
            .tried()
            .iter()
            .map(|host| Attempt {
                host: *host,
                name: None,
                connection_id: None,
            })
            .collect();
        let chain = self.chain.as_ref();
        let host_name = endpoint.map(|endpoint| &*endpoint.attributes.hostname);
        let upstream = self.upstream.as_ref();
        // One that failed is known in its ending.
        let downstream = match ending {
            Some(Ending::DownstreamTls(error)) => error.known.as_deref(),
            _ => self.tls.as_deref(),
        };
        let downstream_peer = downstream.and_then(|tls| tls.peer.as_deref());
        let upstream_tls = upstream.and_then(|upstream| upstream.tls.as_ref());
        let upstream_peer = upstream_tls.and_then(|tls| tls.peer.as_deref());
        let shown = |peer: Option<&PeerCertificate>| -> Vec<_> {
            peer.map(|peer| peer.der().clone()).into_iter().collect()
        };
        let (downstream_peer, upstream_peer) = (shown(downstream_peer), shown(upstream_peer));
        let fields = Fields {
            log_type,
            start: self.start,
            now: SystemTime::now(),
            duration: self.since.elapsed(),
            times: Times {
                downstream_begin: Some(self.since),
                downstream_handshake_end: self.handshake_end,
                downstream_end: ending.map(|_| Instant::now()),
                upstream_connect_begin: self.attempts.begun,
                upstream_connect_end: upstream.map(|upstream| upstream.since),
                ..Times::default()
            },
            flags: ending.map_or(ResponseFlags::NONE, Ending::flags),
            details: ending.and_then(Ending::details),
            termination_details: ending.and_then(Ending::termination_details),
            upstream_close,
            downstream_close,
            upstream_close_reason: ending.and_then(Ending::upstream_close_reason),
            downstream_close_reason: ending.and_then(Ending::downstream_close_reason),
            upstream_failure: upstream_failure.as_deref(),
            downstream_failure: downstream_failure.as_deref(),
            bytes_received: self.received.value(),
            bytes_sent: self.sent.value(),
            upstream_bytes_received: self.sent.value(),
            upstream_bytes_sent: self.received.value(),
            attempts: self.attempts.count(),
            attempted: &attempted,
            connection_id: Some(self.id),
            upstream_connection_id: upstream.map(|upstream| upstream.id),
            upstream_host: endpoint.map(|endpoint| endpoint.address),
            upstream_host_name: host_name.filter(|name| !name.is_empty()),
            upstream_cluster: cluster.map(|cluster| &*cluster.stat_name),
            upstream_cluster_raw: cluster.map(|cluster| &*cluster.name),
            cluster_metadata: cluster.and_then(|cluster| cluster.metadata.as_ref()),
            listener_metadata: self.listener.metadata.as_ref(),
            filter_chain_metadata: chain.and_then(|chain| chain.metadata.as_ref()),
            upstream_local: upstream.and_then(|upstream| upstream.local),
            upstream_remote: upstream.and(endpoint).map(|endpoint| endpoint.address),
            downstream_local: Some(self.local),
            downstream_remote: Some(self.remote),
            downstream_direct_local: Some(self.direct_local),
            downstream_direct_remote: Some(self.peer),
            requested_server_name: self.server_name.as_deref(),
            filter_chain_name: self
                .chain
                .as_ref()
                .map(|chain| &*chain.name)
                .filter(|name| !name.is_empty()),
            listener_name: Some(&*self.listener.name),
            downstream_tls: downstream.map(|tls| Tls {
                version: Some(tls.version),
                cipher: tls.cipher,
                group: tls.curve,
                peer: &downstream_peer,
                local: tls.own.as_ref().and_then(|own| own.cert.first()),
                ..Tls::default()
            }),
            upstream_tls: upstream_tls.map(|tls| Tls {
                version: Some(tls.version),
                cipher: tls.cipher,
                group: tls.curve,
                server_name: tls.sni.as_deref(),
                peer: &upstream_peer,
                local: tls.own.as_ref().and_then(|own| own.cert.first()),
                ..Tls::default()
            }),
            ..Fields::default()
        };
        logs.log(&fields, &mut fastrand::Rng::new());
    }
}

/// How the upstream and the downstream were closed.
fn closes(ending: Option<&Ending>) -> (CloseType, CloseType) {
    let Some(ending) = ending else {
        return Default::default();
    };
    if ending.flag() == Some(ResponseFlag::UpstreamRemoteReset) {
        return (CloseType::RemoteReset, CloseType::LocalReset);
    }
    match ending {
        Ending::DownstreamBroke { source, .. }
            if source.kind() == io::ErrorKind::ConnectionReset =>
        {
            (CloseType::Normal, CloseType::RemoteReset)
        }
        _ => Default::default(),
    }
}
