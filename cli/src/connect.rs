//! How the tool finds the API server.

use anyhow::Context;
use kube::{Client, Config};

/// A client for the cluster of the pod that this runs in, else of the kubeconfig.
///
/// In a pod the address comes from the environment: an image without NSS cannot resolve names.
pub(crate) async fn client() -> anyhow::Result<Client> {
    // Only a second call fails, and then the same provider is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = match Config::incluster_env() {
        Ok(config) => config,
        Err(_) => Config::from_kubeconfig(&kube::config::KubeConfigOptions::default())
            .await
            .context("find a cluster: set KUBECONFIG or run in a pod with a service account")?,
    };
    Client::try_from(config).context("prepare the connection to the API server")
}
