//! What several policies ask for.

use std::time::Duration;

use fairlead_xds::{
    envoy::{
        config::core::v3::RuntimeDouble,
        extensions::load_balancing_policies::common::v3::{
            ConsistentHashingLbConfig, LocalityLbConfig, SlowStartConfig,
            locality_lb_config::LocalityConfigSpecifier,
        },
        r#type::v3::Percent,
    },
    google::protobuf,
};

use super::{BalancerConfig, HashFunction, Hashing, LeastRequest, Maglev, RingHash, SlowStart};
use crate::compile::{At, values};

/// The most places of a ring.
const LARGEST_RING: u64 = 8 * 1024 * 1024;
/// The most places of a table.
const LARGEST_TABLE: u64 = 5_000_011;

/// A percentage, or the default.
pub(super) fn percent(at: &At<'_>, percent: Option<&Percent>, otherwise: f64) -> Option<f64> {
    match percent {
        None => Some(otherwise),
        Some(Percent { value }) if (0.0..=100.0).contains(value) => Some(*value),
        Some(Percent { value }) => at.fault(format!("{value} is not between 0 and 100")),
    }
}

/// A number that Envoy's runtime may override; there is no runtime, so that the default counts.
pub(super) fn runtime_double(
    at: &At<'_>,
    double: Option<&RuntimeDouble>,
    otherwise: f64,
) -> Option<f64> {
    let Some(RuntimeDouble {
        default_value,
        runtime_key: _,
    }) = double
    else {
        return Some(otherwise);
    };
    if !default_value.is_finite() {
        return at
            .field("default_value")
            .fault(format!("{default_value} is no number"));
    }
    Some(*default_value)
}

fn span(at: &At<'_>, duration: Option<&protobuf::Duration>) -> Option<Duration> {
    values::duration(at, &duration.copied().unwrap_or_default())
}

#[expect(
    clippy::option_option,
    reason = "faults, and nothing that is asked for"
)]
pub(super) fn slow_start(
    at: &At<'_>,
    message: Option<&SlowStartConfig>,
) -> Option<Option<Box<SlowStart>>> {
    let Some(SlowStartConfig {
        slow_start_window,
        aggression,
        min_weight_percent,
    }) = message
    else {
        return Some(None);
    };
    let at = at.field("slow_start_config");
    let window = span(&at.field("slow_start_window"), slow_start_window.as_ref());
    let aggression_at = at.field("aggression");
    let aggression = runtime_double(&aggression_at, aggression.as_ref(), 1.0);
    let aggression = aggression.filter(|aggression| {
        let sound = *aggression > 0.0;
        if !sound {
            aggression_at.fault::<()>("must be greater than 0");
        }
        sound
    });
    let least = at.field("min_weight_percent");
    let least = percent(&least, min_weight_percent.as_ref(), 10.0);
    let compiled = SlowStart {
        window: window?,
        aggression: aggression?,
        min_weight: least? / 100.0,
    };
    Some((!compiled.window.is_zero()).then(|| Box::new(compiled)))
}

/// What is said of localities.
pub(super) fn locality(
    at: &At<'_>,
    message: Option<&LocalityLbConfig>,
    config: &mut BalancerConfig,
) -> Option<()> {
    let Some(LocalityLbConfig {
        locality_config_specifier,
    }) = message
    else {
        return Some(());
    };
    let at = at.field("locality_lb_config");
    match at.required(
        "locality_config_specifier",
        locality_config_specifier.as_ref(),
    )? {
        LocalityConfigSpecifier::LocalityWeightedLbConfig(_) => config.locality_weighted = true,
        LocalityConfigSpecifier::ZoneAwareLbConfig(zone) => {
            config.fail_traffic_on_panic = zone.fail_traffic_on_panic;
            zone_aware(&at);
        }
    }
    Some(())
}

/// Says that endpoints of the own zone are not preferred.
pub(super) fn zone_aware(at: &At<'_>) {
    at.field("zone_aware_lb_config")
        .unsupported("endpoints of the own zone are not preferred");
}

