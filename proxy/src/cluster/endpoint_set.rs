//! The endpoints of a cluster, as all workers share them.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{
    assignment::{Address, Assignment, DropOverload},
    endpoint::{Endpoint, Health, HealthFlag, Locality, State},
};

/// What is known when a set is made.
#[derive(Clone, Copy, Debug)]
pub struct Making {
    /// Endpoints are checked actively: a new one is not used before it passed.
    pub active_health_checks: bool,
    /// The time.
    pub now: Instant,
}

/// The endpoints of a cluster. It is immutable but for the state of its endpoints.
#[derive(Debug)]
pub struct EndpointSet {
    priorities: Box<[Priority]>,
    overprovisioning_factor: u32,
    weighted_priority_health: bool,
    drop_overload: Option<Box<DropOverload>>,
    generation: Arc<AtomicU64>,
}

/// How many endpoints there are: the gauges `membership_total` and so on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Membership {
    /// All.
    pub total: u64,
    /// Those that are used.
    pub healthy: u64,
    /// Those that are used where the healthy ones do not suffice.
    pub degraded: u64,
    /// Those that the health of their priority is not measured by.
    pub excluded: u64,
}

/// The endpoints of one priority; none if it was left out.
#[derive(Debug, Default)]
pub struct Priority {
    /// By locality, in the order they were assigned.
    pub localities: Box<[LocalityEndpoints]>,
}

/// The endpoints of one locality at one priority.
#[derive(Debug)]
pub struct LocalityEndpoints {
    /// Where they run.
    pub locality: Arc<Locality>,
    /// The share of the locality; 0 if none is assigned.
    pub weight: u32,
    /// The endpoints.
    pub endpoints: Box<[Arc<Endpoint>]>,
}

impl Priority {
    /// Its endpoints, by locality.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        let localities = self.localities.iter();
        localities.flat_map(|locality| &locality.endpoints)
    }
}

type Identity = (SocketAddr, SocketAddr);

impl EndpointSet {
    /// The endpoints of the assignment, with what is known of those that were there before.
    ///
    /// An endpoint is the same if its address and that of its health checks are. Where an address is
    /// assigned twice, the first counts. `resolve` gives the addresses of a name, as far as known.
    pub fn update(
        before: Option<&Self>,
        assignment: &Assignment,
        resolve: impl Fn(&str) -> Vec<IpAddr>,
        making: Making,
    ) -> Self {
        let known: HashMap<Identity, &Arc<Endpoint>> = before
            .into_iter()
            .flat_map(Self::endpoints)
            .map(|endpoint| (identity(endpoint), endpoint))
            .collect();
        let generation = before.map_or_else(Arc::default, |before| Arc::clone(&before.generation));
        let mut seen = HashSet::new();
        let mut priorities: Vec<Vec<LocalityEndpoints>> = Vec::new();
        for assigned in &assignment.localities {
            let mut endpoints = Vec::with_capacity(assigned.endpoints.len());
            for endpoint in &assigned.endpoints {
                let (addresses, name) = match &endpoint.address {
                    Address::Ip(address) => (vec![*address], None),
                    Address::Name(name, port) => {
                        let addresses = resolve(name).into_iter();
                        let addresses = addresses.map(|ip| SocketAddr::new(ip, *port));
                        (addresses.collect(), Some(name))
                    }
                };
                for address in addresses {
                    let mut attributes = endpoint.attributes.clone();
                    if let Some(name) = name.filter(|_| attributes.hostname.is_empty()) {
                        attributes.hostname.clone_from(name);
                    }
                    let place = |state| {
                        let locality = Arc::clone(&assigned.locality);
                        Endpoint::new(address, assigned.priority, locality, attributes, state)
                    };
                    let state = |flags: &[HealthFlag]| {
                        Arc::new(State::new(Arc::clone(&generation), flags, making.now))
                    };
                    let disabled = endpoint
                        .attributes
                        .health_check
                        .as_ref()
                        .is_some_and(|target| target.disabled);
                    let checked = making.active_health_checks && !disabled;
                    let candidate = place(state(if checked {
                        &[HealthFlag::FailedActiveHc, HealthFlag::PendingActiveHc]
                    } else {
                        &[]
                    }));
                    let identity = identity(&candidate);
                    if !seen.insert(identity.0) {
                        continue;
                    }
                    endpoints.push(match known.get(&identity) {
                        Some(old) if is_as_assigned(old, &candidate) => Arc::clone(old),
                        Some(old) => Arc::new(Endpoint::new(
                            candidate.address,
                            candidate.priority,
                            candidate.locality,
                            candidate.attributes,
                            Arc::clone(old.state()),
                        )),
                        None => Arc::new(candidate),
                    });
                }
            }
            let priority = assigned.priority as usize;
            if priorities.len() <= priority {
                priorities.resize_with(priority + 1, Vec::new);
            }
            add(
                &mut priorities[priority],
                LocalityEndpoints {
                    locality: Arc::clone(&assigned.locality),
                    weight: assigned.weight,
                    endpoints: endpoints.into(),
                },
            );
        }
        let priorities = priorities.into_iter().map(|localities| Priority {
            localities: localities.into(),
        });
        Self {
            priorities: priorities.collect(),
            overprovisioning_factor: assignment.overprovisioning_factor,
            weighted_priority_health: assignment.weighted_priority_health,
            drop_overload: assignment.drop_overload.clone(),
            generation,
        }
    }

