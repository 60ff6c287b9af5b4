//! One downstream connection, from accept to its lines in the access logs.
//!
//! It is handed to the listener of its original destination, looked at by the listener's filters, and
//! taken by a filter chain, which decrypts it, refuses it or passes its bytes to an upstream.

mod record;

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::net::RecvFlags;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::TcpStream,
    select,
    time::{sleep, timeout},
};

use self::record::{Limited, Record};
use crate::{
    access_log::{AccessLogs, LogType},
    authorization::{Facts as PolicyFacts, PeerIdentity},
    connect::acknowledge,
    destination::{self, NotRedirected, canonical},
    direction::Direction,
    ending::{Ending, Refusal},
    filter_chain::Facts,
    inspector::{Inspected, Inspection, Progress},
    listener::{
        active::Active,
        config::{FilterChain, FilterStatistics},
    },
    network_filter::{NetworkFilter, TerminalFilter, connection_limit, tcp_proxy::TcpProxy},
    plane::{HANDSHAKE_TIMEOUT, Worker},
    stats::{Counter, sets::filter::TcpProxyStatistics},
    stream::{Farewell, Stream, reset},
    tcp::{self, Broken, Failure, Meter, Opening, Side, relay::relay},
    tls::{self, Ends, PlaintextRefused},
    upstream::{For, Transport},
};

/// More than the filters of a listener look at.
const PEEK_BYTES: usize = 128 * 1024;

/// How often it is looked whether a connection is idle, in its time-out.
const IDLE_LOOKS: u32 = 10;

/// Carries one connection to its end.
pub async fn serve(worker: Arc<Worker>, active: Arc<Active>, tcp: TcpStream, peer: SocketAddr) {
    let overall = active.current().counts_overall;
    let _overall = match overall.then(|| worker.plane.overall.enter()) {
        Some(Err(full)) => return active.reject_overall(worker.number, peer, &full),
        Some(Ok(counted)) => counted,
        None => None,
    };
    let restored = restore(&worker, &active, &tcp);
    let active = hand_over(&worker, active, &restored);
    let Some(_counted) = active.enter() else {
        return active.reject(worker.number, peer);
    };
    let mut record = Record::new(worker, active, &tcp, canonical(peer));
    record.restored(restored);
    let ending = record.carry(Stream::silent(tcp)).await;
    record.ended(&ending);
}

/// Where the connection was going before it was redirected, if its listener wants to know.
fn restore(worker: &Worker, active: &Active, tcp: &TcpStream) -> io::Result<Option<SocketAddr>> {
    let listener = active.current();
    if !listener.restores() {
        return Ok(None);
    }
    let original = destination::restored(
        tcp.local_addr()?,
        listener.is_transparent(),
        |port| active.addresses.iter().any(|own| own.port() == port),
        || worker.plane.redirect.original_dst(tcp),
    );
    original.map(Some)
}

/// The listener of the original destination, if this one hands connections over and there is one.
fn hand_over(
    worker: &Worker,
    active: Arc<Active>,
    restored: &io::Result<Option<SocketAddr>>,
) -> Arc<Active> {
    let Ok(Some(original)) = restored else {
        return active;
    };
    if !active.current().hands_over {
        return active;
    }
    let listeners = worker.plane.listeners.load();
    match listeners.find(*original) {
        Some(other) if !Arc::ptr_eq(other, &active) => other.clone(),
        _ => active,
    }
}

impl Record {
    async fn carry(&mut self, mut stream: Stream) -> Ending {
        let inspected = match self.inspect(&mut stream).await {
            Ok(inspected) => inspected,
            Err(reason) => {
                return Ending::NotInspected {
                    downstream: self.peer,
                    reason: reason.into(),
                };
            }
        };
        let facts = Facts::new(&inspected, self.local, self.peer);
        self.remote = facts.source.unwrap_or(self.peer);
        self.local = facts.destination.unwrap_or(self.local);
        let chain = self.listener.chains.find(&facts).cloned();
        self.server_name = inspected.server_name;
        let Some(chain) = chain else {
            self.listener_statistics().no_filter_chain_match.increment();
            return Ending::NoFilterChain {
                listener: self.listener.name.clone(),
                destination: self.local,
            };
        };
        self.took(chain.clone());
        let transport = match &chain.tls {
            None => Transport::Raw(stream),
            Some(context) => {
                let within = chain.handshake_timeout.unwrap_or(HANDSHAKE_TIMEOUT);
                let ends = Ends {
                    peer: self.remote,
                    local: self.local,
                };
                match Box::pin(tls::accept(context, stream, ends, within)).await {
                    Ok((stream, handshaked)) => {
                        self.handshaken(handshaked);
                        Transport::Tls(Box::new(stream))
                    }
                    Err(error) => {
                        self.not_handshaken(&error);
                        return Ending::DownstreamTls(Box::new(error));
                    }
                }
            }
        };
        select! {
            ending = self.filter(&chain, transport) => ending,
            () = chain.closing.closed() => Ending::Drained,
        }
    }

