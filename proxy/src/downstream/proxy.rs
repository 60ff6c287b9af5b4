//! The connection to an upstream, and the bytes between both.

use std::pin::pin;

use tokio::select;

use super::record::Record;
use crate::{
    access_log::{AccessLogs, LogType},
    connect::acknowledge,
    destination::NotRedirected,
    ending::Ending,
    network_filter::tcp_proxy::TcpProxy,
    stats::{Counter, sets::filter::TcpProxyStatistics},
    stream::reset,
    tcp::{self, Failure, Meter, Opening, Side, relay::relay},
    upstream::{For, Transport},
};

impl Record {
    /// Passes bytes between the downstream and an endpoint.
    pub(super) async fn proxy(
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

    /// Why a connection leads to the proxy itself, where the kernel has not told another destination.
    fn explained(&mut self, ending: Ending) -> Ending {
        match (ending, self.unrestored.take()) {
            (Ending::NotRedirected(NotRedirected::OwnPort(local)), Some(source)) => {
                Ending::NotRedirected(NotRedirected::Unknown { local, source })
            }
            (ending, _) => ending,
        }
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
