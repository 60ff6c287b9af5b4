//! The upstream side of a connection: which cluster, which endpoint, and a connection to it.

pub mod account;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{sleep, timeout},
};

use self::account::Pending;
use crate::{
    access_log::AccessLogs,
    cluster::{
        balancer::Choice,
        circuit_breaker::{Resource, RoutingPriority, Use},
        discovery::{self, Discovery},
        endpoint::{Active, Endpoint},
        outlier::Outcome,
        running::Cluster,
        transport::TransportSocket,
    },
    connect::{self, connect_to_send},
    destination::NotRedirected,
    direction::{BLACK_HOLE_CLUSTER, Direction},
    ending::Ending,
    network_filter::tcp_proxy::{ClusterChoice, TcpProxy},
    plane::Worker,
    stats::Counter,
    stream::{Farewell, LINGER, Stream, discard},
    tls::{self, Ends, Handshaked},
};

/// How long a peer may take nothing, before it is not told the end of TLS.
const FAREWELL: Duration = Duration::from_millis(100);

/// What is spoken with one side.
#[derive(Debug)]
pub enum Transport {
    /// The bytes as they are.
    Raw(Stream),
    /// TLS.
    Tls(Box<tls::Stream<Stream>>),
}

impl Transport {
    /// Ends the side that did not break.
    pub async fn end(self, farewell: Farewell) {
        match self {
            Self::Raw(stream) => stream.end(farewell).await,
            Self::Tls(mut stream) => match farewell {
                Farewell::Finish => {
                    stream.io().complete();
                    let finish = async {
                        // Fails only for a peer that is gone.
                        if stream.shutdown().await.is_ok() {
                            discard(stream.io().tcp()).await;
                        }
                    };
                    // Either it ended, or it had its time.
                    let _ = timeout(LINGER, finish).await;
                }
                Farewell::Reset { .. } => stream.into_io().end(farewell).await,
            },
        }
    }

    /// Closes in order, as far as that can be said to the peer at once.
    pub async fn close(self) {
        self.stream().complete();
        if let Self::Tls(mut stream) = self {
            // Fails only for a peer that is gone, or takes nothing.
            let _ = timeout(FAREWELL, stream.shutdown()).await;
        }
    }

    /// The socket.
    pub fn stream(&self) -> &Stream {
        match self {
            Self::Raw(stream) => stream,
            Self::Tls(stream) => stream.io(),
        }
    }
}

/// What is known of the downstream that an upstream is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct For {
    /// Which way the connection goes, if that is known.
    pub direction: Option<Direction>,
    /// Where the downstream was going.
    pub destination: SocketAddr,
    /// Who the downstream is.
    pub source: SocketAddr,
}

/// An upstream connection.
#[derive(Debug)]
pub struct Upstream {
    /// The connection.
    pub transport: Transport,
    /// What was agreed on, if it is encrypted.
    pub tls: Option<Box<Handshaked>>,
    /// When it was there.
    pub since: Instant,
    _uses: [Use; 2],
    _active: Option<Active>,
}

/// The attempts of one connection to reach its cluster.
#[derive(Debug, Default)]
pub struct Attempts {
    /// The cluster, once it is known.
    pub cluster: Option<Arc<Cluster>>,
    /// The endpoint that was tried last.
    pub endpoint: Option<Arc<Endpoint>>,
    /// All that were tried.
    tried: Vec<SocketAddr>,
    /// When the first was begun.
    pub begun: Option<Instant>,
    /// The connection is to go where its downstream had sent it.
    pub to_original_dst: bool,
}

impl Attempts {
    /// How many there were.
    pub fn count(&self) -> u32 {
        u32::try_from(self.tried.len()).unwrap_or(u32::MAX)
    }

    /// The endpoints that were tried, in their order.
    pub fn tried(&self) -> &[SocketAddr] {
        &self.tried
    }

