//! A cluster at work: its endpoints as they are now, and each worker's balancer.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::mpsc;

use super::{
    balancer::{Balancer, Choice, Chosen, SubsetUse},
    circuit_breaker::CircuitBreakers,
    config::ClusterConfig,
    endpoint::Endpoint,
    endpoint_set::EndpointSet,
    outlier::{Kind, Outcome},
    transport::TransportSocket,
};
use crate::stats::{
    PerWorker, Scope, Store, Worker,
    sets::{Side, cluster::ClusterStatistics, tls::TlsStatistics},
};

/// An endpoint that failed too often in a row.
#[derive(Debug)]
pub struct Failure {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// How it failed.
    pub kind: Kind,
}

/// A cluster that connections are sent to.
#[derive(Debug)]
pub struct Cluster {
    /// What it is told.
    pub config: Arc<ClusterConfig>,
    /// What it counts.
    pub statistics: Arc<Scope<ClusterStatistics>>,
    /// What its TLS counts; none where nothing is encrypted.
    pub tls_statistics: Option<Arc<Scope<PerWorker<TlsStatistics>>>>,
    /// What bounds it.
    pub breakers: Arc<CircuitBreakers>,
    endpoints: ArcSwap<EndpointSet>,
    failing: Option<mpsc::UnboundedSender<Failure>>,
    balancers: OnceLock<Box<[Mutex<Balancer>]>>,
}

impl Cluster {
    /// A cluster with these endpoints.
    pub fn new(
        config: Arc<ClusterConfig>,
        endpoints: EndpointSet,
        failing: Option<mpsc::UnboundedSender<Failure>>,
        store: &Store,
    ) -> Self {
        let statistics = store.cluster(&config.stat_name);
        let encrypted = config.transport.all().any(TransportSocket::is_encrypted);
        let tls_statistics = encrypted.then(|| store.tls(Side::Cluster, &config.stat_name));
        let cluster = Self {
            statistics,
            tls_statistics,
            breakers: Arc::new(CircuitBreakers::new(config.circuit_breakers.clone())),
            config,
            failing,
            endpoints: ArcSwap::from_pointee(endpoints),
            balancers: OnceLock::new(),
        };
        cluster.changed(cluster.endpoints.load().changes(None));
        cluster
    }

    /// The endpoints now.
    pub fn endpoints(&self) -> Arc<EndpointSet> {
        self.endpoints.load_full()
    }

    /// Takes other endpoints; connections to those that are gone go on.
    pub fn assign(&self, endpoints: EndpointSet) {
        let endpoints = Arc::new(endpoints);
        let before = self.endpoints.swap(Arc::clone(&endpoints));
        self.changed(endpoints.changes(Some(&before)));
    }

    fn changed(&self, priorities: usize) {
        let membership = self.statistics.membership.set();
        membership.membership_change.add(priorities as u64);
        self.census();
    }

    /// Counts the endpoints by their health; to be called when any of it changed.
    pub fn census(&self) {
        let endpoints = self.endpoints.load();
        let census = endpoints.membership(self.config.balancer.ignore_new_hosts_until_first_hc);
        let membership = self.statistics.membership.set();
        membership.membership_total.set(census.total);
        membership.membership_healthy.set(census.healthy);
        membership.membership_degraded.set(census.degraded);
        membership.membership_excluded.set(census.excluded);
        membership
            .max_host_weight
            .set(endpoints.max_host_weight().into());
    }

    /// The endpoint for a connection of this worker.
    pub fn choose(
        &self,
        worker: Worker,
        choice: &Choice<'_>,
        random: &mut fastrand::Rng,
    ) -> Chosen {
        let balancers = self.balancers.get_or_init(|| {
            let balancer = || Mutex::new(Balancer::new(self.config.balancer.clone()));
            (0..worker.workers()).map(|_| balancer()).collect()
        });
        // Of this worker alone, so nobody ever waits.
        let mut balancer = balancers[worker.index()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let chosen = balancer.choose(&self.endpoints.load(), choice, random);
        let counted = self.statistics.load_balancing.of(worker);
        if chosen.panic {
            counted.lb_healthy_panic.increment();
        }
        match chosen.subset {
            SubsetUse::None => {}
            SubsetUse::Selected => counted.lb_subsets_selected.increment(),
            SubsetUse::Fallback => counted.lb_subsets_fallback.increment(),
            SubsetUse::FallbackPanic => {
                counted.lb_subsets_fallback.increment();
                counted.lb_subsets_fallback_panic.increment();
            }
        }
        chosen
    }

    /// Tells what came of a connection to one of its endpoints.
    pub fn outcome(&self, endpoint: &Arc<Endpoint>, outcome: Outcome) {
        let (Some(config), Some(failing)) = (&self.config.outlier, &self.failing) else {
            return;
        };
        for kind in endpoint.state().monitor().count(config, outcome) {
            let endpoint = endpoint.clone();
            // Nobody listens any more when the cluster is not configured any more.
            let _ = failing.send(Failure { endpoint, kind });
        }
    }

    /// Whether anything was ever sent to it.
    pub fn is_used(&self) -> bool {
        self.balancers.get().is_some()
    }
}
