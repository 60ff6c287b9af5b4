//! One captured connection, from accept to its line in the access log.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use fairlead_api::{proxy_config, values::InterceptionMode};
use tokio::{net::TcpStream, select};
use tracing::{debug, warn};

use crate::{
    access_log::{AccessLog, Entry},
    connect::{ConnectError, Upstream, connect},
    destination::{self, CapturePorts, NotRedirected, canonical},
    direction::{BLACK_HOLE_CLUSTER, Direction},
    ending::{Ending, ResponseFlag},
    inbound,
    original_dst::Redirect,
    outbound,
    pace::Pace,
    statistics::{Counter, DirectionStatistics, Statistics},
    stream::{Stream, reset},
    tcp::{self, Broken, Failure, Meter, PipePool, Side},
};

/// What all connections of the process share.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Ports whose listeners take captured connections.
    pub ports: CapturePorts,
    /// How inbound connections come.
    pub interception_mode: InterceptionMode,
    /// How long an upstream may take to accept.
    pub connect_timeout: Duration,
    /// Which connections get a line in the access log.
    pub access_log: proxy_config::AccessLog,
    /// The form of the lines.
    pub access_log_encoding: proxy_config::AccessLogEncoding,
    /// Where connections were going.
    pub redirect: Arc<dyn Redirect>,
}

/// What the connections of one worker share.
#[derive(Debug)]
pub struct Shared {
    /// Of the process.
    pub settings: Settings,
    /// Counters of this worker.
    pub statistics: Arc<Statistics>,
    /// Pipes of this worker.
    pub pipes: Arc<PipePool>,
    /// Where lines go.
    pub access_log: AccessLog,
    /// Warnings of failures that are this pod's own.
    pub warnings: Pace,
}

/// Carries one connection to its end.
pub async fn serve(shared: Arc<Shared>, direction: Direction, tcp: TcpStream, peer: SocketAddr) {
    let mut connection = Connection::accepted(shared, direction, canonical(peer));
    let ending = connection.carry(Stream::new(tcp)).await;
    connection.ended(&ending);
}

/// What is known of a connection so far; tells it when it ends, even if it is dropped before.
struct Connection {
    shared: Arc<Shared>,
    direction: Direction,
    start: SystemTime,
    since: Instant,
    cluster: &'static str,
    peer: SocketAddr,
    destination: SocketAddr,
    upstream_host: Option<SocketAddr>,
    upstream_local: Option<SocketAddr>,
    received: Counter,
    sent: Counter,
    opened: bool,
    told: bool,
}

impl Connection {
    fn accepted(shared: Arc<Shared>, direction: Direction, peer: SocketAddr) -> Self {
        shared.statistics.of(direction).accepted.add(1);
        Self {
            shared,
            direction,
            start: SystemTime::now(),
            since: Instant::now(),
            cluster: direction.cluster(),
            peer,
            // Until it is known.
            destination: peer,
            upstream_host: None,
            upstream_local: None,
            received: Counter::default(),
            sent: Counter::default(),
            opened: false,
            told: false,
        }
    }

    async fn carry(&mut self, mut downstream: Stream) -> Ending {
        let upstream = match self.route(downstream.tcp()) {
            Ok(upstream) => upstream,
            Err(reason) => {
                self.cluster = BLACK_HOLE_CLUSTER;
                return Ending::NotRedirected(reason);
            }
        };
        let address = upstream.address;
        self.destination = address;
        self.upstream_host = Some(address);
        let connected = select! {
            // A connection that is there must be taken, or its upstream would see it close in order.
            biased;
            connected = self.connect(upstream) => connected,
            _ = reset(downstream.tcp()) => return Ending::GaveUp { upstream: address },
        };
        let mut upstream = match connected {
            Ok(tcp) => Stream::new(tcp),
            Err(error) => return Ending::ConnectFailed(error),
        };
        self.upstream_local = upstream.tcp().local_addr().ok();
        self.opened = true;
        self.statistics().opened.count(None);
        match self.pass(&mut downstream, &mut upstream).await {
            Ok(last) => {
                downstream.close();
                upstream.close();
                Ending::Completed { last }
            }
            Err(Failure { broken, farewell }) => match broken {
                Broken::Upstream(source) => {
                    drop(upstream);
                    downstream.end(farewell).await;
                    Ending::UpstreamBroke {
                        upstream: address,
                        source,
                    }
                }
                Broken::Downstream(source) => {
                    drop(downstream);
                    upstream.end(farewell).await;
                    Ending::DownstreamBroke {
                        downstream: self.peer,
                        source,
                    }
                }
            },
        }
    }

