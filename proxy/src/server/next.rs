//! What a snapshot needs before it can be in force.

use std::{
    collections::HashMap,
    net::SocketAddr,
    os::fd::AsFd,
    sync::Arc,
    time::{Duration, Instant},
};

use fairlead_xds::{
    envoy::config::bootstrap::v3::{Bootstrap, runtime_layer::LayerSpecifier},
    google::protobuf::value::Kind,
};
use socket2::Socket;
use tokio::time::timeout;
use tracing::warn;

use super::apply::ApplyError;
use crate::{
    cluster::upkeep::Kept,
    listener::{active::Active, config::Listener, sockets::Binding},
    snapshot::Snapshot,
};

/// How long clusters may take to find their endpoints before traffic is led there all the same.
const WARM_UP: Duration = Duration::from_secs(15);

/// Clusters that look for their endpoints, and listeners whose addresses are taken.
pub(super) struct Next {
    pub(super) clusters: HashMap<Box<str>, Arc<Kept>>,
    /// In the order of the snapshot.
    pub(super) listeners: Vec<Slot>,
    pub(super) max_connections: Option<u64>,
    since: Instant,
}

/// A listener of a snapshot.
pub(super) enum Slot {
    /// It stays, with its sockets, and is told something else.
    Kept(Arc<Active>, Arc<Listener>),
    /// It is new, or its sockets are.
    New(NewListener),
}

/// A listener that does not listen yet.
pub(super) struct NewListener {
    pub(super) listener: Arc<Listener>,
    /// With the ports that it got.
    pub(super) addresses: Box<[SocketAddr]>,
    /// For each of the addresses one for each worker; none where it does not bind.
    pub(super) sockets: Vec<Vec<Socket>>,
    pub(super) limit: Option<u64>,
}

impl Next {
    pub(super) fn new(
        clusters: HashMap<Box<str>, Arc<Kept>>,
        listeners: Vec<Slot>,
        max_connections: Option<u64>,
    ) -> Self {
        Self {
            clusters,
            listeners,
            max_connections,
            since: Instant::now(),
        }
    }

    /// The sockets that it took at an address.
    fn bound_at(&self, address: SocketAddr) -> Option<(&Binding, &[Socket])> {
        let new = self.listeners.iter().filter_map(|slot| match slot {
            Slot::New(new) => Some(new),
            Slot::Kept(..) => None,
        });
        new.filter(|new| new.listener.binds).find_map(|new| {
            let number = new.addresses.iter().position(|own| *own == address)?;
            Some((
                new.listener.bindings.get(number)?,
                new.sockets.get(number)?.as_slice(),
            ))
        })
    }

    /// Whether no cluster looks for its endpoints any more.
    pub(super) fn is_warm(&self) -> bool {
        self.clusters.values().all(|kept| kept.is_warm())
    }

    /// Returns when all clusters have found their endpoints, or have had the time to.
    pub(super) async fn warm(&self) {
        let all = async {
            for kept in self.clusters.values() {
                kept.warm().await;
            }
        };
        let left = WARM_UP.saturating_sub(self.since.elapsed());
        if timeout(left, all).await.is_err() {
            warn!("some clusters have not found their endpoints within {WARM_UP:?}: going on");
        }
    }
}

/// The listeners of the snapshot. All addresses that are not there yet are taken, so that one that cannot
/// be had changes nothing.
pub(super) fn listeners(
    snapshot: &Snapshot,
    bootstrap: &Bootstrap,
    before: &[Arc<Active>],
    closing: &[Arc<Active>],
    earlier: Option<&Next>,
    workers: usize,
) -> Result<Vec<Slot>, ApplyError> {
    let mut left: Vec<&Arc<Active>> = before.iter().collect();
    let kept: Vec<Option<&Arc<Active>>> = snapshot
        .listeners
        .iter()
        .map(|listener| {
            let same = left.iter().position(|active| stays(active, listener))?;
            Some(left.swap_remove(same))
        })
        .collect();
    left.extend(closing);
    let slots = snapshot.listeners.iter().zip(kept);
    slots
        .map(|(listener, kept)| {
            Ok(match kept {
                Some(active) => Slot::Kept(active.clone(), listener.clone()),
                None => Slot::New(NewListener::take(
                    listener, bootstrap, &left, earlier, workers,
                )?),
            })
        })
        .collect()
}

/// Whether the listener can be told the other one's configuration as it is.
fn stays(active: &Active, listener: &Listener) -> bool {
    let current = active.current();
    current.name == listener.name
        && current.bindings == listener.bindings
        && current.binds == listener.binds
        && current.stat_name == listener.stat_name
        && proxy_protocol(&current) == proxy_protocol(listener)
}

/// What its statistics of PROXY headers are counted under, if it reads them.
fn proxy_protocol(listener: &Listener) -> (bool, Option<&str>) {
    let filters = &listener.filters;
    (
        filters.proxy_protocol(),
        filters.proxy_protocol_stat_prefix(),
    )
}

impl NewListener {
    /// Takes the addresses. What one of those `gone` listens at is handed over: connections that wait
    /// there for a worker are not lost. So is what an earlier snapshot has taken.
    fn take(
        listener: &Arc<Listener>,
        bootstrap: &Bootstrap,
        gone: &[&Arc<Active>],
        earlier: Option<&Next>,
        workers: usize,
    ) -> Result<Self, ApplyError> {
        let mut sockets = Vec::new();
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for binding in &listener.bindings {
            if !listener.binds {
                addresses.push(binding.address);
                continue;
            }
            let open = gone.iter().find_map(|active| {
                let held = active.bound_at(binding.address)?;
                Some((active.current(), held))
            });
            let waiting = earlier.and_then(|next| next.bound_at(binding.address));
            let waiting = waiting.filter(|(of, _)| binding.can_adopt(of));
            let bound = match open {
                None if waiting.is_some() => {
                    let sockets = waiting.into_iter().flat_map(|(_, sockets)| sockets);
                    binding.adopt(&listener.name, sockets.map(AsFd::as_fd))?
                }
                None => binding
                    .at_port_of(addresses.first())
                    .bind(&listener.name, workers)?,
                Some((of, held)) => {
                    if !of
                        .bindings
                        .get(held.0)
                        .is_some_and(|old| binding.can_adopt(old))
                    {
                        return Err(ApplyError::Sockets {
                            listener: listener.name.clone(),
                            address: binding.address,
                        });
                    }
                    binding.adopt(&listener.name, held.1.iter().map(AsFd::as_fd))?
                }
            };
            let address = bound.first().map(Socket::local_addr);
            let address = address.and_then(Result::ok);
            let address = address.and_then(|address| address.as_socket());
            addresses.push(address.unwrap_or(binding.address));
            sockets.push(bound);
        }
        Ok(Self {
            listener: listener.clone(),
            addresses: addresses.into(),
            sockets,
            limit: connection_limit(bootstrap, &listener.name),
        })
    }
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
