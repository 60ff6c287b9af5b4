//! Whether a pod is injected: pure, from the pod, its namespace and the settings.
//!
//! The selectors of the MutatingWebhookConfiguration have decided before; what arrives here may
//! still be skipped.

use std::{collections::BTreeMap, fmt};

use fairlead_api::names::{IGNORED_NAMESPACES, INJECT};
use kube::core::SelectorExt;
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
    /// One of `neverInjectSelector` selects it.
    NeverInjectSelector,
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
            Self::NeverInjectSelector => "never_inject_selector",
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
            Self::NeverInjectSelector => f.write_str("neverInjectSelector selects the pod"),
            Self::Policy => f.write_str("the policy is disabled and nothing asks for injection"),
        }
    }
}

/// Pods say so in `spec.os`, or by the node that they ask for.
fn is_for_windows(pod: &Value) -> bool {
    ["/spec/os/name", "/spec/nodeSelector/kubernetes.io~1os"]
        .iter()
        .any(|path| pod.pointer(path).is_some_and(|os| os == "windows"))
}

/// Decides, in the order of Istio; a warning is for whoever creates the pod.
pub fn decide(pod: &Value, namespace: &str, settings: &Settings) -> (Decision, Option<String>) {
    if pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)) {
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
            "{kind} {INJECT}: '{other}' is neither true nor false and decides nothing"
        )),
        None => None,
    };
    (by_selectors_and_policy(&labels, settings), warning)
}

fn by_selectors_and_policy(labels: &BTreeMap<String, String>, settings: &Settings) -> Decision {
    if settings.never_inject.iter().any(|s| s.matches(labels)) {
        return Decision::Skip(Reason::NeverInjectSelector);
    }
    if settings.always_inject.iter().any(|s| s.matches(labels)) {
        return Decision::Inject;
    }
    match settings.policy {
        Policy::Enabled => Decision::Inject,
        Policy::Disabled => Decision::Skip(Reason::Policy),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Selectors that both match `class: both`, and one each of their own.
    fn settings(policy: Policy) -> Settings {
        Settings {
            policy,
            ..Settings::parse(
                "
                image: a
                neverInjectSelector:
                - matchExpressions: [{ key: class, operator: In, values: [never, both] }]
                alwaysInjectSelector:
                - matchLabels: { class: always }
                - matchLabels: { class: both }
                ",
            )
            .unwrap()
        }
    }

    struct Case {
        policy: Policy,
        namespace: &'static str,
        label: Option<&'static str>,
        annotation: Option<&'static str>,
        class: &'static str,
        host_network: bool,
    }

    const PLAIN: Case = Case {
        policy: Policy::Enabled,
        namespace: "shop",
        label: None,
        annotation: None,
        class: "none",
        host_network: false,
    };
    const DISABLED: Case = Case {
        policy: Policy::Disabled,
        ..PLAIN
    };

    #[track_caller]
    fn check(case: &Case, expected: Decision, warns: bool) {
        let mut pod = json!({
            "metadata": { "labels": { "class": case.class }, "annotations": {} },
            "spec": { "hostNetwork": case.host_network },
        });
        if let Some(value) = case.label {
            pod["metadata"]["labels"][INJECT] = json!(value);
        }
        if let Some(value) = case.annotation {
            pod["metadata"]["annotations"][INJECT] = json!(value);
        }
        let (decision, warning) = decide(&pod, case.namespace, &settings(case.policy));
        assert_eq!(decision, expected);
        assert_eq!(warning.is_some(), warns, "{warning:?}");
    }

    const INJECT_IT: Decision = Decision::Inject;
    const fn skip(reason: Reason) -> Decision {
        Decision::Skip(reason)
    }

    #[test]
    fn the_policy_decides_what_nothing_else_does() {
        check(&PLAIN, INJECT_IT, false);
        check(&DISABLED, skip(Reason::Policy), false);
    }

    #[test]
    fn the_label_is_stronger_than_the_annotation() {
        for (label, annotation, expected) in [
            (Some("true"), Some("false"), INJECT_IT),
            (Some("false"), Some("true"), skip(Reason::Label)),
            (None, Some("true"), INJECT_IT),
            (None, Some("false"), skip(Reason::Annotation)),
        ] {
            let case = Case {
                label,
                annotation,
                ..PLAIN
            };
            check(&case, expected, false);
        }
    }

    #[test]
    fn either_overrides_policy_and_selectors() {
        let label = Some("true");
        check(&Case { label, ..DISABLED }, INJECT_IT, false);
        let class = "never";
        let asked = Case {
            label,
            class,
            ..PLAIN
        };
        check(&asked, INJECT_IT, false);
        let annotation = Some("false");
        let class = "always";
        let refused = Case {
            annotation,
            class,
            ..PLAIN
        };
        check(&refused, skip(Reason::Annotation), false);
    }

    #[test]
    fn a_value_that_is_no_boolean_warns_and_decides_nothing() {
        for value in ["", "yes", "True", " true"] {
            let label = Some(value);
            check(&Case { label, ..PLAIN }, INJECT_IT, true);
            check(&Case { label, ..DISABLED }, skip(Reason::Policy), true);
            let annotation = Some(value);
            check(
                &Case {
                    annotation,
                    ..PLAIN
                },
                INJECT_IT,
                true,
            );
        }
    }

    #[test]
    fn a_label_that_decides_nothing_still_hides_the_annotation() {
        let case = Case {
            label: Some(""),
            annotation: Some("false"),
            ..PLAIN
        };
        check(&case, INJECT_IT, true);
    }

    #[test]
    fn windows_pods_are_left_alone() {
        let settings = settings(Policy::Enabled);
        for spec in [
            json!({"os": {"name": "windows"}}),
            json!({"nodeSelector": {"kubernetes.io/os": "windows"}}),
        ] {
            let (decision, _) = decide(&json!({"spec": spec}), "shop", &settings);
            assert_eq!(decision, skip(Reason::Windows));
        }
        let linux = json!({"spec": {"os": {"name": "linux"}}});
        assert_eq!(decide(&linux, "shop", &settings).0, INJECT_IT);
    }

    #[test]
    fn never_beats_always_and_both_beat_the_policy() {
        for (class, policy, expected) in [
            ("never", Policy::Enabled, skip(Reason::NeverInjectSelector)),
            ("both", Policy::Enabled, skip(Reason::NeverInjectSelector)),
            ("always", Policy::Disabled, INJECT_IT),
        ] {
            let case = Case {
                class,
                policy,
                ..PLAIN
            };
            check(&case, expected, false);
        }
    }

    #[test]
    fn host_network_and_system_namespaces_are_never_injected() {
        let asked = Case {
            label: Some("true"),
            ..PLAIN
        };
        let host = Case {
            host_network: true,
            ..asked
        };
        check(&host, skip(Reason::HostNetwork), false);
        for namespace in IGNORED_NAMESPACES {
            check(
                &Case { namespace, ..asked },
                skip(Reason::IgnoredNamespace),
                false,
            );
        }
    }

    #[test]
    fn a_pod_of_odd_shape_is_decided_without_panic() {
        for pod in [
            json!(null),
            json!([]),
            json!({"metadata": 1}),
            json!({"metadata": {"labels": [1]}}),
        ] {
            assert_eq!(
                decide(&pod, "shop", &settings(Policy::Enabled)).0,
                INJECT_IT
            );
        }
    }
}
