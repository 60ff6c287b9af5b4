//! All that a proxy is told at a time, compiled from a bootstrap; and what a new one keeps of the one
//! before.

mod rest;

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use fairlead_xds::{
    bootstrap::Pieces,
    envoy::config::{cluster::v3::Cluster, listener::v3::Listener as ListenerMessage},
};
use prost::{Message, Name, bytes::Bytes};

use crate::{
    cluster::config::{ClusterConfig, bind},
    compile::{At, Findings},
    listener::config::{Listener, Surroundings},
    overload,
    stats::Flush,
};

/// Listeners and clusters, immutable.
#[derive(Debug)]
pub struct Snapshot {
    /// The listeners, by their order in the message.
    pub listeners: Box<[Arc<Listener>]>,
    /// The clusters, by their order in the message.
    pub clusters: Box<[Arc<ClusterConfig>]>,
    /// When intervals of histograms end.
    pub flush: Flush,
    /// As many connections may all listeners have together; none: as many as come.
    pub max_connections: Option<u64>,
}

impl Snapshot {
    /// What the bootstrap says; nothing, if it has a fault, which `findings` has then.
    pub fn compile(
        findings: &Findings,
        bootstrap: &Pieces,
        with: &Surroundings<'_>,
    ) -> Option<Self> {
        let at = findings.at("");
        let rest = &bootstrap.bootstrap;
        let flush = Flush::compile(
            &at,
            rest.stats_flush_interval.as_ref(),
            rest.stats_flush.as_ref(),
            rest.stats_eviction.as_ref(),
            &rest.stats_sinks,
        );
        let here = at.field("static_resources");
        let of_all = rest.cluster_manager.as_ref();
        let of_all = of_all.and_then(|manager| manager.upstream_bind_config.as_ref());
        if let Some(of_all) = of_all {
            bind(
                &at.field("cluster_manager").field("upstream_bind_config"),
                of_all,
            );
        }
        let manager = rest.overload_manager.as_ref();
        let max_connections =
            manager.and_then(|message| overload::compile(&at.field("overload_manager"), message));
        // Decoded one by one: all at once, the messages would take many times what is made of them.
        let clusters = here.each("clusters", &bootstrap.clusters, |at, encoded| {
            let message: Cluster = decode(at, encoded)?;
            ClusterConfig::compile(at, &message, of_all, with.contexts).map(Arc::new)
        });
        let named = RefCell::new(HashMap::new());
        let listeners = here.each("listeners", &bootstrap.listeners, |at, encoded| {
            let message: ListenerMessage = decode(at, encoded)?;
            // What is said again word for word is the same listener, as in Envoy.
            let name = message.name.clone();
            let first: &Bytes = named.borrow_mut().entry(name).or_insert(encoded);
            let again = !message.name.is_empty() && !std::ptr::eq(first, encoded);
            if again && decode(at, first).as_ref() == Some(&message) {
                return Some(None);
            }
            Listener::compile(at, &message, with).map(|listener| Some(Arc::new(listener)))
        });
        let listeners: Vec<_> = listeners.into_iter().flatten().collect();
        unique(
            &here.field("clusters"),
            clusters.iter().map(|one| &*one.name),
        );
        // A listener may be nameless.
        let names = listeners.iter().map(|one| &*one.name);
        unique(
            &here.field("listeners"),
            names.filter(|name| !name.is_empty()),
        );
        distinct(&here.field("listeners"), &listeners);
        references(&here, &listeners, &clusters);
        rest::compile(&at, rest);
        let flush = flush.filter(|_| findings.faults().is_empty())?;
        Some(Self {
            max_connections,
            listeners: listeners.into(),
            clusters: clusters.into(),
            flush,
        })
    }
}

fn decode<M: Message + Name + Default>(at: &At<'_>, encoded: &Bytes) -> Option<M> {
    M::decode(&**encoded).map_or_else(
        |error| at.fault(format!("is no {}: {error}", M::NAME)),
        Some,
    )
}

fn unique<'a>(at: &At<'_>, names: impl Iterator<Item = &'a str>) {
    let mut seen = HashMap::new();
    for (index, name) in names.enumerate() {
        if let Some(first) = seen.insert(name, index) {
            at.index(index)
                .field("name")
                .fault::<()>(format!("'{name}' is the name of element {first}, too"));
        }
    }
}

/// Two listeners at one address would share its connections by chance, whatever each decides.
fn distinct(at: &At<'_>, listeners: &[Arc<Listener>]) {
    let mut seen = HashMap::new();
    for (index, listener) in listeners.iter().enumerate() {
        let addresses = listener.bindings.iter().map(|binding| binding.address);
        for address in addresses.filter(|address| listener.binds && address.port() != 0) {
            if let Some(first) = seen.insert(address, index) {
                at.index(index)
                    .field("address")
                    .fault::<()>(format!("{address} is an address of element {first}, too"));
            }
        }
    }
}

/// A route to a cluster that there is not is no fault in Envoy, and none here: it is noticed when a
/// connection comes. It is worth a word when the configuration is read.
fn references(at: &At<'_>, listeners: &[Arc<Listener>], clusters: &[Arc<ClusterConfig>]) {
    use crate::network_filter::TerminalFilter;
    for listener in listeners {
        for chain in listener.all_chains() {
            let Some(TerminalFilter::TcpProxy(proxy)) = &chain.filters.terminal else {
                continue;
            };
            for name in proxy.clusters().names() {
                if !clusters.iter().any(|cluster| &*cluster.name == name) {
                    at.field("listeners").unsupported(format!(
                        "listener '{}' sends connections to the cluster '{name}', which there is not",
                        listener.name
                    ));
                }
            }
        }
    }
}
