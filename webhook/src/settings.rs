//! The injector's configuration file: what the operator decides for every pod of the mesh.
//!
//! The chart renders it into a ConfigMap. It is read once, into types; every value that is not
//! accepted is told at once.

mod container;
mod file;
mod selector;
mod template;

use std::collections::BTreeMap;

use fairlead_api::values::{
    ImageReference, InterceptionMode, LogLevel, Ports, Quantity, Selection,
};
use ipnet::IpNet;
use kube::core::Selector;
use serde::Deserialize;

use self::file::File;
pub(crate) use self::template::known_templates;
pub use self::{
    container::{ContainerSettings, Readiness},
    template::{GATEWAY, SIDECAR, Template},
};
use crate::events;

/// What every injected pod gets unless its annotations say otherwise, and which pods are injected.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What happens to a pod that nothing else decides.
    pub policy: Policy,
    /// Pods that are not injected unless their own label or annotation asks for it. An empty selector
    /// selects none of them: the policy says better what is to happen to every pod.
    pub never_inject: Vec<Selector>,
    /// Pods that are injected unless their own label or annotation forbids it; as above.
    pub always_inject: Vec<Selector>,
    /// Which pods an Event tells of.
    pub events: events::Selection,
    /// The revision written into the pod.
    pub revision: String,
    /// Whether the proxy is a restartable init container.
    pub native_sidecar: NativeSidecar,
    /// The image of both containers.
    pub image: ImageReference,
    /// When the kubelet pulls it; absent leaves the choice to Kubernetes.
    pub image_pull_policy: Option<PullPolicy>,
    /// Secrets in the pod's namespace with which the kubelet pulls it.
    pub image_pull_secrets: Vec<String>,
    /// The proxy's log level.
    pub log_level: LogLevel,
    /// The resources of both containers.
    pub resources: Resources,
    /// How inbound connections come to the proxy.
    pub interception_mode: InterceptionMode,
    /// Whether the redirect is programmed with nftables instead of iptables.
    pub native_nftables: bool,
    /// Whether the kubelet asks the proxy in the application's place.
    pub rewrite_app_http_probe: bool,
    /// Which traffic is captured.
    pub traffic: Traffic,
    /// How the proxy's container is made.
    pub container: ContainerSettings,
    /// The mesh's own overlays by name.
    pub templates: BTreeMap<String, Template>,
    /// What is laid over pods that name no templates.
    pub default_templates: Vec<String>,
    /// Who programs the redirect.
    pub cni: Cni,
    /// Whose rules of who may run as which user hold.
    pub platform: Platform,
    /// The name of the pods' network in the proxy's node metadata; empty: there is only one.
    pub network: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// Name of the Kubernetes cluster in the proxy's node metadata.
    pub cluster_id: String,
    /// Name of the mesh in the proxy's node metadata.
    pub mesh_id: String,
}

/// What happens to a pod that neither its label, its annotation nor a selector decides.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// It is injected.
    #[default]
    Enabled,
    /// It is left alone.
    Disabled,
}

/// Whether the proxy is a restartable init container.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum NativeSidecar {
    /// Where the pod's node, or the oldest of all, has them by default.
    #[default]
    Auto,
    /// Always.
    True,
    /// Never: the proxy is a plain container.
    False,
}

impl NativeSidecar {
    /// The mode on a node with this minor version of Kubernetes 1.
    pub fn resolve(self, minor: u32) -> bool {
        match self {
            // Restartable init containers are on by default from 1.29. Istio waits for 1.33, where
            // they are stable: what it waits for has changed nothing for a proxy.
            Self::Auto => minor >= 29,
            Self::True => true,
            Self::False => false,
        }
    }
}

/// Whether a node agent programs the redirect in the place of an init container.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Cni {
    /// Whether it does.
    pub enabled: bool,
    /// How the node agent is called.
    pub provider: CniProvider,
}

/// How a node agent is called.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum CniProvider {
    /// For each pod, chained after the network's own plugin.
    #[default]
    Default,
    /// By Multus, for pods that name the network `default/istio-cni`.
    Multus,
}

/// Whose rules of who may run as which user hold.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
pub enum Platform {
    /// Kubernetes' own.
    #[default]
    #[serde(rename = "")]
    Kubernetes,
    /// OpenShift's, where each namespace has users of its own.
    #[serde(rename = "openshift")]
    OpenShift,
}

