//! Environment, flags and the pod's files → typed settings, or every fault at once.

mod node;
mod pod_file;

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, str::FromStr};

use fairlead_api::{
    app_metrics::AppMetrics,
    app_probes::{self, AppProbe},
    names::{POD_INFO_PATH, env},
    proxy_config::ProxyConfig,
    values::{InterceptionMode, LogLevel},
};

pub use self::node::Node;
use crate::arguments::{Ports, SidecarArguments};

/// Istio's: whether the drain ends with the last connection. On by default, since a sidecar that
/// Kubernetes stops after the application has nothing to wait for.
const EXIT_ON_ZERO: &str = env::EXIT_ON_ZERO_ACTIVE_CONNECTIONS;

/// Where `kubectl logs` finds it.
const ACCESS_LOG_FILE: &str = "/dev/stdout";

/// Worker threads when neither the configuration nor the CPU limit says.
const WORKERS: u16 = 2;

/// More threads than any machine has use for; a larger number is a mistake.
const MAX_WORKERS: u16 = 512;

/// All settings of the sidecar.
#[derive(Clone, Debug)]
pub struct Config {
    /// Who this proxy is.
    pub node: Node,
    /// Worker threads.
    pub workers: u16,
    /// What the mesh says.
    pub proxy: ProxyConfig,
    /// Where it listens.
    pub ports: Ports,
    /// How inbound connections come.
    pub interception_mode: InterceptionMode,
    /// The file of the access log.
    pub access_log_file: String,
    /// The level of the process log at the start.
    pub log_level: LogLevel,
    /// Whether the drain ends with the last connection.
    pub exit_on_zero_connections: bool,
    /// The application's probes and hooks, by path on the status port.
    pub app_probes: BTreeMap<String, AppProbe>,
    /// The application's pages of metrics.
    pub app_metrics: AppMetrics,
}

/// What the kubelet writes of the pod's metadata; empty where it does not.
#[derive(Clone, Debug, Default)]
pub struct PodFiles {
    /// `labels` of the downward API volume.
    pub labels: String,
    /// `annotations` of the downward API volume.
    pub annotations: String,
}

/// Every fault of the configuration.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is wrong:")?;
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads all settings. `names` are those of all variables, of which some are told by prefix.
    ///
    /// # Errors
    /// Every fault, with the name of what is wrong and what is accepted.
    pub fn from_lookup(
        lookup: impl Fn(&str) -> Option<String>,
        names: impl IntoIterator<Item = String>,
        arguments: &SidecarArguments,
        files: &PodFiles,
    ) -> Result<Self, ConfigError> {
        let mut faults = Faults(Vec::new());
        let proxy = match lookup(env::PROXY_CONFIG).filter(|text| !text.is_empty()) {
            // A list of bare values is not a configuration, whatever serde would make of it.
            Some(text) if !text.trim_start().starts_with('{') => {
                faults.add(format!("{}: a JSON object is accepted", env::PROXY_CONFIG));
                ProxyConfig::default()
            }
            Some(text) => faults.keep(env::PROXY_CONFIG, serde_json::from_str(&text)),
            None => ProxyConfig::default(),
        };
        let limit: u32 = faults.parse(&lookup, env::CPU_LIMIT, "whole cores, such as 2");
        let workers = match (proxy.concurrency.unwrap_or(0), limit) {
            (0, 0) => WORKERS,
            // A large limit is a lot of room, not a wish for as many threads.
            (0, limit) => u16::try_from(limit).map_or(MAX_WORKERS, |n| n.min(MAX_WORKERS)),
            (workers, _) => workers,
        };
        if workers > MAX_WORKERS {
            faults.add(format!(
                "{workers} worker threads are too many: concurrency of {} of up to {MAX_WORKERS} \
                 is accepted",
                env::PROXY_CONFIG,
            ));
        }
        for (port, purposes) in arguments.ports.collisions() {
            faults.add(format!("port {port} is given to {purposes} at once"));
        }
        let namespace = lookup(env::POD_NAMESPACE)
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "default".to_owned());
        let domain = arguments.domain.clone();
        let node = Node {
            name: lookup(env::POD_NAME).unwrap_or_else(|| "unknown".to_owned()),
            ip: faults.parse_or(
                &lookup,
                env::INSTANCE_IP,
                "an IP address",
                Ipv4Addr::LOCALHOST.into(),
            ),
            service_account: lookup(env::SERVICE_ACCOUNT).unwrap_or_default(),
            domain: domain.unwrap_or_else(|| format!("{namespace}.svc.cluster.local")),
            namespace,
            metadata: metadata(&lookup, names),
            labels: faults.pod_file("labels", &files.labels),
            annotations: faults.pod_file("annotations", &files.annotations),
        };
        let interception_mode =
            faults.parse(&lookup, env::INTERCEPTION_MODE, "REDIRECT, TPROXY or NONE");
        let exit_on_zero_connections =
            faults.parse_or(&lookup, EXIT_ON_ZERO, "true or false", true);
        let app_probes = match lookup(env::APP_PROBERS).filter(|text| !text.is_empty()) {
            Some(text) => faults.keep(env::APP_PROBERS, app_probes::parse(&text)),
            None => BTreeMap::new(),
        };
        let pages = env::PROMETHEUS_ANNOTATIONS;
        let app_metrics = match lookup(pages).filter(|text| !text.is_empty()) {
            Some(text) => faults.keep(pages, AppMetrics::parse(&text)),
            None => AppMetrics::default(),
        };
        if faults.0.is_empty() {
            Ok(Self {
                node,
                workers,
                proxy,
                ports: arguments.ports,
                interception_mode,
                access_log_file: ACCESS_LOG_FILE.to_owned(),
                log_level: arguments.log_level,
                exit_on_zero_connections,
                app_probes,
                app_metrics,
            })
        } else {
            Err(ConfigError(faults.0))
        }
    }
}

fn metadata(
    lookup: impl Fn(&str) -> Option<String>,
    names: impl IntoIterator<Item = String>,
) -> BTreeMap<String, String> {
    names
        .into_iter()
        .filter_map(|name| {
            let key = name.strip_prefix(env::META_PREFIX)?;
            Some((key.to_owned(), lookup(&name)?))
        })
        .collect()
}

struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, fault: String) {
        self.0.push(fault);
    }

    fn keep<T: Default, E: fmt::Display>(&mut self, name: &str, result: Result<T, E>) -> T {
        result.unwrap_or_else(|error| {
            self.add(format!("{name}: {error}"));
            T::default()
        })
    }

    fn parse<T: FromStr + Default>(
        &mut self,
        lookup: impl Fn(&str) -> Option<String>,
        name: &str,
        accepted: &str,
    ) -> T {
        self.parse_or(lookup, name, accepted, T::default())
    }

    /// An empty variable is an absent one: that is how a downward API without value looks.
    fn parse_or<T: FromStr>(
        &mut self,
        lookup: impl Fn(&str) -> Option<String>,
        name: &str,
        accepted: &str,
        default: T,
    ) -> T {
        let Some(text) = lookup(name).filter(|text| !text.is_empty()) else {
            return default;
        };
        text.parse().unwrap_or_else(|_| {
            self.add(format!("{name}: '{text}' is wrong: {accepted} is accepted"));
            default
        })
    }

    fn pod_file(&mut self, name: &str, text: &str) -> BTreeMap<String, String> {
        let (map, wrong) = pod_file::read(text);
        for line in wrong {
            self.add(format!(
                "{POD_INFO_PATH}/{name}: '{line}' is wrong: key=\"value\" is accepted"
            ));
        }
        map
    }
}

#[cfg(test)]
mod tests;
