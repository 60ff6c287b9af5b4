//! A pod's annotations, over those of its namespace → typed settings, or every fault at once.
//!
//! - [`table`]: every annotation that is known, in words; the users' reference is made of it
//! - [`prometheus`]: those between the pod and Prometheus
//! - [`warnings`]: what else a pod and its namespace have of the mesh's annotations

mod fault;
pub mod prometheus;
mod reader;
pub mod table;
mod volumes;
pub mod warnings;

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde_json::Value;

pub use self::fault::{Fault, Faults};
use self::{
    reader::{Given, Layers, Reader},
    volumes::{parse_mounts, parse_volumes},
};
use crate::{
    document::Document,
    proxy_config::Layer,
    values::{
        ImageReference, InterceptionMode, LogLevel, Ports, Quantity, Selection, ValueError,
        is_dns_label, parse_bool, parse_cidrs, parse_interfaces, parse_list, parse_ports,
        parse_selection, parse_status_port,
    },
};

/// `-m`: how inbound connections come to the proxy.
pub const INTERCEPTION_MODE: &str = "sidecar.istio.io/interceptionMode";
/// `-b`: inbound ports that are captured; `*` or a list.
pub const INCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeInboundPorts";
/// `-d`: inbound ports that are not captured.
pub const EXCLUDE_INBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeInboundPorts";
/// `-i`: destinations that are captured; `*` or a list.
pub const INCLUDE_OUTBOUND_IP_RANGES: &str = "traffic.sidecar.istio.io/includeOutboundIPRanges";
/// `-x`: destinations that are not captured.
pub const EXCLUDE_OUTBOUND_IP_RANGES: &str = "traffic.sidecar.istio.io/excludeOutboundIPRanges";
/// `-q`: destination ports that are captured whatever the address.
pub const INCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/includeOutboundPorts";
/// `-o`: destination ports that are not captured.
pub const EXCLUDE_OUTBOUND_PORTS: &str = "traffic.sidecar.istio.io/excludeOutboundPorts";
/// The sidecar's CPU request.
pub const PROXY_CPU: &str = "sidecar.istio.io/proxyCPU";
/// The sidecar's CPU limit.
pub const PROXY_CPU_LIMIT: &str = "sidecar.istio.io/proxyCPULimit";
/// The sidecar's memory request.
pub const PROXY_MEMORY: &str = "sidecar.istio.io/proxyMemory";
/// The sidecar's memory limit.
pub const PROXY_MEMORY_LIMIT: &str = "sidecar.istio.io/proxyMemoryLimit";
/// The image of both injected containers.
pub const PROXY_IMAGE: &str = "sidecar.istio.io/proxyImage";
/// The sidecar's log level.
pub const LOG_LEVEL: &str = "sidecar.istio.io/logLevel";
/// Where the proxy answers the kubelet and Prometheus; 0: nowhere.
pub const STATUS_PORT: &str = "status.sidecar.istio.io/port";
/// Whether the kubelet asks the proxy in the application's place.
pub const REWRITE_PROBES: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
/// Whether the proxy adds the application's metrics to its own, where Prometheus asks for both.
pub const MERGE_METRICS: &str = "prometheus.istio.io/merge-metrics";

/// `-c`: interfaces on which nothing is captured.
pub const EXCLUDE_INTERFACES: &str = "traffic.sidecar.istio.io/excludeInterfaces";
/// `-k`: interfaces of virtual machines, whose packets are captured as outbound.
pub const REROUTE_VIRTUAL_INTERFACES: &str = "istio.io/reroute-virtual-interfaces";
/// The older name of [`REROUTE_VIRTUAL_INTERFACES`], which is stronger.
pub const KUBEVIRT_INTERFACES: &str = "traffic.sidecar.istio.io/kubevirtInterfaces";
/// Seconds before the proxy's first readiness probe.
pub const READINESS_INITIAL_DELAY: &str = "readiness.status.sidecar.istio.io/initialDelaySeconds";
/// Seconds between the proxy's readiness probes.
pub const READINESS_PERIOD: &str = "readiness.status.sidecar.istio.io/periodSeconds";
/// Readiness probes that fail in a row until the proxy is not ready.
pub const READINESS_FAILURES: &str = "readiness.status.sidecar.istio.io/failureThreshold";
/// Whether the proxy is a restartable init container.
pub const NATIVE_SIDECAR: &str = "sidecar.istio.io/nativeSidecar";
/// Whether the proxy may listen on ports below 1024.
pub const CAP_NET_BIND_SERVICE: &str = "sidecar.istio.io/capNetBindService";
/// Further volumes of the pod: a JSON object, name to volume.
pub const USER_VOLUME: &str = "sidecar.istio.io/userVolume";
/// Where the proxy's container mounts volumes: a JSON object, name to mount.
pub const USER_VOLUME_MOUNT: &str = "sidecar.istio.io/userVolumeMount";
/// The proxy's configuration, of which it may say a part: YAML or JSON.
pub const PROXY_CONFIG: &str = "proxy.istio.io/config";
/// What is laid over the pod: a comma list of `sidecar`, `gateway` and the mesh's own overlays.
pub const TEMPLATES: &str = "inject.istio.io/templates";