    /// Connects to an endpoint of the cluster, as often as the filter says.
    ///
    /// # Errors
    /// There is no such cluster, it has no endpoint, or none of those that were tried can be reached.
    pub async fn connect(
        &mut self,
        worker: &Worker,
        proxy: &TcpProxy<AccessLogs>,
        choice: ClusterChoice<'_>,
        wanted: For,
    ) -> Result<Upstream, Ending> {
        let Some(cluster) = worker.plane.cluster(choice.name) else {
            return Err(Ending::NoCluster(choice.name.into()));
        };
        self.cluster = Some(cluster.clone());
        self.to_original_dst = matches!(cluster.config.discovery, Discovery::OriginalDst { .. });
        let counted = cluster.statistics.connections.of(worker.number);
        let mut random = fastrand::Rng::new();
        loop {
            // Before an endpoint is chosen, as in Envoy.
            if cluster
                .breakers
                .is_open(RoutingPriority::Default, Resource::Connections)
            {
                counted.upstream_cx_overflow.increment();
                return Err(Ending::Overflow(cluster.config.name.clone()));
            }
            let endpoint = match self.choose(worker, &cluster, proxy, choice, wanted, &mut random) {
                Ok(Some(endpoint)) => endpoint,
                Ok(None) => {
                    counted.upstream_cx_none_healthy.increment();
                    return Err(Ending::NoEndpoint(cluster.config.name.clone()));
                }
                Err(reason) => {
                    self.black_hole(worker);
                    return Err(Ending::NotRedirected(reason));
                }
            };
            let failed = match self.attempt(worker, &cluster, &endpoint, wanted).await {
                Ok(upstream) => return Ok(upstream),
                Err(failed @ Ending::Overflow(_)) => return Err(failed),
                Err(failed) => failed,
            };
            if self.count() >= proxy.max_connect_attempts.get() {
                counted.upstream_cx_connect_attempts_exceeded.increment();
                return Err(failed);
            }
            if let Some(backoff) = &proxy.backoff {
                sleep(backoff.pause(self.count() - 1, random.u64(..))).await;
            }
        }
    }

    /// Sends a connection that would come back to us to the cluster without endpoints, if there is
    /// one.
    fn black_hole(&mut self, worker: &Worker) {
        if let Some(cluster) = worker.plane.clusters.load().get(BLACK_HOLE_CLUSTER) {
            let counted = cluster.statistics.connections.of(worker.number);
            counted.upstream_cx_none_healthy.increment();
            self.cluster = Some(cluster.clone());
        }
    }

    fn choose(
        &self,
        worker: &Worker,
        cluster: &Cluster,
        proxy: &TcpProxy<AccessLogs>,
        choice: ClusterChoice<'_>,
        wanted: For,
        random: &mut fastrand::Rng,
    ) -> Result<Option<Arc<Endpoint>>, NotRedirected> {
        if let Discovery::OriginalDst { port } = &cluster.config.discovery {
            let address = discovery::original(wanted.destination, *port);
            if worker.plane.is_own(address) {
                return Err(NotRedirected::OwnPort(address));
            }
            return Ok(Some(Arc::new(Endpoint::unassigned(
                address,
                Instant::now(),
            ))));
        }
        let asked = (!choice.metadata_match.is_empty()).then_some(choice.metadata_match);
        let choice = Choice {
            hash: proxy.hash(wanted.source.ip()),
            metadata_match: asked,
            excluded: &|endpoint| self.tried.contains(&endpoint.address),
            now: Instant::now(),
        };
        Ok(cluster.choose(worker.number, &choice, random).endpoint)
    }

