//! The policies, compiled, and what they decide.

use fairlead_xds::envoy::config::rbac::v3::{
    Policy as PolicyMessage, Rbac,
    rbac::{
        Action, AuditLoggingOptions,
        audit_logging_options::{AuditCondition, AuditLoggerConfig},
    },
};

use super::{
    decision::Decision,
    facts::Facts,
    permission::permission,
    principal::principal,
    rule::{Rule, one_of, several},
};
use crate::compile::At;

/// Policies and what they are for (`envoy.config.rbac.v3.RBAC`).
#[derive(Clone, Debug)]
pub struct Engine {
    action: Action,
    /// By name: the first that matches is the one that decides.
    policies: Box<[Policy]>,
}

#[derive(Clone, Debug)]
struct Policy {
    name: Box<str>,
    permissions: Box<[Rule]>,
    principals: Box<[Rule]>,
}

impl Engine {
    /// The engine that the message asks for.
    pub fn compile(at: &At<'_>, message: &Rbac) -> Option<Self> {
        let Rbac {
            action,
            policies,
            audit_logging_options,
        } = message;
        let action = Action::try_from(*action)
            .ok()
            .or_else(|| at.field("action").fault(format!("{action} is no action")));
        if let Some(options) = audit_logging_options {
            audit(&at.field("audit_logging_options"), options);
        }
        let mut policies: Vec<_> = policies.iter().collect();
        policies.sort_unstable_by_key(|(name, _)| *name);
        let compiled: Vec<_> = policies
            .iter()
            .filter_map(|(name, message)| {
                Policy::compile(&at.field(&format!("policies[\"{name}\"]")), name, message)
            })
            .collect();
        if compiled.len() < policies.len() {
            return None;
        }
        Some(Self {
            action: action?,
            policies: compiled.into(),
        })
    }

    /// An engine without policies, which denies each connection.
    pub fn deny_all() -> Self {
        Self {
            action: Action::Allow,
            policies: Box::default(),
        }
    }

    /// What the policies say of the connection.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision<'_> {
        let first = self.policies.iter().find(|policy| policy.matches(facts));
        let policy = first.map(|policy| &*policy.name);
        match (self.action, policy) {
            (Action::Log, policy) => Decision::Log { policy },
            (Action::Allow, Some(_)) | (Action::Deny, None) => Decision::Allow { policy },
            (Action::Allow, None) | (Action::Deny, Some(_)) => Decision::Deny { policy },
        }
    }
}

impl Policy {
    fn compile(at: &At<'_>, name: &str, message: &PolicyMessage) -> Option<Self> {
        let PolicyMessage {
            permissions,
            principals,
            condition,
            checked_condition,
            // It says how to read the condition.
            cel_config: _,
        } = message;
        let permissions = several(at, "permissions", permissions, permission);
        let principals = several(at, "principals", principals, principal);
        let conditions = [
            ("condition", condition.is_some()),
            ("checked_condition", checked_condition.is_some()),
        ];
        let mut unconditional = true;
        for (field, _) in conditions.into_iter().filter(|(_, given)| *given) {
            let at = at.field(field);
            at.fault::<()>("expressions of CEL are not supported");
            unconditional = false;
        }
        if !unconditional {
            return None;
        }
        Some(Self {
            name: name.into(),
            permissions: permissions?,
            principals: principals?,
        })
    }

    fn matches(&self, facts: &Facts<'_>) -> bool {
        one_of(&self.permissions, facts) && one_of(&self.principals, facts)
    }
}

/// Loggers of decisions, which enforce nothing; Envoy, too, takes them and does not run them.
fn audit(at: &At<'_>, options: &AuditLoggingOptions) {
    let AuditLoggingOptions {
        audit_condition,
        logger_configs,
    } = options;
    if AuditCondition::try_from(*audit_condition).is_err() {
        let at = at.field("audit_condition");
        at.fault::<()>(format!("{audit_condition} is no condition"));
    }
    for (index, logger) in logger_configs.iter().enumerate() {
        let AuditLoggerConfig {
            audit_logger,
            is_optional: _,
        } = logger;
        let name = audit_logger.as_ref().map_or("", |logger| &logger.name);
        let at = at.field("logger_configs").index(index);
        at.unsupported(format!("the audit logger '{name}' is not run"));
    }
}
