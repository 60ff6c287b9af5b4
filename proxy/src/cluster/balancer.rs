//! One worker's way of choosing among the endpoints of a cluster.
//!
//! A [`Balancer`] holds nothing before its first choice. It looks at the set of endpoints that it is
//! given at each choice, and starts anew when this is another one or when the health of an endpoint
//! changed.

mod edf;
mod group;
mod hashing;
mod picker;
mod priority;
mod source;
mod subset;

use std::{sync::Arc, time::Instant};

use self::{group::Group, subset::Subsets};
pub use self::{
    hashing::Spread,
    priority::{Availability, Census, Load, Loads},
    subset::{SubsetName, names as subset_names},
};
use super::{
    endpoint::Endpoint,
    endpoint_set::EndpointSet,
    metadata::Metadata,
    policy::{BalancerConfig, Policy},
};

/// What a choice is made for.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    /// What policies that hash go by; any number does where there is nothing.
    pub hash: Option<u64>,
    /// The metadata that the route asks for, of `envoy.lb`.
    pub metadata_match: Option<&'a Metadata>,
    /// Endpoints that are taken only if there is no other, as those that were tried already.
    pub excluded: &'a dyn Fn(&Endpoint) -> bool,
    /// The time.
    pub now: Instant,
}

/// An endpoint, and how it was found.
#[derive(Debug, Default)]
pub struct Chosen {
    /// The endpoint; none if there is none to be had.
    pub endpoint: Option<Arc<Endpoint>>,
    /// Health did not count: `lb_healthy_panic`.
    pub panic: bool,
    /// The part that subsets had in it.
    pub subset: SubsetUse,
    /// Endpoints were given their places anew for this choice, by a policy that hashes.
    pub spread: Option<Spread>,
}

/// The part that subsets had in a choice.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum SubsetUse {
    /// None.
    #[default]
    None,
    /// A subset had the metadata: `lb_subsets_selected`.
    Selected,
    /// The fallback was taken: `lb_subsets_fallback`.
    Fallback,
    /// The fallback had nobody, and any endpoint was taken: `lb_subsets_fallback_panic`.
    FallbackPanic,
}

/// One worker's way of choosing among the endpoints of a cluster.
#[derive(Debug)]
pub struct Balancer {
    config: Arc<BalancerConfig>,
    built: Option<Box<Built>>,
}

/// What follows from a set of endpoints and their health.
#[derive(Debug)]
struct Built {
    set: Arc<EndpointSet>,
    generation: u64,
    whole: Option<Group>,
    subsets: Option<Subsets>,
}

impl Balancer {
    /// A balancer that was never asked.
    pub fn new(config: Arc<BalancerConfig>) -> Self {
        Self {
            config,
            built: None,
        }
    }

    /// The endpoint of the set whose turn it is.
    ///
    /// It allocates nothing, unless the set or the health of an endpoint changed, or a group of
    /// endpoints is needed for the first time.
    pub fn choose(
        &mut self,
        set: &Arc<EndpointSet>,
        choice: &Choice<'_>,
        rng: &mut fastrand::Rng,
    ) -> Chosen {
        if self.config.policy == Policy::ClusterProvided {
            return Chosen::default();
        }
        let config = &*self.config;
        let built = match &mut self.built {
            Some(built) if built.is_of(set) => built,
            built => built.insert(Box::new(Built::new(config, set))),
        };
        built.choose(config, choice, rng)
    }
}

impl Built {
    fn new(config: &BalancerConfig, set: &Arc<EndpointSet>) -> Self {
        // Before health is looked at: what changes from now on is seen at the next choice.
        let generation = set.generation();
        let subsets = config.subsets.as_ref();
        Self {
            set: Arc::clone(set),
            generation,
            whole: None,
            subsets: subsets.map(|subsets| Subsets::new(subsets, set)),
        }
    }

    fn is_of(&self, set: &Arc<EndpointSet>) -> bool {
        Arc::ptr_eq(&self.set, set) && self.generation == set.generation()
    }

    fn choose(
        &mut self,
        config: &BalancerConfig,
        choice: &Choice<'_>,
        rng: &mut fastrand::Rng,
    ) -> Chosen {
        let Self {
            set,
            whole,
            subsets,
            ..
        } = self;
        let Some(subsets) = subsets else {
            let whole = whole.get_or_insert_with(|| Group::whole(config, set));
            return whole.choose(config, choice, rng);
        };
        subsets.choose(config, set, whole, choice, rng)
    }
}

#[cfg(test)]
mod tests;