/// What a pod asks for in its annotations; absent means the mesh's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSettings {
    /// [`INTERCEPTION_MODE`]
    pub interception_mode: Option<InterceptionMode>,
    /// [`INCLUDE_INBOUND_PORTS`]
    pub include_inbound_ports: Option<Selection<Ports>>,
    /// [`EXCLUDE_INBOUND_PORTS`]
    pub exclude_inbound_ports: Option<Vec<Ports>>,
    /// [`INCLUDE_OUTBOUND_IP_RANGES`]
    pub include_outbound_ip_ranges: Option<Selection<IpNet>>,
    /// [`EXCLUDE_OUTBOUND_IP_RANGES`]
    pub exclude_outbound_ip_ranges: Option<Vec<IpNet>>,
    /// [`INCLUDE_OUTBOUND_PORTS`]
    pub include_outbound_ports: Option<Selection<Ports>>,
    /// [`EXCLUDE_OUTBOUND_PORTS`]
    pub exclude_outbound_ports: Option<Vec<Ports>>,
    /// [`PROXY_CPU`]
    pub cpu_request: Option<Quantity>,
    /// [`PROXY_CPU_LIMIT`]
    pub cpu_limit: Option<Quantity>,
    /// [`PROXY_MEMORY`]
    pub memory_request: Option<Quantity>,
    /// [`PROXY_MEMORY_LIMIT`]
    pub memory_limit: Option<Quantity>,
    /// [`PROXY_IMAGE`]
    pub image: Option<ImageReference>,
    /// [`LOG_LEVEL`]
    pub log_level: Option<LogLevel>,
    /// [`STATUS_PORT`]
    pub status_port: Option<u16>,
    /// [`REWRITE_PROBES`]
    pub rewrite_probes: Option<bool>,
    /// [`MERGE_METRICS`]
    pub merge_metrics: Option<bool>,
    /// [`EXCLUDE_INTERFACES`]
    pub exclude_interfaces: Option<Vec<String>>,
    /// [`REROUTE_VIRTUAL_INTERFACES`], or [`KUBEVIRT_INTERFACES`]
    pub reroute_virtual_interfaces: Option<Vec<String>>,
    /// [`READINESS_INITIAL_DELAY`]
    pub readiness_initial_delay_seconds: Option<u32>,
    /// [`READINESS_PERIOD`]
    pub readiness_period_seconds: Option<u32>,
    /// [`READINESS_FAILURES`]
    pub readiness_failure_threshold: Option<u32>,
    /// [`NATIVE_SIDECAR`]
    pub native_sidecar: Option<bool>,
    /// [`CAP_NET_BIND_SERVICE`]
    pub cap_net_bind_service: Option<bool>,
    /// [`USER_VOLUME`]: elements of `spec.volumes`, complete with their names
    pub user_volumes: Option<Vec<Value>>,
    /// [`USER_VOLUME_MOUNT`]: elements of `volumeMounts`, complete with their names
    pub user_volume_mounts: Option<Vec<Value>>,
    /// [`TEMPLATES`], in order
    pub templates: Option<Vec<String>>,
    /// [`PROXY_CONFIG`]
    pub proxy_config: Option<Document<Layer>>,
}

impl PodSettings {
    /// Reads a pod's annotations, and where it says nothing those of its namespace that are defaults
    /// of its pods'. Others are nobody's business here.
    ///
    /// # Errors
    /// All faults, in the order of the fields above.
    pub fn parse(
        pod: &BTreeMap<String, String>,
        namespace: &str,
        defaults: &BTreeMap<String, String>,
    ) -> Result<Self, Faults> {
        let layers = Layers {
            pod,
            namespace,
            defaults,
        };
        Self::read(|key| layers.find(key))
    }