    async fn attempt(
        &mut self,
        worker: &Worker,
        cluster: &Arc<Cluster>,
        endpoint: &Arc<Endpoint>,
        wanted: For,
    ) -> Result<Upstream, Ending> {
        let counted = cluster.statistics.connections.of(worker.number);
        self.begun.get_or_insert_with(Instant::now);
        self.endpoint = Some(endpoint.clone());
        let priority = RoutingPriority::Default;
        let breakers = &cluster.breakers;
        let overflow = || Ending::Overflow(cluster.config.name.clone());
        let Some(used) = breakers.try_connection(priority) else {
            counted.upstream_cx_overflow.increment();
            return Err(overflow());
        };
        let acquire = |resource| {
            let used = breakers.acquire(priority, resource);
            if used.is_none() {
                counted.upstream_rq_pending_overflow.increment();
            }
            used.ok_or_else(overflow)
        };
        let request = acquire(Resource::Requests)?;
        let waiting = acquire(Resource::PendingRequests)?;
        let Some(active) = breakers.try_endpoint(priority, endpoint) else {
            counted.upstream_cx_overflow.increment();
            return Err(overflow());
        };
        self.tried.push(endpoint.address);
        let pending = Pending::new(counted);
        let begun = Instant::now();
        let sent = &counted.upstream_cx_tx_bytes_total;
        match self.reach(cluster, endpoint, wanted, sent).await {
            Ok((transport, tls)) => {
                drop(waiting);
                pending.connected(begun.elapsed());
                if let (Some(handshaked), Some(counted)) = (&tls, &cluster.tls_statistics) {
                    let counted = counted.of(worker.number);
                    handshaked.events().for_each(|event| counted.count(&event));
                }
                cluster.outcome(endpoint, Outcome::Connected);
                Ok(Upstream {
                    transport,
                    tls,
                    since: Instant::now(),
                    _uses: [used, request],
                    _active: Some(active),
                })
            }
            Err(failed) => {
                pending.failed(&failed);
                endpoint.state().count_connect_failure();
                if let (Ending::UpstreamTls(error), Some(counted)) =
                    (&failed, &cluster.tls_statistics)
                {
                    let counted = counted.of(worker.number);
                    error.events().for_each(|event| counted.count(&event));
                }
                let timed_out =
                    matches!(&failed, Ending::ConnectFailed(error) if error.is_time_out());
                cluster.outcome(
                    endpoint,
                    if timed_out {
                        Outcome::TimedOut
                    } else {
                        Outcome::ConnectFailed
                    },
                );
                Err(failed)
            }
        }
    }

    async fn reach(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        wanted: For,
        sent: &Counter,
    ) -> Result<(Transport, Option<Box<Handshaked>>), Ending> {
        let config = &cluster.config;
        let options = &config.connection;
        let begun = Instant::now();
        let upstream = connect::Upstream {
            direction: wanted.direction.unwrap_or(Direction::Outbound),
            address: endpoint.address,
            source: options.source_for(endpoint.address.ip()),
        };
        let tcp = connect_to_send(upstream, options, config.connect_timeout).await;
        let tcp = tcp.map_err(Ending::ConnectFailed)?;
        let (socket, _) = config.transport.of(endpoint);
        let left = config.connect_timeout.saturating_sub(begun.elapsed());
        Box::pin(speak(socket, tcp, endpoint, wanted, left, sent)).await
    }
}

/// Speaks what the endpoint is to be spoken to with.
async fn speak(
    socket: &TransportSocket,
    mut tcp: TcpStream,
    endpoint: &Endpoint,
    wanted: For,
    within: Duration,
    sent: &Counter,
) -> Result<(Transport, Option<Box<Handshaked>>), Ending> {
    let address = endpoint.address;
    let mut socket = socket;
    while let TransportSocket::ProxyProtocol(both) = socket {
        let (header, inner) = &**both;
        let broke = |source| Ending::UpstreamBroke {
            upstream: address,
            source,
        };
        let header = header.encode((wanted.source, wanted.destination), &[]);
        let header = header.map_err(|error| broke(std::io::Error::other(error)))?;
        tcp.write_all(&header).await.map_err(broke)?;
        sent.add(header.len() as u64);
        socket = inner;
    }
    let stream = Stream::new(tcp);
    let TransportSocket::Tls(context) = socket else {
        return Ok((Transport::Raw(stream), None));
    };
    let local = stream.tcp().local_addr().unwrap_or(address);
    let host = &*endpoint.attributes.hostname;
    let connect = tls::Connect {
        ends: Ends {
            peer: address,
            local,
        },
        host: (!host.is_empty()).then_some(host),
        sni: None,
        alpn: None,
    };
    match tls::connect(context, stream, connect, within).await {
        Ok((stream, handshaked)) => {
            Ok((Transport::Tls(Box::new(stream)), Some(Box::new(handshaked))))
        }
        Err(error) => Err(Ending::UpstreamTls(Box::new(error))),
    }
}
