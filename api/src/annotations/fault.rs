//! Annotations whose values are not accepted.

use std::fmt;

use crate::values::{ValueError, quoted};

/// One annotation whose value is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid value {} for annotation '{key}'{}: {reason}", quoted(value), owner(namespace.as_deref()))]
pub struct Fault {
    /// The annotation.
    pub key: &'static str,
    /// The namespace whose annotation it is; none if it is the pod's own.
    pub namespace: Option<String>,
    /// What it says.
    pub value: String,
    /// What is accepted.
    pub reason: ValueError,
}

/// Every fault of a pod's annotations; never empty.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Faults(pub Vec<Fault>);

/// One a line.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

/// The words after the key of an annotation that is not the pod's own.
pub(super) fn owner(namespace: Option<&str>) -> String {
    namespace.map_or_else(String::new, |name| format!(" of namespace {name}"))
}
