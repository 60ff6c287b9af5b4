//! `fairlead explain-packet`: why is a packet captured, or not?

mod ephemeral;
mod exec;

use std::io::{self, Write};

use anyhow::{Context, anyhow, bail};
use clap::{ArgGroup, Args};
use fairlead_api::names::PROXY_CONTAINER;
use fairlead_init::explain::{self, LiveError};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

/// In the image of the sidecar.
const PROGRAM: &str = "/usr/local/bin/fairlead-init";

#[derive(Args)]
#[command(group(ArgGroup::new("rules").required(true).args(["pod", "from"])))]
#[group(skip)]
pub(crate) struct Options {
    /// The pod whose rules are walked.
    #[arg(long)]
    pod: Option<String>,
    /// Its namespace.
    #[arg(long, short, default_value = "default")]
    namespace: String,
    /// Add no ephemeral container to the pod where the sidecar may not look itself.
    #[arg(long)]
    no_ephemeral_container: bool,
    #[command(flatten)]
    packet: explain::Options,
}

/// What a run of the program in the pod left.
#[derive(Debug)]
struct Outcome {
    succeeded: bool,
    stdout: String,
    stderr: String,
}

/// Prints the answer.
///
/// # Errors
/// There is none; the message says why.
pub(crate) async fn run<E>(
    options: &Options,
    client: impl AsyncFnOnce() -> Result<Client, E>,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let answer = match &options.pod {
        None => explain::explain(&options.packet)?,
        // What runs there may be another program by now.
        Some(pod) => explain::printable(&in_pod(options, pod, client().await?).await?),
    };
    io::stdout()
        .write_all(answer.as_bytes())
        .context("print the answer")
}

async fn in_pod(options: &Options, name: &str, client: Client) -> anyhow::Result<String> {
    // Contradictions are found here; the way to the destination is known only there.
    options.packet.packet(explain::Route::default())?;
    let namespace = &options.namespace;
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let pod = pods
        .get(name)
        .await
        .with_context(|| format!("pod {name} in namespace {namespace}"))?;
    let command = [PROGRAM, explain::command::NAME].map(str::to_owned);
    let command: Vec<String> = command
        .into_iter()
        .chain(options.packet.arguments())
        .collect();

    if ephemeral::sidecar(&pod).is_none() {
        bail!(
            "pod {name} has no container {PROXY_CONTAINER}: it is not injected, and nothing of it \
             is captured; `fairlead check` looks whether the installation is whole"
        );
    }
    let why_not = match exec::run(&pods, name, &command).await {
        Ok(by_sidecar) if by_sidecar.succeeded => {
            eprintln!("read by the sidecar itself");
            return Ok(by_sidecar.stdout);
        }
        Ok(by_sidecar) => {
            let complaint = anyhow!(by_sidecar.complaint());
            if !LiveError::tells_of_capability(&by_sidecar.stderr) {
                return Err(complaint.context("in the sidecar"));
            }
            complaint
        }
        // It may not run; another container can nevertheless.
        Err(error) => error,
    };
    if options.no_ephemeral_container {
        return Err(why_not.context("in the sidecar; --no-ephemeral-container forbids another way"));
    }
    let (container, by_container) = ephemeral::run(&pods, &pod, &command).await?;
    if by_container.succeeded {
        eprintln!(
            "read by the ephemeral container {container}, which has ended; the pod lists it until \
             it is deleted"
        );
        return Ok(by_container.stdout);
    }
    bail!(
        "in the ephemeral container {container}: {}",
        by_container.complaint()
    )
}

impl Outcome {
    /// What a failed run said, in one line.
    fn complaint(&self) -> String {
        let text = match self.stderr.trim() {
            "" => self.stdout.trim(),
            text => text,
        };
        let text = text.strip_prefix("error: ").unwrap_or(text);
        match text {
            "" => "it failed without a word".to_owned(),
            text => explain::printable(&text.replace('\n', "; ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Options, Outcome};

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: Options,
    }

    fn parse(arguments: &[&str]) -> Result<Command, clap::Error> {
        Command::try_parse_from([&["fairlead", "--destination", "10.0.0.2:80"], arguments].concat())
    }

    #[test]
    fn rules_come_from_a_pod_or_from_a_file() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--pod", "a", "--from", "b"]).is_err());
        let of_pod = parse(&["--pod", "a", "-n", "b", "--uid", "1000"])
            .unwrap()
            .options;
        assert_eq!(
            (of_pod.pod.as_deref(), of_pod.namespace.as_str()),
            (Some("a"), "b")
        );
        assert_eq!(of_pod.packet.uid, Some(1000));
        assert!(parse(&["--from", "b"]).unwrap().options.pod.is_none());
    }

    #[test]
    fn a_complaint_is_one_line() {
        let complaint = |stdout: &str, stderr: &str| {
            Outcome {
                succeeded: false,
                stdout: stdout.to_owned(),
                stderr: stderr.to_owned(),
            }
            .complaint()
        };
        assert_eq!(complaint("x", "error: a\nb\n"), "a; b");
        assert_eq!(complaint("error: a\n", ""), "a");
        assert_eq!(complaint("", ""), "it failed without a word");
        assert_eq!(complaint("", "a\u{1b}[2J\n"), "a\u{fffd}[2J");
    }
}
