//! `fairlead`, the operator's tool: one file per subcommand.

mod annotations;
mod check;
mod check_inject;
mod connect;
mod explain_packet;
mod inject;
mod manifest;
mod rewrite;
mod uninject;
mod words;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The operator's tool of the Fairlead service mesh.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    connection: connect::Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists the annotations of pods and namespaces: what is accepted, the default, the effect.
    ///
    /// fairlead annotations excludeInbound
    Annotations(annotations::Options),
    /// Checks an installation: the webhook is trusted, has replicas, and injects a pod.
    ///
    /// The pod is created by server-side dry run, so nothing stays. Exit code 1 if a check fails.
    Check(check::Options),
    /// Tells whether a pod gets a sidecar when it is created, by which webhook, and why.
    ///
    /// Asks every MutatingWebhookConfiguration whether it wants the pod, as the API server does, and
    /// decides then as the webhook itself does, with the settings of its installation. It also tells
    /// what running pods have now, how to renew them, and which labels to change for a sidecar.
    /// Nothing is created.
    ///
    /// Exit code 0: the pod is injected, or rightly left alone. Exit code 1: it is refused, several
    /// revisions or meshes take it, it asks for a sidecar that nobody has, a webhook cannot be called,
    /// it cannot be told, or what is asked about cannot be read.
    ///
    /// fairlead check-inject deploy/cart -n shop
    CheckInject(check_inject::Options),
    /// Tells whether a packet of a pod is captured, and why, by the rules that are installed.
    ///
    /// Walks the packet through the rules of the pod, rule by rule, and says what each is for and
    /// which setting made it. It needs NET_ADMIN to see them: where the sidecar lacks it, an
    /// ephemeral container of the sidecar's image is added to the pod, which ends at once. With
    /// --from, the rules are read from a file, and no cluster is needed.
    ExplainPacket(explain_packet::Options),
    /// Adds the sidecar to the pods of a manifest, as the webhook does when they are created.
    ///
    /// Takes YAML and JSON with any number of documents, and prints them again: Pods, everything
    /// with a pod template (Deployments, CronJobs, Rollouts and their like) and lists of these with
    /// the sidecar, all other documents byte by byte. A changed document is written anew, with its
    /// keys in order; of its comments those before the first line stay. Each pod has a line on the
    /// standard error. If one is refused, or a document cannot be read, every fault is told, nothing
    /// is printed, and the exit code is 1. Labels of namespaces decide nothing here; annotations of the
    /// manifest's own Namespaces are defaults of their pods'.
    ///
    /// fairlead inject -f app.yaml | kubectl apply -f -
    Inject(inject::Options),
    /// Takes out of a manifest what `fairlead inject` or the webhook has added to its pods.
    ///
    /// After `fairlead inject` the manifest says again what it said before. Documents without
    /// sidecars come through byte by byte. What was edited since the injection and no longer fits
    /// is refused: every fault is told, nothing is printed, and the exit code is 1.
    Uninject(uninject::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", words::of_all(&error));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    // Only a second call fails, and then the same provider is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = async || arguments.connection.client().await;
    match &arguments.command {
        Command::Annotations(options) => annotations::run(options),
        Command::Check(options) => Ok(check::run(&client().await?, options).await),
        Command::CheckInject(options) => check_inject::run(options, client).await,
        Command::ExplainPacket(options) => {
            explain_packet::run(options, client).await?;
            Ok(true)
        }
        Command::Inject(options) => inject::run(options, client).await,
        Command::Uninject(options) => uninject::run(options),
    }
}
