//! Takes back what was changed when a later step fails.

use super::{ApplyError, iptables::run_restore, run::Programs};
use crate::{
    address,
    config::PolicyRoute,
    iptables::{
        installed::{Installed, Ruleset},
        program::Tool,
        restore,
    },
    policy_route,
    rules::Family,
};

/// What was changed, to be undone should a later step fail.
pub(super) enum Done {
    /// The rules of a family by iptables, and what stood there, if that was something else.
    Iptables(Tool, Ruleset, Option<Installed>),
    /// Those of both families by nftables, which is one step.
    Native,
    /// The policy route of a family was added.
    PolicyRoute(Family, PolicyRoute),
    /// The proxy's source address was added.
    Address,
}

pub(super) fn undo(done: &[Done], error: ApplyError, programs: Programs<'_>) -> ApplyError {
    for change in done.iter().rev() {
        let (subject, outcome) = match change {
            Done::Iptables(tool, wanted, Some(before)) => (
                tool.family.name(),
                put_back(*tool, wanted, before, programs),
            ),
            Done::PolicyRoute(family, route) => {
                let removed = policy_route::remove(*family, route.mark, route.table);
                (family.name(), removed.map(drop).map_err(ApplyError::from))
            }
            Done::Address => {
                let removed = address::remove_passthrough();
                ("address", removed.map(drop).map_err(ApplyError::Address))
            }
            // The last step that can fail, and one that fails as a whole.
            Done::Native | Done::Iptables(_, _, None) => continue,
        };
        if let Err(undo) = outcome {
            return ApplyError::Undo {
                subject,
                undo: Box::new(undo),
                source: Box::new(error),
            };
        }
    }
    error
}

fn put_back(
    tool: Tool,
    wanted: &Ruleset,
    before: &Installed,
    programs: Programs<'_>,
) -> Result<(), ApplyError> {
    let now = Installed {
        ours: wanted.clone(),
        ..before.clone()
    };
    match restore::transition(&now, &before.ours, false) {
        Some(text) => run_restore(tool, &text, &before.ours, programs),
        None => Ok(()),
    }
}
