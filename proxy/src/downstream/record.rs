//! What is known of a connection so far; it is counted and logged when it ends, even if it is dropped
//! before.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tracing::{debug, warn};

use crate::{
    access_log::{AccessLogs, Attempt, CloseType, Fields, LogType, Times, Tls},
    destination::canonical,
    ending::{Ending, ResponseFlag, ResponseFlags},
    inspector::{Inspection, Statistic},
    listener::{
        active::Active,
        config::{FilterChain, FilterStatistics, Listener},
    },
    network_filter::{
        TerminalFilter, connection_limit::Counted, rbac::Verdict, statistics::RbacStatistic,
    },
    plane::Worker,
    stats::{Counter, sets::listener::ListenerStatistics},
    tcp::{Opening, Side},
    tls::{Handshaked, PeerCertificate, TlsError},
    upstream::{
        Attempts, Upstream,
        account::{self, Closed},
    },
};

/// A connection.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) worker: Arc<Worker>,
    pub(super) active: Arc<Active>,
    pub(super) listener: Arc<Listener>,
    chain: Option<Arc<FilterChain>>,
    id: u64,
    start: SystemTime,
    pub(super) since: Instant,
    /// Who is at the other end of the socket.
    pub(super) peer: SocketAddr,
    /// Who had connected, as far as that is told.
    pub(super) remote: SocketAddr,
    /// The address of the socket.
    pub(super) direct_local: SocketAddr,
    /// Where the connection was going.
    pub(super) local: SocketAddr,
    /// Why the kernel has not told where that was.
    pub(super) unrestored: Option<io::Error>,
    pub(super) server_name: Option<Box<str>>,
    pub(super) tls: Option<Box<Handshaked>>,
    handshake_end: Option<Instant>,
    pub(super) attempts: Attempts,
    upstream: Option<Reached>,
    pub(super) received: Counter,
    pub(super) sent: Counter,
    /// Of what the downstream sent.
    pub(super) request: Opening,
    /// Of what the upstream sent.
    pub(super) response: Opening,
    told: bool,
}

/// The upstream connection.
#[derive(Debug)]
struct Reached {
    id: u64,
    local: Option<SocketAddr>,
    tls: Option<Handshake>,
    since: Instant,
    active: bool,
}

/// What of a handshake is told.
#[derive(Debug)]
struct Handshake {
    version: &'static str,
    cipher: Option<&'static str>,
    curve: Option<&'static str>,
    sni: Option<Box<str>>,
    peer: Option<Arc<PeerCertificate>>,
    own: Option<Arc<CertifiedKey>>,
}

impl Record {
    pub(super) fn new(
        worker: Arc<Worker>,
        active: Arc<Active>,
        tcp: &TcpStream,
        peer: SocketAddr,
    ) -> Self {
        // A socket that was just accepted has an address.
        let local = tcp.local_addr().map_or(peer, canonical);
        let counted = active.statistics.of(worker.number);
        counted.downstream_pre_cx_active.increment();
        Self {
            id: worker.plane.connection_id(),
            listener: active.current(),
            worker,
            active,
            chain: None,
            start: SystemTime::now(),
            since: Instant::now(),
            peer,
            remote: peer,
            direct_local: local,
            local,
            unrestored: None,
            server_name: None,
            tls: None,
            handshake_end: None,
            attempts: Attempts::default(),
            upstream: None,
            received: Counter::default(),
            sent: Counter::default(),
            request: Opening::default(),
            response: Opening::default(),
            told: false,
        }
    }

    /// Takes the address that the connection was going to before it was redirected.
    pub(super) fn restored(&mut self, restored: io::Result<Option<SocketAddr>>) {
        match restored {
            Ok(original) => self.local = original.unwrap_or(self.local),
            Err(error) => self.unrestored = Some(error),
        }
    }

    pub(super) fn listener_statistics(&self) -> &ListenerStatistics {
        self.active.statistics.of(self.worker.number)
    }

