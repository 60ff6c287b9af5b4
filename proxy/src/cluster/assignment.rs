//! Which endpoints a cluster has, as assigned (`envoy.config.endpoint.v3.ClusterLoadAssignment`).

mod endpoint;

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use fairlead_xds::{
    envoy::{
        config::{
            core::v3 as core,
            endpoint::v3::{
                ClusterLoadAssignment, LocalityLbEndpoints,
                cluster_load_assignment::{Policy, policy::DropOverload as DropOverloadMessage},
                locality_lb_endpoints::LbConfig,
            },
        },
        r#type::v3::{FractionalPercent, fractional_percent::DenominatorType},
    },
    google::protobuf,
};

use super::endpoint::{Attributes, Locality};
use crate::compile::At;

/// The lowest priority that there may be.
const LAST_PRIORITY: u32 = 128;

/// The endpoints of a cluster, by name or by address.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The cluster, or the name that it asks for its endpoints by.
    pub cluster_name: Box<str>,
    /// The endpoints, by priority and locality.
    pub localities: Box<[AssignedLocality]>,
    /// In percent: how many more endpoints there are than needed. 140 where nothing is said.
    pub overprovisioning_factor: u32,
    /// The health of a priority is measured by weight, not by number.
    pub weighted_priority_health: bool,
    /// What is not to be forwarded at all.
    pub drop_overload: Option<Box<DropOverload>>,
}

/// The endpoints of one locality at one priority.
#[derive(Clone, Debug, PartialEq)]
pub struct AssignedLocality {
    /// Where they run.
    pub locality: Arc<Locality>,
    /// Their priority.
    pub priority: u32,
    /// The share of the locality; 0 if none is assigned.
    pub weight: u32,
    /// The endpoints.
    pub endpoints: Box<[AssignedEndpoint]>,
}

/// One endpoint, or those that its name leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct AssignedEndpoint {
    /// Where it serves.
    pub address: Address,
    /// What is said of it.
    pub attributes: Attributes,
}

/// Where an endpoint serves.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Address {
    /// At this address.
    Ip(SocketAddr),
    /// At the addresses of this name, at this port.
    Name(Box<str>, u16),
}

/// A part of the traffic that is dropped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DropOverload {
    /// Why.
    pub category: Box<str>,
    /// How many of a million connections or requests.
    pub per_million: u32,
}

impl Default for Assignment {
    /// No endpoints.
    fn default() -> Self {
        Self {
            cluster_name: Box::default(),
            localities: Box::default(),
            overprovisioning_factor: 140,
            weighted_priority_health: false,
            drop_overload: None,
        }
    }
}

impl DropOverload {
    /// Whether this random number is one of those that are dropped.
    pub fn drops(&self, random: u64) -> bool {
        random % 1_000_000 < u64::from(self.per_million)
    }
}

impl Assignment {
    /// The endpoints that the message assigns.
    pub fn compile(at: &At<'_>, message: &ClusterLoadAssignment) -> Option<Self> {
        let ClusterLoadAssignment {
            cluster_name,
            endpoints,
            named_endpoints,
            policy,
        } = message;
        let name = if cluster_name.is_empty() {
            at.field("cluster_name").fault::<()>("is empty")
        } else {
            Some(())
        };
        if !named_endpoints.is_empty() {
            at.field("named_endpoints")
                .unsupported("endpoints cannot be referred to by name");
        }
        let localities = at.each("endpoints", endpoints, locality);
        let all = localities.len() == endpoints.len();
        let sum = locality_weights(at, endpoints);
        let compiled = Self {
            cluster_name: cluster_name.as_str().into(),
            localities: localities.into(),
            ..Self::default()
        };
        let compiled = with_policy(at, policy.as_ref(), compiled);
        name.and(sum).filter(|()| all).and(compiled)
    }
}

fn with_policy(at: &At<'_>, policy: Option<&Policy>, mut of: Assignment) -> Option<Assignment> {
    let Some(Policy {
        drop_overloads,
        overprovisioning_factor,
        endpoint_stale_after,
        weighted_priority_health,
    }) = policy
    else {
        return Some(of);
    };
    let at = at.field("policy");
    let drops = at.each("drop_overloads", drop_overloads, drop_overload);
    let mut sound = drops.len() == drop_overloads.len();
    if drop_overloads.len() > 1 {
        at.field("drop_overloads")
            .fault::<()>("may have one element only");
        sound = false;
    }
    of.drop_overload = drops.into_iter().next().map(Box::new);
    if let Some(factor) = overprovisioning_factor {
        if factor.value == 0 {
            at.field("overprovisioning_factor")
                .fault::<()>("must be greater than 0");
            sound = false;
        }
        of.overprovisioning_factor = factor.value;
    }
    if let Some(duration) = endpoint_stale_after {
        let at = at.field("endpoint_stale_after");
        if duration.seconds <= 0 && duration.nanos <= 0 {
            at.fault::<()>("must be greater than 0");
            sound = false;
        } else {
            at.unsupported("endpoints are kept until others are assigned");
        }
    }
    of.weighted_priority_health = *weighted_priority_health;
    sound.then_some(of)
}

