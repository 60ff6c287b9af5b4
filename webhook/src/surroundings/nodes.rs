//! The versions of the nodes' kubelets, which decide whether a proxy can be a restartable init
//! container.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use fairlead_runtime::readiness::Gate;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Api, Client, Resource};
use serde::Deserialize;

use super::watching::{self, Sink};

/// A node is tens of KiB of JSON, most of it the names of images.
const PAGE: u32 = 8;

/// The minor version of each node.
#[derive(Clone, Debug, Default)]
pub struct Nodes(Arc<RwLock<Versions>>);

#[derive(Debug, Default)]
struct Versions {
    /// None: the node's version is of no known form.
    by_name: HashMap<Box<str>, Option<u32>>,
    /// None: there is no node, or one of unknown version.
    lowest: Option<u32>,
}

impl Nodes {
    /// Keeps the versions until it is dropped.
    pub async fn follow(self, client: Client, gate: Gate) {
        let sink = Collect {
            versions: self.0,
            fresh: None,
        };
        watching::follow(Api::<Node>::all(client), PAGE, "nodes", gate, sink).await;
    }

    /// The minor version of the node that a pod is for. A pod that may go to any is for the oldest.
    pub(crate) fn minor(&self, node: Option<&str>) -> Option<u32> {
        let versions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let named = node.and_then(|name| versions.by_name.get(name));
        named.copied().unwrap_or(versions.lowest)
    }
}

impl Versions {
    fn settle(&mut self) {
        let lowest = self.by_name.values().copied().min();
        // None is the least.
        self.lowest = lowest.flatten();
    }
}

/// The minor version of Kubernetes 1, of versions such as `v1.29.3-gke.100` and `29+`.
pub fn minor(version: &str) -> Option<u32> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let minor = match version.split_once('.') {
        Some(("1", rest)) => rest,
        Some(_) => return None,
        None => version,
    };
    let digits = minor.find(|sign: char| !sign.is_ascii_digit());
    minor[..digits.unwrap_or(minor.len())].parse().ok()
}

/// Of a node what is needed; the whole would be read and thrown away at each of its heartbeats.
#[derive(Clone, Debug, Default, Deserialize)]
struct Node {
    metadata: ObjectMeta,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    node_info: SystemInfo,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SystemInfo {
    kubelet_version: String,
}

impl Resource for Node {
    type DynamicType = ();
    type Scope = kube::core::ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Node".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "nodes".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

struct Collect {
    versions: Arc<RwLock<Versions>>,
    /// Those of a list that is not complete yet.
    fresh: Option<Versions>,
}

impl Sink<Node> for Collect {
    fn apply(&mut self, node: Node) {
        let Some(name) = node.metadata.name else {
            return;
        };
        let found = minor(&node.status.node_info.kubelet_version);
        if let Some(fresh) = &mut self.fresh {
            fresh.by_name.insert(name.into(), found);
            return;
        }
        let mut versions = self
            .versions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // A heartbeat changes nothing.
        if versions.by_name.insert(name.into(), found) != Some(found) {
            versions.settle();
        }
    }

    fn delete(&mut self, node: Node) {
        let name = node.metadata.name.unwrap_or_default();
        let mut versions = self
            .versions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        versions.by_name.remove(name.as_str());
        versions.settle();
    }

    fn restart(&mut self) {
        self.fresh = Some(Versions::default());
    }

    fn complete(&mut self) {
        if let Some(mut fresh) = self.fresh.take() {
            fresh.settle();
            *self
                .versions
                .write()
                .unwrap_or_else(PoisonError::into_inner) = fresh;
        }
    }
}

#[cfg(test)]
mod tests;
