//! What the webhook knows of the cluster around a pod: the mesh's configuration, the annotations of
//! namespaces and the versions of nodes.
//!
//! All of it is watched and kept in memory, as little of it as is needed. Without the API server,
//! what was known last goes on counting.
//!
//! - [`mesh`]: the ConfigMap with the mesh's configuration
//! - [`namespaces`]: the namespaces' annotations
//! - [`nodes`]: the nodes' versions

pub(crate) mod mesh;
pub(crate) mod namespaces;
pub mod nodes;
mod watching;

use std::{collections::BTreeMap, sync::Arc};

use fairlead_api::mesh_config::MeshConfig;
use tokio::sync::watch;

pub use self::{mesh::Mesh, namespaces::Namespaces, nodes::Nodes};
use crate::{inject::Place, review, settings::NativeSidecar};

/// Handles to all that is watched, cheap to clone.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The mesh's configuration; none until it was looked for.
    pub mesh: Mesh,
    /// The namespaces' annotations.
    pub namespaces: Namespaces,
    /// The nodes' versions.
    pub nodes: Nodes,
    /// The minor version of the API server; none until it has told.
    pub api_server: watch::Receiver<Option<u32>>,
}

/// What is known of the place of one pod.
#[derive(Debug)]
pub(crate) struct Known {
    annotations: Arc<BTreeMap<String, String>>,
    mesh: Arc<MeshConfig>,
    native: bool,
}

impl Surroundings {
    /// What is known of a pod's place; none as long as the process does not know enough.
    pub(crate) async fn of(&self, review: &review::Request, mode: NativeSidecar) -> Option<Known> {
        let api_server = (*self.api_server.borrow())?;
        let mesh = self.mesh.current()?;
        let node = self.nodes.minor(review.node());
        Some(Known {
            annotations: self.namespaces.annotations(review.namespace()).await,
            mesh,
            native: mode.resolve(node.unwrap_or(api_server)),
        })
    }
}

impl Known {
    /// The place of a pod of this namespace.
    pub(crate) fn place<'a>(&'a self, namespace: &'a str) -> Place<'a> {
        Place {
            namespace,
            annotations: &self.annotations,
            native: self.native,
            mesh: &self.mesh,
        }
    }
}
