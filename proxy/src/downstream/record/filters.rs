//! What the network filters of the chain count.

use std::sync::Arc;

use super::Record;
use crate::{
    listener::config::FilterStatistics,
    network_filter::{connection_limit::Counted, rbac::Verdict, statistics::RbacStatistic},
};

impl Record {
    /// Counts a connection of a limit until what is returned is dropped.
    pub(in crate::downstream) fn limited(
        &self,
        counted: Counted,
        statistics: &FilterStatistics,
    ) -> Limited {
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

    pub(in crate::downstream) fn decided(
        &self,
        verdict: &Verdict<'_>,
        statistics: &FilterStatistics,
    ) {
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
}

/// A connection that a limit counts, also in the statistics.
#[derive(Debug)]
pub(in crate::downstream) struct Limited {
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
