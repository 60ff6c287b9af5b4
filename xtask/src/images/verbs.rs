//! `cargo xtask images`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use super::buildah::Buildah;
use super::{DEFAULT_TAG, build};
use crate::progress;

/// Builds the images, and says where they are.
#[derive(Args)]
pub(crate) struct ImagesVerb {
    /// Push the images of webhook and proxy to this registry, for example registry.example.com/mesh
    #[arg(long, value_name = "REGISTRY")]
    push: Option<String>,
    /// Tag of the images
    #[arg(long, default_value = DEFAULT_TAG)]
    tag: String,
}

impl ImagesVerb {
    /// Does it.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let images = build(&self.tag)?;
        for image in &images {
            writeln!(
                std::io::stdout(),
                "{:<40}{}",
                image.name,
                image.archive.display()
            )
            .context("write to standard output")?;
        }
        if let Some(registry) = &self.push {
            let buildah = Buildah::new()?;
            for image in images.iter().filter(|image| image.short != "testapp") {
                let destination = destination(registry, image.short, &self.tag);
                progress::step(&format!("pushing {destination}"), || {
                    buildah.push(
                        &image.archive,
                        &image.name,
                        &destination,
                        !is_on_this_machine(registry),
                    )
                })?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn destination(registry: &str, image: &str, tag: &str) -> String {
    let registry = registry.trim_end_matches('/');
    format!("{registry}/fairlead/{image}:{tag}")
}

/// A registry on the machine itself has no certificate, as docker assumes too.
fn is_on_this_machine(registry: &str) -> bool {
    let host = registry.split('/').next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_go_below_the_registry() {
        assert_eq!(
            destination("registry.example.com/mesh/", "proxy", "1"),
            "registry.example.com/mesh/fairlead/proxy:1"
        );
    }

    #[test]
    fn only_registries_on_this_machine_need_no_certificate() {
        assert!(is_on_this_machine("localhost:5000"));
        assert!(is_on_this_machine("127.0.0.1"));
        assert!(!is_on_this_machine("localhost.example.com"));
        assert!(!is_on_this_machine("registry.example.com:5000/localhost"));
    }
}
