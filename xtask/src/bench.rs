//! `cargo xtask bench`: what the product costs in time and memory, beside the limits it must hold.
//!
//! The program that measures is `fairlead-bench` of the package `fairlead-tests`; this builds it and all that it measures.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::cluster::{self, Cluster};
use crate::command::Program;
use crate::images::{self, programs};
use crate::istio::{self, Istiod};
use crate::{envoy, packages, product};

/// The cluster of the figures is its own, so that nothing else runs on it.
const CLUSTER: &str = "bench";

/// What to measure, and how.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// Only these
    figures: Vec<Figure>,
    /// Fewer and shorter rounds of the sidecar's figures, for who changes it: a first impression
    #[arg(long)]
    quick: bool,
    /// Where the sidecar's figures are kept as JSON [default: target/bench/proxy.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The sidecar's figures of an earlier run, to show what has changed since
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Figure {
    /// Time that programming the redirect takes, beside Istio's program, in network namespaces; needs root
    Init,
    /// Memory, throughput, latency and CPU of the sidecar, beside Envoy, in network namespaces; needs root
    Proxy,
    /// What admission adds to the creation of a pod, throughput and memory, beside Istio's, on a cluster; needs root
    Webhook,
    /// Time from creating a pod until it is ready, on a cluster; needs root
    Pod,
}

impl Figure {
    const ALL: [Self; 4] = [Self::Init, Self::Proxy, Self::Webhook, Self::Pod];

    /// What `fairlead-bench` calls it.
    const fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Proxy => "proxy",
            Self::Webhook => "webhook",
            Self::Pod => "pod",
        }
    }

    const fn needs_cluster(self) -> bool {
        matches!(self, Self::Webhook | Self::Pod)
    }
}

/// Measures the figures, all if none is named, and prints them. Fails only where it cannot measure.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (on_cluster, in_namespaces) = split(&arguments.figures);
    // Everything is built before anything is measured: a compiler beside it would be measured too.
    let images = if on_cluster.is_empty() {
        packages::ensure(&cluster::PACKAGES)?;
        Vec::new()
    } else {
        product::ensure()?
    };
    let pilot_agent = if in_namespaces.contains(&Figure::Init.name()) {
        Some(istio::pilot_agent()?)
    } else {
        None
    };
    let envoy = if in_namespaces.contains(&Figure::Proxy.name()) {
        Some(envoy::program()?)
    } else {
        None
    };
    let istiod = if on_cluster.contains(&Figure::Webhook.name()) {
        Some(Istiod::ensure()?)
    } else {
        None
    };
    // With the same packages as for the images, so that cargo builds none of them twice.
    let programs = programs::build(&[programs::PROGRAMS.as_slice(), &[programs::BENCH]].concat())?;
    let bench = |figures: &[&str]| {
        Program::new(programs.join("fairlead-bench"))
            .args(figures)
            .env("FAIRLEAD_BIN_DIR", &programs)
    };
    // Before the cluster starts, whose daemons are never quite idle.
    let mut quiet = bench(&[&["rig"], in_namespaces.as_slice()].concat());
    if let Some(program) = pilot_agent {
        quiet = quiet.env("FAIRLEAD_BENCH_PILOT_AGENT", program);
    }
    if let Some(program) = envoy {
        quiet = arguments.tell(quiet)?.env("FAIRLEAD_BENCH_ENVOY", program);
    }
    quiet.show()?;
    if on_cluster.is_empty() {
        return Ok(());
    }
    let mut on_cluster = bench(&on_cluster);
    if istiod.is_some() {
        let measured = programs::benchmark("fairlead-webhook", "review")?;
        on_cluster = on_cluster.env("FAIRLEAD_BENCH_CRITERION", measured);
    }
    with_cluster(&images, |cluster| {
        if let Some(istiod) = &istiod {
            istiod.install(cluster)?;
        }
        on_cluster.env("KUBECONFIG", cluster.kubeconfig()).show()
    })
}

impl Arguments {
    /// Says how the sidecar is measured.
    fn tell(&self, mut bench: Program) -> Result<Program> {
        let json = match &self.json {
            Some(file) => file.clone(),
            None => programs::target_directory().join("bench/proxy.json"),
        };
        if let Some(directory) = json.parent() {
            fs::create_dir_all(directory)
                .with_context(|| format!("create {}", directory.display()))?;
        }
        bench = bench.arg("--json").arg(json);
        if let Some(file) = &self.compare {
            bench = bench.arg("--compare").arg(file);
        }
        Ok(if self.quick {
            bench.arg("--quick")
        } else {
            bench
        })
    }
}

/// The names of the figures that need a cluster, and of those that do not.
fn split(which: &[Figure]) -> (Vec<&'static str>, Vec<&'static str>) {
    let wanted = Figure::ALL
        .into_iter()
        .filter(|figure| which.is_empty() || which.contains(figure));
    let (on_cluster, in_namespaces): (Vec<_>, Vec<_>) = wanted.partition(|f| f.needs_cluster());
    let names = |figures: Vec<Figure>| figures.into_iter().map(Figure::name).collect();
    (names(on_cluster), names(in_namespaces))
}

/// Does the work on a cluster with the chart installed, and stops it afterwards if it did not run before.
fn with_cluster(images: &[images::Image], work: impl FnOnce(&Cluster) -> Result<()>) -> Result<()> {
    let ran_before = Cluster::open(CLUSTER).is_ok();
    let cluster = Cluster::up(CLUSTER)?;
    let result = product::install(&cluster, images, &[]).and_then(|()| work(&cluster));
    if !ran_before {
        Cluster::down(CLUSTER)?;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(which: &[Figure], on_cluster: &[&str], in_namespaces: &[&str]) {
        let expected = (on_cluster.to_vec(), in_namespaces.to_vec());
        assert_eq!(split(which), expected, "{which:?}");
    }

    #[test]
    fn no_figure_named_means_all() {
        check(&[], &["webhook", "pod"], &["init", "proxy"]);
    }

    #[test]
    fn figures_keep_their_order_however_they_are_named() {
        check(&[Figure::Proxy, Figure::Init], &[], &["init", "proxy"]);
        check(&[Figure::Pod], &["pod"], &[]);
    }
}
