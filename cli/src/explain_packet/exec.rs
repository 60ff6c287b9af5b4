//! The run by the sidecar itself, as `kubectl exec` would make it.

use std::time::Duration;

use anyhow::{Context, anyhow};
use fairlead_api::names::PROXY_CONTAINER;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{Api, api::AttachParams};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use super::Outcome;

/// Walking takes milliseconds; listing the rules of a busy node may take seconds.
const DEADLINE: Duration = Duration::from_secs(30);
/// The most that is read of an answer: all rules of a node fit.
const LONGEST: u64 = 64 << 20;

/// Runs a command in the pod's `istio-proxy`.
///
/// # Errors
/// It does not run, or the API server refuses.
pub(super) async fn run(
    pods: &Api<Pod>,
    name: &str,
    command: &[String],
) -> anyhow::Result<Outcome> {
    let parameters = AttachParams::default()
        .container(PROXY_CONTAINER)
        .stdin(false)
        .stdout(true)
        .stderr(true);
    let talk = async {
        let mut process = pods
            .exec(name, command, &parameters)
            .await
            .with_context(|| {
                format!(
                    "run {} in {PROXY_CONTAINER} of pod {name} (this needs create on pods/exec)",
                    command[0]
                )
            })?;
        let status = process.take_status();
        let (stdout, stderr) = tokio::join!(text(process.stdout()), text(process.stderr()));
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        let succeeded = status.as_ref().is_some_and(is_success);
        let mut stderr = stderr?;
        if !succeeded && stderr.is_empty() {
            // The runtime itself complains there: about a program that is not in the image, say.
            stderr = status.and_then(|status| status.message).unwrap_or_default();
        }
        Ok(Outcome {
            succeeded,
            stdout: stdout?,
            stderr,
        })
    };
    timeout(DEADLINE, talk)
        .await
        .map_err(|_| anyhow!("no answer from pod {name} within {} s", DEADLINE.as_secs()))?
}

fn is_success(status: &Status) -> bool {
    status.status.as_deref() == Some("Success")
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        let mut stream = stream.take(LONGEST);
        stream
            .read_to_end(&mut bytes)
            .await
            .context("read the answer")?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
