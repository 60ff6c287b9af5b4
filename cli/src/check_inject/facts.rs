//! All that is known of a cluster, or of a file in its place; who gathers it does nothing else.

use std::{collections::BTreeMap, fmt};

use fairlead_api::mesh_config::MeshConfig;
use fairlead_webhook::settings::Settings;
use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1 as k8s};

/// Which webhooks there are, and what is known of those who answer for them.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) configurations: Vec<MutatingWebhookConfiguration>,
    /// Of each installation of ours, by its Service; or why they are not known.
    pub(super) settings: BTreeMap<ServiceName, Result<Known, String>>,
    /// How many ready endpoints a Service has; or why that is not known.
    pub(super) ready: BTreeMap<ServiceName, Result<usize, String>>,
}

/// What one webhook of ours decides with.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) settings: Settings,
    /// Whether the proxy is a restartable init container.
    pub(super) native: bool,
    pub(super) mesh: MeshConfig,
    /// What is not known of it.
    pub(super) unsure: Vec<String>,
}

impl Known {
    /// With the text of the mesh's configuration, if there is one.
    pub(super) fn new(settings: Settings, minor: u32, mesh: Result<Option<&str>, String>) -> Self {
        let mut unsure = Vec::new();
        let read = match mesh {
            Ok(None) => Ok(MeshConfig::default()),
            Ok(Some(text)) => MeshConfig::parse(text)
                .map(|document| document.value)
                .map_err(|error| {
                    format!("it is not accepted, and the last that was counts: {error}")
                }),
            Err(why) => Err(why),
        };
        let mesh = read.unwrap_or_else(|why| {
            unsure.push(format!("the mesh's configuration is not known here: {why}"));
            MeshConfig::default()
        });
        Self {
            native: settings.native_sidecar.resolve(minor),
            settings,
            mesh,
            unsure,
        }
    }
}

/// A Service of the cluster.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ServiceName {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name } = self;
        write!(f, "Service {name} in namespace {namespace}")
    }
}

/// The label that the API server gives to each namespace.
pub(super) const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// What webhooks see of a namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Namespace {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Namespace {
    /// One of which nothing but the name is known.
    pub(super) fn named(name: &str) -> Self {
        let labels = [(NAME_LABEL.to_owned(), name.to_owned())].into();
        Self {
            name: name.to_owned(),
            labels,
            annotations: BTreeMap::new(),
        }
    }

    /// Its labels without the one that every namespace has.
    pub(super) fn own_labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.labels.iter();
        labels
            .filter(|(key, _)| *key != NAME_LABEL)
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl From<k8s::Namespace> for Namespace {
    fn from(namespace: k8s::Namespace) -> Self {
        let metadata = namespace.metadata;
        let mut read = Self::named(metadata.name.as_deref().unwrap_or_default());
        read.labels.extend(metadata.labels.unwrap_or_default());
        read.annotations = metadata.annotations.unwrap_or_default();
        read
    }
}
