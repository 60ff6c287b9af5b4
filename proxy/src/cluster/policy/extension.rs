//! The list of extensions: the first that is known counts.

use fairlead_xds::{
    envoy::{
        config::{cluster::v3::LoadBalancingPolicy, core::v3::TypedExtensionConfig},
        extensions::load_balancing_policies::{
            cluster_provided::v3::ClusterProvided,
            least_request::v3::{LeastRequest, least_request::SelectionMethod},
            maglev::v3::Maglev,
            random::v3::Random,
            ring_hash::v3::{RingHash, ring_hash::HashFunction as HashFunctionMessage},
            round_robin::v3::RoundRobin,
            subset::v3::Subset,
        },
    },
    google::protobuf,
    prost::Name,
};

use super::{BalancerConfig, HashFunction, Hashing, Policy, common, subset};
use crate::compile::At;

/// The first policy of the list that is known.
pub(super) fn compile(
    at: &At<'_>,
    list: &LoadBalancingPolicy,
    config: &mut BalancerConfig,
) -> Option<()> {
    let LoadBalancingPolicy { policies } = list;
    let mut unknown = Vec::new();
    for (index, policy) in policies.iter().enumerate() {
        let at = at
            .field("policies")
            .index(index)
            .field("typed_extension_config");
        let Some(TypedExtensionConfig { name, typed_config }) = &policy.typed_extension_config
        else {
            continue;
        };
        let Some(any) = typed_config else {
            unknown.push(name.as_str());
            continue;
        };
        let at = at.field("typed_config");
        let type_name = any.type_url.rsplit('/').next().unwrap_or_default();
        match known(&at, type_name, any, config) {
            Known::Is(compiled) => return compiled,
            Known::No => unknown.push(type_name),
        }
    }
    at.field("policies").fault(if unknown.is_empty() {
        "is empty".to_owned()
    } else {
        format!("none of these is supported: {}", unknown.join(", "))
    })
}

enum Known {
    /// It is known, and sound if there is something.
    Is(Option<()>),
    No,
}

fn known(at: &At<'_>, name: &str, any: &protobuf::Any, config: &mut BalancerConfig) -> Known {
    let is = |full_name: String| name == full_name;
    Known::Is(if is(RoundRobin::full_name()) {
        at.decode(any)
            .and_then(|message| round_robin(at, &message, config))
    } else if is(LeastRequest::full_name()) {
        at.decode(any)
            .and_then(|message| least_request(at, &message, config))
    } else if is(Random::full_name()) {
        at.decode(any).and_then(|message| {
            let Random { locality_lb_config } = message;
            config.policy = Policy::Random;
            common::locality(at, locality_lb_config.as_ref(), config)
        })
    } else if is(RingHash::full_name()) {
        at.decode(any)
            .and_then(|message| ring_hash(at, &message, config))
    } else if is(Maglev::full_name()) {
        at.decode(any)
            .and_then(|message| maglev(at, &message, config))
    } else if is(ClusterProvided::full_name()) {
        at.decode(any).map(|ClusterProvided {}| {
            config.policy = Policy::ClusterProvided;
        })
    } else if is(Subset::full_name()) {
        at.decode(any)
            .and_then(|message| with_subsets(at, &message, config))
    } else {
        return Known::No;
    })
}

fn round_robin(at: &At<'_>, message: &RoundRobin, config: &mut BalancerConfig) -> Option<()> {
    let RoundRobin {
        slow_start_config,
        locality_lb_config,
    } = message;
    let locality = common::locality(at, locality_lb_config.as_ref(), config);
    let slow_start = common::slow_start(at, slow_start_config.as_ref())?;
    config.policy = Policy::RoundRobin { slow_start };
    locality
}

fn least_request(at: &At<'_>, message: &LeastRequest, config: &mut BalancerConfig) -> Option<()> {
    #[expect(deprecated, reason = "Envoy reads it, too")]
    let LeastRequest {
        choice_count,
        active_request_bias,
        slow_start_config,
        locality_lb_config,
        enable_full_scan,
        selection_method,
    } = message;
    let locality = common::locality(at, locality_lb_config.as_ref(), config);
    let method = SelectionMethod::try_from(*selection_method).map_or_else(
        |_| {
            at.field("selection_method")
                .fault(format!("{selection_method} is no known method"))
        },
        Some,
    );
    let full = enable_full_scan.is_some_and(|full| full.value)
        || method == Some(SelectionMethod::FullScan);
    let least = common::least_request(
        at,
        choice_count.as_ref(),
        active_request_bias.as_ref(),
        slow_start_config.as_ref(),
        full,
    );
    method?;
    config.policy = Policy::LeastRequest(Box::new(least?));
    locality
}

fn ring_hash(at: &At<'_>, message: &RingHash, config: &mut BalancerConfig) -> Option<()> {
    #[expect(deprecated, reason = "Envoy reads them, too")]
    let RingHash {
        hash_function,
        minimum_ring_size,
        maximum_ring_size,
        use_hostname_for_hashing,
        hash_balance_factor,
        consistent_hashing_lb_config,
        locality_weighted_lb_config,
    } = message;
    config.locality_weighted = locality_weighted_lb_config.is_some();
    let function = match HashFunctionMessage::try_from(*hash_function) {
        Ok(HashFunctionMessage::DefaultHash | HashFunctionMessage::XxHash) => {
            Some(HashFunction::XxHash)
        }
        Ok(HashFunctionMessage::MurmurHash2) => Some(HashFunction::MurmurHash2),
        Err(_) => at
            .field("hash_function")
            .fault(format!("{hash_function} is no known function")),
    };
    if minimum_ring_size.is_some_and(|size| size.value == 0) {
        return at.field("minimum_ring_size").fault("must be at least 1");
    }
    let older = Hashing {
        use_hostname: *use_hostname_for_hashing,
        balance_factor: common::balance_factor(at, hash_balance_factor.as_ref())?,
    };
    let hashing = common::hashing(at, consistent_hashing_lb_config.as_ref(), older)?;
    let minimum = minimum_ring_size.map(|size| size.value);
    let maximum = maximum_ring_size.map(|size| size.value);
    let ring = common::ring_hash(at, function?, minimum, maximum, hashing)?;
    config.policy = Policy::RingHash(Box::new(ring));
    Some(())
}

fn maglev(at: &At<'_>, message: &Maglev, config: &mut BalancerConfig) -> Option<()> {
    let Maglev {
        table_size,
        consistent_hashing_lb_config,
        locality_weighted_lb_config,
    } = message;
    config.locality_weighted = locality_weighted_lb_config.is_some();
    let hashing = common::hashing(
        at,
        consistent_hashing_lb_config.as_ref(),
        Hashing::default(),
    )?;
    let table = common::maglev(at, table_size.map(|size| size.value), hashing)?;
    config.policy = Policy::Maglev(Box::new(table));
    Some(())
}

fn with_subsets(at: &At<'_>, message: &Subset, config: &mut BalancerConfig) -> Option<()> {
    let child = at.required("subset_lb_policy", message.subset_lb_policy.as_ref());
    let child_at = at.field("subset_lb_policy");
    let sound = child.and_then(|child| compile(&child_at, child, config));
    if config.subsets.is_some() || config.policy == Policy::ClusterProvided {
        return child_at.fault("has no policy that subsets can have");
    }
    config.subsets = subset::extension(at, message, config.locality_weighted)?;
    sound
}
