//! Builds, tests, demonstrates and measures Fairlead: `cargo xtask VERB`.

mod bench;
mod cache;
mod cluster;
mod command;
mod demo;
mod envoy;
mod go;
mod images;
mod istio;
mod lint;
mod packages;
mod product;
mod progress;
mod test;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::cluster::verbs::ClusterVerb;
use crate::images::verbs::ImagesVerb;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Builds, tests, demonstrates and measures Fairlead"
)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// From nothing to a call through two sidecars on a real Kubernetes
    Demo {
        /// The cluster it runs on
        #[arg(long, default_value = cluster::DEFAULT_NAME)]
        name: String,
    },
    /// Every test; the last line counts
    Test {
        /// Only these
        rungs: Vec<test::Rung>,
    },
    /// What it costs in time and memory, beside the limits it must hold
    Bench(bench::Arguments),
    /// Formatting, clippy and the dependency policy
    Lint,
    /// The real one-node Kubernetes that the demo and the tests run on
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Build the container images, without docker and without a registry
    Images(ImagesVerb),
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            progress::fail(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Demo { name } => demo::run(&name).map(|()| ExitCode::SUCCESS),
        Verb::Test { rungs } => test::run(&rungs),
        Verb::Bench(arguments) => bench::run(&arguments).map(|()| ExitCode::SUCCESS),
        Verb::Lint => lint::run().map(|()| ExitCode::SUCCESS),
        Verb::Cluster(verb) => verb.run(),
        Verb::Images(verb) => verb.run(),
    }
}

/// The root of the checkout this program was built from.
fn checkout() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}
