//! When histograms are latched: what the bootstrap says of statistics beside `stats_config`.

use std::time::Duration;

use fairlead_xds::{
    envoy::config::{
        bootstrap::v3::bootstrap::{StatsEviction, StatsFlush},
        metrics::v3::StatsSink,
    },
    google::protobuf,
};

use crate::compile::At;

/// Envoy's own interval.
const DEFAULT: Duration = Duration::from_secs(5);

/// What Envoy accepts: from the first, to below the second.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_secs(300);

/// When [`Store::latch`](super::Store::latch) is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flush {
    /// Each time so much time has passed.
    Every(Duration),
    /// Each time the admin port is asked for statistics.
    OnAdmin,
}

impl Flush {
    /// What the fields of the bootstrap ask for.
    pub fn compile(
        at: &At<'_>,
        interval: Option<&protobuf::Duration>,
        flush: Option<&StatsFlush>,
        eviction: Option<&StatsEviction>,
        sinks: &[StatsSink],
    ) -> Option<Self> {
        for (index, sink) in sinks.iter().enumerate() {
            at.field("stats_sinks").index(index).unsupported(format!(
                "the sink {} is not supported; scrape /stats/prometheus",
                sink.name
            ));
        }
        if let Some(StatsEviction::StatsEvictionInterval(_)) = eviction {
            let at = at.field("stats_eviction_interval");
            at.unsupported("is not needed: what nothing uses any more is removed");
        }
        match (interval, flush) {
            (None, None) => Some(Self::Every(DEFAULT)),
            (Some(interval), None) => every(&at.field("stats_flush_interval"), *interval),
            (None, Some(StatsFlush::StatsFlushOnAdmin(true))) => Some(Self::OnAdmin),
            (None, Some(StatsFlush::StatsFlushOnAdmin(false))) => {
                at.field("stats_flush_on_admin").fault("is not true")
            }
            (Some(_), Some(_)) => at
                .field("stats_flush_on_admin")
                .fault("may not be set together with stats_flush_interval"),
        }
    }
}

fn every(at: &At<'_>, interval: protobuf::Duration) -> Option<Flush> {
    let protobuf::Duration { seconds, nanos } = interval;
    let interval = match (u64::try_from(seconds), u32::try_from(nanos)) {
        (Ok(seconds), Ok(nanos @ ..1_000_000_000)) => Some(Duration::new(seconds, nanos)),
        _ => None,
    };
    match interval.filter(|interval| (SHORTEST..LONGEST).contains(interval)) {
        Some(interval) => Some(Flush::Every(interval)),
        None => at.fault("is not at least 0.001s and less than 300s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::Findings;

    #[track_caller]
    fn check(
        interval: Option<protobuf::Duration>,
        on_admin: Option<bool>,
        expected: Result<Flush, &str>,
    ) {
        let findings = Findings::default();
        let flush = on_admin.map(StatsFlush::StatsFlushOnAdmin);
        let at = findings.at("");
        let compiled = Flush::compile(&at, interval.as_ref(), flush.as_ref(), None, &[]);
        let faults = findings.faults();
        let fault = faults.first().map(ToString::to_string);
        match expected {
            Ok(flush) => assert_eq!((compiled, fault), (Some(flush), None)),
            Err(words) => assert_eq!((compiled, fault.as_deref()), (None, Some(words))),
        }
    }

    #[test]
    fn one_of_two_ways_may_be_asked_for() {
        let of = |seconds, nanos| Some(protobuf::Duration { seconds, nanos });
        check(None, None, Ok(Flush::Every(DEFAULT)));
        let millisecond = Duration::from_millis(1);
        check(of(0, 1_000_000), None, Ok(Flush::Every(millisecond)));
        check(None, Some(true), Ok(Flush::OnAdmin));
        let range = "stats_flush_interval: is not at least 0.001s and less than 300s";
        check(of(0, 999_999), None, Err(range));
        check(of(300, 0), None, Err(range));
        check(of(-1, 0), None, Err(range));
        check(None, Some(false), Err("stats_flush_on_admin: is not true"));
        check(
            of(1, 0),
            Some(true),
            Err("stats_flush_on_admin: may not be set together with stats_flush_interval"),
        );
    }

    #[test]
    fn what_is_not_done_is_said() {
        let findings = Findings::default();
        let sinks = [StatsSink {
            name: "statsd".to_owned(),
            ..StatsSink::default()
        }];
        let eviction = StatsEviction::StatsEvictionInterval(protobuf::Duration::default());
        let at = findings.at("");
        let flush = Flush::compile(&at, None, None, Some(&eviction), &sinks);
        assert_eq!(flush, Some(Flush::Every(DEFAULT)));
        let told = findings.unsupported();
        let paths: Vec<_> = told.iter().map(|fault| &*fault.path).collect();
        assert_eq!(paths, ["stats_sinks[0]", "stats_eviction_interval"]);
    }
}
