//! The mesh's configuration: what is accepted counts for the next pod, and what is not leaves the
//! last good one in use.

use std::{pin::pin, sync::Arc};

use arc_swap::ArcSwapOption;
use fairlead_api::{
    document::Document,
    mesh_config::{KEY, MeshConfig},
};
use fairlead_runtime::readiness::Gate;
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher::watch_object},
};
use tracing::{info, warn};

use crate::{
    api_server::{Backoff, words},
    events::Events,
    metrics::{MeshRead, Metrics},
};

/// The configuration in use; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Mesh(Arc<ArcSwapOption<MeshConfig>>);

impl Mesh {
    /// The configuration in use; none until the ConfigMap was looked for.
    pub fn current(&self) -> Option<Arc<MeshConfig>> {
        self.0.load_full()
    }

    /// Puts a configuration into use.
    pub fn replace(&self, config: MeshConfig) {
        self.0.store(Some(Arc::new(config)));
    }
}

/// Follows the ConfigMap.
#[derive(Debug)]
pub(crate) struct Follower {
    /// The ConfigMaps of its namespace.
    pub(crate) maps: Api<ConfigMap>,
    /// The ConfigMap's name.
    pub(crate) name: String,
    /// What is kept true.
    pub(crate) mesh: Mesh,
    /// Opens when the ConfigMap was looked for; its note says what is wrong with it.
    pub(crate) gate: Gate,
    /// Where it is counted.
    pub(crate) metrics: Metrics,
    /// Where it is told that an edit is not accepted.
    pub(crate) events: Events,
}

impl Follower {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let maps = watch_object(self.maps.clone(), &self.name);
        let mut maps = pin!(maps.backoff(Backoff::default()));
        let mut seen = None;
        let mut complaint = None;
        while let Some(event) = maps.next().await {
            match event {
                Ok(map) => {
                    complaint = None;
                    // The watch tells again what it has told when it starts anew.
                    let found = map.as_ref().map(|map| text(map).map(ToOwned::to_owned));
                    if seen.as_ref() != Some(&found) {
                        self.take(map.as_ref());
                        seen = Some(found);
                    }
                }
                Err(error) => {
                    let text = format!("watch ConfigMap {}: {}", self.name, words(&error));
                    if complaint.as_ref() != Some(&text) {
                        warn!("{text}");
                        if self.mesh.current().is_none() {
                            self.gate.set_note(Some(text.clone()));
                        }
                        complaint = Some(text);
                    }
                }
            }
        }
    }

    fn take(&self, map: Option<&ConfigMap>) {
        let finding = look(map);
        let namespace = self.maps.namespace().unwrap_or_default();
        let place = format!("ConfigMap {} in namespace {namespace}", self.name);
        let current = self.mesh.current();
        let stays = match current {
            None => "the defaults are in use",
            Some(_) => "what was in use stays",
        };
        let note = match &finding {
            Finding::Accepted(read) if read.warnings.is_empty() => None,
            Finding::Accepted(read) => Some(read.warnings.join("; ")),
            Finding::Missing => Some(format!(
                "{place} does not exist, the chart makes it; {stays}"
            )),
            Finding::Rejected(reason) => Some(format!("{place}: {reason}; {stays}")),
        };
        match &note {
            Some(note) => warn!("mesh configuration: {note}"),
            None => info!("use the mesh configuration of {place}"),
        }
        let read = match finding {
            Finding::Accepted(read) => {
                self.mesh.replace(read.value);
                MeshRead::Accepted
            }
            Finding::Missing => MeshRead::Missing,
            Finding::Rejected(reason) => {
                if let Some(map) = map {
                    let note = format!("the mesh configuration is not accepted: {reason}; {stays}");
                    self.events.mesh_rejected(map, note);
                }
                MeshRead::Rejected
            }
        };
        if self.mesh.current().is_none() {
            self.mesh.replace(MeshConfig::default());
        }
        self.metrics.mesh_read(read);
        self.gate.set_note(note);
        self.gate.open();
    }
}

/// What was found in the place of the configuration.
#[derive(Debug, PartialEq)]
enum Finding {
    Accepted(Document<MeshConfig>),
    Missing,
    Rejected(String),
}

fn look(map: Option<&ConfigMap>) -> Finding {
    let Some(map) = map else {
        return Finding::Missing;
    };
    let Some(text) = text(map) else {
        return Finding::Rejected(format!("it has no key {KEY}"));
    };
    match MeshConfig::parse(text) {
        Ok(read) => Finding::Accepted(read),
        Err(reason) => Finding::Rejected(format!("{KEY}: {reason}")),
    }
}

fn text(map: &ConfigMap) -> Option<&str> {
    Some(map.data.as_ref()?.get(KEY)?.as_str())
}

#[cfg(test)]
mod tests;
