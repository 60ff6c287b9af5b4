//! The configuration file's wire form, and its values → [`Settings`] or every fault.

use std::collections::BTreeMap;

use fairlead_api::{
    names::DEFAULT_REVISION,
    values::{
        InterceptionMode, LogLevel, Quantity, ValueError, parse_cidrs, parse_ports, parse_selection,
    },
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::events;

use super::{
    Cni, NativeSidecar, Platform, Policy, PullPolicy, Resources, Settings, Traffic,
    container::{self, Readiness, SeccompFile, StartupFile},
    selector::{self, SelectorFile},
    template,
};

/// The file as it is written. Unknown fields are faults, so that a misspelt one is noticed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    policy: Policy,
    #[serde(default)]
    never_inject_selector: Vec<SelectorFile>,
    #[serde(default)]
    always_inject_selector: Vec<SelectorFile>,
    #[serde(default)]
    events: events::Selection,
    #[serde(default)]
    revision: String,
    #[serde(default)]
    native_sidecar: NativeSidecar,
    image: String,
    #[serde(default)]
    image_pull_policy: Option<PullPolicy>,
    #[serde(default)]
    image_pull_secrets: Vec<String>,
    #[serde(default)]
    log_level: LogLevel,
    #[serde(default)]
    resources: ResourcesFile,
    #[serde(default = "interception_mode")]
    interception_mode: String,
    #[serde(default)]
    native_nftables: bool,
    #[serde(default = "yes", rename = "rewriteAppHTTPProbe")]
    rewrite_app_http_probe: bool,
    #[serde(default)]
    traffic: TrafficFile,
    #[serde(default)]
    privileged: bool,
    #[serde(default)]
    seccomp_profile: SeccompFile,
    #[serde(default)]
    lifecycle: Map<String, Value>,
    #[serde(default)]
    startup_probe: StartupFile,
    #[serde(default)]
    readiness_probe: Readiness,
    #[serde(default)]
    templates: BTreeMap<String, Value>,
    #[serde(default = "default_templates")]
    default_templates: Vec<String>,
    #[serde(default)]
    cni: Cni,
    #[serde(default)]
    platform: Platform,
    #[serde(default)]
    network: String,
    #[serde(default = "cluster_domain")]
    cluster_domain: String,
    #[serde(default = "cluster_id")]
    cluster_id: String,
    #[serde(default)]
    mesh_id: Option<String>,
}

fn yes() -> bool {
    true
}

fn cluster_domain() -> String {
    "cluster.local".to_owned()
}

fn default_templates() -> Vec<String> {
    vec![template::SIDECAR.to_owned()]
}

fn interception_mode() -> String {
    InterceptionMode::default().as_str().to_owned()
}

