//! `fairlead check`: is the installation whole?

use std::fmt;

use clap::Args;
use fairlead_api::names;
use k8s_openapi::api::{
    admissionregistration::v1::{MutatingWebhookConfiguration, ServiceReference},
    core::v1::Pod,
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};

use crate::words;

#[derive(Args)]
pub(crate) struct Options {
    /// The namespace in which a pod is created by dry run; it needs no label.
    #[arg(long, short, default_value = "default")]
    namespace: String,
    /// The webhook configuration that the chart installed.
    #[arg(long, default_value = "fairlead-sidecar-injector")]
    webhook_configuration: String,
}

/// Runs the checks in order, prints each, and stops at the first that fails.
pub(crate) async fn run(client: &Client, options: &Options) -> bool {
    match check_each(client, options).await {
        Ok(()) => {
            println!("Fairlead is ready.");
            true
        }
        Err(Failure { problem, remedy }) => {
            println!("× {problem}\n    {remedy}");
            false
        }
    }
}

/// What is wrong, and what to do.
#[derive(Debug)]
struct Failure {
    problem: String,
    remedy: String,
}

impl Failure {
    fn new(problem: impl fmt::Display, remedy: impl Into<String>) -> Self {
        Self {
            problem: problem.to_string(),
            remedy: remedy.into(),
        }
    }
}

async fn check_each(client: &Client, options: &Options) -> Result<(), Failure> {
    let version = client.apiserver_version().await.map_err(|error| {
        Failure::new(
            words::of(&error),
            "look at KUBECONFIG and at the cluster itself",
        )
    })?;
    println!("√ the API server answers ({})", version.git_version);

    let name = &options.webhook_configuration;
    let configuration = Api::<MutatingWebhookConfiguration>::all(client.clone())
        .get(name)
        .await
        .map_err(|error| {
            Failure::new(
                format!("MutatingWebhookConfiguration {name}: {}", words::of(&error)),
                "install the chart: helm install fairlead charts/fairlead -n fairlead-system",
            )
        })?;
    let service = trusted_service(&configuration)?;
    println!("√ the API server trusts the webhook: every entry of {name} has a CA bundle");

    let slices = Api::<EndpointSlice>::namespaced(client.clone(), &service.namespace)
        .list(
            &ListParams::default().labels(&format!("kubernetes.io/service-name={}", service.name)),
        )
        .await
        .map_err(|error| {
            Failure::new(
                format!(
                    "endpoints of {}/{}: {}",
                    service.namespace,
                    service.name,
                    words::of(&error)
                ),
                "grant list on endpointslices in that namespace",
            )
        })?;
    let ready = ready_endpoints(&slices.items);
    if ready == 0 {
        return Err(Failure::new(
            format!(
                "Service {}/{} has no ready endpoint",
                service.namespace, service.name
            ),
            format!(
                "kubectl -n {0} get pods; kubectl -n {0} logs -l app.kubernetes.io/name=fairlead",
                service.namespace
            ),
        ));
    }
    println!("√ the webhook has {ready} ready endpoint(s)");

    let injected = Api::<Pod>::namespaced(client.clone(), &options.namespace)
        .create(
            &PostParams {
                dry_run: true,
                ..PostParams::default()
            },
            &sample_pod(revision(&configuration)),
        )
        .await
        .map_err(|error| {
            Failure::new(
                format!(
                    "a pod in namespace {} is refused: {}",
                    options.namespace,
                    words::of(&error)
                ),
                "the message names who refused it; --namespace picks another namespace",
            )
        })?;
    let containers = mesh_containers(&injected);
    if containers != [names::INIT_CONTAINER, names::PROXY_CONTAINER] {
        return Err(Failure::new(
            format!(
                "a pod labelled {}=true in namespace {} is not injected (mesh containers: {containers:?})",
                names::INJECT,
                options.namespace
            ),
            format!(
                "see the namespace's labels ({}=disabled opts out) and --namespace",
                names::INJECTION_LABEL
            ),
        ));
    }
    println!(
        "√ a pod in namespace {} is injected (dry run)",
        options.namespace
    );
    Ok(())
}

/// The Service behind the configuration, if each entry can be verified.
fn trusted_service(
    configuration: &MutatingWebhookConfiguration,
) -> Result<ServiceReference, Failure> {
    let entries = configuration.webhooks.as_deref().unwrap_or_default();
    let untrusted: Vec<&str> = entries
        .iter()
        .filter(|entry| {
            entry
                .client_config
                .ca_bundle
                .as_ref()
                .is_none_or(|ca| ca.0.is_empty())
        })
        .map(|entry| entry.name.as_str())
        .collect();
    if !untrusted.is_empty() {
        return Err(Failure::new(
            format!("no CA bundle in {}", untrusted.join(", ")),
            "the webhook writes it when it starts: look at its pods and their logs",
        ));
    }
    entries
        .iter()
        .find_map(|entry| entry.client_config.service.clone())
        .ok_or_else(|| {
            Failure::new(
                "the webhook configuration names no Service",
                "install the chart again: helm upgrade --install fairlead charts/fairlead",
            )
        })
}

