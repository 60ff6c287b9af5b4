//! What is waited for while bytes are passed on: what ends the connection, and the next line in the log.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::record::Record;
use crate::{
    access_log::{AccessLogs, LogType},
    network_filter::tcp_proxy::TcpProxy,
};

/// How often it is looked whether a connection is idle, in its time-out.
const IDLE_LOOKS: u32 = 10;

impl Record {
    /// Returns when nothing was passed on for so long; never, where that does not matter.
    pub(super) async fn idle(&self, after: Option<Duration>) -> Duration {
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
    pub(super) async fn unhealthy(&self) -> SocketAddr {
        let (Some(cluster), Some(endpoint)) = (&self.attempts.cluster, &self.attempts.endpoint)
        else {
            return std::future::pending().await;
        };
        cluster.failure_of(endpoint).await;
        endpoint.address
    }

    /// Returns when the connection is as old as that; never, where that does not matter.
    pub(super) async fn expired(&self, age: Option<Duration>) -> Duration {
        let Some(age) = age else {
            return std::future::pending().await;
        };
        sleep(age.saturating_sub(self.since.elapsed())).await;
        age
    }

    /// Writes a line every so often, if that is asked for.
    pub(super) async fn log_again(&self, proxy: &TcpProxy<AccessLogs>) {
        let Some(interval) = proxy.access_log_options.flush_interval else {
            return std::future::pending().await;
        };
        loop {
            sleep(interval).await;
            self.log_now(&proxy.access_log, LogType::TcpPeriodic);
        }
    }
}
