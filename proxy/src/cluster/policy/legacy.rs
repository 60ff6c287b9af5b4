//! The fields of a cluster that are older than the list of extensions.

use fairlead_xds::envoy::{
    config::{
        cluster::v3::{
            Cluster,
            cluster::{
                CommonLbConfig, LbConfig, LbPolicy, LeastRequestLbConfig, MaglevLbConfig,
                RingHashLbConfig, RoundRobinLbConfig, SlowStartConfig as LegacySlowStart,
                common_lb_config::{ConsistentHashingLbConfig, LocalityConfigSpecifier},
                ring_hash_lb_config::HashFunction as HashFunctionMessage,
            },
        },
        core::v3::HealthStatusSet,
    },
    extensions::load_balancing_policies::common::v3::SlowStartConfig,
};

use super::{BalancerConfig, HashFunction, Hashing, Policy, common as shared, subset};
use crate::{cluster::endpoint::HealthStatus, compile::At};

/// `common_lb_config`.
pub(super) fn common(at: &At<'_>, cluster: &Cluster, config: &mut BalancerConfig) -> Option<()> {
    let Some(CommonLbConfig {
        healthy_panic_threshold,
        update_merge_window,
        ignore_new_hosts_until_first_hc,
        close_connections_on_host_set_change,
        // Compiled with the policy that it is for.
        consistent_hashing_lb_config: _,
        override_host_status,
        locality_config_specifier,
    }) = &cluster.common_lb_config
    else {
        return Some(());
    };
    let at = at.field("common_lb_config");
    if update_merge_window.is_some() {
        at.field("update_merge_window")
            .unsupported("updates are seen at once");
    }
    match locality_config_specifier {
        None => {}
        Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_)) => {
            config.locality_weighted = true;
        }
        Some(LocalityConfigSpecifier::ZoneAwareLbConfig(zone)) => {
            config.fail_traffic_on_panic = zone.fail_traffic_on_panic;
            shared::zone_aware(&at);
        }
    }
    config.ignore_new_hosts_until_first_hc = *ignore_new_hosts_until_first_hc;
    config.close_connections_on_host_set_change = *close_connections_on_host_set_change;
    let threshold_at = at.field("healthy_panic_threshold");
    let threshold = shared::percent(&threshold_at, healthy_panic_threshold.as_ref(), 50.0);
    let mut sound = true;
    if let Some(HealthStatusSet { statuses }) = override_host_status {
        let compiled = at
            .field("override_host_status")
            .each("statuses", statuses, |at, status| {
                HealthStatus::from_number(*status)
                    .or_else(|| at.fault(format!("{status} is no known status")))
            });
        sound = compiled.len() == statuses.len();
        config.override_host_status = compiled.into_iter().collect();
    }
    // The fraction is cut off, as in Envoy.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 100"
    )]
    let threshold = threshold.map(|threshold| threshold as u8);
    config.panic_threshold = threshold?;
    sound.then_some(())
}