    /// Looks at the first bytes, as long as the listener's filters want more of them.
    async fn inspect(&mut self, stream: &mut Stream) -> Result<Inspected, String> {
        let listener = self.listener.clone();
        let original = (self.local != self.direct_local).then(|| self.local.port());
        let mut inspection = Inspection::new(&listener.filters, self.direct_local.port(), original);
        let mut progress = inspection.step(&[]);
        if matches!(progress, Progress::NeedMore { .. }) {
            let looking = Box::pin(look(
                stream.tcp(),
                &mut inspection,
                listener.filters.timeout,
            ));
            progress = looking.await;
        }
        self.inspected(&inspection);
        match progress {
            Progress::Done(inspected) => {
                // The header of a proxy before this one is none of the connection's own bytes.
                let mut header = vec![0; inspected.consumed];
                let read = stream.read_exact(&mut header).await;
                read.map(|_| inspected).map_err(|error| error.to_string())
            }
            Progress::Failed(failure) => Err(failure.reason.into_owned()),
            Progress::NeedMore { .. } => Err("the listener filters came to no end".to_owned()),
        }
    }

    /// Lets the filters of the chain decide, and the last of them take the connection.
    async fn filter(&mut self, chain: &FilterChain, mut transport: Transport) -> Ending {
        let mut held = Vec::new();
        let of_filter = match self.admit(chain, &mut held).await {
            Ok(of_filter) => of_filter,
            Err(refusal) => {
                match refusal {
                    // What the client says meanwhile is taken, as Envoy does, and not answered by
                    // a reset.
                    Refusal::Denied { .. } => transport.end(Farewell::Finish).await,
                    _ => transport.close().await,
                }
                return Ending::Refused(refusal);
            }
        };
        match &chain.filters.terminal {
            Some(TerminalFilter::TcpProxy(proxy)) => {
                let Some(counts) = &chain.statistics.tcp_proxy else {
                    return Ending::Refused(Refusal::NoFilters);
                };
                let counts = counts.clone();
                let counts = counts.of(self.worker.number);
                self.proxy(proxy, counts, of_filter.as_deref(), transport)
                    .await
            }
            Some(TerminalFilter::Echo) => Box::pin(echo(&mut transport, self.peer)).await,
            Some(TerminalFilter::DirectResponse(direct)) => {
                Box::pin(respond(&mut transport, &direct.response, self.peer)).await
            }
            None => Ending::Refused(Refusal::NoFilters),
        }
    }

    /// Asks the filters before the last; the cluster, if one of them names it.
    async fn admit(
        &self,
        chain: &FilterChain,
        held: &mut Vec<Limited>,
    ) -> Result<Option<Box<str>>, Refusal> {
        let mut of_filter = None;
        let filters = chain.filters.filters.iter().zip(&chain.statistics.filters);
        for (filter, statistics) in filters {
            match filter {
                NetworkFilter::SniCluster => of_filter = self.server_name.clone(),
                NetworkFilter::ConnectionLimit(limit) => match limit.enter() {
                    connection_limit::Entry::Uncounted => {}
                    connection_limit::Entry::Admitted(counted) => {
                        held.push(self.limited(counted, statistics));
                    }
                    connection_limit::Entry::Limited { counted, delay } => {
                        if let FilterStatistics::ConnectionLimit(counts) = statistics {
                            counts
                                .of(self.worker.number)
                                .limited_connections
                                .increment();
                        }
                        let _held = self.limited(counted, statistics);
                        if let Some(delay) = delay {
                            sleep(delay).await;
                        }
                        return Err(Refusal::OverConnectionLimit);
                    }
                },
                NetworkFilter::LocalRateLimit(limit) => {
                    if !limit.admits(Instant::now()) {
                        if let FilterStatistics::LocalRateLimit(counts) = statistics {
                            counts.of(self.worker.number).rate_limited.increment();
                        }
                        return Err(Refusal::RateLimited);
                    }
                }
                NetworkFilter::Rbac(rbac) => {
                    // At once, where Envoy waits for the first bytes with the upstream connected
                    // already: what is refused so reaches nobody, and gets nothing from anybody.
                    let peer = self.identity();
                    let facts = PolicyFacts {
                        remote: self.remote,
                        direct_remote: self.peer,
                        destination: self.local,
                        server_name: self.server_name.as_deref().unwrap_or_default(),
                        peer: peer.as_ref(),
                    };
                    let verdict = rbac.decide(&facts);
                    self.decided(&verdict, statistics);
                    if verdict.is_denied() {
                        let words = verdict.enforced.map(|decision| decision.to_string());
                        let details = verdict
                            .enforced
                            .and_then(|decision| decision.termination_details());
                        if let Some(delay) = rbac.delay_deny {
                            sleep(delay).await;
                        }
                        return Err(Refusal::Denied {
                            details: details.unwrap_or_default(),
                            words: words.unwrap_or_default(),
                        });
                    }
                }
            }
        }
        Ok(of_filter)
    }

