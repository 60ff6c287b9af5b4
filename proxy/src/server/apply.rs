//! Puts a snapshot in force: what stays the same is kept, with its connections.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use fairlead_xds::{bootstrap::Pieces, envoy::config::bootstrap::v3::Bootstrap};
use tokio::net::TcpListener;

use super::next::{self, NewListener, Next, Slot};
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
    telemetry::Telemetry,
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
    /// The sockets at an address would have to be other ones, and those would lose who waits there.
    #[error(
        "listener {listener} on {address}: enable_reuse_port, ipv4_compat, transparent and freebind of \
         an address do not change while it is listened on: restart, or take another address"
    )]
    Sockets {
        /// The listener.
        listener: Box<str>,
        /// Its address.
        address: SocketAddr,
    },
}

/// How long a connection may take at most to be led to a cluster: what it sends first is waited for, and
/// a handshake.
const RETIRED: Duration = Duration::from_secs(30);

/// A listener that nobody accepts from yet, and for each of its addresses a socket for each worker.
type Opened = (Arc<Active>, Vec<Vec<Arc<TcpListener>>>);

/// Workers, listeners and clusters.
pub(super) struct Running {
    plane: Arc<Plane>,
    workers: Vec<Arc<Worker>>,
    clusters: HashMap<Box<str>, Arc<Kept>>,
    listener_manager: Arc<Scope<Shared<ListenerManagerStatistics>>>,
    cluster_manager: Arc<Scope<Shared<ClusterManagerStatistics>>>,
    drain_time: Duration,
    /// Listeners that are gone, whose sockets or connections may still be open.
    closing: Vec<Arc<Active>>,
    served: Option<Arc<Served>>,
}

