//! How the endpoints of a cluster are chosen, compiled from both of Envoy's spellings: `lb_policy`
//! with its own fields, and `load_balancing_policy` with a list of extensions.

mod common;
mod extension;
mod legacy;
mod subset;

use std::time::Duration;

use fairlead_xds::envoy::config::cluster::v3::Cluster;

pub use self::subset::{Fallback, Selector, SelectorFallback, SubsetConfig};
use super::endpoint::HealthStatus;
use crate::compile::At;

/// How the endpoints of a cluster are chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct BalancerConfig {
    /// The way among endpoints that are equally good.
    pub policy: Policy,
    /// Localities are chosen by their weight first.
    pub locality_weighted: bool,
    /// In panic nobody is chosen.
    pub fail_traffic_on_panic: bool,
    /// The percentage of available endpoints below which there is panic; 0 for never.
    pub panic_threshold: u8,
    /// An endpoint does not count before its first active health check.
    pub ignore_new_hosts_until_first_hc: bool,
    /// All connections of the cluster end when its endpoints change.
    pub close_connections_on_host_set_change: bool,
    /// The health with which an endpoint may be chosen by others than the balancer.
    pub override_host_status: StatusSet,
    /// Endpoints are chosen among those that have the metadata that is asked for.
    pub subsets: Option<Box<SubsetConfig>>,
}

/// The way among endpoints that are equally good.
#[derive(Clone, Debug, PartialEq)]
pub enum Policy {
    /// In turn, by weight.
    RoundRobin {
        /// New endpoints get less at first.
        slow_start: Option<Box<SlowStart>>,
    },
    /// The one with the least to do.
    LeastRequest(Box<LeastRequest>),
    /// Any.
    Random,
    /// By hash, over a ring.
    RingHash(Box<RingHash>),
    /// By hash, over a table.
    Maglev(Box<Maglev>),
    /// None: the cluster knows.
    ClusterProvided,
}

/// How the share of a new endpoint grows.
#[derive(Clone, Debug, PartialEq)]
pub struct SlowStart {
    /// How long an endpoint is new.
    pub window: Duration,
    /// Above 1 its share grows faster at first, below 1 slower.
    pub aggression: f64,
    /// The part of its share that it has from the start on, between 0 and 1.
    pub min_weight: f64,
}

/// How the endpoint with the least to do is found.
#[derive(Clone, Debug, PartialEq)]
pub struct LeastRequest {
    /// How many are looked at, where all have the same weight.
    pub choice_count: u32,
    /// All are looked at.
    pub full_scan: bool,
    /// How strongly activity takes from the share of an endpoint, where weights differ.
    pub active_request_bias: f64,
    /// New endpoints get less at first.
    pub slow_start: Option<Box<SlowStart>>,
}

/// How endpoints are put on a ring.
#[derive(Clone, Debug, PartialEq)]
pub struct RingHash {
    /// The hash function.
    pub hash_function: HashFunction,
    /// The least places of the ring.
    pub minimum_ring_size: u32,
    /// The most places of the ring.
    pub maximum_ring_size: u32,
    /// What rings and tables have in common.
    pub hashing: Hashing,
}

/// How endpoints are put in a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Maglev {
    /// The places of the table, a prime number.
    pub table_size: u32,
    /// What rings and tables have in common.
    pub hashing: Hashing,
}

/// What rings and tables have in common.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Hashing {
    /// Endpoints are known by their names, not by their addresses.
    pub use_hostname: bool,
    /// The most that an endpoint takes, in percent of the average; 0 for no limit.
    pub balance_factor: u32,
}

/// A function from texts to numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HashFunction {
    /// xxHash, 64 bits.
    XxHash,
    /// The 64-bit MurmurHash 2 of GNU's C++ library.
    MurmurHash2,
}

/// Some of the kinds of health.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StatusSet(u8);

impl Default for StatusSet {
    fn default() -> Self {
        use HealthStatus::{Degraded, Healthy, Unknown};
        [Unknown, Healthy, Degraded].into_iter().collect()
    }
}

impl FromIterator<HealthStatus> for StatusSet {
    fn from_iter<I: IntoIterator<Item = HealthStatus>>(statuses: I) -> Self {
        Self(
            statuses
                .into_iter()
                .fold(0, |set, status| set | 1 << status as u8),
        )
    }
}

impl StatusSet {
    /// Whether the status is one of them.
    pub fn contains(self, status: HealthStatus) -> bool {
        self.0 & (1 << status as u8) != 0
    }
}

impl Default for BalancerConfig {
    fn default() -> Self {
        Self {
            policy: Policy::RoundRobin { slow_start: None },
            locality_weighted: false,
            fail_traffic_on_panic: false,
            panic_threshold: 50,
            ignore_new_hosts_until_first_hc: false,
            close_connections_on_host_set_change: false,
            override_host_status: StatusSet::default(),
            subsets: None,
        }
    }
}

impl BalancerConfig {
    /// What the cluster asks for. Of the message only the fields of load balancing are read.
    pub fn compile(at: &At<'_>, cluster: &Cluster) -> Option<Self> {
        let mut config = Self::default();
        let common = legacy::common(at, cluster, &mut config);
        let policy = match &cluster.load_balancing_policy {
            Some(list) => {
                let combined = refuse_combination(at, cluster);
                extension::compile(&at.field("load_balancing_policy"), list, &mut config)
                    .and(combined)
            }
            None => legacy::policy(at, cluster, &mut config),
        };
        common.and(policy).map(|()| config)
    }
}

/// As in Envoy, the list of extensions stands alone.
fn refuse_combination(at: &At<'_>, cluster: &Cluster) -> Option<()> {
    let mut sound = Some(());
    if cluster.lb_subset_config.is_some() {
        sound = at
            .field("lb_subset_config")
            .fault("cannot be combined with load_balancing_policy");
    }
    if let Some(common) = &cluster.common_lb_config {
        let at = at.field("common_lb_config");
        if common.locality_config_specifier.is_some() {
            sound = at.fault(
                "zone_aware_lb_config and locality_weighted_lb_config cannot be combined with load_balancing_policy",
            );
        }
        if common.consistent_hashing_lb_config.is_some() {
            sound = at
                .field("consistent_hashing_lb_config")
                .fault("cannot be combined with load_balancing_policy");
        }
    }
    sound
}

#[cfg(test)]
mod tests;