    /// Why a connection leads to the proxy itself, where the kernel has not told another destination.
    fn explained(&mut self, ending: Ending) -> Ending {
        match (ending, self.unrestored.take()) {
            (Ending::NotRedirected(NotRedirected::OwnPort(local)), Some(source)) => {
                Ending::NotRedirected(NotRedirected::Unknown { local, source })
            }
            (ending, _) => ending,
        }
    }

    /// What policies ask of the downstream's certificate.
    fn identity(&self) -> Option<PeerIdentity> {
        let handshaked = self.tls.as_ref()?;
        let Some(parsed) = handshaked.peer.as_ref().and_then(|peer| peer.parsed()) else {
            return Some(PeerIdentity::default());
        };
        Some(PeerIdentity {
            is_validated: handshaked.validated,
            uri_sans: parsed.uri_sans.clone(),
            dns_sans: parsed.dns_sans.clone(),
            subject: parsed.subject.clone(),
        })
    }

    /// Passes bytes between the downstream and an endpoint.
    async fn proxy(
        &mut self,
        proxy: &TcpProxy<AccessLogs>,
        counts: &TcpProxyStatistics,
        of_filter: Option<&str>,
        mut downstream: Transport,
    ) -> Ending {
        if proxy.access_log_options.flush_on_start {
            self.log_now(&proxy.access_log, LogType::TcpConnectionStart);
        }
        let choice = proxy.cluster(of_filter, fastrand::u64(..));
        let wanted = For {
            direction: self.listener.direction,
            destination: self.local,
            source: self.remote,
        };
        let connected = select! {
            // A connection that is there must be taken, or its upstream would see it close in order.
            biased;
            connected = self.attempts.connect(&self.worker, proxy, choice, wanted) => connected,
            _ = reset(downstream.stream().tcp()) => {
                return Ending::GaveUp { upstream: self.local };
            }
        };
        let upstream = match connected {
            Ok(upstream) => upstream,
            Err(ending) => {
                if matches!(ending, Ending::NoCluster(_)) {
                    counts.downstream_cx_no_route.increment();
                }
                if self.attempts.to_original_dst {
                    // As it would be without us. Closed in order, it would look like an answer, to
                    // the application and to the sidecar of its pod.
                    downstream.stream().begin();
                } else {
                    downstream.close().await;
                }
                return self.explained(ending);
            }
        };
        self.connected(&upstream);
        if proxy.access_log_options.flush_on_connected {
            self.log_now(&proxy.access_log, LogType::TcpUpstreamConnected);
        }
        let mut upstream = upstream;
        downstream.stream().begin();
        let expires = proxy.max_downstream_connection_duration(fastrand::u64(..));
        let passed = {
            let passing = pin!(self.pass(counts, &mut downstream, &mut upstream.transport));
            select! {
                passed = passing => Ok(passed),
                idle = self.idle(proxy.idle_timeout) => {
                    counts.idle_timeout.increment();
                    Err(Ending::Idle(idle))
                }
                expired = self.expired(expires) => {
                    counts.max_downstream_connection_duration.increment();
                    Err(Ending::Expired(expired))
                }
                address = self.unhealthy() => Err(Ending::Unhealthy(address)),
                () = self.log_again(proxy) => Err(Ending::Cut),
            }
        };
        let ending = match passed {
            Ok(passed) => self.part(passed, downstream, upstream.transport).await,
            Err(ending) => {
                downstream.close().await;
                upstream.transport.close().await;
                ending
            }
        };
        self.disconnected(&ending);
        ending
    }