    /// Reads the annotations that a function finds.
    fn read<'a>(lookup: impl FnMut(&'static str) -> Option<Given<'a>>) -> Result<Self, Faults> {
        let mut reader = Reader::new(lookup);
        let settings = Self {
            interception_mode: reader.read(INTERCEPTION_MODE, str::parse),
            include_inbound_ports: reader
                .read(INCLUDE_INBOUND_PORTS, |v| parse_selection(v, parse_ports)),
            exclude_inbound_ports: reader.read(EXCLUDE_INBOUND_PORTS, parse_ports),
            include_outbound_ip_ranges: reader.read(INCLUDE_OUTBOUND_IP_RANGES, |v| {
                parse_selection(v, parse_cidrs)
            }),
            exclude_outbound_ip_ranges: reader.read(EXCLUDE_OUTBOUND_IP_RANGES, parse_cidrs),
            include_outbound_ports: reader
                .read(INCLUDE_OUTBOUND_PORTS, |v| parse_selection(v, parse_ports)),
            exclude_outbound_ports: reader.read(EXCLUDE_OUTBOUND_PORTS, parse_ports),
            cpu_request: reader.read(PROXY_CPU, str::parse),
            cpu_limit: reader.read(PROXY_CPU_LIMIT, str::parse),
            memory_request: reader.read(PROXY_MEMORY, str::parse),
            memory_limit: reader.read(PROXY_MEMORY_LIMIT, str::parse),
            image: reader.read(PROXY_IMAGE, parse_image).flatten(),
            log_level: reader.read(LOG_LEVEL, str::parse),
            status_port: reader.read(STATUS_PORT, parse_status_port),
            rewrite_probes: reader.read(REWRITE_PROBES, parse_bool),
            merge_metrics: reader.read(MERGE_METRICS, parse_bool),
            exclude_interfaces: reader.read(EXCLUDE_INTERFACES, parse_interfaces),
            reroute_virtual_interfaces: {
                let older = reader.read(KUBEVIRT_INTERFACES, parse_interfaces);
                let newer = reader.read(REROUTE_VIRTUAL_INTERFACES, parse_interfaces);
                newer.or(older)
            },
            readiness_initial_delay_seconds: reader
                .read(READINESS_INITIAL_DELAY, |v| parse_number(v, 0)),
            readiness_period_seconds: reader.read(READINESS_PERIOD, |v| parse_number(v, 1)),
            readiness_failure_threshold: reader.read(READINESS_FAILURES, |v| parse_number(v, 1)),
            native_sidecar: reader.read(NATIVE_SIDECAR, parse_bool),
            cap_net_bind_service: reader.read(CAP_NET_BIND_SERVICE, parse_bool),
            user_volumes: reader.read_document(USER_VOLUME, parse_volumes),
            user_volume_mounts: reader.read_document(USER_VOLUME_MOUNT, parse_mounts),
            templates: reader.read(TEMPLATES, parse_templates),
            proxy_config: reader.read_document(PROXY_CONFIG, Layer::parse),
        };
        reader.finish(settings)
    }

    /// Whether one of the four resource annotations is there; then the mesh's default resources
    /// are dropped whole, as in Istio.
    pub fn sets_resources(&self) -> bool {
        self.cpu_request.is_some()
            || self.cpu_limit.is_some()
            || self.memory_request.is_some()
            || self.memory_limit.is_some()
    }
}

/// Reads [`PROXY_CONFIG`] of a namespace, over which that of a pod is laid.
///
/// # Errors
/// It is not accepted.
pub fn namespace_proxy_config(
    namespace: &str,
    annotations: &BTreeMap<String, String>,
) -> Result<Option<Document<Layer>>, Faults> {
    let mut reader = Reader::new(|key| {
        Some(Given {
            value: annotations.get(key)?,
            namespace: Some(namespace),
        })
    });
    let config = reader.read_document(PROXY_CONFIG, Layer::parse);
    reader.finish(config)
}

/// Reads a whole number; the kubelet counts in signed numbers of 32 bits.
fn parse_number(text: &str, least: u32) -> Result<u32, ValueError> {
    const MOST: u32 = i32::MAX.cast_unsigned();
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && (least..=MOST).contains(&number) => Ok(number),
        _ => Err(ValueError::new(format!(
            "a whole number from {least} to {MOST} is accepted"
        ))),
    }
}

/// Reads an image; none is the mesh's.
fn parse_image(text: &str) -> Result<Option<ImageReference>, ValueError> {
    match text {
        "auto" => Ok(None),
        _ => text.parse().map(Some),
    }
}

fn parse_templates(text: &str) -> Result<Vec<String>, ValueError> {
    let expected = "names such as sidecar, of lower-case letters, digits and dashes,";
    let names = parse_list(text, expected, |name| {
        let name = name.trim();
        is_dns_label(name).then(|| name.to_owned())
    })?;
    if names.is_empty() {
        return Err(ValueError::new("at least one name is accepted"));
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
