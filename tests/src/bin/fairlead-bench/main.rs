//! Measures what the product promises to hold, and prints the figures beside their limits.
//!
//! Run through `cargo xtask bench`, which builds and starts what is measured. Needs root.

mod init;
mod kubernetes;
mod memory;
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
    /// The machine and the versions, without which the other figures say little
    Rig,
    /// Time that programming the redirect takes
    Init,
    /// Memory, throughput and latency of the sidecar
    Proxy,
    /// Time that admission takes, throughput and memory, beside Istio's; on the cluster of KUBECONFIG with both charts
    /// installed
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
    for figure in figures {
        match figure {
            Figure::Rig => println!("{}", rig::describe()?),
            Figure::Init => print(init::measure)?,
            Figure::Proxy => print(proxy::measure)?,
            Figure::Webhook => print(|| Kubernetes::connect()?.run(webhook::measure))?,
            Figure::Pod => print(|| Kubernetes::connect()?.run(pod::measure))?,
        }
    }
    Ok(())
}

/// Prints a table, and whether its figures may be trusted.
fn print(measure: impl FnOnce() -> anyhow::Result<Table>) -> anyhow::Result<()> {
    let busy = rig::busy_share()?;
    let mut table = measure()?;
    table.note(rig::remark(busy));
    println!("{table}");
    Ok(())
}
