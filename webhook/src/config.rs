//! Flags and environment of the process, and the file they name; every fault is told at once.

use std::{fmt, fs, str::FromStr, time::Duration};

use clap::Parser;
use fairlead_api::{ports, values::LogLevel};
use fairlead_runtime::log::Format;

use crate::{
    certificate::{Names, Origin},
    settings::{Settings, SettingsError},
};

/// Injects the mesh's sidecar into pods, as a mutating admission webhook of Kubernetes.
///
/// It makes its own certificate, keeps the caBundle of its MutatingWebhookConfiguration true, and is
/// ready when the API server can verify it. SIGTERM ends it gracefully.
#[derive(Clone, Debug, Parser)]
#[command(version, name = "fairlead-webhook")]
pub struct Flags {
    /// The injector's configuration file (YAML).
    #[arg(
        long,
        env = "FAIRLEAD_CONFIG",
        default_value = "/etc/fairlead/config.yaml"
    )]
    pub config: String,
    /// The namespace of the Secret and the Service.
    #[arg(long, env = "POD_NAMESPACE", default_value = "")]
    pub namespace: String,
    /// The MutatingWebhookConfiguration whose caBundle is kept.
    #[arg(
        long,
        env = "FAIRLEAD_WEBHOOK_CONFIGURATION",
        default_value = "fairlead-sidecar-injector"
    )]
    pub webhook_configuration: String,
    /// The Secret that holds the certificate authority.
    #[arg(long, env = "FAIRLEAD_SECRET", default_value = "fairlead-webhook-ca")]
    pub secret: String,
    /// A Secret of type kubernetes.io/tls with a certificate to serve instead of one by an own authority.
    #[arg(long, env = "FAIRLEAD_CERTIFICATE_SECRET", default_value = "")]
    pub certificate_secret: String,
    /// Whether the caBundle is made of that Secret's ca.crt (true), or kept by somebody else (false).
    #[arg(long, env = "FAIRLEAD_KEEP_CA_BUNDLE", default_value = "true")]
    pub keep_ca_bundle: String,
    /// The Service through which the API server calls.
    #[arg(long, env = "FAIRLEAD_SERVICE", default_value = "fairlead-webhook")]
    pub service: String,
    /// The name of this process in the Events that it makes; in a pod, the pod's.
    #[arg(long, env = "HOSTNAME", default_value = "fairlead-webhook")]
    pub instance: String,
    /// Port of the HTTPS pages: POST /inject, GET /healthz and /readyz.
    #[arg(long, env = "FAIRLEAD_HTTPS_PORT", default_value_t = ports::WEBHOOK.to_string())]
    pub https_port: String,
    /// Port of the plain pages: GET /metrics, /healthz and /readyz.
    #[arg(long, env = "FAIRLEAD_METRICS_PORT", default_value_t = ports::CONTROL_METRICS.to_string())]
    pub metrics_port: String,
    /// How long to go on serving after SIGTERM as if nothing were, until the whole cluster knows.
    #[arg(long, env = "FAIRLEAD_PROPAGATION_SECONDS", default_value = "5")]
    pub propagation_seconds: String,
    /// How long open connections may go on after that.
    #[arg(long, env = "FAIRLEAD_DRAIN_SECONDS", default_value = "10")]
    pub drain_seconds: String,
    /// trace, debug, info, warning, error, critical or off.
    #[arg(long, env = "FAIRLEAD_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// text or json.
    #[arg(long, env = "FAIRLEAD_LOG_FORMAT", default_value = "text")]
    pub log_format: String,
}

/// What the process does.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of this process.
    pub instance: String,
    /// The objects that belong to this installation.
    pub names: Names,
    /// Where the serving certificate comes from.
    pub origin: Origin,
    /// The injector's configuration.
    pub settings: Settings,
    /// Port of the HTTPS pages.
    pub https_port: u16,
    /// Port of the plain pages.
    pub metrics_port: u16,
    /// How long the cluster takes to send its calls elsewhere.
    pub propagation: Duration,
    /// How long open connections may take to end.
    pub drain: Duration,
    /// The process log's level.
    pub log_level: LogLevel,
    /// The process log's form.
    pub log_format: Format,
}

/// Everything that is wrong with the configuration, one fault a line.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError(Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is not accepted:")?;
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads the flags and the file that they name.
    ///
    /// # Errors
    /// All faults of both.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        Self::check(flags, |path| fs::read_to_string(path))
    }

    fn check(
        flags: &Flags,
        read: impl FnOnce(&str) -> std::io::Result<String>,
    ) -> Result<Self, ConfigError> {
        let mut faults = Vec::new();
        if flags.namespace.is_empty() {
            faults.push(
                "--namespace or POD_NAMESPACE is missing; the chart sets it from the pod"
                    .to_owned(),
            );
        }
        let https_port = port("--https-port", &flags.https_port, &mut faults);
        let metrics_port = port("--metrics-port", &flags.metrics_port, &mut faults);
        if https_port.is_some() && https_port == metrics_port {
            let text = "--https-port and --metrics-port are the same; choose two";
            faults.push(text.to_owned());
        }
        let propagation = seconds(
            "--propagation-seconds",
            &flags.propagation_seconds,
            &mut faults,
        );
        let drain = seconds("--drain-seconds", &flags.drain_seconds, &mut faults);
        let log_level = LogLevel::from_str(&flags.log_level).map_err(|reason| {
            faults.push(format!("--log-level is '{}': {reason}", flags.log_level));
        });
        let log_format = match flags.log_format.as_str() {
            "text" => Some(Format::Text),
            "json" => Some(Format::Json),
            other => {
                faults.push(format!(
                    "--log-format is '{other}': text or json is accepted"
                ));
                None
            }
        };
        let origin = origin(flags, &mut faults);
        let settings = settings(&flags.config, read, &mut faults);
        let secret = match origin {
            Some(Origin::Brought { .. }) => &flags.certificate_secret,
            _ => &flags.secret,
        };
        let names = Names {
            namespace: flags.namespace.clone(),
            secret: secret.clone(),
            configuration: flags.webhook_configuration.clone(),
            service: flags.service.clone(),
            cluster_domain: settings
                .as_ref()
                .map_or_else(String::new, |settings| settings.cluster_domain.clone()),
        };
        let config = || {
            Some(Self {
                instance: flags.instance.clone(),
                names,
                origin: origin?,
                settings: settings?,
                https_port: https_port?,
                metrics_port: metrics_port?,
                propagation: propagation?,
                drain: drain?,
                log_level: log_level.ok()?,
                log_format: log_format?,
            })
        };
        match config() {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(ConfigError(faults)),
        }
    }
}

