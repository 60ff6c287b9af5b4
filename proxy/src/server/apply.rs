//! Puts a snapshot in force: what stays the same is kept, with its connections.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use fairlead_xds::{
    envoy::config::bootstrap::v3::{Bootstrap, runtime_layer::LayerSpecifier},
    google::protobuf::value::Kind,
};

use tracing::warn;

use crate::{
    admin::served::Served,
    cluster::{
        running::Cluster,
        upkeep::{self, Kept},
    },
    listener::{
        ListenError,
        active::{self, Active},
        config::Listener,
    },
    original_dst::Redirect,
    pace::Pace,
    plane::{Listeners, Plane, Worker},
    snapshot::Snapshot,
    stats::{
        self, Level, Scope, Shared, Store,
        sets::{listener::ListenerManagerStatistics, server::ClusterManagerStatistics},
    },
    tcp::PipePool,
    threads::Threads,
};

/// What a configuration asks for cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A socket cannot be given to a worker.
    #[error("give the socket of listener {listener} to a worker")]
    Socket {
        /// The listener.
        listener: String,
        /// The kernel's words.
        source: io::Error,
    },
}

/// Workers, listeners and clusters.
pub(super) struct Running {
    plane: Arc<Plane>,
    workers: Vec<Arc<Worker>>,
    clusters: HashMap<Box<str>, Arc<Kept>>,
    listener_manager: Arc<Scope<Shared<ListenerManagerStatistics>>>,
    cluster_manager: Arc<Scope<Shared<ClusterManagerStatistics>>>,
    drain_time: Duration,
    served: Option<Arc<Served>>,
}

impl Running {
    pub(super) fn new(
        concurrency: usize,
        drain_time: Duration,
        redirect: Arc<dyn Redirect>,
        store: Arc<Store>,
    ) -> Self {
        let plane = Arc::new(Plane::new(redirect, store));
        let workers = (0..concurrency).filter_map(|index| stats::Worker::new(index, concurrency));
        let workers = workers.map(|number| {
            Arc::new(Worker {
                plane: plane.clone(),
                number,
                pipes: Arc::new(PipePool::default()),
                warnings: Pace::default(),
            })
        });
        Self {
            workers: workers.collect(),
            listener_manager: plane.store.listener_manager(),
            cluster_manager: plane.store.cluster_manager(),
            plane,
            clusters: HashMap::new(),
            drain_time,
            served: None,
        }
    }

    pub(super) fn plane(&self) -> Arc<Plane> {
        self.plane.clone()
    }

    /// Where operators see what is in force.
    pub(super) fn show(&mut self, served: Arc<Served>) {
        self.served = Some(served);
    }

    pub(super) fn showing(&self, bootstrap: &Bootstrap) {
        if let Some(served) = &self.served {
            served.bootstrap.replace(bootstrap);
        }
    }

    /// Some of a bootstrap is read at the start alone.
    pub(super) fn warn_of_what_needs_a_restart(&self, next: &Bootstrap) {
        let Some(served) = &self.served else {
            return;
        };
        let now = served.bootstrap.decoded();
        let secrets = |bootstrap: &Bootstrap| {
            let resources = bootstrap.static_resources.as_ref();
            resources
                .map(|resources| resources.secrets.clone())
                .unwrap_or_default()
        };
        for (field, changed) in [
            ("admin", now.admin != next.admin),
            ("stats_config", now.stats_config != next.stats_config),
            (
                "layered_runtime",
                now.layered_runtime != next.layered_runtime,
            ),
            ("static_resources.secrets", secrets(&now) != secrets(next)),
        ] {
            if changed {
                warn!("{field} has changed, which needs a restart: the one in use stays");
            }
        }
    }

    /// The listeners that are in force.
    pub(super) fn listeners(&self) -> Vec<Arc<Listener>> {
        let listeners = self.plane.listeners.load();
        listeners
            .all
            .iter()
            .map(|active| active.current())
            .collect()
    }

