//! How the proxy's container is made, but for its image, resources and configuration.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Fields of the proxy's container.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerSettings {
    /// Whether both containers have all of root's power over the node. For debugging.
    pub privileged: bool,
    /// The system calls that both containers may make.
    pub seccomp_profile: Value,
    /// The hooks of the proxy's container in place of those that the injector gives it.
    pub lifecycle: Option<Value>,
    /// Failures in a row until the kubelet restarts a proxy that never was ready; none: it is not asked.
    pub startup_failure_threshold: Option<u32>,
    /// When the kubelet asks whether the proxy is ready.
    pub readiness: Readiness,
}

/// The numbers of the proxy's readiness probe; each is the default of an annotation.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Readiness {
    /// Before the first time.
    pub initial_delay_seconds: u32,
    /// Between two times, more than zero.
    pub period_seconds: u32,
    /// Failures in a row until it is not ready, more than zero.
    pub failure_threshold: u32,
}

/// Istio's.
impl Default for Readiness {
    fn default() -> Self {
        Self {
            initial_delay_seconds: 0,
            period_seconds: 15,
            failure_threshold: 4,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(super) struct StartupFile {
    enabled: bool,
    failure_threshold: u32,
}

/// Asked each second: ten minutes, as Istio's.
impl Default for StartupFile {
    fn default() -> Self {
        Self {
            enabled: true,
            failure_threshold: 600,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SeccompFile {
    r#type: SeccompType,
    localhost_profile: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
enum SeccompType {
    RuntimeDefault,
    Localhost,
    Unconfined,
}

impl Default for SeccompFile {
    fn default() -> Self {
        Self {
            r#type: SeccompType::RuntimeDefault,
            localhost_profile: None,
        }
    }
}

impl SeccompFile {
    fn check(self, faults: &mut Vec<String>) -> Value {
        let is_local = self.r#type == SeccompType::Localhost;
        if is_local != self.localhost_profile.is_some() {
            faults.push(
                "seccompProfile: localhostProfile belongs to the type Localhost, and only to it"
                    .to_owned(),
            );
        }
        let name = match self.r#type {
            SeccompType::RuntimeDefault => "RuntimeDefault",
            SeccompType::Localhost => "Localhost",
            SeccompType::Unconfined => "Unconfined",
        };
        match self.localhost_profile {
            Some(profile) => json!({ "type": name, "localhostProfile": profile }),
            None => json!({ "type": name }),
        }
    }
}

/// The fields of the configuration file, checked.
pub(super) fn check(
    privileged: bool,
    seccomp: SeccompFile,
    lifecycle: Map<String, Value>,
    startup: &StartupFile,
    readiness: Readiness,
    faults: &mut Vec<String>,
) -> ContainerSettings {
    for (hook, handler) in &lifecycle {
        if !["postStart", "preStop"].contains(&hook.as_str()) {
            faults.push(format!(
                "lifecycle has {hook}: postStart and preStop are accepted"
            ));
        } else if handler.as_object().is_none_or(|h| h.len() != 1) {
            faults.push(format!(
                "lifecycle.{hook} is {handler}: one handler is accepted, such as {{\"exec\": …}}"
            ));
        }
    }
    if startup.enabled && startup.failure_threshold == 0 {
        faults.push("startupProbe.failureThreshold is 0: 1 or more is accepted".to_owned());
    }
    for (field, value) in [
        ("periodSeconds", readiness.period_seconds),
        ("failureThreshold", readiness.failure_threshold),
    ] {
        if value == 0 {
            faults.push(format!(
                "readinessProbe.{field} is 0: 1 or more is accepted"
            ));
        }
    }
    ContainerSettings {
        privileged,
        seccomp_profile: seccomp.check(faults),
        lifecycle: (!lifecycle.is_empty()).then_some(Value::Object(lifecycle)),
        startup_failure_threshold: startup.enabled.then_some(startup.failure_threshold),
        readiness,
    }
}