impl Running {
    pub(super) fn new(
        concurrency: usize,
        drain_time: Duration,
        redirect: Arc<dyn Redirect>,
        store: Arc<Store>,
        telemetry: Option<Arc<Telemetry>>,
    ) -> Self {
        let plane = Arc::new(Plane::new(redirect, store, telemetry));
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
            closing: Vec::new(),
            served: None,
        }
    }

    pub(super) fn plane(&self) -> Arc<Plane> {
        self.plane.clone()
    }

    /// How many connections are open, with those of listeners that are gone.
    pub(super) fn connections(&self) -> u64 {
        let listeners = self.plane.listeners.load();
        let all = listeners.all.iter().chain(&self.closing);
        all.map(|active| active.open()).sum()
    }

    /// Where operators see what is in force.
    pub(super) fn show(&mut self, served: Arc<Served>) {
        self.served = Some(served);
    }

    pub(super) fn showing(&self, bootstrap: &Pieces) {
        if let Some(served) = &self.served {
            served.bootstrap.replace(bootstrap);
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

    /// Starts what the snapshot needs besides what is there, and changes nothing of that. What an
    /// earlier one needed, that is still not in force, need not start again.
    pub(super) fn prepare(
        &self,
        snapshot: &Snapshot,
        bootstrap: &Bootstrap,
        earlier: Option<&Next>,
    ) -> Result<Next, ApplyError> {
        let before = self.plane.listeners.load();
        let listeners = next::listeners(
            snapshot,
            bootstrap,
            &before.all,
            &self.closing,
            earlier,
            self.workers.len(),
        )?;
        let clusters = snapshot.clusters.iter().map(|config| {
            let known = self.clusters.get(&config.name);
            let earlier = earlier.and_then(|next| next.clusters.get(&config.name));
            let same = [known, earlier]
                .into_iter()
                .flatten()
                .find(|kept| kept.cluster.config.fingerprint == config.fingerprint);
            let kept = same.cloned().unwrap_or_else(|| {
                let known = known.map(|kept| &*kept.cluster);
                Arc::new(upkeep::start(config, known, &self.plane.store))
            });
            (config.name.clone(), kept)
        });
        Ok(Next::new(
            clusters.collect(),
            listeners,
            snapshot.max_connections,
        ))
    }

    /// Puts in force what was prepared, or changes nothing. Clusters come first, for listeners name
    /// them.
    pub(super) fn put(&mut self, threads: &Threads, next: Next) -> Result<(), ApplyError> {
        let mut updated = Vec::new();
        let mut opened = Vec::new();
        let mut all = Vec::new();
        for slot in next.listeners {
            match slot {
                Slot::Kept(active, listener) => {
                    all.push(active.clone());
                    updated.push((active, listener));
                }
                Slot::New(new) => {
                    let (active, sockets) = self.open(threads, new)?;
                    all.push(active.clone());
                    opened.push((active, sockets));
                }
            }
        }
        self.plane.overall.limit(next.max_connections);
        self.put_clusters(next.clusters);
        let counted = self.listener_manager.set();
        let before = self.plane.listeners.load_full();
        let is_named = |name: &str, among: &[Arc<Active>]| {
            among.iter().any(|active| *active.current().name == *name)
        };
        for (active, _) in &opened {
            counted.listener_create_success.increment();
            if is_named(&active.current().name, &before.all) {
                counted.listener_modified.increment();
            } else {
                counted.listener_added.increment();
            }
        }
        counted.total_listeners_active.set(all.len() as u64);
        counted.workers_started.set(1);
        for (active, listener) in updated {
            self.update(&active, &listener);
        }
        let now = Arc::new(Listeners::new(all));
        self.plane.listeners.store(now.clone());
        for (active, sockets) in opened {
            for (address, per_worker) in sockets.into_iter().enumerate() {
                for (index, socket) in per_worker.into_iter().enumerate() {
                    let worker = self.workers[index].clone();
                    let accepting = active::accept(socket.clone(), active.clone(), worker);
                    active.accepts(address, socket, threads.spawn(index, accepting));
                }
            }
        }
        self.closing
            .retain(|active| active.is_open() || active.open() > 0);
        for gone in &before.all {
            if !now.all.iter().any(|active| Arc::ptr_eq(active, gone)) {
                if !is_named(&gone.current().name, &now.all) {
                    counted.listener_removed.increment();
                }
                gone.close();
                self.closing.push(gone.clone());
                self.drain(&gone.current(), None);
            }
        }
        Ok(())
    }

    /// Has operators see the clusters of what is not in force yet: which of them look for endpoints.
    pub(super) fn show_clusters(&mut self, next: &Next) {
        self.put_clusters(next.clusters.clone());
    }

    /// Listens; nobody accepts yet.
    fn open(&self, threads: &Threads, new: NewListener) -> Result<Opened, ApplyError> {
        let listener = new.listener;
        let mut sockets = Vec::new();
        for (binding, bound) in listener.bindings.iter().zip(new.sockets) {
            let listening = binding.listen(&listener.name, bound)?;
            let per_worker = listening.into_iter().enumerate().map(|(index, socket)| {
                let _context = threads.runtime(index).enter();
                TcpListener::from_std(socket).map(Arc::new)
            });
            let per_worker: io::Result<Vec<_>> = per_worker.collect();
            sockets.push(per_worker.map_err(|source| ApplyError::Socket {
                listener: listener.name.to_string(),
                source,
            })?);
        }
        let active = Active::new(
            listener,
            new.addresses,
            new.limit,
            &self.plane.store,
            self.workers.len(),
        );
        Ok((Arc::new(active), sockets))
    }

    fn update(&self, active: &Active, listener: &Arc<Listener>) {
        let old = active.current();
        if Arc::ptr_eq(&old, listener) {
            return;
        }
        let counted = self.listener_manager.set();
        if old.fingerprint == listener.fingerprint {
            counted.listener_in_place_updated.increment();
        }
        if !same_chains(&old, listener) {
            counted.listener_modified.increment();
        }
        active.update(listener.clone());
        self.drain(&old, Some(listener));
    }

    /// Those that are gone can be found for a while: a connection that was accepted before still goes
    /// where it was led then.
    fn put_clusters(&mut self, next: HashMap<Box<str>, Arc<Kept>>) {
        let counted = self.cluster_manager.set();
        for (name, kept) in &next {
            match self.clusters.get(name) {
                Some(before) if Arc::ptr_eq(before, kept) => {}
                Some(_) => counted.cluster_modified.increment(),
                None => counted.cluster_added.increment(),
            }
        }
        counted.active_clusters.set(next.len() as u64);
        let table: HashMap<Box<str>, Arc<Cluster>> = next
            .iter()
            .map(|(name, kept)| (name.clone(), kept.cluster.clone()))
            .collect();
        let mut removed = std::mem::replace(&mut self.clusters, next);
        removed.retain(|name, _| !self.clusters.contains_key(name));
        for kept in removed.values() {
            counted.cluster_removed.increment();
            self.plane.retire(&kept.cluster);
        }
        self.plane.clusters.store(Arc::new(table));
        if !removed.is_empty() {
            let plane = self.plane.clone();
            tokio::spawn(super::later(RETIRED, move || {
                for kept in removed.values() {
                    plane.forget(&kept.cluster);
                }
            }));
        }
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