    /// Decides where the connection goes.
    fn route(&mut self, downstream: &TcpStream) -> Result<Upstream, NotRedirected> {
        let redirect = &self.shared.settings.redirect;
        let local = match downstream.local_addr() {
            Ok(local) => local,
            Err(source) => {
                let local = self.destination;
                return Err(NotRedirected::Unknown { local, source });
            }
        };
        self.destination = canonical(local);
        let mode = match self.direction {
            Direction::Inbound => self.shared.settings.interception_mode,
            // What the application sends is redirected in either mode.
            Direction::Outbound => InterceptionMode::Redirect,
        };
        let destination = destination::decide(
            mode,
            local,
            || redirect.original_dst(downstream),
            self.shared.settings.ports,
            |address| redirect.is_local(address),
        )?;
        Ok(match self.direction {
            Direction::Inbound => inbound::upstream(destination),
            Direction::Outbound => outbound::upstream(destination),
        })
    }

    async fn connect(&self, upstream: Upstream) -> Result<TcpStream, ConnectError> {
        let cluster = &self.statistics().cluster;
        cluster.begun.add(1);
        let connected = connect(upstream, self.shared.settings.connect_timeout).await;
        if let Err(error) = &connected {
            cluster.connect_failed.add(1);
            if error.is_time_out() {
                cluster.connect_timed_out.add(1);
            }
        }
        connected
    }

    async fn pass(&self, downstream: &mut Stream, upstream: &mut Stream) -> Result<Side, Failure> {
        let cluster = &self.statistics().cluster;
        let received = Meter {
            connection: &self.received,
            totals: &[&cluster.sent_bytes],
            opening: None,
        };
        let sent = Meter {
            connection: &self.sent,
            totals: &[&cluster.received_bytes],
            opening: None,
        };
        tcp::pass(downstream, upstream, &self.shared.pipes, received, sent).await
    }

    fn statistics(&self) -> &DirectionStatistics {
        self.shared.statistics.of(self.direction)
    }

    fn ended(mut self, ending: &Ending) {
        self.tell(ending);
    }

    /// The one place that a connection's end is counted and written.
    fn tell(&mut self, ending: &Ending) {
        self.told = true;
        let flag = ending.flag();
        let statistics = self.statistics();
        statistics.ended.add(1);
        if self.upstream_host.is_some() {
            statistics.cluster.ended.add(1);
        } else {
            statistics.black_holed.add(1);
        }
        if !self.opened {
            statistics.opened.count(flag);
        }
        statistics.closed.count(flag);
        let listener = self.direction.listener();
        if ending.is_ours() && self.shared.warnings.is_due() {
            warn!(listener, downstream = %self.peer, "{ending}");
        } else {
            debug!(listener, downstream = %self.peer, "{ending}");
        }
        if self.is_logged(flag) {
            self.write(ending, flag);
        }
    }

    fn is_logged(&self, flag: Option<ResponseFlag>) -> bool {
        match self.shared.settings.access_log {
            proxy_config::AccessLog::All => true,
            proxy_config::AccessLog::Failures => flag.is_some(),
            proxy_config::AccessLog::Off => false,
        }
    }

    fn write(&self, ending: &Ending, flag: Option<ResponseFlag>) {
        let words = flag.map(|_| ending.to_string());
        let entry = Entry {
            start: self.start,
            duration: self.since.elapsed(),
            flag,
            details: ending.details(),
            failure: words.as_deref(),
            bytes_received: self.received.value(),
            bytes_sent: self.sent.value(),
            upstream_host: self.upstream_host,
            cluster: self.cluster,
            upstream_local: self.upstream_local,
            downstream_local: self.destination,
            downstream_remote: self.peer,
        };
        let line = entry.line(self.shared.settings.access_log_encoding);
        self.shared.access_log.write(line);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.told {
            self.tell(&Ending::Cut);
        }
    }
}
