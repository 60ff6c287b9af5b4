//! What is known of a connection so far; it is counted and logged when it ends, even if it is dropped
//! before.

mod filters;
mod handshake;
mod inspection;
mod line;
mod upstream;

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime},
};

use tokio::net::TcpStream;
use tracing::{debug, warn};

pub(super) use self::filters::Limited;
use self::upstream::Reached;
use crate::{
    access_log::LogType,
    destination::canonical,
    ending::Ending,
    listener::{
        active::Active,
        config::{FilterChain, Listener},
    },
    network_filter::TerminalFilter,
    plane::Worker,
    stats::{Counter, sets::listener::ListenerStatistics},
    tcp::Opening,
    tls::Handshaked,
    upstream::Attempts,
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
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.told {
            self.tell(&Ending::Cut);
        }
    }
}
