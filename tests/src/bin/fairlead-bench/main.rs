//! Measures what the product promises to hold, and prints the figures beside their limits.
//!
//! Run through `cargo xtask bench`, which builds and starts what is measured. Needs root.

mod align;
mod init;
mod kubernetes;
mod options;
mod pin;
mod pod;
mod process;
mod proxy;
mod record;
mod rig;
mod summary;
mod table;
mod webhook;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::{kubernetes::Kubernetes, options::Options, table::Table};

/// Measures Fairlead: what it costs in time and memory. Fails only where it cannot measure.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// What to measure, in this order.
    #[arg(required = true)]
    figures: Vec<Figure>,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, ValueEnum)]
enum Figure {
    /// The machine and the versions, without which the other figures say little
    Rig,
    /// Time that programming the redirect takes
    Init,
    /// Memory, throughput, latency and CPU of the sidecar, beside Envoy
    Proxy,
    /// Time that admission takes, throughput and memory, beside Istio's; on the cluster of KUBECONFIG with both charts
    /// installed
    Webhook,
    /// Time from creating a pod until it is ready; on the same cluster
    Pod,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Arguments { figures, options }: &Arguments) -> anyhow::Result<()> {
    // Before anything is measured for nothing.
    let before = options.compare.as_deref().map(record::read).transpose()?;
    for figure in figures {
        match figure {
            Figure::Rig => println!("{}", rig::describe()?),
            Figure::Init => drop(print(|| Ok(vec![init::measure()?]))?),
            Figure::Proxy => {
                let mut tables = print(|| Ok(vec![proxy::hop::measure(options)?]))?;
                tables.extend(print(|| proxy::beside::measure(options))?);
                if let Some(before) = &before {
                    println!("{}", record::compare(before, &tables));
                }
                if let Some(file) = &options.json {
                    record::write(file, &tables)?;
                }
            }
            Figure::Webhook => drop(print(|| {
                Ok(vec![Kubernetes::connect()?.run(webhook::measure)?])
            })?),
            Figure::Pod => drop(print(|| {
                Ok(vec![Kubernetes::connect()?.run(pod::measure)?])
            })?),
        }
    }
    Ok(())
}

/// Prints what was measured, and whether it may be trusted.
fn print(measure: impl FnOnce() -> anyhow::Result<Vec<Table>>) -> anyhow::Result<Vec<Table>> {
    let busy = rig::busy_share()?;
    let mut tables = measure()?;
    for table in &mut tables {
        table.note(rig::remark(busy));
        println!("{table}");
    }
    Ok(tables)
}
