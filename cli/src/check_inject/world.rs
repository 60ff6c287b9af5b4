//! The webhooks of a cluster that new pods are shown to.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration};

use super::{
    entry,
    facts::{Facts, Known, ServiceName},
    mesh::{Installation, Mesh, Server},
};

/// The webhooks that new pods are shown to, and what is known of their servers.
#[derive(Debug)]
pub(super) struct World {
    /// In the order in which the API server asks them.
    pub(super) entries: Vec<Entry>,
    pub(super) settings: BTreeMap<ServiceName, Result<Known, String>>,
    pub(super) ready: BTreeMap<ServiceName, Result<usize, String>>,
}

/// One entry of a MutatingWebhookConfiguration.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) configuration: String,
    /// None if it is of no mesh that is known here.
    pub(super) installation: Option<Installation>,
    pub(super) webhook: MutatingWebhook,
    /// Whether an API server has it; what a chart renders has no CA bundle yet.
    is_live: bool,
}

impl World {
    pub(super) fn new(facts: Facts) -> Self {
        let mut configurations = facts.configurations;
        configurations.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let mut entries = Vec::new();
        for mut configuration in configurations {
            let webhooks = configuration.webhooks.take().unwrap_or_default();
            for webhook in webhooks {
                if !entry::reviews_new_pods(&webhook) {
                    continue;
                }
                entries.push(Entry {
                    configuration: configuration.metadata.name.clone().unwrap_or_default(),
                    installation: Installation::of(&configuration, &webhook),
                    webhook,
                    is_live: configuration.metadata.uid.is_some(),
                });
            }
        }
        Self {
            entries,
            settings: facts.settings,
            ready: facts.ready,
        }
    }

    /// The entries of our own installations.
    pub(super) fn own_entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.is_own())
    }
}

impl Entry {
    pub(super) fn is_own(&self) -> bool {
        let mesh = self.installation.as_ref().map(|found| found.mesh);
        mesh == Some(Mesh::Fairlead)
    }

    /// Whether pods come into being without it where it cannot be called.
    pub(super) fn is_ignored_on_failure(&self) -> bool {
        self.webhook.failure_policy.as_deref() == Some("Ignore")
    }

    /// What keeps the API server from calling it.
    pub(super) fn obstacles(
        &self,
        ready: &BTreeMap<ServiceName, Result<usize, String>>,
    ) -> Vec<String> {
        let client = &self.webhook.client_config;
        let Server::Service(service) = Server::of(client) else {
            return Vec::new();
        };
        let mut obstacles = Vec::new();
        let bundle = client.ca_bundle.as_ref();
        if self.is_live && bundle.is_none_or(|bundle| bundle.0.is_empty()) {
            obstacles.push(format!(
                "{} has no CA bundle for {}",
                self.configuration, self.webhook.name
            ));
        }
        if let Some(Ok(0)) = ready.get(&service) {
            obstacles.push(format!("{service} has no ready endpoint"));
        }
        obstacles
    }
}

/// The Services behind all webhooks that new pods are shown to.
pub(super) fn services(configurations: &[MutatingWebhookConfiguration]) -> BTreeSet<ServiceName> {
    servers(configurations)
        .map(|(service, _)| service)
        .collect()
}

/// Those of our own webhooks.
pub(super) fn own_services(
    configurations: &[MutatingWebhookConfiguration],
) -> BTreeSet<ServiceName> {
    let own = servers(configurations).filter(|(_, mesh)| *mesh == Some(Mesh::Fairlead));
    own.map(|(service, _)| service).collect()
}

fn servers(
    configurations: &[MutatingWebhookConfiguration],
) -> impl Iterator<Item = (ServiceName, Option<Mesh>)> {
    let all = configurations.iter().flat_map(|configuration| {
        let webhooks = configuration.webhooks.iter().flatten();
        webhooks.map(move |webhook| (configuration, webhook))
    });
    all.filter(|(_, webhook)| entry::reviews_new_pods(webhook))
        .filter_map(|(configuration, webhook)| {
            let Server::Service(service) = Server::of(&webhook.client_config) else {
                return None;
            };
            let installation = Installation::of(configuration, webhook);
            Some((service, installation.map(|found| found.mesh)))
        })
}
