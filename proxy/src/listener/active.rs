//! A listener at work.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{net::TcpListener, select, sync::watch, task::AbortHandle, time::sleep};
use tracing::warn;

use super::config::Listener;
use crate::{
    downstream,
    overload::Full,
    pace::Pace,
    plane::Worker,
    stats::{
        self, PerWorker, Scope, Store,
        sets::{
            filter::{
                ProxyProtocolErrorStatistics, ProxyProtocolStatistics,
                ProxyProtocolVersionStatistics,
            },
            listener::{ListenerStatistics, ListenerWorkerStatistics},
        },
    },
};

/// After a failed accept. The usual cause is that descriptors are exhausted, and those come back
/// when connections end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listener that takes connections. What it is told may change while its sockets stay.
#[derive(Debug)]
pub struct Active {
    /// Where it listens, with the ports that it got.
    pub addresses: Box<[SocketAddr]>,
    /// What it counts.
    pub statistics: Arc<Scope<PerWorker<ListenerStatistics>>>,
    /// What each of the workers counts.
    pub worker_statistics: Box<[Arc<Scope<PerWorker<ListenerWorkerStatistics>>>]>,
    /// What its filter of the PROXY protocol counts; none without.
    pub proxy_protocol: Option<ProxyProtocolScopes>,
    current: ArcSwap<Listener>,
    limit: Option<u64>,
    connections: AtomicU64,
    warnings: Pace,
    accepting: Mutex<Vec<Accepting>>,
    /// Tells those who accept that its sockets are to be closed.
    ends: watch::Sender<bool>,
}

/// A socket, and who accepts from it.
#[derive(Debug)]
struct Accepting {
    /// Which of the addresses it is of.
    address: usize,
    socket: Arc<TcpListener>,
    task: AbortHandle,
    /// It has taken all who waited, after the end.
    ended: bool,
}

/// What a filter of the PROXY protocol counts.
#[derive(Debug)]
pub struct ProxyProtocolScopes {
    /// Of connections without a header.
    pub all: Arc<Scope<PerWorker<ProxyProtocolStatistics>>>,
    /// Of connections that ended by it, of all listeners.
    pub errors: Arc<Scope<PerWorker<ProxyProtocolErrorStatistics>>>,
    /// Of headers of version 1 and 2.
    pub versions: [Arc<Scope<PerWorker<ProxyProtocolVersionStatistics>>>; 2],
}

