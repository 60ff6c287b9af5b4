//! `fairlead`, the operator's tool: one file per subcommand.

mod check;
mod explain_packet;

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
    /// Tells whether a packet of a pod is captured, and why, by the rules that are installed.
    ///
    /// Walks the packet through the rules of the pod, rule by rule, and says what each is for and
    /// which setting made it. It needs NET_ADMIN to see them: where the sidecar lacks it, an
    /// ephemeral container of the sidecar's image is added to the pod, which ends at once. With
    /// --from, the rules are read from a file, and no cluster is needed.
    ExplainPacket(explain_packet::Options),
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
    let client = fairlead_webhook::api_server::client;
    match command {
        Command::Check(options) => Ok(check::run(&client().await?, options).await),
        Command::ExplainPacket(options) => {
            explain_packet::run(options, client).await?;
            Ok(true)
        }
    }
}