    /// Counts what the listener's filters found out.
    pub(super) fn inspected(&self, inspection: &Inspection<'_>) {
        let worker = self.worker.number;
        let plane = &self.worker.plane;
        if let Some(bytes) = inspection.tls_bytes_processed() {
            plane
                .tls_inspector
                .of(worker)
                .bytes_processed
                .record(bytes as u64);
        }
        for statistic in inspection.statistics().iter() {
            let tls = || plane.tls_inspector.of(worker);
            let http = || plane.http_inspector.of(worker);
            let scopes = self.active.proxy_protocol.as_ref();
            let proxy = || scopes.map(|scopes| scopes.all.of(worker));
            let version =
                |version: usize| scopes.map(|scopes| scopes.versions[version - 1].of(worker));
            match statistic {
                Statistic::TlsFound => tls().tls_found.increment(),
                Statistic::TlsNotFound => tls().tls_not_found.increment(),
                Statistic::AlpnFound => tls().alpn_found.increment(),
                Statistic::AlpnNotFound => tls().alpn_not_found.increment(),
                Statistic::SniFound => tls().sni_found.increment(),
                Statistic::SniNotFound => tls().sni_not_found.increment(),
                Statistic::ClientHelloTooLarge => tls().client_hello_too_large.increment(),
                Statistic::HttpReadError => http().read_error.increment(),
                Statistic::Http10Found => http().http10_found.increment(),
                Statistic::Http11Found => http().http11_found.increment(),
                Statistic::Http2Found => http().http2_found.increment(),
                Statistic::HttpNotFound => http().http_not_found.increment(),
                Statistic::ProxyError => {
                    if let Some(scopes) = scopes {
                        scopes
                            .errors
                            .of(worker)
                            .downstream_cx_proxy_proto_error
                            .increment();
                    }
                }
                Statistic::ProxyNotFoundAllowed => {
                    if let Some(counts) = proxy() {
                        counts.not_found_allowed.increment();
                    }
                }
                Statistic::ProxyNotFoundDisallowed => {
                    if let Some(counts) = proxy() {
                        counts.not_found_disallowed.increment();
                    }
                }
                Statistic::ProxyV1Found => {
                    if let Some(counts) = version(1) {
                        counts.found.increment();
                    }
                }
                Statistic::ProxyV1Disallowed => {
                    if let Some(counts) = version(1) {
                        counts.disallowed.increment();
                    }
                }
                Statistic::ProxyV1Error => {
                    if let Some(counts) = version(1) {
                        counts.error.increment();
                    }
                }
                Statistic::ProxyV2Found => {
                    if let Some(counts) = version(2) {
                        counts.found.increment();
                    }
                }
                Statistic::ProxyV2Disallowed => {
                    if let Some(counts) = version(2) {
                        counts.disallowed.increment();
                    }
                }
                Statistic::ProxyV2Error => {
                    if let Some(counts) = version(2) {
                        counts.error.increment();
                    }
                }
                Statistic::PreConnectionTimeout => {
                    self.listener_statistics()
                        .downstream_pre_cx_timeout
                        .increment();
                }
                Statistic::RemoteClose => {
                    let counted = self.listener_statistics();
                    counted.downstream_listener_filter_remote_close.increment();
                }
                Statistic::FilterError => {
                    self.listener_statistics()
                        .downstream_listener_filter_error
                        .increment();
                }
            }
        }
    }

    /// A filter chain has taken it: from here on it is a connection of its listener.
    pub(super) fn took(&mut self, chain: Arc<FilterChain>) {
        self.chain = Some(chain);
        let counted = self.listener_statistics();
        counted.downstream_pre_cx_active.decrement();
        counted.downstream_cx_total.increment();
        counted.downstream_cx_active.increment();
        let worker = &self.active.worker_statistics[self.worker.number.index()];
        let worker = worker.of(self.worker.number);
        worker.downstream_cx_total.increment();
        worker.downstream_cx_active.increment();
        if let Some(counted) = self
            .chain
            .as_ref()
            .and_then(|chain| chain.statistics.tcp_proxy.as_ref())
        {
            let counted = counted.of(self.worker.number);
            counted.downstream_cx_total.increment();
        }
    }

    pub(super) fn handshaken(&mut self, handshaked: Handshaked) {
        self.handshake_end = Some(Instant::now());
        if let Some(counted) = self
            .chain
            .as_ref()
            .and_then(|chain| chain.statistics.tls.as_ref())
        {
            let counted = counted.of(self.worker.number);
            for event in handshaked.events() {
                counted.count(&event);
            }
        }
        self.tls = Some(Box::new(handshaked));
    }

    pub(super) fn not_handshaken(&self, error: &TlsError) {
        if error.is_time_out() {
            let counted = self.listener_statistics();
            counted
                .downstream_cx_transport_socket_connect_timeout
                .increment();
        }
        if let Some(counted) = self
            .chain
            .as_ref()
            .and_then(|chain| chain.statistics.tls.as_ref())
        {
            let counted = counted.of(self.worker.number);
            for event in error.events() {
                counted.count(&event);
            }
        }
    }

