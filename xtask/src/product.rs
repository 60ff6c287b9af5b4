//! What the demo, the tests and the benchmarks need before they can start.

use std::thread;

use anyhow::{Result, anyhow};

use crate::images::{self, Image};
use crate::tools::Tools;
use crate::{cluster, packages};

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
