//! Whether a pod is injected: pure, from the pod, its namespace and the settings.
//!
//! The selectors of the MutatingWebhookConfiguration have decided before; what arrives here may
//! still be skipped.

use std::{collections::BTreeMap, fmt};

use fairlead_api::names::{IGNORED_NAMESPACES, INJECT};
use kube::core::{Selector, SelectorExt};
use serde_json::Value;

use crate::{
    pod,
    settings::{Policy, Settings},
};

/// What becomes of a pod.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// It is injected.
    Inject,
    /// It is left alone, and why.
    Skip(Reason),
}

/// Why a pod is left alone.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// It shares the node's network, whose traffic must not be captured.
    HostNetwork,
    /// It runs on Windows, which has neither iptables nor our programs.
    Windows,
    /// Its namespace belongs to Kubernetes itself.
    IgnoredNamespace,
    /// Its label says so.
    Label,
    /// Its annotation says so.
    Annotation,
    /// This one of `neverInjectSelector` selects it.
    NeverInjectSelector(usize),
    /// The policy is `disabled` and nothing asks for injection.
    Policy,
}

impl Reason {
    /// The value of the metric's label `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HostNetwork => "host_network",
            Self::Windows => "windows",
            Self::IgnoredNamespace => "ignored_namespace",
            Self::Label => "label",
            Self::Annotation => "annotation",
            Self::NeverInjectSelector(_) => "never_inject_selector",
            Self::Policy => "policy",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostNetwork => f.write_str("the pod uses the host's network"),
            Self::Windows => f.write_str("the pod is for Windows"),
            Self::IgnoredNamespace => f.write_str("the namespace is never injected"),
            Self::Label => write!(f, "the pod's label {INJECT} is false"),
            Self::Annotation => write!(f, "the pod's annotation {INJECT} is false"),
            Self::NeverInjectSelector(index) => {
                write!(f, "neverInjectSelector[{index}] selects the pod")
            }
            Self::Policy => f.write_str("the policy is disabled and nothing asks for injection"),
        }
    }
}

/// Pods say so in `spec.os`, or by the node that they ask for.
fn is_for_windows(pod: &Value) -> bool {
    [["os", "name"], ["nodeSelector", "kubernetes.io/os"]]
        .iter()
        .any(|[of, name]| pod::at(pod, &["spec", of, name]).is_some_and(|os| os == "windows"))
}

/// Decides, in the order of Istio; a warning is for whoever creates the pod.
pub fn decide(pod: &Value, namespace: &str, settings: &Settings) -> (Decision, Option<String>) {
    if pod::at(pod, &["spec", "hostNetwork"]) == Some(&Value::Bool(true)) {
        return (Decision::Skip(Reason::HostNetwork), None);
    }
    if is_for_windows(pod) {
        return (Decision::Skip(Reason::Windows), None);
    }
    if IGNORED_NAMESPACES.contains(&namespace) {
        return (Decision::Skip(Reason::IgnoredNamespace), None);
    }
    let labels = pod::labels(pod);
    // A label that is there hides the annotation, even with a value that decides nothing.
    let (wish, kind, reason) = match labels.get(INJECT) {
        Some(value) => (Some(value.as_str()), "label", Reason::Label),
        None => (
            pod::annotation(pod, INJECT),
            "annotation",
            Reason::Annotation,
        ),
    };
    let warning = match wish {
        Some("true") => return (Decision::Inject, None),
        Some("false") => return (Decision::Skip(reason), None),
        Some(other) => Some(format!(
            "{kind} {INJECT}: '{other}' decides nothing; write \"true\" or \"false\""
        )),
        None => None,
    };
    (by_selectors_and_policy(&labels, settings), warning)
}

fn by_selectors_and_policy(labels: &BTreeMap<String, String>, settings: &Settings) -> Decision {
    let selects = |s: &Selector| !s.selects_all() && s.matches(labels);
    if let Some(index) = settings.never_inject.iter().position(selects) {
        return Decision::Skip(Reason::NeverInjectSelector(index));
    }
    if settings.always_inject.iter().any(selects) {
        return Decision::Inject;
    }
    match settings.policy {
        Policy::Enabled => Decision::Inject,
        Policy::Disabled => Decision::Skip(Reason::Policy),
    }
}

#[cfg(test)]
mod tests;