fn drop_overload(at: &At<'_>, message: &DropOverloadMessage) -> Option<DropOverload> {
    let DropOverloadMessage {
        category,
        drop_percentage,
    } = message;
    if category.is_empty() {
        return at.field("category").fault("is empty");
    }
    let at = at.field("drop_percentage");
    let FractionalPercent {
        numerator,
        denominator,
    } = drop_percentage.as_ref().copied().unwrap_or_default();
    let factor = match DenominatorType::try_from(denominator) {
        Ok(DenominatorType::Hundred) => 10_000,
        Ok(DenominatorType::TenThousand) => 100,
        Ok(DenominatorType::Million) => 1,
        Err(_) => {
            let at = at.field("denominator");
            return at.fault(format!("{denominator} is no known denominator"));
        }
    };
    let Some(per_million) = numerator
        .checked_mul(factor)
        .filter(|millionths| *millionths <= 1_000_000)
    else {
        return at.fault("is more than 100 %");
    };
    Some(DropOverload {
        category: category.as_str().into(),
        per_million,
    })
}

/// The weights of the localities of a priority must be countable.
fn locality_weights(at: &At<'_>, localities: &[LocalityLbEndpoints]) -> Option<()> {
    let mut sums: BTreeMap<u32, u64> = BTreeMap::new();
    for locality in localities {
        let weight = locality
            .load_balancing_weight
            .map_or(0, |weight| weight.value);
        *sums.entry(locality.priority).or_default() += u64::from(weight);
    }
    let large = sums.iter().find(|(_, sum)| **sum > u64::from(u32::MAX));
    let Some((priority, sum)) = large else {
        return Some(());
    };
    at.field("endpoints").fault(format!(
        "the weights of the localities of priority {priority} add up to {sum}, more than {}",
        u32::MAX
    ))
}

fn locality(at: &At<'_>, message: &LocalityLbEndpoints) -> Option<AssignedLocality> {
    let LocalityLbEndpoints {
        locality,
        // Envoy hands it to load balancers that are not its own.
        metadata: _,
        lb_endpoints,
        load_balancing_weight,
        priority,
        // Envoy does not implement it either.
        proximity: _,
        lb_config,
    } = message;
    let weight = weight(at, load_balancing_weight.as_ref(), 0);
    let mut sound = true;
    if *priority > LAST_PRIORITY {
        at.field("priority")
            .fault::<()>(format!("{priority} is more than {LAST_PRIORITY}"));
        sound = false;
    }
    match lb_config {
        None => {}
        Some(LbConfig::LedsClusterLocalityConfig(_)) => {
            at.field("leds_cluster_locality_config")
                .fault::<()>("endpoints that are discovered by locality are not supported");
            sound = false;
        }
        #[expect(deprecated, reason = "to be refused")]
        Some(LbConfig::LoadBalancerEndpoints(_)) => {
            at.field("load_balancer_endpoints")
                .fault::<()>("is not supported; use lb_endpoints");
            sound = false;
        }
    }
    let endpoints = at.each("lb_endpoints", lb_endpoints, endpoint::endpoint);
    sound &= endpoints.len() == lb_endpoints.len();
    let sum = endpoints
        .iter()
        .map(|endpoint| u64::from(endpoint.attributes.weight))
        .sum::<u64>();
    if sum > u64::from(u32::MAX) {
        at.field("lb_endpoints").fault::<()>(format!(
            "the weights of the endpoints add up to {sum}, more than {}",
            u32::MAX
        ));
        sound = false;
    }
    let core::Locality {
        region,
        zone,
        sub_zone,
    } = locality.clone().unwrap_or_default();
    let compiled = AssignedLocality {
        locality: Arc::new(Locality {
            region: region.into(),
            zone: zone.into(),
            sub_zone: sub_zone.into(),
        }),
        priority: *priority,
        weight: weight?,
        endpoints: endpoints.into(),
    };
    sound.then_some(compiled)
}

fn weight(at: &At<'_>, weight: Option<&protobuf::UInt32Value>, otherwise: u32) -> Option<u32> {
    match weight {
        None => Some(otherwise),
        Some(weight) if weight.value == 0 => at
            .field("load_balancing_weight")
            .fault("must be at least 1"),
        Some(weight) => Some(weight.value),
    }
}

#[cfg(test)]
mod tests;
