//! A pod's annotations → typed settings, or every fault at once.

pub mod prometheus;

use std::{collections::BTreeMap, fmt};

use ipnet::IpNet;

use crate::values::{
    ImageReference, InterceptionMode, LogLevel, Quantity, Selection, ValueError, parse_bool,
    parse_cidrs, parse_ports, parse_selection, parse_status_port,
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

/// What a pod asks for in its annotations; absent means the mesh's default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodSettings {
    /// [`INTERCEPTION_MODE`]
    pub interception_mode: Option<InterceptionMode>,
    /// [`INCLUDE_INBOUND_PORTS`]
    pub include_inbound_ports: Option<Selection<u16>>,
    /// [`EXCLUDE_INBOUND_PORTS`]
    pub exclude_inbound_ports: Option<Vec<u16>>,
    /// [`INCLUDE_OUTBOUND_IP_RANGES`]
    pub include_outbound_ip_ranges: Option<Selection<IpNet>>,
    /// [`EXCLUDE_OUTBOUND_IP_RANGES`]
    pub exclude_outbound_ip_ranges: Option<Vec<IpNet>>,
    /// [`INCLUDE_OUTBOUND_PORTS`]
    pub include_outbound_ports: Option<Selection<u16>>,
    /// [`EXCLUDE_OUTBOUND_PORTS`]
    pub exclude_outbound_ports: Option<Vec<u16>>,
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
        assert_eq!(settings.exclude_outbound_ports, Some(vec![3306, 6379]));
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
        for mode in ["tproxy", "NONE", ""] {
            let text = parse(&[(INTERCEPTION_MODE, mode)]).unwrap_err().to_string();
            assert!(text.contains("REDIRECT or TPROXY is accepted"), "{text}");
        }
    }

    #[test]
    fn every_fault_is_told_with_key_value_and_remedy() {
        let faults = parse(&[
            (INTERCEPTION_MODE, "NONE"),
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
            "'NONE'",
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
