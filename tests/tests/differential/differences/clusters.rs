//! Clusters, health, discovery and faults of bootstraps.

use super::Known;

pub(super) const KNOWN: &[Known] = &[];
