//! What a cluster costs without traffic: memory, and time at the start.

use anyhow::Context;
use fairlead_tests::netns::Namespace;

use super::{
    Rig,
    comparison::{Comparison, Quantity},
    running::{self, Running},
    subject::Subject,
};
use crate::table::Limit;

/// Numbers of clusters.
pub(super) struct Sizes;

impl Sizes {
    pub(super) const LEAST: usize = 10;
    const MOST: usize = 5_000;
    pub(super) const ALL: [usize; 3] = [Self::LEAST, 1_000, Self::MOST];
}

const START_LIMIT: Limit = Limit::AtMost(0.5);
const CLUSTER_LIMIT: Limit = Limit::AtMost(0.1);
const CLUSTER_LIMIT_KILOBYTES: Limit = Limit::AtMost(3.6);

/// Starts the subject with each number of clusters, with and without TLS.
pub(super) fn round(
    rig: &Rig,
    subject: Subject,
    comparison: &mut Comparison,
) -> anyhow::Result<()> {
    let Rig {
        programs,
        bootstraps,
        cpus: [_, cpu],
        scratch,
    } = rig;
    for with_tls in [false, true] {
        let kind = if with_tls {
            "clusters with mTLS"
        } else {
            "clusters"
        };
        let mut least = None;
        for count in Sizes::ALL {
            let namespace = Namespace::new();
            let command = programs.command(subject, bootstraps.clusters(count, with_tls));
            let log = running::log_in(scratch.path(), &format!("{subject}-clusters"));
            let running = Running::start(&namespace, *cpu, command, &log)
                .with_context(|| format!("{count} {kind}"))?;
            let megabytes = running.resident_megabytes()?;
            let least = *least.get_or_insert(megabytes);
            let most = count == Sizes::MOST;
            comparison.add(
                Quantity::new(format!("start with {count} {kind}, ms"))
                    .ratio(most.then_some(START_LIMIT)),
                subject,
                running.started_in.as_secs_f64() * 1e3,
            );
            comparison.add(
                Quantity::new(format!("memory with {count} {kind}, MB")),
                subject,
                megabytes,
            );
            if most {
                let kilobytes = (megabytes - least) * 1e3 / (count - Sizes::LEAST) as f64;
                comparison.add(
                    Quantity::new(format!("memory of each of {count} {kind}, KB"))
                        .ratio(Some(CLUSTER_LIMIT))
                        .own(Some(CLUSTER_LIMIT_KILOBYTES)),
                    subject,
                    kilobytes,
                );
            }
        }
    }
    Ok(())
}
