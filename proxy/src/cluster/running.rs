//! A cluster at work: its endpoints as they are now, and each worker's balancer.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use super::{
    balancer::{Balancer, Choice, Chosen, SubsetUse},
    circuit_breaker::CircuitBreakers,
    config::ClusterConfig,
    endpoint::{Endpoint, HealthFlag},
    endpoint_set::EndpointSet,
    outlier::{Kind, Outcome},
    statistics::{Special, count_subsets},
    transport::TransportSocket,
};
use crate::stats::{
    Known, PerWorker, Scope, Store, Worker,
    sets::{
        Side,
        cluster::{CircuitBreakerStatistics, ClusterStatistics},
        tls::TlsStatistics,
    },
};

/// What outlier detection is told of an endpoint.
#[derive(Debug)]
pub enum Finding {
    /// It failed too often in a row, in this way.
    Failing(Arc<Endpoint>, Kind),
    /// An active health check of it succeeded.
    Checked(Arc<Endpoint>),
}

/// What others wait for, of clusters whose endpoints are checked or whose connections end with the
/// health of their endpoint.
#[derive(Debug, Default)]
struct Signals {
    /// There are other endpoints.
    assigned: watch::Sender<()>,
    /// An endpoint turned unhealthy.
    failed: watch::Sender<()>,
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
    findings: Option<mpsc::UnboundedSender<Finding>>,
    signals: Option<Box<Signals>>,
    special: Option<Box<Special>>,
    balancers: OnceLock<Box<[Mutex<Balancer>]>>,
}

impl Cluster {
    /// A cluster with these endpoints.
    pub fn new(
        config: Arc<ClusterConfig>,
        endpoints: EndpointSet,
        findings: Option<mpsc::UnboundedSender<Finding>>,
        store: &Store,
    ) -> Self {
        let statistics = store.cluster(&config.stat_name);
        let encrypted = config.transport.all().any(TransportSocket::is_encrypted);
        let tls_statistics = encrypted.then(|| store.tls(Side::Cluster, &config.stat_name));
        let breakers = Arc::new(CircuitBreakers::new(config.circuit_breakers.clone()));
        let known: Arc<dyn Known<CircuitBreakerStatistics>> = breakers.clone();
        statistics.circuit_breakers.of(Arc::downgrade(&known));
        let signals =
            config.close_connections_on_host_health_failure || !config.health_checks.is_empty();
        let cluster = Self {
            statistics,
            tls_statistics,
            special: Special::of(&config, &breakers, store),
            breakers,
            config,
            findings,
            signals: signals.then(Box::default),
            endpoints: ArcSwap::from_pointee(endpoints),
            balancers: OnceLock::new(),
        };
        cluster.changed(None);
        cluster
    }

    /// The endpoints now.
    pub fn endpoints(&self) -> Arc<EndpointSet> {
        self.endpoints.load_full()
    }

    /// Takes other endpoints; connections to those that are gone go on.
    pub fn assign(&self, endpoints: EndpointSet) {
        let before = self.endpoints.swap(Arc::new(endpoints));
        self.changed(Some(&before));
        if let Some(signals) = &self.signals {
            signals.assigned.send_replace(());
        }
    }

    fn changed(&self, before: Option<&EndpointSet>) {
        let now = self.endpoints.load();
        let membership = self.statistics.membership.set();
        let priorities = now.changes(before);
        membership.membership_change.add(priorities as u64);
        if let Some(special) = &self.special {
            special.matched(&self.config, before, &now);
        }
        if self.config.balancer.subsets.is_some() {
            let updates = self.statistics.updates.set();
            count_subsets(&self.config, before, &now, updates);
        }
        self.census();
    }

    /// Returns when other endpoints are assigned; never, if nobody checks them.
    pub async fn assigned(&self) {
        match &self.signals {
            // It ends with its sender, which is here.
            Some(signals) => drop(signals.assigned.subscribe().changed().await),
            None => std::future::pending().await,
        }
    }

    /// Tells those who wait for it that an endpoint turned unhealthy.
    pub fn endpoint_failed(&self) {
        if let Some(signals) = &self.signals {
            signals.failed.send_replace(());
        }
    }

    /// Returns when the endpoint turns unhealthy by what was found out; never, if connections do not end
    /// with the health of their endpoint.
    pub async fn failure_of(&self, endpoint: &Endpoint) {
        let closes = self.config.close_connections_on_host_health_failure;
        let Some(signals) = self.signals.as_ref().filter(|_| closes) else {
            return std::future::pending().await;
        };
        let state = endpoint.state();
        let has_failed =
            || state.has(HealthFlag::FailedActiveHc) || state.has(HealthFlag::FailedOutlierCheck);
        // Boxed: few clusters ask for it, and each connection has room for what is not.
        Box::pin(async {
            let mut signal = signals.failed.subscribe();
            let mut failed = has_failed();
            loop {
                // It ends with its sender, which is here.
                if signal.changed().await.is_err() {
                    return;
                }
                let before = std::mem::replace(&mut failed, has_failed());
                if failed && !before {
                    return;
                }
            }
        })
        .await;
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
        if let (Some(special), Some(spread)) = (&self.special, chosen.spread) {
            special.placed(spread);
        }
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
        let (Some(config), Some(findings)) = (&self.config.outlier, &self.findings) else {
            return;
        };
        for kind in endpoint.state().monitor().count(config, outcome) {
            // Nobody listens any more when the cluster is not configured any more.
            let _ = findings.send(Finding::Failing(endpoint.clone(), kind));
        }
    }

    /// Tells that an active health check of one of its endpoints succeeded.
    pub fn checked(&self, endpoint: &Arc<Endpoint>) {
        if let Some(findings) = &self.findings
            && endpoint.state().has(HealthFlag::FailedOutlierCheck)
        {
            // As above.
            let _ = findings.send(Finding::Checked(endpoint.clone()));
        }
    }

    /// Whether anything was ever sent to it.
    pub fn is_used(&self) -> bool {
        self.balancers.get().is_some()
    }
}
