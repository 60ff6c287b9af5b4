//! An upstream connection in the statistics of its cluster. Each is one of Envoy's requests: it waits
//! while it is connected to, and is active from then on.

use std::time::Duration;

use crate::{ending::Ending, stats::sets::cluster::ConnectionStatistics};

/// Who closed a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Closed {
    /// The upstream, or what stands for it.
    ByUpstream,
    /// The proxy.
    ByUs,
}

/// A connection that is being made. If this is dropped, nobody waits for it any more.
#[derive(Debug)]
pub(super) struct Pending<'a>(Option<&'a ConnectionStatistics>);

impl<'a> Pending<'a> {
    pub(super) fn new(counted: &'a ConnectionStatistics) -> Self {
        counted.upstream_rq_pending_total.increment();
        counted.upstream_rq_pending_active.increment();
        counted.upstream_cx_total.increment();
        counted.upstream_cx_active.increment();
        Self(Some(counted))
    }

    /// It is there, and its owner counts its end.
    pub(super) fn connected(mut self, after: Duration) {
        if let Some(counted) = self.0.take() {
            counted.upstream_rq_pending_active.decrement();
            counted.upstream_rq_total.increment();
            counted.upstream_rq_active.increment();
            counted.upstream_cx_connect_ms.record_milliseconds(after);
        }
    }

    /// It could not be made.
    pub(super) fn failed(mut self, ending: &Ending) {
        let Some(counted) = self.0.take() else {
            return;
        };
        counted.upstream_rq_pending_failure_eject.increment();
        let by = match ending {
            Ending::ConnectFailed(error) if error.is_time_out() => {
                counted.upstream_cx_connect_timeout.increment();
                Closed::ByUs
            }
            Ending::ConnectFailed(error) if error.is_of_bind() => {
                counted.bind_errors.increment();
                Closed::ByUs
            }
            _ => Closed::ByUpstream,
        };
        never_connected(counted, by);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(counted) = self.0 {
            counted.upstream_rq_cancelled.increment();
            never_connected(counted, Closed::ByUs);
        }
    }
}

/// Counts the end of a connection that was there for so long.
pub fn closed(counted: &ConnectionStatistics, by: Closed, after: Duration) {
    counted.upstream_rq_active.decrement();
    counted.upstream_cx_length_ms.record_milliseconds(after);
    counted.upstream_cx_destroy_with_active_rq.increment();
    match by {
        Closed::ByUpstream => &counted.upstream_cx_destroy_remote_with_active_rq,
        Closed::ByUs => &counted.upstream_cx_destroy_local_with_active_rq,
    }
    .increment();
    destroyed(counted, by);
}

fn never_connected(counted: &ConnectionStatistics, by: Closed) {
    counted.upstream_rq_pending_active.decrement();
    counted.upstream_cx_connect_fail.increment();
    destroyed(counted, by);
}

fn destroyed(counted: &ConnectionStatistics, by: Closed) {
    counted.upstream_cx_active.decrement();
    counted.upstream_cx_destroy.increment();
    match by {
        Closed::ByUpstream => &counted.upstream_cx_destroy_remote,
        Closed::ByUs => &counted.upstream_cx_destroy_local,
    }
    .increment();
}
