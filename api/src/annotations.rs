//! A pod's annotations → typed settings, or every fault at once.

pub mod prometheus;

use std::{collections::BTreeMap, fmt};

use ipnet::IpNet;
use serde_json::Value;

use crate::values::{
    ImageReference, InterceptionMode, LogLevel, Ports, Quantity, Selection, ValueError, parse_bool,
    parse_cidrs, parse_interfaces, parse_ports, parse_selection, parse_status_port,
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
}

impl PodSettings {
    /// Reads the annotations that it knows; others are nobody's business here.
    ///
    /// # Errors
    /// All faults, in the order of the fields above.
    pub fn parse(annotations: &BTreeMap<String, String>) -> Result<Self, Faults> {
        let mut reader = Reader {
            annotations,
            faults: Vec::new(),
        };
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
            image: reader.read(PROXY_IMAGE, str::parse),
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
            readiness_initial_delay_seconds: reader.read(READINESS_INITIAL_DELAY, parse_seconds),
            readiness_period_seconds: reader.read(READINESS_PERIOD, parse_count),
            readiness_failure_threshold: reader.read(READINESS_FAILURES, parse_count),
            native_sidecar: reader.read(NATIVE_SIDECAR, parse_bool),
            cap_net_bind_service: reader.read(CAP_NET_BIND_SERVICE, parse_bool),
            user_volumes: reader.read(USER_VOLUME, parse_named),
            user_volume_mounts: reader.read(USER_VOLUME_MOUNT, parse_named),
            templates: reader.read(TEMPLATES, parse_templates),
        };
        if reader.faults.is_empty() {
            Ok(settings)
        } else {
            Err(Faults(reader.faults))
        }
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

struct Reader<'a> {
    annotations: &'a BTreeMap<String, String>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn read<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, ValueError>,
    ) -> Option<T> {
        let value = self.annotations.get(key)?;
        match parse(value) {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                self.faults.push(Fault {
                    key,
                    value: value.clone(),
                    reason,
                });
                None
            }
        }
    }
}

/// The kubelet counts in signed numbers of 32 bits.
fn parse_seconds(text: &str) -> Result<u32, ValueError> {
    match text.parse::<i32>().map(u32::try_from) {
        Ok(Ok(seconds)) => Ok(seconds),
        _ => Err(ValueError::new(
            "a whole number from 0 to 2147483647 is accepted",
        )),
    }
}

fn parse_count(text: &str) -> Result<u32, ValueError> {
    match parse_seconds(text) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(ValueError::new(
            "a whole number from 1 to 2147483647 is accepted",
        )),
    }
}

/// A JSON object, name to element → the elements, each with its name.
fn parse_named(text: &str) -> Result<Vec<Value>, ValueError> {
    let wrong = |reason: String| {
        ValueError::new(format!(
            "{reason}; a JSON object such as {{\"name\": {{…}}}} is accepted"
        ))
    };
    let elements: BTreeMap<String, serde_json::Map<String, Value>> =
        serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
    let named = |(name, mut element): (String, serde_json::Map<String, Value>)| {
        element.insert("name".to_owned(), Value::String(name));
        Value::Object(element)
    };
    Ok(elements.into_iter().map(named).collect())
}

fn parse_templates(text: &str) -> Result<Vec<String>, ValueError> {
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    Ok(names.map(ToOwned::to_owned).collect())
}

/// One annotation whose value is not accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The annotation.
    pub key: &'static str,
    /// What it says.
    pub value: String,
    /// What is accepted.
    pub reason: ValueError,
}

/// Every fault of a pod's annotations; never empty.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { key, value, reason }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(
                f,
                "{separator}invalid value '{value}' for annotation '{key}': {reason}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Result<PodSettings, Faults> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        PodSettings::parse(&pairs.iter().map(own).collect())
    }

    #[test]
    fn no_annotation_asks_for_nothing() {
        assert_eq!(
            parse(&[("prometheus.io/port", "x")]),
            Ok(PodSettings::default())
        );
    }

    #[test]
    fn lists_and_levels_are_typed() {
        let settings = parse(&[
            (INCLUDE_INBOUND_PORTS, "*"),
            (EXCLUDE_OUTBOUND_PORTS, "3306,6379"),
            (INCLUDE_OUTBOUND_IP_RANGES, "10.0.0.0/8"),
            (LOG_LEVEL, "debug"),
            (PROXY_CPU, "100m"),
        ])
        .unwrap();
        assert_eq!(settings.include_inbound_ports, Some(Selection::All));
        assert_eq!(
            settings.exclude_outbound_ports,
            Some(vec![3306.into(), 6379.into()])
        );
        assert_eq!(settings.log_level, Some(LogLevel::Debug));
        assert!(settings.sets_resources());
    }

    #[test]
    fn an_empty_include_list_captures_nothing() {
        let settings = parse(&[(INCLUDE_INBOUND_PORTS, "")]).unwrap();
        assert_eq!(
            settings.include_inbound_ports,
            Some(Selection::Only(vec![]))
        );
    }

    #[test]
    fn an_interception_mode_is_named_exactly() {
        let settings = parse(&[(INTERCEPTION_MODE, "TPROXY")]).unwrap();
        assert_eq!(settings.interception_mode, Some(InterceptionMode::Tproxy));
        for mode in ["tproxy", "none", ""] {
            let text = parse(&[(INTERCEPTION_MODE, mode)]).unwrap_err().to_string();
            assert!(
                text.contains("REDIRECT, TPROXY or NONE is accepted"),
                "{text}"
            );
        }
    }

    #[test]
    fn every_fault_is_told_with_key_value_and_remedy() {
        let faults = parse(&[
            (INTERCEPTION_MODE, "none"),
            (EXCLUDE_INBOUND_PORTS, "70000"),
            (PROXY_MEMORY, "lots"),
            (EXCLUDE_OUTBOUND_IP_RANGES, "10.0.0.0/33"),
            (STATUS_PORT, "15021"),
            (REWRITE_PROBES, "yes"),
            (MERGE_METRICS, "no"),
        ])
        .unwrap_err();
        assert_eq!(faults.0.len(), 7);
        let text = faults.to_string();
        for part in [
            "'none'",
            "'70000'",
            EXCLUDE_INBOUND_PORTS,
            "1 to 65535",
            "'lots'",
            "64Mi",
            "/33",
            "or 0 for none",
            "'yes'",
            "'no'",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
