//! The command line.

use std::{num::NonZeroU16, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use fairlead_api::{ports, values::LogLevel};

/// Carries a pod's traffic: what the redirect captures arrives here and goes on to where it was
/// going, counted and logged.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "fairlead-proxy",
    version,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true
)]
pub struct Arguments {
    /// What to do, other than to run a bootstrap.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run a bootstrap.
    #[command(flatten)]
    pub bootstrap: BootstrapArguments,
}

/// Arguments to run an Envoy bootstrap, by Envoy's names.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "To run an Envoy bootstrap")]
pub struct BootstrapArguments {
    /// The bootstrap, YAML or JSON; read again when it changes, or at SIGHUP
    #[arg(short = 'c', long = "config-path", value_name = "FILE")]
    pub config_path: Option<PathBuf>,
    /// A bootstrap that is laid over the file, or stands alone
    #[arg(long = "config-yaml", value_name = "YAML")]
    pub config_yaml: Option<String>,
    /// Whether to run the bootstrap, or only to say what is wrong with it
    #[arg(long, value_enum, default_value_t)]
    pub mode: Mode,
    /// Worker threads; as many as the machine has processors, if it is not given
    #[arg(long, value_name = "NUMBER")]
    pub concurrency: Option<NonZeroU16>,
    /// The level of the process' own log
    #[arg(short = 'l', long = "log-level", value_name = "LEVEL", default_value_t)]
    pub log_level: LogLevel,
    /// Seconds that connections of what is not configured any more may go on
    #[arg(long = "drain-time-s", value_name = "SECONDS", default_value_t = 600)]
    pub drain_time_seconds: u64,
    /// Milliseconds between two writes of buffered access logs
    #[arg(
        long = "file-flush-interval-msec",
        value_name = "MILLISECONDS",
        default_value_t = 1000
    )]
    pub file_flush_interval_milliseconds: u64,
    /// Take a bootstrap with fields that are not known, and leave them out
    #[arg(long = "allow-unknown-static-fields")]
    pub allow_unknown_static_fields: bool,
}

/// What becomes of a bootstrap.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Mode {
    /// It is run.
    #[default]
    Serve,
    /// It is checked, and all of its faults are told.
    Validate,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run as the sidecar of a pod, until SIGTERM.
    ///
    /// Reads POD_NAME, POD_NAMESPACE, INSTANCE_IP, SERVICE_ACCOUNT, ISTIO_CPU_LIMIT, ISTIO_META_*,
    /// PROXY_CONFIG (JSON: concurrency, accessLog all|failures|off, accessLogEncoding TEXT|JSON,
    /// terminationDrainDuration, connectTimeout), EXIT_ON_ZERO_ACTIVE_CONNECTIONS,
    /// ISTIO_KUBE_APP_PROBERS (JSON: the application's probes by path, such as
    /// {"/app-health/web/readyz":{"httpGet":{"port":80}}}), ISTIO_PROMETHEUS_ANNOTATIONS (JSON: the
    /// application's metrics, such as {"scrape":"true","port":"8080","path":"/metrics"}), and the pod's
    /// labels and annotations in /etc/istio/pod.
    Sidecar(SidecarArguments),
    /// Wait until the proxy is ready.
    Wait(WaitArguments),
    /// Send one request to the admin port and print the answer; exit 1 if it is a failure.
    Request(RequestArguments),
}

/// Arguments of `sidecar`.
#[derive(Args, Clone, Debug)]
pub struct SidecarArguments {
    /// trace, debug, info, warning, error, critical or off; POST /logging changes it later
    #[arg(
        long = "proxyLogLevel",
        alias = "proxy-log-level",
        value_name = "LEVEL",
        default_value_t
    )]
    pub log_level: LogLevel,
    /// DNS domain of the pod's services [default: NAMESPACE.svc.cluster.local]
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<String>,
    /// Where to listen.
    #[command(flatten)]
    pub ports: Ports,
}

/// Where the sidecar listens. 0 takes a free port.
#[derive(Args, Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ports {
    /// Captured outbound connections, all addresses
    #[arg(long = "outbound-port", value_name = "PORT", default_value_t = ports::OUTBOUND)]
    pub outbound: u16,
    /// Captured inbound connections, all addresses
    #[arg(long = "inbound-port", value_name = "PORT", default_value_t = ports::INBOUND)]
    pub inbound: u16,
    /// Admin, 127.0.0.1 alone
    #[arg(long = "admin-port", value_name = "PORT", default_value_t = ports::ADMIN)]
    pub admin: u16,
    /// Application probes, health and merged metrics for the kubelet and Prometheus, all addresses
    #[arg(long = "status-port", value_name = "PORT", default_value_t = ports::STATUS)]
    pub status: u16,
    /// Leave the status port to others
    #[arg(long = "no-status-port", conflicts_with = "status")]
    pub no_status: bool,
    /// Readiness of the proxy, all addresses
    #[arg(long = "health-port", value_name = "PORT", default_value_t = ports::HEALTH)]
    pub health: u16,
    /// Metrics of the proxy, all addresses
    #[arg(long = "metrics-port", value_name = "PORT", default_value_t = ports::PROXY_METRICS)]
    pub metrics: u16,
}

impl Ports {
    /// Each port with its purpose.
    pub fn named(self) -> [(&'static str, u16); 6] {
        [
            ("outbound", self.outbound),
            ("inbound", self.inbound),
            ("admin", self.admin),
            ("status", self.status),
            ("health", self.health),
            ("metrics", self.metrics),
        ]
    }

    /// Ports that were given more than one purpose.
    pub fn collisions(self) -> Vec<(u16, String)> {
        let mut by_port = std::collections::BTreeMap::<u16, Vec<&str>>::new();
        for (purpose, port) in self.named() {
            if purpose == "status" && self.no_status {
                continue;
            }
            by_port.entry(port).or_default().push(purpose);
        }
        by_port
            .into_iter()
            .filter(|(port, purposes)| *port != 0 && purposes.len() > 1)
            .map(|(port, purposes)| (port, purposes.join(" and ")))
            .collect()
    }
}

/// Arguments of `wait`.
#[derive(Args, Clone, Debug)]
pub struct WaitArguments {
    /// What answers 200 when the proxy is ready; its host is an IP address or localhost
    #[arg(long, default_value = "http://127.0.0.1:15021/healthz/ready", value_parser = crate::client::parse_url)]
    pub url: hyper::Uri,
    /// When to give up
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Between two attempts
    #[arg(long, default_value = "20ms", value_parser = humantime::parse_duration)]
    pub period: Duration,
}

/// Arguments of `request`.
#[derive(Args, Clone, Debug)]
pub struct RequestArguments {
    /// GET or POST
    pub method: hyper::Method,
    /// Such as /stats or '/logging?level=debug'; GET /help lists them
    pub path: String,
    /// The admin port
    #[arg(long, default_value_t = ports::ADMIN)]
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
