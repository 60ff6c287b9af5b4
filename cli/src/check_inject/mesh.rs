//! Whose webhook an entry is, by the names that each mesh gives to its own, and what the webhooks of
//! other meshes make of a pod, as far as labels and annotations tell.

use std::fmt;

use fairlead_api::names::{DEFAULT_REVISION, IGNORED_NAMESPACES, INJECT, REVISION, WEBHOOK_SUFFIX};
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, WebhookClientConfig,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    entry::labels,
    facts::{Namespace, ServiceName},
};

/// A mesh that puts sidecars into pods.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub(super) enum Mesh {
    Fairlead,
    Istio,
    Linkerd,
    Consul,
    Kuma,
    /// Open Service Mesh.
    Osm,
}

/// One webhook server, to which any number of entries may lead.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub(super) struct Installation {
    pub(super) mesh: Mesh,
    /// Of a mesh that has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revision: Option<String>,
    #[serde(skip)]
    pub(super) server: Server,
}

/// Where the API server calls.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Server {
    Service(ServiceName),
    Url(String),
}

/// What a webhook makes of a pod that it is asked about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    Inject,
    /// It lets the pod pass, and why.
    Skip(String),
    /// It keeps the pod from being created, and why.
    Refuse(Vec<String>),
    /// It cannot be told, and why.
    Unknown(String),
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inject => f.write_str("injects"),
            Self::Skip(why) => write!(f, "lets the pod pass: {why}"),
            Self::Refuse(_) => f.write_str("refuses"),
            Self::Unknown(why) => write!(f, "may inject: {why}"),
        }
    }
}

impl Mesh {
    /// Whose an entry is; none if it is of no mesh that is known here.
    fn of(configuration: &MutatingWebhookConfiguration, webhook: &MutatingWebhook) -> Option<Self> {
        let ends = |suffix: &str| webhook.name.ends_with(suffix);
        let metadata = &configuration.metadata;
        if ends(WEBHOOK_SUFFIX) {
            let part_of = metadata.labels.as_ref();
            let part_of = part_of.and_then(|labels| labels.get("app.kubernetes.io/part-of"));
            let name = metadata.name.as_deref().unwrap_or_default();
            let ours = part_of.is_some_and(|name| name == "fairlead")
                || name.starts_with("fairlead-sidecar-injector");
            return Some(if ours { Self::Fairlead } else { Self::Istio });
        }
        [
            ("linkerd-proxy-injector.linkerd.io", Self::Linkerd),
            ("connect-injector.consul.hashicorp.com", Self::Consul),
            ("kuma-injector.kuma.io", Self::Kuma),
            ("osm-inject.k8s.io", Self::Osm),
        ]
        .into_iter()
        .find_map(|(suffix, mesh)| ends(suffix).then_some(mesh))
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fairlead => "Fairlead",
            Self::Istio => "Istio",
            Self::Linkerd => "Linkerd",
            Self::Consul => "Consul",
            Self::Kuma => "Kuma",
            Self::Osm => "OSM",
        }
    }

    /// What the webhook of another mesh makes of a pod.
    pub(super) fn decide(self, namespace: &Namespace, pod: &Value) -> Decision {
        let host_network = pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
        if host_network {
            return Decision::Skip("the pod uses the host's network".to_owned());
        }
        let of_pod = |key: &str| annotation(pod, key);
        let of_either = |key: &str| {
            let of_namespace = namespace.annotations.get(key).map(String::as_str);
            of_pod(key).or(of_namespace)
        };
        let skip = |words: String| Decision::Skip(words);
        match self {
            Self::Fairlead | Self::Istio => {
                let labels = labels(pod);
                let label = labels.get(INJECT).map(String::as_str);
                if IGNORED_NAMESPACES.contains(&namespace.name.as_str()) {
                    skip("the namespace is never injected".to_owned())
                } else if label.or_else(|| of_pod(INJECT)) == Some("false") {
                    let kind = if label.is_some() {
                        "label"
                    } else {
                        "annotation"
                    };
                    skip(format!("the pod's {kind} {INJECT} is false"))
                } else {
                    Decision::Inject
                }
            }
            Self::Linkerd => match of_either("linkerd.io/inject") {
                Some("enabled" | "ingress") => Decision::Inject,
                found => skip(not_asked_for("linkerd.io/inject", found)),
            },
            Self::Osm => match of_either("openservicemesh.io/sidecar-injection") {
                Some("enabled" | "yes" | "true") => Decision::Inject,
                found => skip(not_asked_for("openservicemesh.io/sidecar-injection", found)),
            },
            Self::Consul => match of_pod("consul.hashicorp.com/connect-inject") {
                Some("true" | "1") => Decision::Inject,
                Some(found) => skip(not_asked_for(
                    "consul.hashicorp.com/connect-inject",
                    Some(found),
                )),
                None => Decision::Unknown(
                    "without the annotation consul.hashicorp.com/connect-inject its own setting \
                     decides, which is not known here"
                        .to_owned(),
                ),
            },
            // Its selectors have decided before.
            Self::Kuma => match of_pod("kuma.io/sidecar-injection") {
                Some(found @ ("disabled" | "false")) => {
                    skip(not_asked_for("kuma.io/sidecar-injection", Some(found)))
                }
                _ => Decision::Inject,
            },
        }
    }
}