/// When the kubelet pulls an image.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// When the node lacks it.
    IfNotPresent,
    /// Never.
    Never,
}

impl PullPolicy {
    /// The name in the Kubernetes API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// Requests and limits of a container, by resource name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    /// What the scheduler reserves.
    pub requests: BTreeMap<String, Quantity>,
    /// What the kernel enforces.
    pub limits: BTreeMap<String, Quantity>,
}

/// Which traffic is captured; each is the default of the annotation of the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// `-b`
    pub include_inbound_ports: Selection<Ports>,
    /// `-d`, after the mesh's own ports
    pub exclude_inbound_ports: Vec<Ports>,
    /// `-i`
    pub include_outbound_ip_ranges: Selection<IpNet>,
    /// `-x`
    pub exclude_outbound_ip_ranges: Vec<IpNet>,
    /// `-q`
    pub include_outbound_ports: Selection<Ports>,
    /// `-o`
    pub exclude_outbound_ports: Vec<Ports>,
}

impl Settings {
    /// Reads the file's text.
    ///
    /// # Errors
    /// The first fault of the form, or every value that is not accepted.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let file: File = serde_norway::from_str(text)?;
        let mut faults = Vec::new();
        let settings = file.check(&mut faults);
        match settings {
            Some(settings) if faults.is_empty() => Ok(settings),
            _ => Err(SettingsError::Values(faults)),
        }
    }
}

/// Why the injector's configuration file is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not YAML, an unknown field, or a value of the wrong type.
    #[error("read it as YAML")]
    Form(#[from] serde_norway::Error),
    /// Values that are not accepted; each line names one.
    #[error("{}", .0.join("; "))]
    Values(Vec<String>),
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The settings that the other modules' tests start from.
    pub(crate) fn settings() -> Settings {
        Settings::parse(
            "
            image: fairlead/proxy:0.1.0
            imagePullPolicy: IfNotPresent
            resources:
              requests: { cpu: 50m, memory: 40Mi }
              limits: { cpu: 2, memory: 512Mi }
            ",
        )
        .unwrap()
    }

    #[track_caller]
    fn check_fault(text: &str, parts: &[&str]) {
        let error = Settings::parse(text).unwrap_err();
        let text = match &error {
            SettingsError::Form(cause) => cause.to_string(),
            SettingsError::Values(_) => error.to_string(),
        };
        for part in parts {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn an_image_alone_is_enough() {
        let settings = settings();
        assert_eq!(settings.policy, Policy::Enabled);
        assert_eq!(settings.revision, "default");
        assert_eq!(settings.mesh_id, "cluster.local");
        assert_eq!(settings.interception_mode, InterceptionMode::Redirect);
        assert!(!settings.native_nftables);
        assert_eq!(settings.traffic.include_inbound_ports, Selection::All);
        assert_eq!(
            settings.traffic.include_outbound_ports,
            Selection::Only(vec![])
        );
        assert_eq!(settings.resources.limits["cpu"].as_str(), "2");
    }

    #[test]
    fn a_misspelt_field_is_named() {
        check_fault("image: a\npolizy: enabled", &["polizy"]);
        check_fault(
            "image: a\ntraffic: {includeInboundPort: 1}",
            &["includeInboundPort"],
        );
    }

    #[test]
    fn every_bad_value_is_told_at_once() {
        check_fault(
            "
            image: 'a b'
            interceptionMode: none
            resources: { limits: { cpu: lots } }
            traffic: { excludeInboundPorts: '70000', includeOutboundIPRanges: '10.0.0.0/33' }
            neverInjectSelector:
            - matchExpressions: [{ key: a, operator: Near }]
            ",
            &[
                "'a b' for image",
                "'none' for interceptionMode: REDIRECT, TPROXY or NONE is accepted",
                "'lots' for resources.limits.cpu",
                "'70000' for traffic.excludeInboundPorts",
                "10.0.0.0/33",
                "'Near' for neverInjectSelector[0].matchExpressions[0].operator",
            ],
        );
    }

    #[test]
    fn native_sidecars_follow_the_version_unless_told() {
        for (mode, minor, native) in [
            (NativeSidecar::Auto, 28, false),
            (NativeSidecar::Auto, 29, true),
            (NativeSidecar::True, 28, true),
            (NativeSidecar::False, 35, false),
        ] {
            assert_eq!(mode.resolve(minor), native, "{mode:?} on 1.{minor}");
        }
    }
}
