//! `cargo xtask cluster up|down|restart|status|shell`.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::{Cluster, DEFAULT_NAME};

/// What can be done with a cluster.
#[derive(Subcommand)]
pub(crate) enum ClusterVerb {
    /// Start the cluster, or leave it as it is if it is ready; builds and installs what is missing
    Up(Which),
    /// Stop the cluster and remove all that is left of it
    Down(Which),
    /// Kill one of the daemons that `status` names and start it again
    Restart(Restart),
    /// Show each part of the cluster; fails unless all are healthy
    Status(Which),
    /// Open a shell in which kubectl and helm work on the cluster
    Shell(Which),
}

/// Names a cluster.
#[derive(Args)]
pub(crate) struct Which {
    /// Name of the cluster; clusters of different names run beside each other
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
}

/// Names a daemon of a cluster.
#[derive(Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    which: Which,
    /// kube-apiserver, for example
    daemon: String,
}

impl ClusterVerb {
    /// Does it.
    pub(crate) fn run(self) -> Result<ExitCode> {
        match self {
            Self::Up(which) => up(&which.name).map(|()| ExitCode::SUCCESS),
            Self::Down(which) => Cluster::down(&which.name).map(|()| ExitCode::SUCCESS),
            Self::Restart(restart) => {
                Cluster::restart(&restart.which.name, &restart.daemon).map(|()| ExitCode::SUCCESS)
            }
            Self::Status(which) => status(&which.name),
            Self::Shell(which) => shell(&which.name).map(|()| ExitCode::SUCCESS),
        }
    }
}

fn up(name: &str) -> Result<()> {
    let cluster = Cluster::up(name)?;
    print(&format!(
        "cluster {name} is ready. To use it here:\n    export KUBECONFIG={}\n    export PATH={}:$PATH\n\
         or open a shell in it: cargo xtask cluster shell --name {name}",
        cluster.kubeconfig().display(),
        cluster.programs().display()
    ))
}

fn status(name: &str) -> Result<ExitCode> {
    let conditions = Cluster::open(name)?.conditions()?;
    for condition in &conditions {
        let mark = if condition.healthy { "ok" } else { "BAD" };
        print(&format!(
            "{mark:<4}{:<26}{}",
            condition.part, condition.detail
        ))?;
    }
    let healthy = conditions.iter().all(|condition| condition.healthy);
    Ok(if healthy {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Becomes the shell, so that its exit code is ours.
fn shell(name: &str) -> Result<()> {
    let cluster = Cluster::open(name)?;
    let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
    let path = std::env::var("PATH").unwrap_or_default();
    let error = Command::new(&shell)
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("PATH", format!("{}:{path}", cluster.programs().display()))
        .env("CONTAINERD_ADDRESS", cluster.containerd_socket())
        .env("CONTAINERD_NAMESPACE", "k8s.io")
        .exec();
    Err(error).with_context(|| format!("start the shell {}", shell.display()))
}

fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("write to standard output")
}
