//! All that a proxy is told at a time, compiled from a bootstrap; and what a new one keeps of the one
//! before.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use fairlead_xds::envoy::config::bootstrap::v3::{Bootstrap, bootstrap::StaticResources};

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
        bootstrap: &Bootstrap,
        with: &Surroundings<'_>,
    ) -> Option<Self> {
        let at = findings.at("");
        let empty = StaticResources::default();
        let flush = Flush::compile(
            &at,
            bootstrap.stats_flush_interval.as_ref(),
            bootstrap.stats_flush.as_ref(),
            bootstrap.stats_eviction.as_ref(),
            &bootstrap.stats_sinks,
        );
        let resources = bootstrap.static_resources.as_ref().unwrap_or(&empty);
        let here = at.field("static_resources");
        let of_all = bootstrap.cluster_manager.as_ref();
        let of_all = of_all.and_then(|manager| manager.upstream_bind_config.as_ref());
        if let Some(of_all) = of_all {
            bind(
                &at.field("cluster_manager").field("upstream_bind_config"),
                of_all,
            );
        }
        let manager = bootstrap.overload_manager.as_ref();
        let max_connections =
            manager.and_then(|message| overload::compile(&at.field("overload_manager"), message));
        let clusters = here.each("clusters", &resources.clusters, |at, message| {
            ClusterConfig::compile(at, message, of_all, with.contexts).map(Arc::new)
        });
        let named = RefCell::new(HashMap::new());
        let listeners = here.each("listeners", &resources.listeners, |at, message| {
            // What is said again word for word is the same listener, as in Envoy.
            let first = *named.borrow_mut().entry(&*message.name).or_insert(message);
            let same = !message.name.is_empty() && !std::ptr::eq(first, message);
            if same && first == message {
                return Some(None);
            }
            Listener::compile(at, message, with).map(|listener| Some(Arc::new(listener)))
        });
        let listeners: Vec<_> = listeners.into_iter().flatten().collect();
        unique(
            &here.field("clusters"),
            clusters.iter().map(|one| &*one.name),
        );
        // A listener may be nameless; two of one address are no fault until they bind.
        let names = listeners.iter().map(|one| &*one.name);
        unique(
            &here.field("listeners"),
            names.filter(|name| !name.is_empty()),
        );
        references(&here, &listeners, &clusters);
        let flush = flush.filter(|_| findings.faults().is_empty())?;
        Some(Self {
            max_connections,
            listeners: listeners.into(),
            clusters: clusters.into(),
            flush,
        })
    }
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
