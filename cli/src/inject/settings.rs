//! The settings to inject with: those of the installed chart, of files, or the chart's defaults.

mod values;

use std::{fs, time::Duration};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use fairlead_api::{
    document::Document,
    mesh_config::{self, MeshConfig, config_map},
    names::DEFAULT_REVISION,
};
use fairlead_webhook::{
    settings::{NativeSidecar, Settings},
    surroundings::nodes,
};
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    core::v1::{ConfigMap, Node},
};
use kube::{Api, Client, api::ListParams};
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
    #[arg(long, value_name = "FILE", conflicts_with_all = ["defaults", "values", "mesh_namespace"])]
    inject_config: Option<String>,
    /// Take the settings that the chart makes of these values, and ask no cluster.
    ///
    /// A file as `helm install --values` takes it. Of its keys those count that say what is injected:
    /// injection, proxy, image.proxy, imagePullPolicy, meshConfig, cni, platform, network, revision,
    /// clusterDomain, clusterId and meshId.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["defaults", "mesh_namespace"])]
    values: Option<String>,
    /// Take the mesh's configuration from this file.
    ///
    /// `kubectl -n fairlead-system get configmap istio -o jsonpath='{.data.mesh}'`. Default: the
    /// cluster's or that of the values; with neither, the chart's default.
    #[arg(long, value_name = "FILE")]
    mesh_config: Option<String>,
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
    /// auto: where each node is 1.29 or newer, or the API server if nodes may not be listed. Without
    /// a cluster, they are taken to be.
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
    pub(super) mesh: MeshConfig,
    /// What has no effect in the mesh's configuration.
    pub(super) warnings: Vec<String>,
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
    let (mut settings, mut mesh, minor, namespace) = if let Some(path) = &source.inject_config {
        (from_file(path)?, None, NEWEST, None)
    } else if let Some(path) = &source.values {
        let (settings, mesh) = values::read(&read(path)?).with_context(|| path.clone())?;
        (settings, mesh, NEWEST, None)
    } else if source.defaults {
        (defaults()?, None, NEWEST, None)
    } else {
        let client = client().await.context(
            "the settings are the cluster's; --inject-config FILE, --values FILE or --defaults does \
             without",
        )?;
        let asked = timeout(DEADLINE, from_cluster(&client, source)).await;
        let (settings, mesh, minor) =
            asked.map_err(|_| anyhow!("no answer of the cluster within {DEADLINE:?}"))??;
        let namespace = client.default_namespace().to_owned();
        (settings, mesh, minor, Some(namespace))
    };
    if let Some(path) = &source.mesh_config {
        let read = MeshConfig::parse(&read(path)?);
        mesh = Some(read.with_context(|| format!("{path} is not a mesh's configuration"))?);
    }
    let Document {
        value: mesh,
        warnings,
    } = mesh.unwrap_or_default();
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
        mesh,
        warnings,
    })
}

/// What the chart's default values make.
///
/// # Errors
/// They do not fit this program.
pub(crate) fn defaults() -> anyhow::Result<Settings> {
    Settings::parse(DEFAULTS).context("the chart's defaults")
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

fn from_file(path: &str) -> anyhow::Result<Settings> {
    Settings::parse(&read(path)?)
        .with_context(|| format!("{path} is not the webhook's configuration"))
}

/// The settings, the mesh's configuration if there is one, and the cluster's minor version.
async fn from_cluster(
    client: &Client,
    source: &Source,
) -> anyhow::Result<(Settings, Option<Document<MeshConfig>>, u32)> {
    let suffix = match source.revision.as_deref() {
        None | Some("" | DEFAULT_REVISION) => String::new(),
        Some(revision) => format!("-{revision}"),
    };
    let (namespace, name) = match &source.mesh_namespace {
        Some(namespace) => (namespace.clone(), format!("{CONFIG_MAP}{suffix}")),
        None => installed(client, &format!("{CONFIGURATION}{suffix}")).await?,
    };
    let (settings, minor) = of_webhook(client, &namespace, &name).await?;
    let mesh = match &source.mesh_config {
        Some(_) => None,
        None => of_mesh(client, &namespace, &settings.revision).await?,
    };
    Ok((settings, mesh, minor))
}

/// The mesh's configuration of a revision. What the webhook does not accept is not taken here
/// either: what it took last is not known.
async fn of_mesh(
    client: &Client,
    namespace: &str,
    revision: &str,
) -> anyhow::Result<Option<Document<MeshConfig>>> {
    let name = config_map(revision);
    let place = format!("ConfigMap {name} in namespace {namespace}");
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let map = maps.get_opt(&name).await.map_err(said);
    let map = map.with_context(|| place.clone())?;
    let Some(text) = map.and_then(|map| map.data?.remove(mesh_config::KEY)) else {
        return Ok(None);
    };
    let mesh = MeshConfig::parse(&text);
    let mesh = mesh.with_context(|| format!("{place}; --mesh-config FILE does without"))?;
    Ok(Some(mesh))
}

/// The settings of one webhook, whose ConfigMap is called as its Service, and the minor version of
/// the oldest node, or of the API server.
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
    let oldest = oldest_node(client).await;
    let minor = oldest.or_else(|| nodes::minor(&version.minor));
    Ok((settings, minor.unwrap_or(0)))
}

/// The minor version of the oldest node. Not everybody may list nodes.
async fn oldest_node(client: &Client) -> Option<u32> {
    let nodes = Api::<Node>::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await.ok()?;
    let version = |node: &Node| {
        let info = node.status.as_ref()?.node_info.as_ref()?;
        nodes::minor(&info.kubelet_version)
    };
    // None is the least: one of unknown version makes all unknown.
    nodes.items.iter().map(version).min()?
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
