//! Container images, built with buildah in a storage of our own, so that none of the user's is touched.

mod buildah;

use std::path::{Path, PathBuf};

use anyhow::Result;

use self::buildah::Buildah;
use crate::cluster::PAUSE_IMAGE;
use crate::tools::Tools;
use crate::{cache, progress};

/// The name under which the cluster's manifest asks for CoreDNS.
const COREDNS_IMAGE: &str = "docker.io/fairlead/coredns:dev";

/// The images a cluster needs before anything else can run, as OCI archives: built once, beside the programs in them.
pub(crate) fn cluster_images(tools: &Tools) -> Result<Vec<PathBuf>> {
    let images = [("pause", PAUSE_IMAGE), ("coredns", COREDNS_IMAGE)];
    let version = tools.directory().file_name().unwrap_or_default().display();
    let directory = cache::ensure(&format!("images-of-{version}"), |scratch| {
        progress::step("packing the images of pause and CoreDNS", || {
            let buildah = Buildah::new()?;
            images.iter().try_for_each(|(program, name)| {
                let recipe = format!(
                    "FROM scratch\nCOPY {program} /{program}\nENTRYPOINT [\"/{program}\"]\n"
                );
                buildah.build(name, &recipe, tools.directory(), &[])?;
                buildah.archive(name, &archive(scratch, program))
            })
        })
    })?;
    Ok(images
        .iter()
        .map(|(program, _)| archive(&directory, program))
        .collect())
}

fn archive(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.oci.tar"))
}
