//! Container images, built with buildah in a storage of our own, so that none of the user's is
//! touched.
//!
//! `webhook` and `proxy` come from the Dockerfile at the top of the checkout, which docker users
//! use too; `testapp`, `pause` and `coredns` are one static program each.

mod buildah;
pub(crate) mod programs;
mod recipe;
pub(crate) mod verbs;

use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, anyhow};

use self::buildah::Buildah;
use self::recipe::Recipe;
use crate::cluster::PAUSE_IMAGE;
use crate::packages::{self, Needed};
use crate::tools::Tools;
use crate::{cache, progress};

/// The tag of images that are not told another: the version of the workspace.
pub(crate) const DEFAULT_TAG: &str = env!("CARGO_PKG_VERSION");

/// What builds images.
pub(crate) const PACKAGES: [Needed; 2] = [("buildah", "buildah"), ("debootstrap", "debootstrap")];

/// The name under which the cluster's manifest asks for CoreDNS.
const COREDNS_IMAGE: &str = "docker.io/fairlead/coredns:dev";

/// An image that was built.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// Its name in `fairlead/`.
    pub(crate) short: &'static str,
    /// The full name with its tag, as Kubernetes completes it too.
    pub(crate) name: String,
    /// The OCI archive it lies in.
    pub(crate) archive: PathBuf,
}

/// Builds the programs and the images `webhook`, `proxy` and `testapp`; leaves an image alone if
/// nothing in it changed.
pub(crate) fn build(tag: &str) -> Result<Vec<Image>> {
    packages::ensure(&PACKAGES)?;
    let buildah = Buildah::new()?;
    let (built, base) = thread::scope(|scope| {
        // The base waits for the network while the compiler has the processors.
        let base = scope.spawn(|| buildah.debian_base());
        (programs::build(&programs::PROGRAMS), base.join())
    });
    let built = built?;
    let base = base.map_err(|_| anyhow!("the thread that makes the base image panicked"))??;
    let directory = programs::target_directory().join("images");
    // Two runs would fill the same files.
    let _lock = cache::lock(&directory.join("lock"), "another run that packs images")?;
    let recipes = [
        Recipe::from_dockerfile("webhook", &["fairlead-webhook", "fairlead"], &base)?,
        Recipe::from_dockerfile("proxy", &["fairlead-init", "fairlead-proxy"], &base)?,
        Recipe::of_one_program("testapp", "fairlead-testapp"),
    ];
    recipes
        .iter()
        .map(|recipe| recipe.build(&buildah, &built, &directory, tag))
        .collect()
}

/// The image of a peer's static program, which lies alone in a directory of the cache: built once,
/// and kept beside it.
pub(crate) fn of_peer(name: &str, program: &Path, user: u32) -> Result<PathBuf> {
    let in_cache = program.parent().zip(program.file_name());
    let (context, file) = in_cache.context("a program is a file in a directory")?;
    let file = file.display();
    let cached = context.file_name().unwrap_or_default().display();
    let directory = cache::ensure(&format!("{cached}-image"), |scratch| {
        progress::step(&format!("packing image {name}"), || {
            packages::ensure(&PACKAGES)?;
            let recipe = format!(
                "FROM scratch\nCOPY {file} /{file}\nUSER {user}:{user}\nENTRYPOINT [\"/{file}\"]\n"
            );
            Buildah::new()?.build(name, &recipe, context, &[], &scratch.join("image.tar"))
        })
    })?;
    Ok(directory.join("image.tar"))
}

/// The images a cluster needs before anything else can run: built once, and kept beside the
/// programs in them.
pub(crate) fn cluster_images(tools: &Tools) -> Result<Vec<PathBuf>> {
    let images = [("pause", PAUSE_IMAGE), ("coredns", COREDNS_IMAGE)];
    let archive = |directory: &Path, program: &str| directory.join(format!("{program}.tar"));
    let version = tools.directory().file_name().unwrap_or_default().display();
    let directory = cache::ensure(&format!("{version}-images"), |scratch| {
        progress::step("packing the images of pause and CoreDNS", || {
            let buildah = Buildah::new()?;
            images.iter().try_for_each(|(program, name)| {
                let recipe = format!(
                    "FROM scratch\nCOPY {program} /{program}\nENTRYPOINT [\"/{program}\"]\n"
                );
                buildah.build(
                    name,
                    &recipe,
                    tools.directory(),
                    &[],
                    &archive(scratch, program),
                )
            })
        })
    })?;
    Ok(images
        .iter()
        .map(|(program, _)| archive(&directory, program))
        .collect())
}