    /// Puts the clusters in force. Those that are told the same stay as they are.
    pub(super) fn apply_clusters(&mut self, snapshot: &Snapshot) {
        let store = &self.plane.store;
        let counted = self.cluster_manager.clone();
        let mut next = HashMap::new();
        for config in &snapshot.clusters {
            let before = self.clusters.get(&config.name);
            let kept = match before {
                Some(kept) if kept.cluster.config.fingerprint == config.fingerprint => kept.clone(),
                before => {
                    match before {
                        Some(_) => counted.set().cluster_modified.increment(),
                        None => counted.set().cluster_added.increment(),
                    }
                    let before = before.map(|kept| &*kept.cluster);
                    Arc::new(upkeep::start(config, before, store))
                }
            };
            next.insert(config.name.clone(), kept);
        }
        let removed = self
            .clusters
            .keys()
            .filter(|name| !next.contains_key(*name));
        for _ in removed {
            counted.set().cluster_removed.increment();
        }
        counted.set().active_clusters.set(next.len() as u64);
        let table: HashMap<Box<str>, Arc<Cluster>> = next
            .iter()
            .map(|(name, kept)| (name.clone(), kept.cluster.clone()))
            .collect();
        self.plane.clusters.store(Arc::new(table));
        self.clusters = next;
    }

    /// Returns when all clusters have found their endpoints.
    pub(super) async fn warm(&self) {
        for kept in self.clusters.values() {
            kept.warm().await;
        }
    }

    /// Puts the listeners in force. New sockets are all taken before anything changes, so that a port
    /// that cannot be had changes nothing.
    pub(super) fn apply_listeners(
        &mut self,
        threads: &Threads,
        snapshot: &Snapshot,
        bootstrap: &Bootstrap,
    ) -> Result<(), ApplyError> {
        let before = self.plane.listeners.load_full();
        let counted = self.listener_manager.clone();
        let mut all = Vec::new();
        let mut started = Vec::new();
        let mut updated = Vec::new();
        let mut reused: Vec<&Arc<Active>> = Vec::new();
        for listener in &snapshot.listeners {
            let known = before.all.iter().find(|active| {
                let current = active.current();
                current.name == listener.name
                    && current.bindings == listener.bindings
                    && current.binds == listener.binds
                    && current.stat_name == listener.stat_name
                    && !reused.iter().any(|other| Arc::ptr_eq(other, active))
            });
            if let Some(active) = known {
                reused.push(active);
                updated.push((active.clone(), listener.clone()));
                all.push(active.clone());
                continue;
            }
            let mut sockets = Vec::new();
            let mut addresses: Vec<SocketAddr> = Vec::new();
            for binding in &listener.bindings {
                if !listener.binds {
                    addresses.push(binding.address);
                    continue;
                }
                let bound = binding.bind(&listener.name, self.workers.len())?;
                let address = bound.first().map(std::net::TcpListener::local_addr);
                addresses.push(address.and_then(Result::ok).unwrap_or(binding.address));
                sockets.push(bound);
            }
            let limit = connection_limit(bootstrap, &listener.name);
            let active = Arc::new(Active::new(
                listener.clone(),
                addresses.into(),
                limit,
                &self.plane.store,
                self.workers.len(),
            ));
            started.push((active.clone(), sockets));
            all.push(active);
        }
        for (active, sockets) in started {
            counted.set().listener_added.increment();
            counted.set().listener_create_success.increment();
            for per_worker in sockets {
                for (index, socket) in per_worker.into_iter().enumerate() {
                    let _context = threads.runtime(index).enter();
                    let socket = tokio::net::TcpListener::from_std(socket).map_err(|source| {
                        ApplyError::Socket {
                            listener: active.current().name.to_string(),
                            source,
                        }
                    })?;
                    let worker = self.workers[index].clone();
                    let accepting = active::accept(socket, active.clone(), worker);
                    active.accepts(threads.spawn(index, accepting));
                }
            }
        }
        for (active, listener) in updated {
            let old = active.current();
            if Arc::ptr_eq(&old, &listener) {
                continue;
            }
            if old.fingerprint == listener.fingerprint {
                counted.set().listener_in_place_updated.increment();
            }
            if !same_chains(&old, &listener) {
                counted.set().listener_modified.increment();
            }
            active.update(listener.clone());
            self.drain(&old, Some(&listener));
        }
        for gone in &before.all {
            if !all.iter().any(|active| Arc::ptr_eq(active, gone)) {
                counted.set().listener_removed.increment();
                gone.stop();
                self.drain(&gone.current(), None);
            }
        }
        counted.set().total_listeners_active.set(all.len() as u64);
        counted.set().workers_started.set(1);
        self.plane.listeners.store(Arc::new(Listeners::new(all)));
        Ok(())
    }