    async fn pass(
        &self,
        counts: &TcpProxyStatistics,
        downstream: &mut Transport,
        upstream: &mut Transport,
    ) -> Result<Side, Failure> {
        let Some(cluster) = &self.attempts.cluster else {
            return Ok(Side::Upstream);
        };
        let connections = cluster.statistics.connections.of(self.worker.number);
        let received = [
            &counts.downstream_cx_rx_bytes_total,
            &connections.upstream_cx_tx_bytes_total,
        ];
        let sent = [
            &counts.downstream_cx_tx_bytes_total,
            &connections.upstream_cx_rx_bytes_total,
        ];
        let received = meter(&self.received, &received, &self.request);
        let sent = meter(&self.sent, &sent, &self.response);
        match (downstream, upstream) {
            (Transport::Raw(downstream), Transport::Raw(upstream)) => {
                tcp::pass(downstream, upstream, &self.worker.pipes, received, sent).await
            }
            (Transport::Raw(downstream), Transport::Tls(upstream)) => {
                relay(downstream, &mut **upstream, received, sent).await
            }
            (Transport::Tls(downstream), Transport::Raw(upstream)) => {
                acknowledge(upstream.tcp());
                relay(&mut **downstream, upstream, received, sent).await
            }
            (Transport::Tls(downstream), Transport::Tls(upstream)) => {
                relay(&mut **downstream, &mut **upstream, received, sent).await
            }
        }
    }

    /// Ends both sides after bytes were passed on.
    async fn part(
        &self,
        passed: Result<Side, Failure>,
        downstream: Transport,
        upstream: Transport,
    ) -> Ending {
        let endpoint = self.attempts.endpoint.as_ref();
        let address = endpoint.map_or(self.local, |endpoint| endpoint.address);
        let by_peer = match &passed {
            Ok(last) => *last == Side::Downstream,
            Err(failure) => matches!(failure.broken, Broken::Upstream(_)),
        };
        let refused = self.refused(&upstream, by_peer);
        match passed {
            Ok(last) => {
                downstream.stream().complete();
                upstream.stream().complete();
                match refused {
                    None => Ending::Completed { last },
                    Some(refused) => Ending::PlaintextRefused {
                        upstream: address,
                        refused,
                        end: Ok(last),
                    },
                }
            }
            Err(Failure { broken, farewell }) => match broken {
                Broken::Upstream(source) => {
                    drop(upstream);
                    downstream.end(farewell).await;
                    match refused {
                        None => Ending::UpstreamBroke {
                            upstream: address,
                            source,
                        },
                        Some(refused) => Ending::PlaintextRefused {
                            upstream: address,
                            refused,
                            end: Err(source),
                        },
                    }
                }
                Broken::Downstream(source) => {
                    drop(downstream);
                    upstream.end(farewell).await;
                    match refused {
                        None => Ending::DownstreamBroke {
                            downstream: self.peer,
                            source,
                        },
                        // Which the client may well have taken amiss.
                        Some(refused) => Ending::PlaintextRefused {
                            upstream: address,
                            refused,
                            end: Ok(Side::Downstream),
                        },
                    }
                }
            },
        }
    }

    /// Whether the upstream shows that it takes no plaintext. The application of this pod takes it.
    fn refused(&self, upstream: &Transport, by_peer: bool) -> Option<PlaintextRefused> {
        let inbound = self.listener.direction == Some(Direction::Inbound);
        if inbound || !matches!(upstream, Transport::Raw(_)) {
            return None;
        }
        let (request, response) = (self.request.bytes(), self.response.bytes());
        PlaintextRefused::at_end(&request.0[..request.1], &response.0[..response.1], by_peer)
    }

    /// Returns when nothing was passed on for so long; never, where that does not matter.
    async fn idle(&self, after: Option<Duration>) -> Duration {
        let Some(after) = after else {
            return std::future::pending().await;
        };
        let passed = || (self.received.value(), self.sent.value());
        let mut seen = passed();
        let mut since = Instant::now();
        loop {
            sleep(after / IDLE_LOOKS).await;
            let now = passed();
            if now != seen {
                seen = now;
                since = Instant::now();
            } else if since.elapsed() >= after {
                return after;
            }
        }
    }

    /// Returns when the endpoint turned unhealthy; never, where that does not matter.
    async fn unhealthy(&self) -> SocketAddr {
        let (Some(cluster), Some(endpoint)) = (&self.attempts.cluster, &self.attempts.endpoint)
        else {
            return std::future::pending().await;
        };
        cluster.failure_of(endpoint).await;
        endpoint.address
    }

