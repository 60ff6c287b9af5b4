//! What carries connections: shared by all workers, and by each of them for itself.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use crate::{
    cluster::running::Cluster,
    listener::active::Active,
    original_dst::Redirect,
    overload,
    pace::Pace,
    stats::{
        self, PerWorker, Scope, SharedCounter, Store,
        sets::{
            failure::UpstreamFailureStatistics,
            filter::{HttpInspectorStatistics, TlsInspectorStatistics},
        },
    },
    tcp::PipePool,
    telemetry::Telemetry,
};

/// How long a handshake with a downstream may take, where its filter chain says nothing. Envoy waits
/// for ever; who holds a descriptor for that long has no good reason.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// What all workers share.
#[derive(Debug)]
pub struct Plane {
    /// The listeners now.
    pub listeners: ArcSwap<Listeners>,
    /// The clusters now, by name.
    pub clusters: ArcSwap<HashMap<Box<str>, Arc<Cluster>>>,
    /// Where redirected connections were going.
    pub redirect: Arc<dyn Redirect>,
    /// All that is counted.
    pub store: Arc<Store>,
    /// Of all listeners.
    pub tls_inspector: Arc<Scope<PerWorker<TlsInspectorStatistics>>>,
    /// Of all listeners.
    pub http_inspector: Arc<Scope<PerWorker<HttpInspectorStatistics>>>,
    /// Of all clusters.
    pub upstream_failure: Arc<Scope<PerWorker<UpstreamFailureStatistics>>>,
    /// The connections of all listeners together.
    pub overall: Arc<overload::Connections>,
    /// Those that are not configured any more and that connections may still be led to.
    retired: ArcSwap<HashMap<Box<str>, Arc<Cluster>>>,
    /// What a sidecar counts besides.
    pub telemetry: Option<Arc<Telemetry>>,
    /// How often a connection could not be accepted.
    pub accept_failed: SharedCounter,
    connections: AtomicU64,
}

/// The listeners, by the addresses that connections are handed over for.
#[derive(Debug, Default)]
pub struct Listeners {
    /// All of them, in the order of the configuration.
    pub all: Box<[Arc<Active>]>,
    by_address: HashMap<SocketAddr, Arc<Active>>,
    /// The ports that have a socket, with its address.
    bound: Box<[SocketAddr]>,
}

/// One worker.
#[derive(Debug)]
pub struct Worker {
    /// What all share.
    pub plane: Arc<Plane>,
    /// Which one.
    pub number: stats::Worker,
    /// Pipes for bytes on their way.
    pub pipes: Arc<PipePool>,
    /// Warnings of failures that are this proxy's own.
    pub warnings: Pace,
}

impl Plane {
    /// Nothing is configured yet.
    pub fn new(
        redirect: Arc<dyn Redirect>,
        store: Arc<Store>,
        telemetry: Option<Arc<Telemetry>>,
    ) -> Self {
        Self {
            listeners: ArcSwap::default(),
            clusters: ArcSwap::default(),
            retired: ArcSwap::default(),
            redirect,
            tls_inspector: store.tls_inspector(),
            http_inspector: store.http_inspector(),
            upstream_failure: store.upstream_failure(),
            overall: Arc::default(),
            store,
            telemetry,
            accept_failed: SharedCounter::default(),
            connections: AtomicU64::new(0),
        }
    }

    /// The cluster of this name; one that was just removed, if there is no other.
    pub fn cluster(&self, name: &str) -> Option<Arc<Cluster>> {
        let now = self.clusters.load();
        let found = now.get(name).cloned();
        found.or_else(|| self.retired.load().get(name).cloned())
    }

    /// Lets a cluster that is removed be found for a while.
    pub fn retire(&self, cluster: &Arc<Cluster>) {
        self.retired.rcu(|retired| {
            let mut retired = HashMap::clone(retired);
            retired.insert(cluster.config.name.clone(), cluster.clone());
            retired
        });
    }

    /// Ends that while, unless another one of the name was removed since.
    pub fn forget(&self, cluster: &Arc<Cluster>) {
        self.retired.rcu(|retired| {
            let mut retired = HashMap::clone(retired);
            retired.retain(|_, other| !Arc::ptr_eq(other, cluster));
            retired
        });
    }

    /// A number that no connection had before.
    pub fn connection_id(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether a connection to this address would come back to one of our own sockets.
    pub fn is_own(&self, address: SocketAddr) -> bool {
        let listeners = self.listeners.load();
        let mut bound = listeners.bound.iter();
        bound.any(|own| {
            own.port() == address.port()
                && (own.ip() == address.ip()
                    || own.ip().is_unspecified() && self.redirect.is_local(address.ip()))
        })
    }
}

impl Listeners {
    /// These, with the addresses that their sockets got.
    pub fn new(all: Vec<Arc<Active>>) -> Self {
        let mut by_address = HashMap::new();
        let mut bound = Vec::new();
        for active in &all {
            for address in &active.addresses {
                if active.is_bound() {
                    bound.push(*address);
                }
                // With a socket on all addresses it has what comes to this pod's; a connection that
                // was going elsewhere is none of its own, whatever its port.
                if !(active.is_bound() && address.ip().is_unspecified()) {
                    by_address.entry(*address).or_insert_with(|| active.clone());
                }
            }
        }
        Self {
            all: all.into(),
            by_address,
            bound: bound.into(),
        }
    }

    /// The listener for connections to this address: its own, or that of all addresses at its port.
    pub fn find(&self, address: SocketAddr) -> Option<&Arc<Active>> {
        let any = match address.ip() {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        };
        let any = || self.by_address.get(&SocketAddr::new(any, address.port()));
        self.by_address.get(&address).or_else(any)
    }
}
