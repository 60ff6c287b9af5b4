//! Who a proxy is, and what control planes and metrics call it.

use std::{collections::BTreeMap, net::IpAddr};

use fairlead_api::names;
use serde_json::{Map, Value};

/// Who a proxy is, in Istio's terms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// Name of the pod.
    pub name: String,
    /// Namespace of the pod.
    pub namespace: String,
    /// Address of the pod.
    pub ip: IpAddr,
    /// Service account of the pod.
    pub service_account: String,
    /// DNS domain of the pod's services.
    pub domain: String,
    /// `ISTIO_META_*`.
    pub metadata: BTreeMap<String, String>,
    /// The pod's labels.
    pub labels: BTreeMap<String, String>,
    /// The pod's annotations.
    pub annotations: BTreeMap<String, String>,
}

impl Node {
    /// `sidecar~10.0.0.1~pod.namespace~domain`, as control planes know a proxy.
    pub fn id(&self) -> String {
        format!(
            "sidecar~{}~{}.{}~{}",
            self.ip, self.name, self.namespace, self.domain
        )
    }

    /// The workload, with its namespace.
    pub fn cluster(&self) -> String {
        format!("{}.{}", self.canonical_name(), self.namespace)
    }

    /// The service's name in metrics: from the first label that has one, else the workload's.
    pub fn canonical_name(&self) -> &str {
        [names::CANONICAL_NAME_LABEL, "app.kubernetes.io/name", "app"]
            .iter()
            .find_map(|label| self.label(label))
            .unwrap_or_else(|| self.workload())
    }

    /// The version in metrics.
    pub fn canonical_revision(&self) -> &str {
        [
            names::CANONICAL_REVISION_LABEL,
            "app.kubernetes.io/version",
            "version",
        ]
        .iter()
        .find_map(|label| self.label(label))
        .unwrap_or("latest")
    }

    /// The object that made the pod; the pod itself when that is not known.
    pub fn workload(&self) -> &str {
        self.metadata.get("WORKLOAD_NAME").unwrap_or(&self.name)
    }

    /// One label of the pod, unless it is empty.
    pub fn label(&self, name: &str) -> Option<&str> {
        let value = self.labels.get(name)?;
        (!value.is_empty()).then_some(value)
    }

    /// The node's metadata with Istio's keys.
    pub fn metadata(&self) -> Value {
        let text = |value: &str| Value::from(value);
        let map = |map: &BTreeMap<String, String>| -> Value {
            map.iter()
                .map(|(key, value)| (key.clone(), text(value)))
                .collect::<Map<_, _>>()
                .into()
        };
        let mut metadata: Map<String, Value> = self
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), text(value)))
            .collect();
        metadata.insert("NAME".to_owned(), text(&self.name));
        metadata.insert("NAMESPACE".to_owned(), text(&self.namespace));
        metadata.insert("INSTANCE_IPS".to_owned(), text(&self.ip.to_string()));
        metadata.insert("SERVICE_ACCOUNT".to_owned(), text(&self.service_account));
        metadata.insert("LABELS".to_owned(), map(&self.labels));
        metadata.insert("ANNOTATIONS".to_owned(), map(&self.annotations));
        metadata.into()
    }
}
