use serde_json::json;

use super::*;

/// Two empty selectors, one that matches `class: never` and one of `both`; those of `alwaysInjectSelector`
/// match `class: always` and `both`.
fn settings(policy: Policy) -> Settings {
    Settings {
        policy,
        ..Settings::parse(
            "
            image: a
            neverInjectSelector:
            - {}
            - matchExpressions: [{ key: class, operator: In, values: [never] }]
            - matchLabels: { class: both }
            alwaysInjectSelector:
            - {}
            - matchLabels: { class: always }
            - matchExpressions: [{ key: class, operator: NotIn, values: [none, never, always] }]
            ",
        )
        .unwrap()
    }
}

/// What a pod says for itself, and what is expected of it.
struct Case {
    policy: Policy,
    namespace: &'static str,
    label: Option<&'static str>,
    annotation: Option<&'static str>,
    class: &'static str,
    host_network: bool,
}

const PLAIN: Case = Case {
    policy: Enabled,
    namespace: "shop",
    label: None,
    annotation: None,
    class: "none",
    host_network: false,
};

use Decision::{Inject, Skip};
use Policy::{Disabled, Enabled};

impl Case {
    fn pod(&self) -> Value {
        let mut pod = json!({
            "metadata": { "labels": { "class": self.class }, "annotations": {} },
            "spec": { "hostNetwork": self.host_network },
        });
        if let Some(value) = self.label {
            pod["metadata"]["labels"][INJECT] = json!(value);
        }
        if let Some(value) = self.annotation {
            pod["metadata"]["annotations"][INJECT] = json!(value);
        }
        pod
    }

    fn decide(&self) -> (Decision, Option<String>) {
        decide(&self.pod(), self.namespace, &settings(self.policy))
    }
}

#[track_caller]
fn check(case: &Case, expected: Decision, warns: bool) {
    let (decision, warning) = case.decide();
    assert_eq!(decision, expected);
    assert_eq!(warning.is_some(), warns, "{warning:?}");
}

#[test]
fn label_annotation_selectors_and_policy_decide_in_istios_order() {
    const QUIET: bool = false;
    const WARNS: bool = true;
    let never = Skip(Reason::NeverInjectSelector(1));
    let both = Skip(Reason::NeverInjectSelector(2));
    let label = Skip(Reason::Label);
    let annotation = Skip(Reason::Annotation);
    let policy = Skip(Reason::Policy);
    for (mesh, pod_label, pod_annotation, class, expected, warns) in [
        // Nothing but the policy.
        (Enabled, None, None, "none", Inject, QUIET),
        (Disabled, None, None, "none", policy, QUIET),
        // The annotation.
        (Enabled, None, Some("true"), "none", Inject, QUIET),
        (Enabled, None, Some("false"), "none", annotation, QUIET),
        (Disabled, None, Some("true"), "none", Inject, QUIET),
        (Disabled, None, Some("false"), "none", annotation, QUIET),
        (Enabled, None, Some("yes"), "none", Inject, WARNS),
        (Disabled, None, Some("yes"), "none", policy, WARNS),
        (Enabled, None, Some(""), "none", Inject, WARNS),
        // The label.
        (Enabled, Some("true"), None, "none", Inject, QUIET),
        (Enabled, Some("false"), None, "none", label, QUIET),
        (Disabled, Some("true"), None, "none", Inject, QUIET),
        (Disabled, Some("false"), None, "none", label, QUIET),
        (Enabled, Some("True"), None, "none", Inject, WARNS),
        (Disabled, Some("True"), None, "none", policy, WARNS),
        // Both: the label is stronger.
        (Enabled, Some("true"), Some("false"), "none", Inject, QUIET),
        (Enabled, Some("false"), Some("true"), "none", label, QUIET),
        (Disabled, Some("true"), Some("false"), "none", Inject, QUIET),
        (Disabled, Some("false"), Some("true"), "none", label, QUIET),
        // It hides the annotation even if it decides nothing.
        (Enabled, Some(""), Some("false"), "none", Inject, WARNS),
        (Disabled, Some(""), Some("true"), "none", policy, WARNS),
        (Disabled, Some("no"), Some("true"), "none", policy, WARNS),
        // The selectors are stronger than the policy.
        (Enabled, None, None, "never", never, QUIET),
        (Disabled, None, None, "never", never, QUIET),
        (Enabled, None, None, "always", Inject, QUIET),
        (Disabled, None, None, "always", Inject, QUIET),
        (Enabled, None, None, "both", both, QUIET),
        (Disabled, None, None, "both", both, QUIET),
        // Label and annotation are stronger than the selectors.
        (Enabled, Some("true"), None, "never", Inject, QUIET),
        (Disabled, None, Some("true"), "never", Inject, QUIET),
        (Enabled, Some("false"), None, "always", label, QUIET),
        (Disabled, None, Some("false"), "both", annotation, QUIET),
        // Unless they decide nothing.
        (Enabled, Some(""), Some("true"), "never", never, WARNS),
        (Disabled, None, Some("on"), "always", Inject, WARNS),
    ] {
        let case = Case {
            policy: mesh,
            label: pod_label,
            annotation: pod_annotation,
            class,
            ..PLAIN
        };
        check(&case, expected, warns);
    }
}

