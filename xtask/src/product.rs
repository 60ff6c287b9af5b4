//! What the demo, the tests and the benchmarks need before they can start, and the chart on their clusters.

use std::thread;

use anyhow::{Result, anyhow};

use crate::cluster::Cluster;
use crate::images::{self, Image};
use crate::tools::Tools;
use crate::{cluster, packages, progress};

/// Installs the Debian packages, and builds the images and the programs of the cluster side by side.
pub(crate) fn ensure() -> Result<Vec<Image>> {
    // Here at once, because two runs of apt-get exclude each other.
    packages::ensure(&[cluster::PACKAGES.as_slice(), &images::PACKAGES].concat())?;
    thread::scope(|scope| {
        let tools = scope.spawn(Tools::ensure);
        let images = images::build(images::DEFAULT_TAG)?;
        tools
            .join()
            .map_err(|_| anyhow!("the thread that builds the cluster's programs panicked"))??;
        Ok(images)
    })
}

const RELEASE: &str = "fairlead";
const RELEASE_NAMESPACE: &str = "fairlead-system";

/// Gives the node the images and installs the chart with these `--set` values.
pub(crate) fn install(cluster: &Cluster, images: &[Image], values: &[&str]) -> Result<()> {
    progress::step("giving the node the images", || cluster.load_images(images))?;
    progress::step("helm install fairlead", || {
        let namespace = format!("--namespace={RELEASE_NAMESPACE}");
        let installed = cluster.helm(["status", RELEASE, &namespace]).finish()?;
        cluster
            .helm(["upgrade", "--install", RELEASE])
            .arg(crate::checkout().join("charts/fairlead"))
            .args([&namespace, "--create-namespace", "--wait"])
            .args(values.iter().flat_map(|value| ["--set", value]))
            .run()?;
        if !installed.status.success() {
            return Ok(());
        }
        // Images of one tag may have changed since an earlier run; pods do not notice by
        // themselves.
        cluster
            .kubectl(["rollout", "restart", "deployment", &namespace])
            .run()?;
        cluster
            .kubectl(["rollout", "status", "deployment", &namespace])
            .arg("--timeout=120s")
            .run()
    })
}
