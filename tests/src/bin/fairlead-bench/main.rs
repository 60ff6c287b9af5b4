//! Measures what the product promises to hold, and prints the figures beside their limits.
//!
//! Run through `cargo xtask bench`, which builds and starts what is measured. Needs root.

mod init;
mod kubernetes;
mod pod;
mod proxy;
mod rig;
mod summary;
mod table;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::{kubernetes::Kubernetes, table::Table};

/// Measures Fairlead: what it costs in time and memory. Fails only where it cannot measure.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What to measure, in this order.
    #[arg(required = true)]
    figures: Vec<Figure>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Figure {
    /// Time that programming the redirect takes
    Init,
    /// Memory, throughput and latency of the sidecar
    Proxy,
    /// Time that admission takes, and memory; on the cluster of KUBECONFIG with the chart installed
    Webhook,
    /// Time from creating a pod until it is ready; on the same cluster
    Pod,
}

fn main() -> ExitCode {
    match run(&Arguments::parse().figures) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(figures: &[Figure]) -> anyhow::Result<()> {
    rig::print()?;
    for figure in figures {
        println!("{}", measure(*figure)?);
    }
    Ok(())
}

fn measure(figure: Figure) -> anyhow::Result<Table> {
    match figure {
        Figure::Init => init::measure(),
        Figure::Proxy => proxy::measure(),
        Figure::Webhook => Kubernetes::connect()?.run(webhook::measure),
        Figure::Pod => Kubernetes::connect()?.run(pod::measure),
    }
}