    /// The priorities, from 0, the highest.
    pub fn priorities(&self) -> &[Priority] {
        &self.priorities
    }

    /// All endpoints, by priority and locality.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.priorities
            .iter()
            .flat_map(|priority| &priority.localities)
            .flat_map(|locality| &locality.endpoints)
    }

    /// The endpoint at this address.
    pub fn find(&self, address: SocketAddr) -> Option<&Arc<Endpoint>> {
        self.endpoints()
            .find(|endpoint| endpoint.address == address)
    }

    /// In percent: how many more endpoints there are than needed.
    pub fn overprovisioning_factor(&self) -> u32 {
        self.overprovisioning_factor
    }

    /// Whether the health of a priority is measured by weight.
    pub fn weighted_priority_health(&self) -> bool {
        self.weighted_priority_health
    }

    /// What is not to be forwarded at all.
    pub fn drop_overload(&self) -> Option<&DropOverload> {
        self.drop_overload.as_deref()
    }

    /// The largest share of an endpoint: the gauge `max_host_weight`.
    pub fn max_host_weight(&self) -> u32 {
        let weights = self.endpoints().map(|endpoint| endpoint.attributes.weight);
        weights.max().unwrap_or(0)
    }

    /// How many endpoints there are. New ones are excluded where the cluster ignores them before their
    /// first health check.
    pub fn membership(&self, ignore_new: bool) -> Membership {
        let mut membership = Membership::default();
        for endpoint in self.endpoints() {
            membership.total += 1;
            membership.excluded += u64::from(endpoint.is_excluded(ignore_new));
            match endpoint.health() {
                Health::Healthy => membership.healthy += 1,
                Health::Degraded => membership.degraded += 1,
                Health::Unhealthy => {}
            }
        }
        membership
    }

    /// How many priorities have endpoints that they did not have before, or had some that they have no
    /// longer: what `membership_change` counts.
    pub fn changes(&self, before: Option<&Self>) -> usize {
        let none = Priority::default();
        let old = before.map_or(&[][..], |before| &before.priorities);
        let number = self.priorities.len().max(old.len());
        let differs = |index: &usize| {
            let new = self.priorities.get(*index).unwrap_or(&none);
            let old = old.get(*index).unwrap_or(&none);
            let states = |of: &Priority| -> HashSet<_> {
                of.endpoints()
                    .map(|endpoint| Arc::as_ptr(endpoint.state()))
                    .collect()
            };
            states(new) != states(old)
        };
        (0..number).filter(differs).count()
    }

    /// Grows with each change of an endpoint's health.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }
}

/// Whether nothing that is said of an endpoint changed.
fn is_as_assigned(old: &Endpoint, new: &Endpoint) -> bool {
    old.priority == new.priority && old.locality == new.locality && old.attributes == new.attributes
}

fn identity(endpoint: &Endpoint) -> Identity {
    (endpoint.address, endpoint.health_check_address())
}

/// Adds to the same locality, if it is there already.
fn add(localities: &mut Vec<LocalityEndpoints>, more: LocalityEndpoints) {
    let same = localities
        .iter_mut()
        .find(|locality| locality.locality == more.locality);
    let Some(same) = same else {
        localities.push(more);
        return;
    };
    if more.weight > 0 {
        same.weight = more.weight;
    }
    same.endpoints = same
        .endpoints
        .iter()
        .chain(&more.endpoints)
        .cloned()
        .collect();
}

#[cfg(test)]
pub(super) mod tests;
