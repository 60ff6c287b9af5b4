//! The endpoints of a cluster that stand in a file, which is followed.

use std::{path::Path, sync::Arc, time::Duration};

use fairlead_xds::envoy::config::endpoint::v3::ClusterLoadAssignment;
use tokio::time::interval;
use tracing::warn;

use super::making;
use crate::{
    cluster::{assignment::Assignment, endpoint_set::EndpointSet, running::Cluster},
    compile::Findings,
    configuration::{self, Stamp},
};

/// Between two looks at a file.
const POLL: Duration = Duration::from_secs(1);

/// The file that the endpoints of a cluster stand in.
pub(super) struct File {
    pub(super) cluster: Arc<Cluster>,
    pub(super) path: Arc<Path>,
    pub(super) name: Box<str>,
}

impl File {
    pub(super) async fn keep(self, mut seen: Stamp) {
        let mut looks = interval(POLL);
        loop {
            looks.tick().await;
            seen = self.look(Some(&seen));
        }
    }

    /// Takes what stands in the file, if that is another one than was seen.
    pub(super) fn look(&self, seen: Option<&Stamp>) -> Stamp {
        let stamp = configuration::stamp(&self.path);
        if seen == Some(&stamp) {
            return stamp;
        }
        let counted = self.cluster.statistics.updates.set();
        counted.update_attempt.increment();
        match self.read() {
            Ok(assignment) => {
                counted.update_success.increment();
                let before = self.cluster.endpoints();
                let making = making(&self.cluster.config);
                let none = |_: &str| Vec::new();
                let set = EndpointSet::update(Some(&before), &assignment, none, making);
                self.cluster.assign(set);
            }
            Err(error) => {
                counted.update_failure.increment();
                let (cluster, path) = (&*self.cluster.config.name, self.path.display());
                warn!(
                    cluster,
                    "read the endpoints in {path}: {error}: the last ones stay"
                );
            }
        }
        stamp
    }

    fn read(&self) -> Result<Assignment, String> {
        let text = std::fs::read(&self.path).map_err(|error| error.to_string())?;
        let all = configuration::resources::<ClusterLoadAssignment>(&self.path, &text)?;
        let own = all.iter().find(|one| one.cluster_name == *self.name);
        let own = own.ok_or_else(|| format!("there is no assignment '{}'", self.name))?;
        let findings = Findings::default();
        let compiled = Assignment::compile(&findings.at("assignment"), own);
        compiled.ok_or_else(|| {
            let faults: Vec<_> = findings.faults().iter().map(ToString::to_string).collect();
            faults.join("; ")
        })
    }
}
