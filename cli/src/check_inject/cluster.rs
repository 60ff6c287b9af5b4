//! Asks the cluster for all that decides, and for what is asked about.

use anyhow::{Context, bail};
use fairlead_api::mesh_config;
use k8s_openapi::{
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        core::v1::{ConfigMap, Namespace as KubeNamespace},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams},
    core::Selector,
};
use serde_json::Value;

use super::{
    facts::{Facts, Known, Namespace, ServiceName},
    subject::{self, Subject},
    target::Kind,
    world::{own_services, services},
};
use crate::{check::ready_endpoints, connect::said, inject::settings, manifest};

/// Gathers what is known of the webhooks.
///
/// # Errors
/// They cannot be listed. What else cannot be read is part of the facts.
pub(super) async fn facts(client: &Client) -> anyhow::Result<Facts> {
    let configurations = Api::<MutatingWebhookConfiguration>::all(client.clone())
        .list(&ListParams::default())
        .await
        .map_err(said)
        .context(
            "list the MutatingWebhookConfigurations; it takes a ClusterRole that lets you list \
             mutatingwebhookconfigurations",
        )?;
    let mut facts = Facts {
        configurations: configurations.items,
        ..Facts::default()
    };
    let own = own_services(&facts.configurations);
    for service in services(&facts.configurations) {
        if own.contains(&service) {
            let known = known(client, &service).await;
            let known = known.map_err(|error| format!("its settings cannot be read: {error:#}"));
            facts.settings.insert(service.clone(), known);
        }
        let ready = ready(client, &service).await;
        let ready = ready.map_err(|error| said(error).to_string());
        facts.ready.insert(service, ready);
    }
    Ok(facts)
}

async fn known(client: &Client, service: &ServiceName) -> anyhow::Result<Known> {
    let (settings, minor) = settings::of_webhook(client, &service.namespace, &service.name).await?;
    let name = mesh_config::config_map(&settings.revision);
    let maps = Api::<ConfigMap>::namespaced(client.clone(), &service.namespace);
    let map = match maps.get_opt(&name).await {
        Ok(map) => Ok(map.and_then(|map| map.data?.remove(mesh_config::KEY))),
        Err(error) => Err(said(error).to_string()),
    };
    let mesh = match &map {
        Ok(text) => Ok(text.as_deref()),
        Err(why) => Err(why.clone()),
    };
    Ok(Known::new(settings, minor, mesh))
}

async fn ready(client: &Client, service: &ServiceName) -> kube::Result<usize> {
    let label = format!("kubernetes.io/service-name={}", service.name);
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), &service.namespace)
        .list(&ListParams::default().labels(&label))
        .await?;
    Ok(ready_endpoints(&slices.items))
}

/// A namespace of the cluster.
///
/// # Errors
/// It is not there, or may not be read.
pub(super) async fn namespace(client: &Client, name: &str) -> anyhow::Result<Namespace> {
    let namespace = Api::<KubeNamespace>::all(client.clone()).get(name).await;
    let namespace = namespace
        .map_err(said)
        .with_context(|| format!("namespace {name}, whose labels decide"))?;
    Ok(Namespace::from(namespace))
}

/// One object, as JSON.
async fn object(
    client: &Client,
    namespace: &str,
    kind: &Kind,
    name: &str,
) -> Result<Value, kube::Error> {
    let resource = kind.resource();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let object = api.get(name).await?;
    serde_json::to_value(object).map_err(kube::Error::SerdeError)
}

/// A pod, or a workload with its pods.
///
/// # Errors
/// It is not there, or may not be read.
pub(super) async fn subject(
    client: &Client,
    namespace: &str,
    kind: &'static Kind,
    name: &str,
) -> anyhow::Result<Subject> {
    let found = object(client, namespace, kind, name).await;
    let mut object = found.map_err(|error| {
        let is_missing = matches!(&error, kube::Error::Api(status) if status.is_not_found());
        let hint = if is_missing {
            " (-n names another namespace, deploy/NAME another kind)"
        } else {
            ""
        };
        let kind = kind.kind;
        said(error).context(format!("{kind} {name} in namespace {namespace}{hint}"))
    })?;
    if kind.is_pod() {
        let controller = controller(client, namespace, &object).await;
        return Ok(Subject::of_pod(namespace, &object, controller.as_ref()));
    }
    let selector = object.pointer("/spec/selector").cloned();
    let pods = match selector.and_then(|selector| label_selector(kind, selector)) {
        Some(selector) => pods(client, namespace, &selector).await?,
        None => Vec::new(),
    };
    let Some((workload, template)) = template(&mut object) else {
        bail!(
            "{} {name} in namespace {namespace} has no pod template",
            kind.kind
        );
    };
    Ok(Subject::of_template(namespace, &workload, &template, &pods))
}

/// The pods with these labels.
///
/// # Errors
/// They may not be listed, or there are none.
pub(super) async fn selected(
    client: &Client,
    namespace: &str,
    selector: &str,
) -> anyhow::Result<Vec<Subject>> {
    let pods = pods(client, namespace, selector).await?;
    if pods.is_empty() {
        bail!("no pod in namespace {namespace} has the labels {selector}");
    }
    let mut subjects = Vec::new();
    // Most have the same.
    let mut controllers: Vec<(Value, Option<(manifest::Subject, Value)>)> = Vec::new();
    for pod in &pods {
        let reference = subject::controller(pod).cloned().unwrap_or_default();
        let known = controllers
            .iter()
            .position(|(known, _)| *known == reference);
        let index = match known {
            Some(index) => index,
            None => {
                let found = controller(client, namespace, pod).await;
                controllers.push((reference, found));
                controllers.len() - 1
            }
        };
        let controller = controllers[index].1.as_ref();
        subjects.push(Subject::of_pod(namespace, pod, controller));
    }
    Ok(subjects)
}

async fn pods(client: &Client, namespace: &str, selector: &str) -> anyhow::Result<Vec<Value>> {
    let resource = Kind::pod().resource();
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let pods = api
        .list(&ListParams::default().labels(selector))
        .await
        .map_err(said)
        .with_context(|| format!("list the pods {selector} in namespace {namespace}"))?;
    let pods = pods.items.into_iter().map(serde_json::to_value);
    pods.collect::<Result<_, _>>().context("read a pod")
}

/// The selector of a workload, as the API takes it.
fn label_selector(kind: &Kind, selector: Value) -> Option<String> {
    // The oldest kind has the labels alone.
    let selector = if kind.kind == "ReplicationController" {
        serde_json::json!({ "matchLabels": selector })
    } else {
        selector
    };
    let selector: LabelSelector = serde_json::from_value(selector).ok()?;
    let selector = Selector::try_from(selector).ok()?;
    (!selector.selects_all()).then(|| selector.to_string())
}

/// The controller of a pod with its template. Where it is of another kind, or may not be read, the
/// pod speaks for itself.
async fn controller(
    client: &Client,
    namespace: &str,
    pod: &Value,
) -> Option<(manifest::Subject, Value)> {
    let reference = subject::controller(pod)?;
    let text = |field: &str| reference.get(field).and_then(Value::as_str);
    let kind = Kind::of(text("kind")?, text("apiVersion")?)?;
    let mut found = object(client, namespace, kind, text("name")?).await.ok()?;
    template(&mut found)
}

fn template(object: &mut Value) -> Option<(manifest::Subject, Value)> {
    let mut found = None;
    let edited = manifest::edit(object, |subject, template| {
        found = Some((subject.clone(), template.clone()));
    });
    edited.ok()?;
    found
}
