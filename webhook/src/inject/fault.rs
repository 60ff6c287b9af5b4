//! What makes a pod refused, in words.

use std::fmt;

use fairlead_api::{
    annotations::{self, STATUS_PORT},
    names::{INJECT, PROXY_ID, STATUS},
};

/// Why a pod is refused; never empty.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Refusal(pub Vec<Fault>);

impl Refusal {
    /// What speaks against the injection, one thing a line.
    pub fn lines(&self) -> Vec<String> {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.map(ToOwned::to_owned).collect()
    }
}

/// One fault stands in the line, several have a line each, which is how kubectl shows them.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sidecar cannot be injected:")?;
        match &self.lines()[..] {
            [line] => write!(f, " {line}"),
            lines => lines.iter().try_for_each(|line| write!(f, "\n  {line}")),
        }
    }
}

/// One thing that speaks against the injection.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A field is not of the type that the Kubernetes API gives it.
    #[error("{path} is not {expected}")]
    Shape {
        /// Where.
        path: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Annotations whose values are not accepted.
    #[error("{0}")]
    Annotations(annotations::Faults),
    /// The status annotation was edited.
    #[error("annotation '{STATUS}' is not the injector's JSON ({reason}); remove it")]
    Status {
        /// The parser's words.
        reason: String,
    },
    /// The pod has an element of its own with a name that the mesh needs.
    #[error(
        "the name '{name}' in spec.{field} is the mesh's own; rename it, or opt the pod out with \
         the label {INJECT}: \"false\""
    )]
    NameTaken {
        /// The list.
        field: &'static str,
        /// The name.
        name: String,
    },
    /// An application would run as the proxy, whose traffic is not captured.
    #[error(
        "container '{container}' has {field} {PROXY_ID}, the proxy's own, whose traffic bypasses \
         the mesh; choose another id"
    )]
    ProxyIdentity {
        /// The application's container.
        container: String,
        /// `runAsUser` or `runAsGroup`.
        field: &'static str,
    },
    /// A probe or hook that the proxy cannot take over.
    #[error("container '{container}': {probe} {reason}")]
    Probe {
        /// The application's container.
        container: String,
        /// Such as `readinessProbe`.
        probe: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// An annotation asks for what the status port does, and another takes the port away.
    #[error(
        "annotation '{key}' is true, which needs the status port, and '{STATUS_PORT}' is 0, which \
         takes it away; remove one of them"
    )]
    NoStatusPort {
        /// The annotation.
        key: &'static str,
    },
}
