//! Clusters, health, discovery and faults of bootstraps.

use super::Known;

/// Of subsets.
const ONCE: &str = "each subset is counted once; Envoy counts those of each of its threads";

/// Of clusters of type `ORIGINAL_DST`.
const NOT_KEPT: &str = "an original destination is an endpoint while connections go there; Envoy \
    keeps it, and counts it, until `cleanup_interval`";

/// Of the subsets of the cluster `one`.
const fn subsets(what: &'static str) -> Known {
    Known {
        case: "a_subset_*",
        what,
        envoy: "4",
        ours: "2",
        reason: ONCE,
    }
}

pub(super) const KNOWN: &[Known] = &[
    subsets("stat cluster.one.lb_subsets_active"),
    subsets("stat cluster.one.lb_subsets_created"),
    Known {
        case: "an_original_destination_is_the_endpoint",
        what: "stat cluster.original.membership_*",
        envoy: "*",
        ours: "none or 0",
        reason: NOT_KEPT,
    },
];
