//! What makes a pod refused, in words.

use std::fmt;

use fairlead_api::{
    annotations::{self, STATUS_PORT, TEMPLATES, USER_VOLUME},
    names::{INJECT, OVERRIDES, STATUS},
};

/// More lines than anybody reads.
const TOLD: usize = 64;

/// Why a pod is refused; never empty.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Refusal(pub Vec<Fault>);

impl Refusal {
    /// What speaks against the injection, one thing a line.
    pub fn lines(&self) -> Vec<String> {
        let texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        let mut lines: Vec<String> = lines.map(ToOwned::to_owned).collect();
        let more = lines.len().saturating_sub(TOLD);
        if more > 0 {
            lines.truncate(TOLD);
            lines.push(format!("and {more} more"));
        }
        lines
    }

    /// The kind of its first fault, for the metric's label `reason`.
    pub(crate) fn kind(&self) -> &'static str {
        self.0.first().map_or("shape", Fault::kind)
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
    /// There is more of something than any pod needs, and than is decided on in time.
    #[error("{what} has {count} {of}, and at most {most} are accepted")]
    TooMuch {
        /// Where.
        what: String,
        /// How much there is.
        count: usize,
        /// Of what.
        of: &'static str,
        /// How much is accepted.
        most: usize,
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
    /// An annotation adds a volume that the pod has already.
    #[error(
        "annotation '{USER_VOLUME}' adds the volume '{name}', which is in spec.volumes, too; give it \
         another name, or remove it from one of them"
    )]
    VolumeTaken {
        /// Its name.
        name: String,
    },
    /// An application would run as the proxy, whose traffic is not captured.
    #[error(
        "container '{container}' has {field} {id}, the proxy's own, whose traffic bypasses \
         the mesh; choose another id"
    )]
    ProxyIdentity {
        /// The application's container.
        container: String,
        /// `runAsUser` or `runAsGroup`.
        field: &'static str,
        /// The id.
        id: u32,
    },
    /// The proxy would be of a group that nearly every container is of.
    #[error(
        "container 'istio-proxy' has runAsGroup 0, which most applications have, too: their traffic \
         would bypass the mesh; choose another group"
    )]
    RootGroup,
    /// OpenShift's annotation of the namespace is not what it writes.
    #[error(
        "invalid value '{value}' for annotation '{key}' of the pod's namespace: a block of ids such \
         as 1000650000/10000 is accepted"
    )]
    Block {
        /// The annotation.
        key: &'static str,
        /// What it says.
        value: String,
    },
    /// The annotation that keeps the author's containers was edited.
    #[error(
        "annotation '{OVERRIDES}' is not the injector's JSON ({reason}); remove it, and write the \
         containers into the pod"
    )]
    Overrides {
        /// What is wrong.
        reason: String,
    },
    /// A container of the author's under the name of an injected one cannot be followed.
    #[error("container '{container}' {reason}")]
    Override {
        /// The container.
        container: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The pod names a template that is not there.
    #[error("annotation '{TEMPLATES}' names '{name}'; there are {known}")]
    UnknownTemplate {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Two templates say the contrary of each other.
    #[error(
        "annotation '{TEMPLATES}' names both sidecar and gateway, and a pod is one or the other; \
         remove one of them"
    )]
    TwoTemplates,
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

impl Fault {
    fn kind(&self) -> &'static str {
        match self {
            Self::Shape { .. } | Self::TooMuch { .. } => "shape",
            Self::Annotations(_) | Self::NoStatusPort { .. } => "annotation",
            Self::Status { .. } => "status_annotation",
            Self::NameTaken { .. } | Self::VolumeTaken { .. } => "name_taken",
            Self::ProxyIdentity { .. } | Self::RootGroup | Self::Block { .. } => "proxy_identity",
            Self::Overrides { .. } | Self::Override { .. } => "override",
            Self::UnknownTemplate { .. } | Self::TwoTemplates => "template",
            Self::Probe { .. } => "probe",
        }
    }
}
