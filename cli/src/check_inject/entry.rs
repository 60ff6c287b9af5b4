//! Whether the API server asks a webhook about a new pod: pure, from the webhook's entry, the
//! namespace and the pod.

use std::{collections::BTreeMap, fmt};

use fairlead_webhook::decide::Reason;
use k8s_openapi::{
    api::admissionregistration::v1::{MatchCondition, MutatingWebhook, RuleWithOperations},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::core::{Expression, Selector, SelectorExt};
use serde_json::Value;

use super::facts::{NAME_LABEL, Namespace};

/// Whether a webhook is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Match {
    Asked,
    /// Each requirement that is not met.
    NotAsked(Vec<Unmet>),
    /// What nothing but the API server can tell.
    Unknown(Vec<String>),
}

/// A requirement that keeps the API server from asking.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Unmet {
    Label {
        of: Object,
        expression: Expression,
        /// The label's value, if it is there.
        found: Option<String>,
    },
    Condition {
        name: String,
        why: Reason,
    },
}

/// Whose labels a selector is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Object {
    Namespace,
    Pod,
}

/// Whether a webhook is for new pods at all.
pub(super) fn reviews_new_pods(webhook: &MutatingWebhook) -> bool {
    webhook.rules.iter().flatten().any(is_for_new_pods)
}

/// As the API server matches a rule with the creation of a pod.
fn is_for_new_pods(rule: &RuleWithOperations) -> bool {
    let has = |list: &Option<Vec<String>>, accepted: &[&str]| {
        let mut values = list.iter().flatten();
        values.any(|value| accepted.contains(&value.as_str()))
    };
    has(&rule.operations, &["CREATE", "*"])
        && has(&rule.api_groups, &["", "*"])
        && has(&rule.api_versions, &["v1", "*"])
        && has(&rule.resources, &["pods", "pods/*", "*", "*/*"])
        && rule.scope.as_deref() != Some("Cluster")
}

/// Whether the API server asks, for a pod with these labels; every reason against it.
pub(super) fn asked(webhook: &MutatingWebhook, namespace: &Namespace, pod: &Value) -> Match {
    let mut unmet = Vec::new();
    let mut unknown = Vec::new();
    let pod_labels = labels(pod);
    for (of, selector, labels) in [
        (
            Object::Namespace,
            &webhook.namespace_selector,
            &namespace.labels,
        ),
        (Object::Pod, &webhook.object_selector, &pod_labels),
    ] {
        match selector.as_ref().map_or(Ok(Vec::new()), expressions) {
            Ok(expressions) => unmet.extend(
                expressions
                    .into_iter()
                    .filter(|expression| !expression.matches(labels))
                    .map(|expression| Unmet::Label {
                        of,
                        found: labels.get(key(&expression)).cloned(),
                        expression,
                    }),
            ),
            Err(error) => unknown.push(format!("the selector of the {of}: {error}")),
        }
    }
    for condition in webhook.match_conditions.iter().flatten() {
        match holds(condition, pod) {
            Some(Ok(())) => {}
            Some(Err(why)) => unmet.push(Unmet::Condition {
                name: condition.name.clone(),
                why,
            }),
            None => unknown.push(format!(
                "whether its condition {} holds: {}",
                condition.name,
                one_line(&condition.expression)
            )),
        }
    }
    if !unmet.is_empty() {
        Match::NotAsked(unmet)
    } else if !unknown.is_empty() {
        Match::Unknown(unknown)
    } else {
        Match::Asked
    }
}

/// Labels of a pod that is a JSON value.
pub(super) fn labels(pod: &Value) -> BTreeMap<String, String> {
    let labels = pod.pointer("/metadata/labels").and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    labels
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn expressions(selector: &LabelSelector) -> Result<Vec<Expression>, String> {
    let selector = Selector::try_from(selector.clone()).map_err(|error| error.0)?;
    Ok(selector.into_iter().collect())
}

/// The label that an expression is about.
pub(super) fn key(expression: &Expression) -> &str {
    match expression {
        Expression::In(key, _)
        | Expression::NotIn(key, _)
        | Expression::Equal(key, _)
        | Expression::NotEqual(key, _)
        | Expression::Exists(key)
        | Expression::DoesNotExist(key) => key,
    }
}

/// The conditions that the chart renders; no other can be told without running it.
const NOT_ON_HOST_NETWORK: &str = "!(has(object.spec.hostNetwork) && object.spec.hostNetwork)";
const NOT_FOR_WINDOWS: &str = "!(has(object.spec.os) && object.spec.os.name == 'windows')";

fn holds(condition: &MatchCondition, pod: &Value) -> Option<Result<(), Reason>> {
    let (fails, why) = match condition.expression.as_str() {
        NOT_ON_HOST_NETWORK => {
            let host_network = pod.pointer("/spec/hostNetwork");
            (
                host_network == Some(&Value::Bool(true)),
                Reason::HostNetwork,
            )
        }
        NOT_FOR_WINDOWS => {
            let system = pod.pointer("/spec/os/name").and_then(Value::as_str);
            (system == Some("windows"), Reason::Windows)
        }
        _ => return None,
    };
    Some(if fails { Err(why) } else { Ok(()) })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "namespace",
            Self::Pod => "pod",
        })
    }
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (of, expression, found) = match self {
            Self::Label {
                of,
                expression,
                found,
            } => (of, expression, found),
            Self::Condition { name, why } => return write!(f, "{why} (condition {name})"),
        };
        let key = key(expression);
        match (expression, found) {
            (Expression::In(_, values), None) => {
                let values = one_of(values.iter().map(String::as_str));
                write!(f, "the {of} has no label {key}={values}")
            }
            (Expression::In(_, values), Some(found)) => {
                let values = one_of(values.iter().map(String::as_str));
                write!(f, "the {of} has the label {key}={found}, not {values}")
            }
            (Expression::Equal(_, value), None) => {
                write!(f, "the {of} has no label {key}={value}")
            }
            (Expression::Equal(_, value), Some(found)) => {
                write!(f, "the {of} has the label {key}={found}, not {value}")
            }
            (Expression::Exists(_), _) => write!(f, "the {of} has no label {key}"),
            (Expression::NotIn(..), Some(name)) if key == NAME_LABEL => {
                write!(f, "the {of} {name} is excluded by its name")
            }
            (
                Expression::NotIn(..) | Expression::NotEqual(..) | Expression::DoesNotExist(_),
                found,
            ) => {
                let found = found.as_deref().unwrap_or_default();
                write!(
                    f,
                    "the {of} has the label {key}={found}, which rules it out"
                )
            }
        }
    }
}

fn one_of<'a>(values: impl Iterator<Item = &'a str>) -> String {
    values.collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests;