/// What rings and tables have in common.
pub(super) fn hashing(
    at: &At<'_>,
    message: Option<&ConsistentHashingLbConfig>,
    mut otherwise: Hashing,
) -> Option<Hashing> {
    let Some(ConsistentHashingLbConfig {
        use_hostname_for_hashing,
        hash_balance_factor,
        hash_policy,
    }) = message
    else {
        return Some(otherwise);
    };
    let at = at.field("consistent_hashing_lb_config");
    if !hash_policy.is_empty() {
        at.field("hash_policy")
            .unsupported("what is hashed is said by routes and by tcp_proxy");
    }
    otherwise.use_hostname = *use_hostname_for_hashing;
    otherwise.balance_factor = balance_factor(&at, hash_balance_factor.as_ref())?;
    Some(otherwise)
}

/// The limit of what an endpoint takes.
pub(super) fn balance_factor(at: &At<'_>, factor: Option<&protobuf::UInt32Value>) -> Option<u32> {
    match factor.map(|factor| factor.value) {
        None => Some(0),
        Some(factor) if factor >= 100 => Some(factor),
        Some(factor) => at
            .field("hash_balance_factor")
            .fault(format!("{factor} is less than 100")),
    }
}

pub(super) fn ring_hash(
    at: &At<'_>,
    hash_function: HashFunction,
    minimum: Option<u64>,
    maximum: Option<u64>,
    hashing: Hashing,
) -> Option<RingHash> {
    let size = |name: &str, size: Option<u64>, otherwise: u64| match size.unwrap_or(otherwise) {
        size if size <= LARGEST_RING => u32::try_from(size).ok(),
        size => at
            .field(name)
            .fault(format!("{size} is more than {LARGEST_RING}")),
    };
    let minimum = size("minimum_ring_size", minimum, 1024);
    let maximum = size("maximum_ring_size", maximum, LARGEST_RING);
    let (minimum, maximum) = (minimum?, maximum?);
    if minimum > maximum {
        return at.field("minimum_ring_size").fault(format!(
            "{minimum} is more than maximum_ring_size, which is {maximum}"
        ));
    }
    Some(RingHash {
        hash_function,
        minimum_ring_size: minimum,
        maximum_ring_size: maximum,
        hashing,
    })
}

pub(super) fn maglev(at: &At<'_>, size: Option<u64>, hashing: Hashing) -> Option<Maglev> {
    let at = at.field("table_size");
    let size = size.unwrap_or(65_537);
    if size > LARGEST_TABLE {
        return at.fault(format!("{size} is more than {LARGEST_TABLE}"));
    }
    if !is_prime(size) {
        return at.fault(format!("{size} is no prime number"));
    }
    Some(Maglev {
        table_size: u32::try_from(size).unwrap_or(u32::MAX),
        hashing,
    })
}

fn is_prime(number: u64) -> bool {
    let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
    number > 1 && divisors.all(|divisor| !number.is_multiple_of(divisor))
}

pub(super) fn least_request(
    at: &At<'_>,
    choice_count: Option<&protobuf::UInt32Value>,
    active_request_bias: Option<&RuntimeDouble>,
    slow_start_config: Option<&SlowStartConfig>,
    full_scan: bool,
) -> Option<LeastRequest> {
    let choice_count = match choice_count.map_or(2, |count| count.value) {
        count @ 2.. => Some(count),
        count => at
            .field("choice_count")
            .fault(format!("{count} is less than 2")),
    };
    let bias_at = at.field("active_request_bias");
    let bias = runtime_double(&bias_at, active_request_bias, 1.0);
    let bias = bias.and_then(|bias| {
        if bias < 0.0 {
            return bias_at.fault(format!("{bias} is less than 0"));
        }
        Some(bias)
    });
    let slow_start = slow_start(at, slow_start_config);
    Some(LeastRequest {
        choice_count: choice_count?,
        full_scan,
        active_request_bias: bias?,
        slow_start: slow_start?,
    })
}
