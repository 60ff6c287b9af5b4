//! Reads from files what a cluster would be asked for: what `kubectl get -o yaml` or
//! `helm template` prints.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, bail};
use fairlead_api::mesh_config;
use fairlead_webhook::settings::Settings;
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    core::v1::{ConfigMap, Namespace as KubeNamespace},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    facts::{Facts, Known, Namespace},
    subject::Subject,
    target::Target,
    world::own_services,
};
use crate::{
    inject::settings::{self, KEY, NEWEST},
    manifest::{self, Manifest},
};

/// All that the files say.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) facts: Facts,
    namespaces: BTreeMap<String, Namespace>,
    pub(super) subjects: Vec<Subject>,
}

/// Reads files; - is the standard input.
///
/// # Errors
/// One cannot be read, or says what is not understood.
pub(super) fn read(paths: &[String], namespace: &str) -> anyhow::Result<Files> {
    let mut files = Files::default();
    let mut maps = Vec::new();
    for path in paths {
        let name = manifest::name(path);
        let text = manifest::read(path)?;
        let manifest = Manifest::parse(&text).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow!("{name}: {}", errors.join("; "))
        })?;
        for document in manifest.documents {
            let place = document.place;
            files
                .take(document.value, namespace, &mut maps)
                .with_context(|| format!("{name}: {place}"))?;
        }
    }
    files.settings(&maps)?;
    Ok(files)
}

impl Files {
    /// The namespace of this name; one without labels if no file has it.
    pub(super) fn namespace(&self, name: &str) -> Namespace {
        let known = self.namespaces.get(name).cloned();
        known.unwrap_or_else(|| Namespace::named(name))
    }

    /// Those that the files have.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.values()
    }

    /// The one that is asked about, or all.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn find(
        &self,
        target: Option<&Target>,
        namespace: &str,
    ) -> anyhow::Result<Vec<Subject>> {
        let Some(Target::Object { kind, name }) = target else {
            return Ok(self.subjects.clone());
        };
        let wanted = format!("{}/{name}", kind.kind);
        let found = self
            .subjects
            .iter()
            .find(|subject| subject.name == wanted && subject.namespace == namespace);
        match found {
            Some(found) => Ok(vec![found.clone()]),
            None => bail!("the files have no {wanted} in namespace {namespace}"),
        }
    }

    fn take(
        &mut self,
        mut value: Value,
        namespace: &str,
        maps: &mut Vec<ConfigMap>,
    ) -> anyhow::Result<()> {
        let text = |value: &Value, field: &str| {
            value
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (kind, api_version) = (text(&value, "kind"), text(&value, "apiVersion"));
        match (kind.as_str(), api_version.as_str()) {
            ("MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1") => {
                let configuration: MutatingWebhookConfiguration = typed(value)?;
                self.facts.configurations.push(configuration);
            }
            ("Namespace", "v1") => {
                let namespace = Namespace::from(typed::<KubeNamespace>(value)?);
                self.namespaces.insert(namespace.name.clone(), namespace);
            }
            ("ConfigMap", "v1") => maps.push(typed(value)?),
            (list, _) if list.ends_with("List") => {
                let item_kind = list.trim_end_matches("List");
                let items = value.get_mut("items").and_then(Value::as_array_mut);
                for item in items.map(std::mem::take).unwrap_or_default() {
                    let item = with_type(item, item_kind, &api_version);
                    self.take(item, namespace, maps)?;
                }
            }
            _ => self.take_pods(&mut value, namespace)?,
        }
        Ok(())
    }

    fn take_pods(&mut self, value: &mut Value, namespace: &str) -> anyhow::Result<()> {
        if value.is_null() {
            return Ok(());
        }
        let subjects = &mut self.subjects;
        let edited = manifest::edit(value, |found, pod| {
            let namespace = found.namespace.as_deref().unwrap_or(namespace);
            subjects.push(if found.is_pod() {
                Subject::of_pod(namespace, pod, None)
            } else {
                Subject::of_template(namespace, found, pod, &[])
            });
        });
        edited.map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow!(errors.join("; "))
        })
    }

    /// Gives each webhook its settings: the chart's defaults, if no file has its own.
    fn settings(&mut self, maps: &[ConfigMap]) -> anyhow::Result<()> {
        for service in own_services(&self.facts.configurations) {
            let text = |name: &str, key: &str| {
                let map = maps.iter().find(|map| {
                    map.metadata.name.as_deref() == Some(name)
                        && map.metadata.namespace.as_ref() == Some(&service.namespace)
                });
                map?.data.as_ref()?.get(key)
            };
            let settings = match text(&service.name, KEY) {
                Some(text) => Settings::parse(text)
                    .with_context(|| format!("the ConfigMap {}", service.name))?,
                None => settings::defaults()?,
            };
            let mesh = mesh_config::config_map(&settings.revision);
            let mesh = text(&mesh, mesh_config::KEY).map(String::as_str);
            let known = Known::new(settings, NEWEST, Ok(mesh));
            self.facts.settings.insert(service, Ok(known));
        }
        Ok(())
    }
}

fn typed<T: DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    serde_json::from_value(value).context("it has not the form of its kind")
}

/// The items of a typed list leave out what they are.
fn with_type(mut item: Value, kind: &str, api_version: &str) -> Value {
    if let Some(object) = item.as_object_mut()
        && !kind.is_empty()
    {
        object.entry("kind").or_insert_with(|| kind.into());
        object
            .entry("apiVersion")
            .or_insert_with(|| api_version.into());
    }
    item
}