    /// Returns when the connection is as old as that; never, where that does not matter.
    async fn expired(&self, age: Option<Duration>) -> Duration {
        let Some(age) = age else {
            return std::future::pending().await;
        };
        sleep(age.saturating_sub(self.since.elapsed())).await;
        age
    }

    /// Writes a line every so often, if that is asked for.
    async fn log_again(&self, proxy: &TcpProxy<AccessLogs>) {
        let Some(interval) = proxy.access_log_options.flush_interval else {
            return std::future::pending().await;
        };
        loop {
            sleep(interval).await;
            self.log_now(&proxy.access_log, LogType::TcpPeriodic);
        }
    }
}

fn meter<'a>(
    connection: &'a Counter,
    totals: &'a [&'a Counter; 2],
    opening: &'a Opening,
) -> Meter<'a> {
    Meter {
        connection,
        totals,
        opening: Some(opening),
    }
}

/// Peeks until the inspection is done, or its time is over.
async fn look(
    tcp: &TcpStream,
    inspection: &mut Inspection<'_>,
    within: Option<Duration>,
) -> Progress {
    let looking = async {
        let mut bytes = vec![0; 4096];
        let mut seen = 0;
        loop {
            match more(tcp, &mut bytes, seen).await {
                Ok(0) => return Progress::Failed(inspection.closed()),
                Ok(read) => seen = read,
                Err(error) => return Progress::Failed(inspection.broken(&error)),
            }
            match inspection.step(&bytes[..seen]) {
                Progress::NeedMore { at_least }
                    if at_least > bytes.len() || seen == bytes.len() =>
                {
                    let room = at_least.max(bytes.len() * 2).min(PEEK_BYTES);
                    bytes.resize(room.max(bytes.len()), 0);
                }
                Progress::NeedMore { .. } => {}
                done => return done,
            }
        }
    };
    let Some(within) = within else {
        return looking.await;
    };
    match timeout(within, looking).await {
        Ok(progress) => progress,
        Err(_) => inspection.timed_out(),
    }
}

/// Waits until more than what was `seen` is there, and peeks at it; 0 at the end of the stream.
async fn more(tcp: &TcpStream, bytes: &mut [u8], seen: usize) -> io::Result<usize> {
    loop {
        let ready = tcp.ready(Interest::READABLE).await?;
        let peeked = tcp.try_io(Interest::READABLE, || {
            let (read, _) = rustix::net::recv(tcp, &mut *bytes, RecvFlags::PEEK)?;
            if read > 0 && read <= seen {
                // So that the next event of the kernel is waited for, of more bytes or of the end.
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(read)
        });
        match peeked {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if ready.is_read_closed() {
                    return Ok(0);
                }
            }
            peeked => return peeked,
        }
    }
}

/// Sends back what comes.
async fn echo(transport: &mut Transport, peer: SocketAddr) -> Ending {
    let mut buffer = vec![0; 16 * 1024];
    let echoed = async {
        loop {
            let read = match transport {
                Transport::Raw(stream) => stream.read(&mut buffer).await?,
                Transport::Tls(stream) => stream.read(&mut buffer).await?,
            };
            if read == 0 {
                break;
            }
            write(transport, &buffer[..read]).await?;
        }
        shut(transport).await
    };
    ended(echoed.await, transport, peer)
}

/// Sends always the same, and closes.
async fn respond(transport: &mut Transport, response: &[u8], peer: SocketAddr) -> Ending {
    let responded = async {
        write(transport, response).await?;
        shut(transport).await
    };
    ended(responded.await, transport, peer)
}

fn ended(result: io::Result<()>, transport: &Transport, downstream: SocketAddr) -> Ending {
    match result {
        Ok(()) => {
            transport.stream().complete();
            Ending::Completed {
                last: Side::Upstream,
            }
        }
        Err(source) => Ending::DownstreamBroke { downstream, source },
    }
}

async fn write(transport: &mut Transport, bytes: &[u8]) -> io::Result<()> {
    match transport {
        Transport::Raw(stream) => stream.write_all(bytes).await,
        Transport::Tls(stream) => {
            stream.write_all(bytes).await?;
            stream.flush().await
        }
    }
}

async fn shut(transport: &mut Transport) -> io::Result<()> {
    match transport {
        Transport::Raw(stream) => stream.shutdown().await,
        Transport::Tls(stream) => stream.shutdown().await,
    }
}
