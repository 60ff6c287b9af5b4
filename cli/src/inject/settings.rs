//! The settings to inject with: those of the installed chart, of a file, or the chart's defaults.

use std::{fs, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use fairlead_api::names::DEFAULT_REVISION;
use fairlead_webhook::settings::{NativeSidecar, Settings};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration, core::v1::ConfigMap,
};
use kube::{Api, Client};
use tokio::time::timeout;

use crate::connect::said;

/// What the chart renders with its default values.
const DEFAULTS: &str = include_str!("defaults.yaml");
/// The names of the chart's objects, to which a revision is appended.
const CONFIGURATION: &str = "fairlead-sidecar-injector";
const CONFIG_MAP: &str = "fairlead-webhook";
/// The key of the settings in the ConfigMap.
pub(crate) const KEY: &str = "config.yaml";
/// Of all questions to the cluster together.
const DEADLINE: Duration = Duration::from_secs(30);
/// Without a cluster, pods are for one of today's.
pub(crate) const NEWEST: u32 = u32::MAX;

#[derive(Args)]
pub(crate) struct Source {
    /// Take the settings from this file, and ask no cluster.
    ///
    /// It is the webhook's own: `kubectl -n fairlead-system get configmap fairlead-webhook -o
    /// jsonpath='{.data.config\.yaml}'`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["defaults", "mesh_namespace"])]
    inject_config: Option<String>,
    /// Take the chart's default settings, and ask no cluster.
    #[arg(long, conflicts_with = "mesh_namespace")]
    defaults: bool,
    /// The revision of the installation; default: the one without a name.
    #[arg(long)]
    revision: Option<String>,
    /// The namespace of the installation; default: where its MutatingWebhookConfiguration points.
    #[arg(long, value_name = "NAMESPACE")]
    mesh_namespace: Option<String>,
    /// Whether the proxy is a restartable init container; default: as the settings say.
    ///
    /// auto: where the cluster is 1.29 or newer. Without a cluster, it is taken to be.
    #[arg(long, value_enum)]
    native: Option<Native>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Native {
    Auto,
    True,
    False,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) settings: Settings,
    pub(super) native: bool,
    /// Of objects that name none.
    pub(super) namespace: String,
}

/// Finds the settings.
///
/// # Errors
/// They are not there, or not accepted.
pub(super) async fn load<E>(
    source: &Source,
    client: impl AsyncFnOnce() -> Result<Client, E>,
) -> anyhow::Result<Found>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let (mut settings, minor, namespace) = if let Some(path) = &source.inject_config {
        (from_file(path)?, NEWEST, None)
    } else if source.defaults {
        (defaults()?, NEWEST, None)
    } else {
        let client = client().await.context(
            "the settings are the cluster's; --inject-config FILE or --defaults does without",
        )?;
        let asked = timeout(DEADLINE, from_cluster(&client, source)).await;
        let (settings, minor) =
            asked.map_err(|_| anyhow!("no answer of the cluster within {DEADLINE:?}"))??;
        (settings, minor, Some(client.default_namespace().to_owned()))
    };
    if let Some(revision) = &source.revision {
        if source.defaults {
            settings.revision.clone_from(revision);
        } else if settings.revision != *revision {
            let found = &settings.revision;
            bail!("the settings are of revision {found}, not of {revision}");
        }
    }
    let mode = match source.native {
        None => settings.native_sidecar,
        Some(Native::Auto) => NativeSidecar::Auto,
        Some(Native::True) => NativeSidecar::True,
        Some(Native::False) => NativeSidecar::False,
    };
    Ok(Found {
        native: mode.resolve(minor),
        namespace: namespace.unwrap_or_else(|| "default".to_owned()),
        settings,
    })
}

/// What the chart's default values make.
///
/// # Errors
/// They do not fit this program.
pub(crate) fn defaults() -> anyhow::Result<Settings> {
    Settings::parse(DEFAULTS).context("the chart's defaults")
}

fn from_file(path: &str) -> anyhow::Result<Settings> {
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    Settings::parse(&text).with_context(|| format!("{path} is not the webhook's configuration"))
}

/// The settings, and the minor version of the API server.
async fn from_cluster(client: &Client, source: &Source) -> anyhow::Result<(Settings, u32)> {
    let suffix = match source.revision.as_deref() {
        None | Some("" | DEFAULT_REVISION) => String::new(),
        Some(revision) => format!("-{revision}"),
    };
    let (namespace, name) = match &source.mesh_namespace {
        Some(namespace) => (namespace.clone(), format!("{CONFIG_MAP}{suffix}")),
        None => installed(client, &format!("{CONFIGURATION}{suffix}")).await?,
    };
    of_webhook(client, &namespace, &name).await
}

/// The settings of one webhook, whose ConfigMap is called as its Service, and the minor version of
/// the API server.
///
/// # Errors
/// They are not there, or not accepted.
pub(crate) async fn of_webhook(
    client: &Client,
    namespace: &str,
    name: &str,
) -> anyhow::Result<(Settings, u32)> {
    let place = format!("ConfigMap {name} in namespace {namespace}");
    let map = Api::<ConfigMap>::namespaced(client.clone(), namespace)
        .get(name)
        .await
        .map_err(said)
        .with_context(|| place.clone())?;
    let data = map.data.unwrap_or_default();
    let text = data
        .get(KEY)
        .with_context(|| format!("{place} has no key {KEY}; is it the chart's?"))?;
    let settings = Settings::parse(text).with_context(|| {
        format!("{place}: this program and the installation are perhaps of two versions")
    })?;
    let version = client.apiserver_version().await.map_err(said);
    let version = version.context("ask the API server for its version")?;
    // Vendors write 29+.
    let minor = version
        .minor
        .trim_end_matches(|sign: char| !sign.is_ascii_digit());
    Ok((settings, minor.parse().unwrap_or(0)))
}

/// Namespace and name of the webhook's objects, by the configuration that points to its Service.
async fn installed(client: &Client, name: &str) -> anyhow::Result<(String, String)> {
    let configuration = Api::<MutatingWebhookConfiguration>::all(client.clone())
        .get(name)
        .await
        .with_context(|| {
            format!(
                "MutatingWebhookConfiguration {name}, which tells where the mesh is installed; \
                 --mesh-namespace says so too, and --defaults does without"
            )
        })?;
    let mut entries = configuration.webhooks.into_iter().flatten();
    entries
        .find_map(|entry| entry.client_config.service)
        .map(|service| (service.namespace, service.name))
        .with_context(|| format!("MutatingWebhookConfiguration {name} names no Service"))
}

#[cfg(test)]
mod tests;
