//! Endpoints that a choice is made among: all of a cluster, or a subset.

use std::sync::Arc;

use super::{
    Availability, Census, Choice, Chosen, Loads,
    source::{Kind, Source},
};
use crate::cluster::{
    endpoint::{Endpoint, Health},
    endpoint_set::EndpointSet,
    policy::{BalancerConfig, Policy},
};

/// Endpoints that a choice is made among.
#[derive(Debug)]
pub(super) struct Group {
    levels: Box<[Level]>,
    loads: Loads,
    localities: Localities,
}

/// How the weights of localities count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Localities {
    /// Not at all.
    Equal,
    /// As they are assigned.
    Weighted,
    /// Less the part of the locality that is not in the group.
    Scaled,
}

/// The endpoints of one priority.
#[derive(Debug)]
struct Level {
    localities: Box<[Locality]>,
    /// Whatever their health. Made when needed, as the others.
    all: Option<Source>,
    healthy: Option<Source>,
    degraded: Option<Source>,
}

/// The endpoints of one locality at one priority.
#[derive(Debug)]
pub(super) struct Locality {
    /// Its share.
    pub(super) weight: f64,
    /// Its endpoints, with their health.
    pub(super) members: Box<[Member]>,
    /// In percent: how many more endpoints there are than needed.
    pub(super) overprovisioning_factor: u32,
}

/// An endpoint as it was when the group was made.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) health: Health,
    pub(super) excluded: bool,
}

impl Group {
    /// All endpoints.
    pub(super) fn whole(config: &BalancerConfig, set: &EndpointSet) -> Self {
        let localities = if config.locality_weighted {
            Localities::Weighted
        } else {
            Localities::Equal
        };
        Self::part(config, set, |_| true, localities)
    }

    /// The endpoints that are accepted.
    pub(super) fn part(
        config: &BalancerConfig,
        set: &EndpointSet,
        accepts: impl Fn(&Endpoint) -> bool,
        localities: Localities,
    ) -> Self {
        let ignore_new = config.ignore_new_hosts_until_first_hc;
        let levels: Box<[Level]> = set
            .priorities()
            .iter()
            .map(|priority| {
                let groups = priority.localities.iter().map(|locality| {
                    let members = locality.endpoints.iter().filter(|one| accepts(one));
                    let members: Box<[Member]> = members
                        .map(|endpoint| Member {
                            endpoint: Arc::clone(endpoint),
                            health: endpoint.health(),
                            excluded: endpoint.is_excluded(ignore_new),
                        })
                        .collect();
                    let mut weight = f64::from(locality.weight);
                    if localities == Localities::Scaled
                        && weight > 0.0
                        && !locality.endpoints.is_empty()
                    {
                        let part = members.len() as f64 / locality.endpoints.len() as f64;
                        weight = (weight * part).round().max(1.0);
                    }
                    Locality {
                        weight,
                        members,
                        overprovisioning_factor: set.overprovisioning_factor(),
                    }
                });
                Level {
                    localities: groups.collect(),
                    all: None,
                    healthy: None,
                    degraded: None,
                }
            })
            .collect();
        let censuses: Vec<Census> = levels
            .iter()
            .map(|level| census(level.members(), set.weighted_priority_health()))
            .collect();
        let loads = Loads::new(
            &censuses,
            set.overprovisioning_factor(),
            u32::from(config.panic_threshold),
        );
        Self {
            levels,
            loads,
            localities,
        }
    }

    /// One endpoint alone, at the first priority.
    pub(super) fn single(config: &BalancerConfig, set: &EndpointSet, endpoint: &Endpoint) -> Self {
        let mut group = Self::part(config, set, |one| one.is_same(endpoint), Localities::Equal);
        let levels = std::mem::take(&mut group.levels).into_vec().into_iter();
        group.levels = levels
            .filter(|level| level.members().next().is_some())
            .collect();
        let censuses: Vec<Census> = group
            .levels
            .iter()
            .map(|level| census(level.members(), false))
            .collect();
        let factor = set.overprovisioning_factor();
        group.loads = Loads::new(&censuses, factor, u32::from(config.panic_threshold));
        group
    }

    /// The endpoint whose turn it is.
    pub(super) fn choose(
        &mut self,
        config: &BalancerConfig,
        choice: &Choice<'_>,
        rng: &mut fastrand::Rng,
    ) -> Chosen {
        let hash = choice.hash.unwrap_or_else(|| rng.u64(..));
        let number = match config.policy {
            Policy::RingHash(_) | Policy::Maglev(_) => hash,
            _ => rng.u64(..),
        };
        let Some((priority, availability)) = self.loads.choose(number) else {
            return Chosen {
                panic: config.panic_threshold > 0,
                ..Chosen::default()
            };
        };
        let panic = self.loads.loads()[priority].panic;
        if panic && config.fail_traffic_on_panic {
            return Chosen {
                panic,
                ..Chosen::default()
            };
        }
        let level = &mut self.levels[priority];
        let (source, kind) = match (panic, availability) {
            (true, _) => (&mut level.all, Kind::All),
            (_, Availability::Healthy) => (&mut level.healthy, Kind::Healthy),
            (_, Availability::Degraded) => (&mut level.degraded, Kind::Degraded),
        };
        let weighted = self.localities != Localities::Equal;
        let mut spread = None;
        let source = source.get_or_insert_with(|| {
            let policy = &config.policy;
            let source = Source::new(policy, weighted, &level.localities, kind, choice.now, rng);
            spread = source.spread();
            source
        });
        Chosen {
            endpoint: source.choose(&config.policy, hash, choice, rng).cloned(),
            panic,
            spread,
            ..Chosen::default()
        }
    }
}

impl Level {
    fn members(&self) -> impl Iterator<Item = &Member> {
        self.localities
            .iter()
            .flat_map(|locality| &locality.members)
    }
}

fn census<'a>(members: impl Iterator<Item = &'a Member>, weighted: bool) -> Census {
    let mut census = Census::default();
    for member in members {
        let weight = if weighted {
            u64::from(member.endpoint.attributes.weight)
        } else {
            1
        };
        census.endpoints += 1;
        if !member.excluded {
            census.counted += 1;
            census.counted_weight += weight;
        }
        match member.health {
            Health::Healthy => {
                census.healthy += 1;
                census.healthy_weight += weight;
            }
            Health::Degraded => {
                census.degraded += 1;
                census.degraded_weight += weight;
            }
            Health::Unhealthy => {}
        }
    }
    census
}
