//! Which cluster is asked, and its answers in words.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use fairlead_webhook::api_server;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};

use crate::words;

#[derive(Args, Debug, Default)]
pub(crate) struct Connection {
    /// The kubeconfig; default: `KUBECONFIG`, or `~/.kube/config`; in a pod, its service account.
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; default: its current one.
    #[arg(long, global = true)]
    context: Option<String>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error(transparent)]
    Usual(#[from] api_server::ConnectError),
    #[error("read the kubeconfig {}", path.display())]
    File {
        path: PathBuf,
        source: KubeconfigError,
    },
    #[error("use the kubeconfig")]
    Kubeconfig(#[source] KubeconfigError),
    #[error("prepare the connection to the API server")]
    Client(#[source] kube::Error),
}

impl Connection {
    /// A client of the cluster that is meant.
    ///
    /// # Errors
    /// There is no kubeconfig, or it is of no use.
    pub(crate) async fn client(&self) -> Result<Client, ConnectError> {
        if self.kubeconfig.is_none() && self.context.is_none() {
            return Ok(api_server::client().await?);
        }
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path).map_err(|source| ConnectError::File {
                    path: path.clone(),
                    source,
                })?;
                Config::from_custom_kubeconfig(file, &options).await
            }
            None => Config::from_kubeconfig(&options).await,
        };
        let config = config.map_err(ConnectError::Kubeconfig)?;
        Client::try_from(config).map_err(ConnectError::Client)
    }
}

/// The API server's own words, without their wrapping.
pub(crate) fn said(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => anyhow!(status.message),
        other => anyhow!(words::of(&other)),
    }
}