/// How a webhook says that an annotation does not ask for it.
fn not_asked_for(key: &str, found: Option<&str>) -> String {
    match found {
        Some(found) => format!("the annotation {key} is {found}"),
        None => format!("it injects pods with the annotation {key}"),
    }
}

pub(super) fn annotation<'a>(pod: &'a Value, key: &str) -> Option<&'a str> {
    pod.pointer("/metadata/annotations")?.get(key)?.as_str()
}

impl Installation {
    /// Whose an entry is.
    pub(super) fn of(
        configuration: &MutatingWebhookConfiguration,
        webhook: &MutatingWebhook,
    ) -> Option<Self> {
        let mesh = Mesh::of(configuration, webhook)?;
        let labels = configuration.metadata.labels.as_ref();
        let revision = labels.and_then(|labels| labels.get(REVISION)).cloned();
        let revision = match mesh {
            Mesh::Fairlead | Mesh::Istio => {
                Some(revision.unwrap_or_else(|| DEFAULT_REVISION.to_owned()))
            }
            _ => None,
        };
        Some(Self {
            mesh,
            revision,
            server: Server::of(&webhook.client_config),
        })
    }

    /// Whether both are answered by one server, whatever name led there.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.mesh == other.mesh && self.server == other.server
    }
}

impl Server {
    pub(super) fn of(client: &WebhookClientConfig) -> Self {
        match &client.service {
            Some(service) => Self::Service(ServiceName {
                namespace: service.namespace.clone(),
                name: service.name.clone(),
            }),
            None => Self::Url(client.url.clone().unwrap_or_default()),
        }
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mesh.name())?;
        match &self.revision {
            Some(revision) => write!(f, ", revision {revision}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(mesh: Mesh, namespace: &Value, pod: &Value, expected: &str) {
        let mut place = Namespace::named("shop");
        place.annotations = serde_json::from_value(namespace.clone()).unwrap();
        let pod = json!({ "metadata": { "annotations": pod }, "spec": {} });
        let found = match mesh.decide(&place, &pod) {
            Decision::Inject => "inject".to_owned(),
            Decision::Skip(why) => why,
            Decision::Unknown(why) => format!("unknown: {why}"),
            Decision::Refuse(_) => "refuse".to_owned(),
        };
        assert!(found.contains(expected), "{expected} in {found}");
    }

    #[test]
    fn other_meshes_have_their_own_annotations() {
        let linkerd = |value: &str| json!({ "linkerd.io/inject": value });
        check(
            Mesh::Linkerd,
            &json!({}),
            &json!({}),
            "it injects pods with",
        );
        check(Mesh::Linkerd, &linkerd("enabled"), &json!({}), "inject");
        check(Mesh::Linkerd, &json!({}), &linkerd("ingress"), "inject");
        check(
            Mesh::Linkerd,
            &linkerd("enabled"),
            &linkerd("disabled"),
            "linkerd.io/inject is disabled",
        );
        let consul = |value: &str| json!({ "consul.hashicorp.com/connect-inject": value });
        check(Mesh::Consul, &json!({}), &json!({}), "unknown: without");
        check(Mesh::Consul, &json!({}), &consul("true"), "inject");
        check(Mesh::Consul, &json!({}), &consul("false"), "is false");
        let kuma = |value: &str| json!({ "kuma.io/sidecar-injection": value });
        check(Mesh::Kuma, &json!({}), &json!({}), "inject");
        check(Mesh::Kuma, &json!({}), &kuma("disabled"), "is disabled");
        let osm = |value: &str| json!({ "openservicemesh.io/sidecar-injection": value });
        check(Mesh::Osm, &osm("enabled"), &json!({}), "inject");
        check(Mesh::Osm, &json!({}), &json!({}), "it injects");
    }

    #[test]
    fn istio_looks_at_label_and_annotation() {
        let annotated = |value: &str| json!({ INJECT: value });
        check(Mesh::Istio, &json!({}), &json!({}), "inject");
        check(Mesh::Istio, &json!({}), &annotated("true"), "inject");
        check(
            Mesh::Istio,
            &json!({}),
            &annotated("false"),
            "the pod's annotation sidecar.istio.io/inject is false",
        );
        // A label hides the annotation, even with a value that decides nothing.
        let mut pod = json!({
            "metadata": { "labels": annotated("x"), "annotations": annotated("false") },
        });
        let shop = Namespace::named("shop");
        assert_eq!(Mesh::Istio.decide(&shop, &pod), Decision::Inject);
        pod["metadata"]["labels"] = annotated("false");
        let skipped = Mesh::Istio.decide(&shop, &pod);
        assert!(matches!(skipped, Decision::Skip(why) if why.contains("label")));
        let system = Namespace::named("kube-system");
        assert!(matches!(
            Mesh::Istio.decide(&system, &json!({})),
            Decision::Skip(_)
        ));
    }

    #[test]
    fn a_pod_on_the_hosts_network_is_no_meshs() {
        let pod = json!({ "spec": { "hostNetwork": true } });
        for mesh in [Mesh::Istio, Mesh::Linkerd, Mesh::Consul, Mesh::Kuma] {
            let decision = mesh.decide(&Namespace::named("shop"), &pod);
            assert!(matches!(decision, Decision::Skip(_)), "{mesh:?}");
        }
    }
}
