//! Environment, flags and the pod's files → typed settings, or every fault at once.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use fairlead_api::{names::env, proxy_config::ProxyConfig, values::LogLevel};
use serde_json::{Map, Value};

use crate::arguments::{Ports, SidecarArguments};

/// Istio's: whether the drain ends with the last connection. On by default, since a sidecar that
/// Kubernetes stops after the application has nothing to wait for.
const EXIT_ON_ZERO: &str = "EXIT_ON_ZERO_ACTIVE_CONNECTIONS";

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
    /// The level of the process log at the start.
    pub log_level: LogLevel,
    /// Whether the drain ends with the last connection.
    pub exit_on_zero_connections: bool,
}

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
            Some(text) => faults.keep(env::PROXY_CONFIG, serde_json::from_str(&text)),
            None => ProxyConfig::default(),
        };
        let limit: u16 = faults.parse(&lookup, env::CPU_LIMIT, "whole cores, such as 2");
        let workers = match (proxy.concurrency.unwrap_or(0), limit) {
            (0, 0) => WORKERS,
            (0, limit) => limit,
            (workers, _) => workers,
        };
        if workers > MAX_WORKERS {
            faults.add(format!(
                "{workers} worker threads are too many: concurrency of {} or {} of up to \
                 {MAX_WORKERS} is accepted",
                env::PROXY_CONFIG,
                env::CPU_LIMIT,
            ));
        }
        for (port, purposes) in arguments.ports.collisions() {
            faults.add(format!("port {port} is given to {purposes} at once"));
        }
        let namespace = lookup(env::POD_NAMESPACE).unwrap_or_else(|| "default".to_owned());
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
            labels: faults.read_pod_file("labels", &files.labels),
            annotations: faults.read_pod_file("annotations", &files.annotations),
        };
        let exit_on_zero_connections =
            faults.parse_or(&lookup, EXIT_ON_ZERO, "true or false", true);
        if faults.0.is_empty() {
            Ok(Self {
                node,
                workers,
                proxy,
                ports: arguments.ports,
                log_level: arguments.log_level,
                exit_on_zero_connections,
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

    /// Reads the downward API's form, `key="value"` a line with the value quoted as in Go.
    fn read_pod_file(&mut self, name: &str, text: &str) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line
                .split_once('=')
                .and_then(|(key, quoted)| Some((key, unquote(quoted)?)))
            {
                Some((key, value)) => {
                    map.insert(key.to_owned(), value);
                }
                None => self.add(format!(
                    "{}/{name}: '{line}' is wrong: key=\"value\" is accepted",
                    fairlead_api::names::POD_INFO_PATH
                )),
            }
        }
        map
    }
}

/// Go's quoted strings differ from JSON's in a few escapes of control characters.
fn unquote(quoted: &str) -> Option<String> {
    let inner = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        let digits = match characters.next()? {
            'a' => {
                text.push('\x07');
                continue;
            }
            'b' => {
                text.push('\x08');
                continue;
            }
            'f' => {
                text.push('\x0c');
                continue;
            }
            'n' => {
                text.push('\n');
                continue;
            }
            'r' => {
                text.push('\r');
                continue;
            }
            't' => {
                text.push('\t');
                continue;
            }
            'v' => {
                text.push('\x0b');
                continue;
            }
            'x' => 2,
            'u' => 4,
            'U' => 8,
            other => {
                text.push(other);
                continue;
            }
        };
        let code: String = characters.by_ref().take(digits).collect();
        text.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?)?);
    }
    Some(text)
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
        [
            fairlead_api::names::CANONICAL_NAME_LABEL,
            "app.kubernetes.io/name",
            "app",
        ]
        .iter()
        .find_map(|label| self.label(label))
        .unwrap_or_else(|| self.workload())
    }

    /// The version in metrics.
    pub fn canonical_revision(&self) -> &str {
        [
            fairlead_api::names::CANONICAL_REVISION_LABEL,
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

#[cfg(test)]
mod tests;
