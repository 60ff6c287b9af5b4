//! What goes on beside the traffic of a cluster: its names are asked for, its file is read, its endpoints
//! are checked and left alone.

mod checks;
mod file;
mod names;
mod outliers;

use std::{collections::HashMap, sync::Arc, time::Instant};

use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

use self::{checks::check, file::File, names::Names, outliers::detect};
use super::{
    assignment::Assignment,
    config::ClusterConfig,
    discovery::Discovery,
    endpoint::{Endpoint, HealthFlag},
    endpoint_set::{EndpointSet, Making},
    outlier::Detector,
    running::Cluster,
};
use crate::stats::Store;

/// A cluster with what goes on beside it; that ends when this is dropped.
#[derive(Debug)]
pub struct Kept {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    /// None where the endpoints are known from the start: such a channel is as large as the rest.
    warm: Option<watch::Receiver<bool>>,
    tasks: Vec<AbortHandle>,
}

impl Kept {
    /// Whether its endpoints are known, or could not be found out.
    pub fn is_warm(&self) -> bool {
        self.warm.as_ref().is_none_or(|warm| *warm.borrow())
    }

    /// Returns when its endpoints are known for the first time, or could not be found out.
    pub async fn warm(&self) {
        if let Some(warm) = &self.warm {
            // A cluster that is gone is as warm as it will be.
            let _ = warm.clone().wait_for(|warm| *warm).await;
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts a cluster; `before` is one of the same name whose endpoints are known.
pub fn start(config: &Arc<ClusterConfig>, before: Option<&Cluster>, store: &Store) -> Kept {
    let (findings, found) = match &config.outlier {
        Some(_) => {
            let (findings, found) = mpsc::unbounded_channel();
            (Some(findings), Some(found))
        }
        None => (None, None),
    };
    let first = match &config.discovery {
        Discovery::Static(assignment) => assignment.clone(),
        _ => Assignment::default(),
    };
    let set = EndpointSet::update(None, &first, |_| Vec::new(), making(config));
    if let Some(before) = before {
        carry_over(&before.endpoints(), &set);
    }
    let cluster = Arc::new(Cluster::new(config.clone(), set, findings, store));
    if let Some(updates) = cluster.statistics.updates.made() {
        // Of one of the same name that was not warm yet.
        updates.warming_state.set(0);
    }
    let mut warmed = None;
    let mut tasks = Vec::new();
    let mut spawn = |task: AbortHandle| tasks.push(task);
    match &config.discovery {
        Discovery::Static(_) | Discovery::OriginalDst { .. } => {}
        Discovery::StrictDns(both) | Discovery::LogicalDns(both) => {
            let logical = matches!(config.discovery, Discovery::LogicalDns(_));
            let (warm, is_warm) = watch::channel(false);
            warmed = Some(is_warm);
            cluster.statistics.updates.set().warming_state.set(1);
            let names = Names {
                cluster: cluster.clone(),
                assignment: both.0.clone(),
                settings: both.1.clone(),
                logical,
                warm,
            };
            spawn(tokio::spawn(names.keep()).abort_handle());
        }
        Discovery::File { path, name, .. } => {
            let file = File {
                cluster: cluster.clone(),
                path: path.as_path().into(),
                name: name.clone(),
            };
            let seen = file.look(None);
            spawn(tokio::spawn(file.keep(seen)).abort_handle());
        }
    }
    if !config.health_checks.is_empty() {
        spawn(
            tokio::spawn(check(
                cluster.clone(),
                store.health_check(&config.stat_name),
            ))
            .abort_handle(),
        );
    }
    if let (Some(outlier), Some(found)) = (&config.outlier, found) {
        let detector = Detector::new(outlier.clone());
        let counted = store.outlier_detection(&config.stat_name);
        spawn(tokio::spawn(detect(cluster.clone(), detector, found, counted)).abort_handle());
    }
    Kept {
        cluster,
        warm: warmed,
        tasks,
    }
}

/// Has endpoints that are to be checked begin as healthy as they were, so that traffic need not wait for
/// the first checks. All else ends with what the cluster was told before: who would take back an endpoint
/// that another detector ejected, or another check found unhealthy?
fn carry_over(before: &EndpointSet, now: &EndpointSet) {
    let unchecked = |endpoint: &&Arc<Endpoint>| endpoint.state().has(HealthFlag::PendingActiveHc);
    let mut unchecked = now.endpoints().filter(unchecked).peekable();
    if unchecked.peek().is_none() {
        return;
    }
    let place = |endpoint: &Endpoint| (endpoint.address, endpoint.health_check_address());
    let known: HashMap<_, _> = before
        .endpoints()
        .map(|endpoint| (place(endpoint), endpoint))
        .collect();
    for endpoint in unchecked {
        if let Some(known) = known.get(&place(endpoint)) {
            for flag in HealthFlag::OF_CHECKS {
                endpoint.state().set(flag, known.state().has(flag));
            }
        }
    }
}

fn making(config: &ClusterConfig) -> Making {
    Making {
        active_health_checks: !config.health_checks.is_empty(),
        now: Instant::now(),
    }
}

#[cfg(test)]
mod tests;