/// Istio's name for a mesh of one cluster.
fn cluster_id() -> String {
    "Kubernetes".to_owned()
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ResourcesFile {
    requests: BTreeMap<String, Scalar>,
    limits: BTreeMap<String, Scalar>,
}

/// A quantity as YAML gives it: `100m` is text, `2` a number.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Whole(u64),
    Fraction(f64),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Whole(number) => number.to_string(),
            Self::Fraction(number) => number.to_string(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct TrafficFile {
    include_inbound_ports: String,
    exclude_inbound_ports: String,
    #[serde(rename = "includeOutboundIPRanges")]
    include_outbound_ip_ranges: String,
    #[serde(rename = "excludeOutboundIPRanges")]
    exclude_outbound_ip_ranges: String,
    include_outbound_ports: String,
    exclude_outbound_ports: String,
}

/// Istio's: everything is captured.
impl Default for TrafficFile {
    fn default() -> Self {
        Self {
            include_inbound_ports: "*".to_owned(),
            exclude_inbound_ports: String::new(),
            include_outbound_ip_ranges: "*".to_owned(),
            exclude_outbound_ip_ranges: String::new(),
            include_outbound_ports: String::new(),
            exclude_outbound_ports: String::new(),
        }
    }
}

impl File {
    /// The settings, unless a value is not accepted; then the faults say which and why.
    pub(super) fn check(self, faults: &mut Vec<String>) -> Option<Settings> {
        let never_inject =
            selector::check("neverInjectSelector", self.never_inject_selector, faults);
        let always_inject =
            selector::check("alwaysInjectSelector", self.always_inject_selector, faults);
        let image = value("image", self.image.parse(), &self.image, faults);
        let resources = Resources {
            requests: quantities("resources.requests", &self.resources.requests, faults),
            limits: quantities("resources.limits", &self.resources.limits, faults),
        };
        let mode = &self.interception_mode;
        let interception_mode = value("interceptionMode", mode.parse(), mode, faults);
        let traffic = self.traffic.check(faults);
        let container = container::check(
            self.privileged,
            self.seccomp_profile,
            self.lifecycle,
            &self.startup_probe,
            self.readiness_probe,
            faults,
        );
        let templates = template::check(self.templates, &self.default_templates, faults);
        Some(Settings {
            policy: self.policy,
            never_inject,
            always_inject,
            events: self.events,
            revision: if self.revision.is_empty() {
                DEFAULT_REVISION.to_owned()
            } else {
                self.revision
            },
            native_sidecar: self.native_sidecar,
            image: image?,
            image_pull_policy: self.image_pull_policy,
            image_pull_secrets: self.image_pull_secrets,
            log_level: self.log_level,
            resources,
            interception_mode: interception_mode?,
            native_nftables: self.native_nftables,
            rewrite_app_http_probe: self.rewrite_app_http_probe,
            traffic: traffic?,
            container,
            templates,
            default_templates: self.default_templates,
            cni: self.cni,
            platform: self.platform,
            network: self.network,
            mesh_id: self.mesh_id.unwrap_or_else(|| self.cluster_domain.clone()),
            cluster_domain: self.cluster_domain,
            cluster_id: self.cluster_id,
        })
    }
}

impl TrafficFile {
    fn check(&self, faults: &mut Vec<String>) -> Option<Traffic> {
        let ports = |text: &str| parse_ports(text);
        let ports_or_all = |text: &str| parse_selection(text, parse_ports);
        let ranges_or_all = |text: &str| parse_selection(text, parse_cidrs);
        let mut read = Reader { faults };
        let traffic = (
            read.text(
                "includeInboundPorts",
                &self.include_inbound_ports,
                ports_or_all,
            ),
            read.text("excludeInboundPorts", &self.exclude_inbound_ports, ports),
            read.text(
                "includeOutboundIPRanges",
                &self.include_outbound_ip_ranges,
                ranges_or_all,
            ),
            read.text(
                "excludeOutboundIPRanges",
                &self.exclude_outbound_ip_ranges,
                parse_cidrs,
            ),
            read.text(
                "includeOutboundPorts",
                &self.include_outbound_ports,
                ports_or_all,
            ),
            read.text("excludeOutboundPorts", &self.exclude_outbound_ports, ports),
        );
        Some(Traffic {
            include_inbound_ports: traffic.0?,
            exclude_inbound_ports: traffic.1?,
            include_outbound_ip_ranges: traffic.2?,
            exclude_outbound_ip_ranges: traffic.3?,
            include_outbound_ports: traffic.4?,
            exclude_outbound_ports: traffic.5?,
        })
    }
}

struct Reader<'a> {
    faults: &'a mut Vec<String>,
}

impl Reader<'_> {
    fn text<T>(
        &mut self,
        field: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        value(&format!("traffic.{field}"), parse(text), text, self.faults)
    }
}

fn value<T>(
    field: &str,
    parsed: Result<T, ValueError>,
    text: &str,
    faults: &mut Vec<String>,
) -> Option<T> {
    match parsed {
        Ok(value) => Some(value),
        Err(reason) => {
            faults.push(format!("invalid value '{text}' for {field}: {reason}"));
            None
        }
    }
}

fn quantities(
    field: &str,
    texts: &BTreeMap<String, Scalar>,
    faults: &mut Vec<String>,
) -> BTreeMap<String, Quantity> {
    let mut quantities = BTreeMap::new();
    for (resource, scalar) in texts {
        let text = scalar.text();
        let field = format!("{field}.{resource}");
        if let Some(quantity) = value(&field, text.parse(), &text, faults) {
            quantities.insert(resource.clone(), quantity);
        }
    }
    quantities
}