/// A connection of a listener, counted until it is dropped.
#[derive(Debug)]
pub struct Counted(Arc<Active>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Active {
    /// A listener with these addresses. It may have as many connections as the limit says.
    pub fn new(
        listener: Arc<Listener>,
        addresses: Box<[SocketAddr]>,
        limit: Option<u64>,
        store: &Store,
        workers: usize,
    ) -> Self {
        let name = &listener.stat_name;
        let worker = |number| store.listener_worker(name, number);
        Self {
            addresses,
            statistics: store.listener(name),
            worker_statistics: (0..workers).map(worker).collect(),
            proxy_protocol: listener.filters.proxy_protocol().then(|| {
                let prefix = listener.filters.proxy_protocol_stat_prefix();
                let prefix = prefix.unwrap_or_default();
                ProxyProtocolScopes {
                    all: store.proxy_protocol(prefix),
                    errors: store.proxy_protocol_error(),
                    versions: [1, 2].map(|version| store.proxy_protocol_version(prefix, version)),
                }
            }),
            current: ArcSwap::new(listener),
            limit,
            connections: AtomicU64::new(0),
            warnings: Pace::default(),
            accepting: Mutex::default(),
            ends: watch::Sender::new(false),
        }
    }

    /// What it is told now.
    pub fn current(&self) -> Arc<Listener> {
        self.current.load_full()
    }

    /// Tells it something else. Connections keep the filter chain that took them.
    pub fn update(&self, listener: Arc<Listener>) -> Arc<Listener> {
        self.current.swap(listener)
    }

    /// Whether it has sockets.
    pub fn is_bound(&self) -> bool {
        self.current.load().binds
    }

    /// How many connections are open.
    pub fn open(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// One connection more, unless there are as many as there may be.
    pub fn enter(self: &Arc<Self>) -> Option<Counted> {
        let before = self.connections.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(self.clone());
        self.limit
            .is_none_or(|limit| before < limit)
            .then_some(counted)
    }

    /// Counts a connection that this listener has no room for, and says so now and then.
    pub fn reject(&self, worker: stats::Worker, peer: SocketAddr) {
        self.statistics
            .of(worker)
            .downstream_cx_overflow
            .increment();
        if self.warnings.is_due() {
            let listener = &*self.current().name;
            let most = self.limit.unwrap_or_default();
            warn!(
                listener,
                "{peer} was turned away: the listener has as many connections as its \
                 connection_limit allows, {most}"
            );
        }
    }

    /// As [`reject`](Self::reject), where all listeners together have no room.
    pub fn reject_overall(&self, worker: stats::Worker, peer: SocketAddr, full: &Full) {
        let counted = self.statistics.of(worker);
        counted.downstream_global_cx_overflow.increment();
        if self.warnings.is_due() {
            let listener = &*self.current().name;
            warn!(
                listener,
                "{peer} was turned away: all listeners together have as many connections as \
                 max_active_downstream_connections allows, {}",
                full.most
            );
        }
    }

    /// Remembers who accepts from a socket of one of its addresses.
    pub fn accepts(&self, address: usize, socket: Arc<TcpListener>, task: AbortHandle) {
        self.tasks().push(Accepting {
            address,
            socket,
            task,
            ended: false,
        });
    }

    /// Which of its addresses this is, with the sockets there in the order of the workers; nothing, if
    /// it does not listen there.
    pub fn bound_at(&self, address: SocketAddr) -> Option<(usize, Vec<Arc<TcpListener>>)> {
        let number = self.addresses.iter().position(|own| *own == address)?;
        let tasks = self.tasks();
        let of_address = tasks.iter().filter(|task| task.address == number);
        let sockets: Vec<_> = of_address.map(|task| task.socket.clone()).collect();
        (!sockets.is_empty()).then_some((number, sockets))
    }

    /// Accepts no more, for its sockets are another's now or the process ends; its connections go on.
    pub fn stop(&self) {
        for accepting in self.tasks().drain(..) {
            accepting.task.abort();
        }
    }

    /// Closes its sockets, once those who wait there have been accepted. Its connections go on.
    pub fn close(&self) {
        self.ends.send_replace(true);
    }

    /// Whether it has sockets.
    pub fn is_open(&self) -> bool {
        !self.tasks().is_empty()
    }

    /// Nobody waits at this socket any more. All are closed with the last one, so that until then they
    /// can be handed over.
    fn ended(&self, socket: Arc<TcpListener>) {
        let which = Arc::as_ptr(&socket);
        drop(socket);
        let mut tasks = self.tasks();
        for task in tasks.iter_mut() {
            task.ended |= Arc::as_ptr(&task.socket) == which;
        }
        if tasks.iter().all(|task| task.ended) {
            tasks.clear();
        }
    }

    fn tasks(&self) -> std::sync::MutexGuard<'_, Vec<Accepting>> {
        self.accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts for as long as it is polled, or until the listener closes; one task a connection.
pub async fn accept(socket: Arc<TcpListener>, active: Arc<Active>, worker: Arc<Worker>) {
    let mut ends = active.ends.subscribe();
    let serve = |(tcp, peer)| {
        tokio::spawn(downstream::serve(worker.clone(), active.clone(), tcp, peer));
    };
    let pace = Pace::default();
    // How many may have waited when the end came; who comes later is not waited for.
    let mut left = active.current().backlog();
    while left > 0 {
        if *ends.borrow() {
            left -= 1;
        }
        let accepted = select! {
            biased;
            accepted = socket.accept() => accepted,
            _ = ends.wait_for(|ends| *ends) => break,
        };
        match accepted {
            Ok(accepted) => serve(accepted),
            // The peer was faster.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                worker.plane.accept_failed.add(1);
                let counted = active.statistics.of(worker.number);
                counted.downstream_cx_accept_failed.increment();
                if pace.is_due() {
                    let listener = &*active.current().name;
                    warn!(listener, %error, "accept failed: trying again every {ACCEPT_PAUSE:?}");
                }
                if *ends.borrow() {
                    break;
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    active.ended(socket);
}

/// Tells connections that they are to end.
#[derive(Debug)]
pub struct Closing(watch::Sender<bool>);

impl Default for Closing {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Closing {
    /// Ends them.
    pub fn close(&self) {
        self.0.send_replace(true);
    }

    /// Returns when they are to end.
    pub async fn closed(&self) {
        // The sender is at hand, so it is not gone.
        let _ = self.0.subscribe().wait_for(|closing| *closing).await;
    }
}
