//! Statistics that only some clusters have, by how they are configured.

use std::sync::Arc;

use super::{
    balancer::{Spread, subset_names},
    circuit_breaker::{CircuitBreakers, Remaining, RoutingPriority},
    config::ClusterConfig,
    endpoint_set::EndpointSet,
    policy::Policy,
};
use crate::stats::{
    Asked, Known, Scope, Shared, Store,
    sets::cluster::{
        MaglevStatistics, RemainingStatistics, RingHashStatistics, TransportSocketMatchStatistics,
        UpdateStatistics,
    },
};

type All<T> = Arc<Scope<Shared<T>>>;

/// Statistics that only some clusters have.
#[derive(Debug)]
pub(super) struct Special {
    places: Option<Places>,
    remaining: Vec<Left>,
    /// By the name of the match.
    matches: Vec<(Box<str>, All<TransportSocketMatchStatistics>)>,
}

/// The places of policies that hash.
#[derive(Debug)]
enum Places {
    Ring(All<RingHashStatistics>),
    Table(All<MaglevStatistics>),
}

/// What remains of a circuit breaker: who is asked, and where that is shown.
type Left = (Arc<Remaining>, Arc<Scope<Asked<RemainingStatistics>>>);

impl Special {
    /// Those of the cluster; none, as of most.
    pub(super) fn of(
        config: &ClusterConfig,
        breakers: &Arc<CircuitBreakers>,
        store: &Store,
    ) -> Option<Box<Self>> {
        let name = &*config.stat_name;
        let places = match &config.balancer.policy {
            Policy::RingHash(_) => Some(Places::Ring(store.ring_hash(name))),
            Policy::Maglev(_) => Some(Places::Table(store.maglev(name))),
            _ => None,
        };
        let priorities = [RoutingPriority::Default, RoutingPriority::High].into_iter();
        let tracked =
            priorities.filter(|priority| config.circuit_breakers.of(*priority).track_remaining);
        let remaining = tracked.map(|priority| remaining(breakers, priority, name, store));
        let matches = config.transport.names().map(|of| {
            let scope = store.transport_socket_match(name, of);
            (of.into(), scope)
        });
        let special = Self {
            places,
            remaining: remaining.collect(),
            matches: matches.collect(),
        };
        let some = special.places.is_some()
            || !special.remaining.is_empty()
            || !special.matches.is_empty();
        some.then(|| special.into())
    }

    /// Endpoints have other places than before.
    pub(super) fn placed(&self, spread: Spread) {
        match &self.places {
            Some(Places::Ring(scope)) => {
                let set = scope.set();
                set.size.set(spread.size);
                set.min_hashes_per_host.set(spread.fewest);
                set.max_hashes_per_host.set(spread.most);
            }
            Some(Places::Table(scope)) => {
                let set = scope.set();
                set.min_entries_per_host.set(spread.fewest);
                set.max_entries_per_host.set(spread.most);
            }
            None => {}
        }
    }

    /// Counts the transport sockets of endpoints that are new.
    pub(super) fn matched(
        &self,
        config: &ClusterConfig,
        before: Option<&EndpointSet>,
        now: &EndpointSet,
    ) {
        if self.matches.is_empty() {
            return;
        }
        for endpoint in now.endpoints() {
            let known = before.and_then(|before| before.find(endpoint.address));
            if known.is_some_and(|known| Arc::ptr_eq(known, endpoint)) {
                continue;
            }
            let (_, name) = config.transport.of(endpoint);
            let found = self.matches.iter().find(|(of, _)| Some(&**of) == name);
            if let Some((_, scope)) = found {
                scope.set().total_match_count.increment();
            }
        }
    }
}

fn remaining(
    breakers: &Arc<CircuitBreakers>,
    priority: RoutingPriority,
    cluster: &str,
    store: &Store,
) -> Left {
    let breakers = Arc::clone(breakers);
    let remaining = Arc::new(Remaining { breakers, priority });
    let scope = store.remaining(cluster, priority.name());
    let known: Arc<dyn Known<RemainingStatistics>> = remaining.clone();
    scope.of(Arc::downgrade(&known));
    (remaining, scope)
}

/// Counts the subsets that came and went.
pub(super) fn count_subsets(
    config: &ClusterConfig,
    before: Option<&EndpointSet>,
    now: &EndpointSet,
    counted: &UpdateStatistics,
) {
    let Some(subsets) = &config.balancer.subsets else {
        return;
    };
    let old = before.map(|before| subset_names(subsets, before));
    let old = old.unwrap_or_default();
    let new = subset_names(subsets, now);
    counted.lb_subsets_active.set(new.len() as u64);
    let created = new.difference(&old).count();
    counted.lb_subsets_created.add(created as u64);
    let removed = old.difference(&new).count();
    counted.lb_subsets_removed.add(removed as u64);
}
