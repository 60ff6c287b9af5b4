//! `fairlead`, the operator's tool: one file per subcommand.

mod check;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The operator's tool of the Fairlead service mesh.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks an installation: the webhook is trusted, has replicas, and injects a pod.
    ///
    /// The pod is created by server-side dry run, so nothing stays. Exit code 1 if a check fails.
    Check(check::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(command: &Command) -> anyhow::Result<bool> {
    // Only a second call fails, and then the same provider is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = fairlead_webhook::api_server::client().await?;
    match command {
        Command::Check(options) => Ok(check::run(&client, options).await),
    }
}