fn origin(flags: &Flags, faults: &mut Vec<String>) -> Option<Origin> {
    let brought = !flags.certificate_secret.is_empty();
    match (brought, flags.keep_ca_bundle.as_str()) {
        (false, "true") => Some(Origin::Own),
        (true, "true") => Some(Origin::Brought { keep_bundle: true }),
        (true, "false") => Some(Origin::Brought { keep_bundle: false }),
        (false, "false") => {
            faults.push(
                "--keep-ca-bundle is 'false' without --certificate-secret: nobody else can know the \
                 own authority"
                    .to_owned(),
            );
            None
        }
        (_, other) => {
            faults.push(format!(
                "--keep-ca-bundle is '{other}': true or false is accepted"
            ));
            None
        }
    }
}

fn settings(
    path: &str,
    read: impl FnOnce(&str) -> std::io::Result<String>,
    faults: &mut Vec<String>,
) -> Option<Settings> {
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => {
            faults.push(format!("--config: read {path}: {error}"));
            return None;
        }
    };
    match Settings::parse(&text) {
        Ok(settings) => Some(settings),
        Err(SettingsError::Form(error)) => {
            faults.push(format!("{path}: {error}"));
            None
        }
        Err(SettingsError::Values(values)) => {
            faults.extend(values.iter().map(|fault| format!("{path}: {fault}")));
            None
        }
    }
}

fn port(flag: &str, text: &str, faults: &mut Vec<String>) -> Option<u16> {
    let parsed = text.parse().ok().filter(|port| *port != 0);
    if parsed.is_none() {
        faults.push(format!(
            "{flag} is '{text}': a port from 1 to 65535 is accepted"
        ));
    }
    parsed
}

fn seconds(flag: &str, text: &str, faults: &mut Vec<String>) -> Option<Duration> {
    // An hour is longer than any grace period that makes sense.
    let parsed = text.parse().ok().filter(|seconds| *seconds <= 3600);
    if parsed.is_none() {
        faults.push(format!(
            "{flag} is '{text}': whole seconds from 0 to 3600 are accepted"
        ));
    }
    parsed.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(arguments: &[&str]) -> Flags {
        let mut flags = Flags::parse_from(["fairlead-webhook"].iter().chain(arguments));
        flags.namespace = "mesh".to_owned();
        flags
    }

    #[test]
    fn the_defaults_are_the_charts_names() {
        let config = Config::check(&flags(&[]), |_| Ok("image: a".to_owned())).unwrap();
        assert_eq!(config.https_port, 10250);
        assert_eq!(config.metrics_port, 15014);
        assert_eq!(config.names.configuration, "fairlead-sidecar-injector");
        assert_eq!(config.names.cluster_domain, "cluster.local");
    }

    #[test]
    fn a_certificate_is_own_or_brought() {
        for (secret, keep, expected) in [
            ("", "true", Some(("fairlead-webhook-ca", Origin::Own))),
            (
                "tls",
                "true",
                Some(("tls", Origin::Brought { keep_bundle: true })),
            ),
            (
                "tls",
                "false",
                Some(("tls", Origin::Brought { keep_bundle: false })),
            ),
            ("", "false", None),
            ("tls", "perhaps", None),
        ] {
            let flags = flags(&["--certificate-secret", secret, "--keep-ca-bundle", keep]);
            let config = Config::check(&flags, |_| Ok("image: a".to_owned()));
            let found = config.map(|config| (config.names.secret, config.origin));
            let expected = expected.map(|(secret, origin)| (secret.to_owned(), origin));
            assert_eq!(found.ok(), expected, "{secret} {keep}");
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let mut flags = flags(&[
            "--https-port",
            "0",
            "--drain-seconds",
            "soon",
            "--log-level",
            "loud",
            "--log-format",
            "xml",
        ]);
        flags.namespace.clear();
        let error = Config::check(&flags, |_| Ok("image: 'a b'".to_owned())).unwrap_err();
        let text = error.to_string();
        for part in [
            "--https-port",
            "soon",
            "loud",
            "xml",
            "POD_NAMESPACE",
            "'a b'",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let refused = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let error = Config::check(&flags(&["--config", "/none"]), refused).unwrap_err();
        assert!(error.to_string().contains("read /none"), "{error}");
    }
}