    /// Ends the connections of filter chains that are not configured any more, after a while.
    fn drain(&self, old: &Arc<Listener>, new: Option<&Arc<Listener>>) {
        let kept = |chain: &Arc<_>| {
            new.is_some_and(|new| new.all_chains().any(|other| Arc::ptr_eq(other, chain)))
        };
        let gone: Vec<_> = old
            .all_chains()
            .filter(|chain| !kept(chain))
            .cloned()
            .collect();
        if gone.is_empty() {
            return;
        }
        let in_place = new.is_some_and(|new| new.fingerprint == old.fingerprint);
        let draining = Draining::new(self.listener_manager.clone(), in_place, gone.len());
        tokio::spawn(super::later(self.drain_time, move || {
            for chain in gone {
                chain.closing.close();
            }
            drop(draining);
        }));
    }

    /// Accepts no more, and keeps no cluster up to date.
    pub(super) fn stop(&mut self) {
        for active in &self.plane.listeners.load().all {
            active.stop();
        }
        self.clusters.clear();
    }
}

/// What drains, counted until it is dropped: filter chains that a listener lost, or a whole listener.
struct Draining {
    counted: Arc<Scope<Shared<ListenerManagerStatistics>>>,
    in_place: bool,
    chains: usize,
}

impl Draining {
    fn new(
        counted: Arc<Scope<Shared<ListenerManagerStatistics>>>,
        in_place: bool,
        chains: usize,
    ) -> Self {
        let draining = Self {
            counted,
            in_place,
            chains,
        };
        draining.each(Level::increment);
        draining
    }

    fn each(&self, change: fn(&Level)) {
        let counted = self.counted.set();
        if !self.in_place {
            change(&counted.total_listeners_draining);
            return;
        }
        for _ in 0..self.chains {
            change(&counted.total_filter_chains_draining);
        }
    }
}

impl Drop for Draining {
    fn drop(&mut self) {
        self.each(Level::decrement);
    }
}

fn same_chains(one: &Listener, other: &Listener) -> bool {
    let mut of_other = other.all_chains();
    one.all_chains()
        .all(|chain| of_other.next().is_some_and(|next| Arc::ptr_eq(chain, next)))
        && of_other.next().is_none()
}

/// The runtime key `envoy.resource_limits.listener.<name>.connection_limit`.
fn connection_limit(bootstrap: &Bootstrap, listener: &str) -> Option<u64> {
    let key = format!("envoy.resource_limits.listener.{listener}.connection_limit");
    let layers = bootstrap.layered_runtime.as_ref()?.layers.iter().rev();
    layers
        .filter_map(|layer| match &layer.layer_specifier {
            Some(LayerSpecifier::StaticLayer(values)) => values.fields.get(&key)?.kind.as_ref(),
            _ => None,
        })
        .find_map(|kind| match kind {
            Kind::NumberValue(number) if *number >= 0.0 => Some(*number as u64),
            Kind::StringValue(text) => text.parse().ok(),
            _ => None,
        })
}
