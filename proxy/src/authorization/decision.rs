//! What was decided, and by which policy.

use std::fmt;

/// What an [`Engine`](super::Engine) decides of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision<'a> {
    /// It may go on.
    Allow {
        /// The policy that allows it; none where policies deny and none of them does.
        policy: Option<&'a str>,
    },
    /// It may not go on.
    Deny {
        /// The policy that denies it; none where policies allow and none of them does.
        policy: Option<&'a str>,
    },
    /// It may go on, and is to be logged if a policy says so.
    Log {
        /// The policy that asks for the log.
        policy: Option<&'a str>,
    },
}

impl<'a> Decision<'a> {
    /// Whether the connection may not go on.
    pub fn is_denied(self) -> bool {
        matches!(self, Self::Deny { .. })
    }

    /// The policy that decided, if one did.
    pub fn policy(self) -> Option<&'a str> {
        match self {
            Self::Allow { policy } | Self::Deny { policy } | Self::Log { policy } => policy,
        }
    }

    /// Envoy's `access_log_hint`: whether the connection is to be logged, if policies say so at all.
    pub fn access_log_hint(self) -> Option<bool> {
        match self {
            Self::Log { policy } => Some(policy.is_some()),
            Self::Allow { .. } | Self::Deny { .. } => None,
        }
    }

    /// Envoy's details of a connection's end; none if the connection may go on.
    ///
    /// They hold no white space, so that they are one word of an access log's line.
    pub fn termination_details(self) -> Option<String> {
        let Self::Deny { policy } = self else {
            return None;
        };
        let name = policy.filter(|name| !name.is_empty()).unwrap_or("none");
        let name = name.replace([' ', '\t', '\n', '\r', '\x0b', '\x0c'], "_");
        Some(format!("rbac_access_denied_matched_policy[{name}]"))
    }
}

/// The words for the log, after "the connection from … to … is".
impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow { policy: Some(name) } => write!(f, "allowed by the policy '{name}'"),
            Self::Allow { policy: None } => f.write_str("allowed: no policy denies it"),
            Self::Deny { policy: Some(name) } => write!(f, "denied by the policy '{name}'"),
            Self::Deny { policy: None } => f.write_str("denied: no policy allows it"),
            Self::Log { policy: Some(name) } => {
                write!(f, "allowed, and logged by the policy '{name}'")
            }
            Self::Log { policy: None } => f.write_str("allowed, and not logged by any policy"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(decision: Decision<'_>, words: &str, details: Option<&str>, hint: Option<bool>) {
        assert_eq!(decision.to_string(), words);
        assert_eq!(decision.termination_details().as_deref(), details);
        assert_eq!(decision.access_log_hint(), hint);
    }

    #[test]
    fn a_decision_names_its_policy() {
        let policy = Some("ns[shop] policy\tone");
        check(
            Decision::Deny { policy },
            "denied by the policy 'ns[shop] policy\tone'",
            Some("rbac_access_denied_matched_policy[ns[shop]_policy_one]"),
            None,
        );
        check(
            Decision::Deny { policy: None },
            "denied: no policy allows it",
            Some("rbac_access_denied_matched_policy[none]"),
            None,
        );
        let policy = Some("a");
        let allow = Decision::Allow { policy };
        check(allow, "allowed by the policy 'a'", None, None);
        let allow = Decision::Allow { policy: None };
        check(allow, "allowed: no policy denies it", None, None);
        let log = Decision::Log { policy };
        let words = "allowed, and logged by the policy 'a'";
        check(log, words, None, Some(true));
        let log = Decision::Log { policy: None };
        let words = "allowed, and not logged by any policy";
        check(log, words, None, Some(false));
    }
}
