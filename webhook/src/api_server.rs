//! Calling the API server: its address, patience with it, and its version.

use std::{error::Error, time::Duration};

use fairlead_runtime::readiness::Gate;
use kube::{Client, Config, runtime::utils};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::surroundings::nodes;

/// The API server answers small requests at once or not at all.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// The API server's version changes only with an upgrade of the cluster.
const VERSION_CHECK: Duration = Duration::from_secs(600);
/// The pauses between attempts. Short, since pods wait; with ten replicas it is still one call in
/// half a second.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a pod's environment nor a kubeconfig.
    #[error(
        "find the API server: not in a pod (KUBERNETES_SERVICE_HOST and the service account's \
         token are missing), and there is no kubeconfig"
    )]
    Config(#[source] kube::config::KubeconfigError),
    /// The credentials are of no use.
    #[error("prepare the connection to the API server")]
    Client(#[source] kube::Error),
}

/// A client by the addresses that Kubernetes gives each pod; outside of one, by the kubeconfig.
///
/// # Errors
/// There is neither, or its credentials cannot be read.
pub async fn client() -> Result<Client, ConnectError> {
    let config = match Config::incluster_env() {
        Ok(config) => config,
        Err(_) => Config::from_kubeconfig(&kube::config::KubeConfigOptions::default())
            .await
            .map_err(ConnectError::Config)?,
    };
    Client::try_from(config).map_err(ConnectError::Client)
}

/// Tells the minor version of the API server, and again when the cluster may have been upgraded.
/// Runs until it is dropped.
pub async fn follow_version(client: Client, minor: watch::Sender<Option<u32>>, gate: Gate) {
    let mut pauses = Backoff::default();
    loop {
        let pause = match call(client.apiserver_version()).await {
            Ok(version) => {
                let known = nodes::minor(&version.minor).unwrap_or(0);
                if minor.send_replace(Some(known)) != Some(known) {
                    info!(version = version.git_version, "the API server's version");
                }
                gate.open();
                VERSION_CHECK
            }
            Err(error) => {
                warn!("ask the API server for its version: {}", words(&error));
                pauses.next().unwrap_or(LONGEST_PAUSE)
            }
        };
        sleep(pause).await;
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error("no answer within {} s", CALL_DEADLINE.as_secs())]
    Deadline,
}

impl CallError {
    /// Whether the object has changed since it was read.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Kube(kube::Error::Api(status)) if status.is_conflict())
    }
}

/// Waits for an answer, but not for ever.
pub(crate) async fn call<T>(answer: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match timeout(CALL_DEADLINE, answer).await {
        Ok(answered) => answered.map_err(CallError::Kube),
        Err(_) => Err(CallError::Deadline),
    }
}

/// An error and its causes in one line, the API server's own words without their wrapping.
pub(crate) fn words(error: &(dyn Error + 'static)) -> String {
    let mut line = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let (text, source) = match error.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => (status.message.clone(), None),
            _ => (error.to_string(), error.source()),
        };
        if !line.contains(&text) {
            if !line.is_empty() {
                line += ": ";
            }
            line += &text;
        }
        next = source;
    }
    line
}

/// Growing pauses.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST_PAUSE }
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

impl utils::Backoff for Backoff {
    fn reset(&mut self) {
        *self = Self::default();
    }
}