    /// Counts a connection of a limit until what is returned is dropped.
    pub(super) fn limited(&self, counted: Counted, statistics: &FilterStatistics) -> Limited {
        let active = match statistics {
            FilterStatistics::ConnectionLimit(counts) => Some(counts.clone()),
            _ => None,
        };
        let limited = Limited {
            _counted: counted,
            active,
            worker: self.worker.number,
        };
        if let Some(active) = &limited.active {
            active.of(limited.worker).active_connections.increment();
        }
        limited
    }

    pub(super) fn decided(&self, verdict: &Verdict<'_>, statistics: &FilterStatistics) {
        let FilterStatistics::Rbac(enforced, shadow) = statistics else {
            return;
        };
        let worker = self.worker.number;
        for statistic in verdict.statistics() {
            match statistic {
                RbacStatistic::Allowed => enforced.of(worker).allowed.increment(),
                RbacStatistic::Denied => enforced.of(worker).denied.increment(),
                RbacStatistic::ShadowAllowed => shadow.of(worker).shadow_allowed.increment(),
                RbacStatistic::ShadowDenied => shadow.of(worker).shadow_denied.increment(),
            }
        }
    }

    /// The upstream connection is there.
    pub(super) fn connected(&mut self, upstream: &Upstream) {
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
    pub(super) fn disconnected(&mut self, ending: &Ending) {
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

    pub(super) fn ended(mut self, ending: &Ending) {
        self.tell(ending);
    }

    /// The one place that a connection's end is counted and written.
    fn tell(&mut self, ending: &Ending) {
        self.told = true;
        self.disconnected(ending);
        let counted = self.listener_statistics();
        if self.chain.is_some() {
            counted.downstream_cx_active.decrement();
            counted.downstream_cx_destroy.increment();
            counted
                .downstream_cx_length_ms
                .record_milliseconds(self.since.elapsed());
            let worker = &self.active.worker_statistics[self.worker.number.index()];
            worker
                .of(self.worker.number)
                .downstream_cx_active
                .decrement();
        } else {
            counted.downstream_pre_cx_active.decrement();
        }
        self.report(ending);
        if let Some(cause) = ending.upstream_cause() {
            let failures = &self.worker.plane.upstream_failure;
            failures.of(self.worker.number).of(cause).increment();
        }
        let listener = &*self.listener.name;
        if ending.is_ours() && self.worker.warnings.is_due() {
            warn!(listener, downstream = %self.remote, "{ending}");
        } else {
            debug!(listener, downstream = %self.remote, "{ending}");
        }
        if let Some(chain) = &self.chain
            && let Some(TerminalFilter::TcpProxy(proxy)) = &chain.filters.terminal
        {
            self.log(&proxy.access_log, LogType::TcpConnectionEnd, Some(ending));
        }
        self.log(&self.listener.access_log, LogType::NotSet, Some(ending));
    }

    /// Counts it for Istio's metrics, in a sidecar.
    fn report(&self, ending: &Ending) {
        let (Some(telemetry), Some(direction)) =
            (&self.worker.plane.telemetry, self.listener.direction)
        else {
            return;
        };
        let counted = telemetry.of(self.worker.number, direction);
        let flag = ending.flag();
        if self.upstream.is_none() {
            counted.opened.count(flag);
        }
        counted.closed.count(flag);
    }

    /// Writes a line while the connection lasts.
    pub(super) fn log_now(&self, logs: &AccessLogs, kind: LogType) {
        self.log(logs, kind, None);
    }

    fn log(&self, logs: &AccessLogs, log_type: LogType, ending: Option<&Ending>) {
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

impl Drop for Record {
    fn drop(&mut self) {
        if !self.told {
            self.tell(&Ending::Cut);
        }
    }
}

/// A connection that a limit counts, also in the statistics.
#[derive(Debug)]
pub(super) struct Limited {
    _counted: Counted,
    active: Option<
        Arc<
            crate::stats::Scope<
                crate::stats::PerWorker<crate::stats::sets::filter::ConnectionLimitStatistics>,
            >,
        >,
    >,
    worker: crate::stats::Worker,
}

impl Drop for Limited {
    fn drop(&mut self) {
        if let Some(active) = &self.active {
            active.of(self.worker).active_connections.decrement();
        }
    }
}