/// How many endpoints of a Service are ready.
pub(crate) fn ready_endpoints(slices: &[EndpointSlice]) -> usize {
    let endpoints = slices
        .iter()
        .flat_map(|slice| slice.endpoints.iter().flatten());
    // Absent means ready (discovery.k8s.io/v1 EndpointConditions).
    let ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
        endpoint
            .conditions
            .as_ref()
            .and_then(|c| c.ready)
            .unwrap_or(true)
    };
    endpoints.filter(ready).count()
}

/// The mesh's containers in a pod, init containers first.
fn mesh_containers(pod: &Pod) -> Vec<&str> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let init = spec.init_containers.iter().flatten();
    init.chain(&spec.containers)
        .map(|container| container.name.as_str())
        .filter(|name| [names::INIT_CONTAINER, names::PROXY_CONTAINER].contains(name))
        .collect()
}

/// The revision of the installation, which a pod outside its namespaces has to name unless it is the default one.
fn revision(configuration: &MutatingWebhookConfiguration) -> Option<&str> {
    let labels = configuration.metadata.labels.as_ref()?;
    let revision = labels.get(names::REVISION)?.as_str();
    (revision != names::DEFAULT_REVISION).then_some(revision)
}

fn sample_pod(revision: Option<&str>) -> Pod {
    let mut pod = serde_json::json!({
        "metadata": {"generateName": "fairlead-check-", "labels": {names::INJECT: "true"}},
        "spec": {"containers": [{"name": "application", "image": "registry.k8s.io/pause:3.10"}]},
    });
    if let Some(revision) = revision {
        pod["metadata"]["labels"][names::REVISION] = revision.into();
    }
    serde_json::from_value(pod).expect("a literal pod has a pod's shape")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(entries: &serde_json::Value) -> MutatingWebhookConfiguration {
        serde_json::from_value(serde_json::json!({"metadata": {}, "webhooks": entries})).unwrap()
    }

    fn entry(name: &str, ca_bundle: &str) -> serde_json::Value {
        serde_json::json!({
            "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "clientConfig": {
                "caBundle": ca_bundle,
                "service": {"name": "webhook", "namespace": "mesh"},
            },
        })
    }

    #[test]
    fn the_service_is_read_from_trusted_entries() {
        let trusted = configuration(&serde_json::json!([entry("a", "Q0E="), entry("b", "Q0E=")]));
        assert_eq!(trusted_service(&trusted).unwrap().name, "webhook");
    }

    #[test]
    fn an_entry_without_a_bundle_is_named() {
        let half = configuration(&serde_json::json!([entry("a", "Q0E="), entry("b", "")]));
        assert_eq!(
            trusted_service(&half).unwrap_err().problem,
            "no CA bundle in b"
        );
    }

    #[test]
    fn a_configuration_without_entries_is_a_failure() {
        assert!(trusted_service(&configuration(&serde_json::json!([]))).is_err());
    }

    #[test]
    fn a_pod_names_the_revision_unless_it_is_the_default_one() {
        let label = |revision: Option<&str>| {
            let mut installed = configuration(&serde_json::json!([]));
            installed.metadata.labels =
                revision.map(|name| [(names::REVISION.to_owned(), name.to_owned())].into());
            sample_pod(super::revision(&installed))
                .metadata
                .labels
                .unwrap()
                .get(names::REVISION)
                .cloned()
        };
        assert_eq!(label(None), None);
        assert_eq!(label(Some("default")), None);
        assert_eq!(label(Some("canary")), Some("canary".to_owned()));
    }

    #[test]
    fn an_endpoint_without_conditions_is_ready() {
        let slice = serde_json::json!({
            "metadata": {}, "addressType": "IPv4", "ports": [],
            "endpoints": [
                {"addresses": ["10.0.0.1"]},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            ],
        });
        assert_eq!(
            ready_endpoints(&[serde_json::from_value(slice).unwrap()]),
            1
        );
    }

    #[test]
    fn native_and_plain_sidecars_are_both_found() {
        let pod = |init: &[&str], plain: &[&str]| -> Pod {
            let named = |names: &[&str]| -> Vec<_> {
                names
                    .iter()
                    .map(|name| serde_json::json!({"name": name}))
                    .collect()
            };
            serde_json::from_value(serde_json::json!({
                "spec": {"initContainers": named(init), "containers": named(plain)}
            }))
            .unwrap()
        };
        let both = [names::INIT_CONTAINER, names::PROXY_CONTAINER];
        assert_eq!(
            mesh_containers(&pod(&["istio-init", "istio-proxy"], &["app"])),
            both
        );
        assert_eq!(
            mesh_containers(&pod(&["istio-init"], &["app", "istio-proxy"])),
            both
        );
        assert!(mesh_containers(&pod(&[], &["app"])).is_empty());
    }
}
