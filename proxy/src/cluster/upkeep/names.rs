//! The endpoints of a cluster that are given by names, asked for again and again.

use std::{collections::HashMap, future::pending, net::IpAddr, sync::Arc};

use tokio::{sync::watch, time::sleep};
use tracing::warn;

use super::making;
use crate::{
    cluster::{
        assignment::{Address, Assignment},
        endpoint_set::EndpointSet,
        running::Cluster,
    },
    dns::{resolver::Resolver, settings::Settings as DnsSettings},
};

/// The names of a cluster.
pub(super) struct Names {
    pub(super) cluster: Arc<Cluster>,
    pub(super) assignment: Assignment,
    pub(super) settings: DnsSettings,
    pub(super) logical: bool,
    pub(super) warm: watch::Sender<bool>,
}

impl Names {
    pub(super) async fn keep(self) {
        let name = self.cluster.config.name.clone();
        let resolver = match Resolver::new(&self.settings.servers, self.settings.family) {
            Ok(resolver) => resolver,
            Err(error) => {
                warn!(
                    cluster = &*name,
                    "{error}: {:?}",
                    std::error::Error::source(&error)
                );
                // Nobody need wait for what will not come.
                self.warmed();
                return pending().await;
            }
        };
        let mut random = fastrand::Rng::new();
        let mut known: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
        let mut failures = 0;
        loop {
            let counted = self.cluster.statistics.updates.set();
            let mut changed = false;
            let mut failed = false;
            let mut ttl = None;
            for asked in self.names() {
                counted.update_attempt.increment();
                match resolver.resolve(asked).await {
                    Ok(answer) => {
                        counted.update_success.increment();
                        ttl = ttl.into_iter().chain(answer.ttl).min();
                        let mut addresses = answer.addresses;
                        if self.logical {
                            addresses.truncate(1);
                        }
                        // The order is the servers', and says nothing.
                        addresses.sort();
                        let before = known.get(asked).map(Vec::as_slice).unwrap_or_default();
                        if before == addresses {
                            counted.update_no_rebuild.increment();
                        } else {
                            changed = true;
                            known.insert(asked.into(), addresses);
                        }
                    }
                    Err(error) => {
                        counted.update_failure.increment();
                        failed = true;
                        warn!(cluster = &*name, "{error}: the last answer stays");
                    }
                }
            }
            if changed {
                self.assign(&known);
            }
            self.warmed();
            failures = if failed { failures + 1 } else { 0 };
            let refresh = &self.settings.refresh;
            sleep(if failed {
                refresh.after_failure(failures, &mut random)
            } else {
                refresh.after_answer(ttl, &mut random)
            })
            .await;
        }
    }

    /// Nobody need wait any more.
    fn warmed(&self) {
        let updates = self.cluster.statistics.updates.set();
        updates.warming_state.set(0);
        self.warm.send_replace(true);
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let endpoints = self.assignment.localities.iter();
        let endpoints = endpoints.flat_map(|locality| &locality.endpoints);
        endpoints.filter_map(|endpoint| match &endpoint.address {
            Address::Name(name, _) => Some(&**name),
            Address::Ip(_) => None,
        })
    }

    fn assign(&self, known: &HashMap<Box<str>, Vec<IpAddr>>) {
        let before = self.cluster.endpoints();
        let resolve = |name: &str| known.get(name).cloned().unwrap_or_default();
        let making = making(&self.cluster.config);
        let set = EndpointSet::update(Some(&before), &self.assignment, resolve, making);
        self.cluster.assign(set);
    }
}