/// `lb_policy`, the configuration that it has, and `lb_subset_config`.
pub(super) fn policy(at: &At<'_>, cluster: &Cluster, config: &mut BalancerConfig) -> Option<()> {
    let Ok(policy) = LbPolicy::try_from(cluster.lb_policy) else {
        let number = cluster.lb_policy;
        return at
            .field("lb_policy")
            .fault(format!("{number} is no known policy"));
    };
    let own = cluster.lb_config.as_ref();
    let compiled = match policy {
        LbPolicy::RoundRobin => match own {
            Some(LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config })) => {
                let at = at.field("round_robin_lb_config");
                let slow_start = slow_start_config.as_ref().map(slow_start);
                shared::slow_start(&at, slow_start.as_ref())
            }
            _ => Some(None),
        }
        .map(|slow_start| Policy::RoundRobin { slow_start }),
        LbPolicy::LeastRequest => {
            let LeastRequestLbConfig {
                choice_count,
                active_request_bias,
                slow_start_config,
            } = match own {
                Some(LbConfig::LeastRequestLbConfig(message)) => message.clone(),
                _ => LeastRequestLbConfig::default(),
            };
            let slow_start = slow_start_config.as_ref().map(slow_start);
            shared::least_request(
                &at.field("least_request_lb_config"),
                choice_count.as_ref(),
                active_request_bias.as_ref(),
                slow_start.as_ref(),
                false,
            )
            .map(|least| Policy::LeastRequest(Box::new(least)))
        }
        LbPolicy::Random => Some(Policy::Random),
        LbPolicy::RingHash => ring_hash(at, own, cluster),
        LbPolicy::Maglev => {
            let size = match own {
                Some(LbConfig::MaglevLbConfig(MaglevLbConfig { table_size })) => *table_size,
                _ => None,
            };
            let at_maglev = at.field("maglev_lb_config");
            hashing(at, cluster).and_then(|hashing| {
                shared::maglev(&at_maglev, size.map(|size| size.value), hashing)
                    .map(|maglev| Policy::Maglev(Box::new(maglev)))
            })
        }
        LbPolicy::ClusterProvided => Some(Policy::ClusterProvided),
        LbPolicy::LoadBalancingPolicyConfig => at
            .field("load_balancing_policy")
            .fault("is missing, though lb_policy is LOAD_BALANCING_POLICY_CONFIG"),
    };
    let subsets = match &cluster.lb_subset_config {
        None => Some(None),
        Some(message) => subset::legacy(
            &at.field("lb_subset_config"),
            message,
            config.locality_weighted,
        ),
    };
    config.policy = compiled?;
    config.subsets = subsets?;
    if config.subsets.is_some() && config.policy == Policy::ClusterProvided {
        return at
            .field("lb_subset_config")
            .fault("cannot be combined with the policy CLUSTER_PROVIDED");
    }
    Some(())
}

fn ring_hash(at: &At<'_>, own: Option<&LbConfig>, cluster: &Cluster) -> Option<Policy> {
    let RingHashLbConfig {
        minimum_ring_size,
        hash_function,
        maximum_ring_size,
    } = match own {
        Some(LbConfig::RingHashLbConfig(message)) => *message,
        _ => RingHashLbConfig::default(),
    };
    let at_ring = at.field("ring_hash_lb_config");
    let function = match HashFunctionMessage::try_from(hash_function) {
        Ok(HashFunctionMessage::XxHash) => Some(HashFunction::XxHash),
        Ok(HashFunctionMessage::MurmurHash2) => Some(HashFunction::MurmurHash2),
        Err(_) => at_ring
            .field("hash_function")
            .fault(format!("{hash_function} is no known function")),
    };
    let hashing = hashing(at, cluster);
    let minimum = minimum_ring_size.map(|size| size.value);
    let maximum = maximum_ring_size.map(|size| size.value);
    let ring = shared::ring_hash(
        &at_ring,
        function.unwrap_or(HashFunction::XxHash),
        minimum,
        maximum,
        hashing.unwrap_or_default(),
    );
    function.and(hashing)?;
    ring.map(|ring| Policy::RingHash(Box::new(ring)))
}

fn hashing(at: &At<'_>, cluster: &Cluster) -> Option<Hashing> {
    let common = cluster.common_lb_config.as_ref();
    let message = common.and_then(|common| common.consistent_hashing_lb_config.as_ref());
    let Some(ConsistentHashingLbConfig {
        use_hostname_for_hashing,
        hash_balance_factor,
    }) = message
    else {
        return Some(Hashing::default());
    };
    let at = at
        .field("common_lb_config")
        .field("consistent_hashing_lb_config");
    Some(Hashing {
        use_hostname: *use_hostname_for_hashing,
        balance_factor: shared::balance_factor(&at, hash_balance_factor.as_ref())?,
    })
}

fn slow_start(message: &LegacySlowStart) -> SlowStartConfig {
    let LegacySlowStart {
        slow_start_window,
        aggression,
        min_weight_percent,
    } = message;
    SlowStartConfig {
        slow_start_window: *slow_start_window,
        aggression: aggression.clone(),
        min_weight_percent: *min_weight_percent,
    }
}