#[test]
fn a_pod_without_labels_matches_no_empty_selector() {
    let pod = json!({ "metadata": {}, "spec": {} });
    let settings = Settings {
        policy: Disabled,
        ..Settings::parse("image: a\nneverInjectSelector: [{}]\nalwaysInjectSelector: [{}]")
            .unwrap()
    };
    assert_eq!(decide(&pod, "shop", &settings).0, Skip(Reason::Policy));
}

#[test]
fn host_network_and_system_namespaces_are_never_injected() {
    let asked = Case {
        label: Some("true"),
        class: "always",
        ..PLAIN
    };
    let host = Case {
        host_network: true,
        ..asked
    };
    check(&host, Skip(Reason::HostNetwork), false);
    for namespace in IGNORED_NAMESPACES {
        let case = Case { namespace, ..asked };
        check(&case, Skip(Reason::IgnoredNamespace), false);
    }
}

#[test]
fn windows_pods_are_left_alone() {
    let settings = settings(Enabled);
    for spec in [
        json!({"os": {"name": "windows"}}),
        json!({"nodeSelector": {"kubernetes.io/os": "windows"}}),
    ] {
        let (decision, _) = decide(&json!({"spec": spec}), "shop", &settings);
        assert_eq!(decision, Skip(Reason::Windows));
    }
    let linux =
        json!({"metadata": {"labels": {"class": "none"}}, "spec": {"os": {"name": "linux"}}});
    assert_eq!(decide(&linux, "shop", &settings).0, Inject);
}

#[test]
fn a_warning_names_the_key_the_value_and_what_is_accepted() {
    for (label, annotation, kind) in [
        (Some("yes"), None, "label"),
        (None, Some("yes"), "annotation"),
    ] {
        let case = Case {
            label,
            annotation,
            ..PLAIN
        };
        let expected = format!(
            "{kind} sidecar.istio.io/inject: 'yes' decides nothing; write \"true\" or \"false\""
        );
        assert_eq!(case.decide().1, Some(expected));
    }
}

#[test]
fn each_reason_is_told_in_words() {
    for (reason, words) in [
        (Reason::HostNetwork, "the pod uses the host's network"),
        (Reason::Windows, "the pod is for Windows"),
        (Reason::IgnoredNamespace, "the namespace is never injected"),
        (
            Reason::Label,
            "the pod's label sidecar.istio.io/inject is false",
        ),
        (
            Reason::Annotation,
            "the pod's annotation sidecar.istio.io/inject is false",
        ),
        (
            Reason::NeverInjectSelector(2),
            "neverInjectSelector[2] selects the pod",
        ),
        (
            Reason::Policy,
            "the policy is disabled and nothing asks for injection",
        ),
    ] {
        assert_eq!(reason.to_string(), words);
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
        assert_eq!(decide(&pod, "shop", &settings(Enabled)).0, Inject);
    }
}
