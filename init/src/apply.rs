//! Brings the plan about: compare with what is installed, apply what differs, all or nothing.
//!
//! The only module that runs programs. New rules stand before old ones go, whichever backend holds
//! them, so that no connection slips through in between.

mod error;
mod iptables;
mod native;
mod removal;
mod run;
mod survey;
mod undo;

use std::fmt;

pub use self::error::ApplyError;
use self::{
    iptables::converge,
    removal::{holders, remove_elsewhere, remove_unused},
    run::Programs,
    survey::{Before, require},
    undo::{Done, undo},
};
use crate::{
    Backend, Log, address,
    capability::{self, Capability},
    config::Mode,
    iptables::installed::Ruleset,
    plan::Plan,
    policy_route,
    rules::Family,
    turn::Turn,
};

/// How to go about it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// The backend to use, whatever is found.
    pub backend: Option<Backend>,
    /// Apply what is installed already.
    pub force: bool,
    /// The lock of legacy iptables is one of the network namespace.
    pub locks_namespace: bool,
}

/// What became of one family, or of one thing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    subject: &'static str,
    what: String,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)
    }
}

/// Applies the plan to the network namespace of this process.
///
/// # Errors
/// Says what is missing or who refused. Until the new rules stand, whatever was changed is then as
/// it was; once they stand, they stay.
pub fn apply(plan: &Plan, options: Options, log: &Log) -> Result<Vec<Report>, ApplyError> {
    require(Capability::NetAdmin)?;
    capability::require_mapped(&plan.redirect).map_err(ApplyError::Unmapped)?;
    let _turn = Turn::take()?;
    let programs = Programs {
        log,
        locks_namespace: options.locks_namespace,
    };
    let before = Before::read(programs)?;
    before.refuse_other_mesh()?;

    let mut done = Vec::new();
    match bring_about(plan, options, &before, programs, &mut done) {
        Ok(mut reports) => {
            let holders = holders(&done);
            reports.extend(remove_elsewhere(&before, &holders, programs)?);
            reports.extend(remove_unused(plan, &plan.families)?);
            Ok(reports)
        }
        Err(error) => Err(undo(&done, error, programs)),
    }
}

/// Removes everything that any run has added, whatever its settings and backend were.
///
/// # Errors
/// Says what could not be removed.
pub fn clean_up(plan: &Plan, options: Options, log: &Log) -> Result<Vec<Report>, ApplyError> {
    require(Capability::NetAdmin)?;
    let _turn = Turn::take()?;
    let programs = Programs {
        log,
        locks_namespace: options.locks_namespace,
    };
    let before = Before::read(programs)?;
    let mut reports = remove_elsewhere(&before, &[], programs)?;
    reports.extend(remove_unused(plan, &[])?);
    if reports.is_empty() {
        reports.push(Report {
            subject: "cleanup",
            what: "nothing was there".to_owned(),
        });
    }
    Ok(reports)
}

/// First what the rules need, then the rules.
fn bring_about(
    plan: &Plan,
    options: Options,
    before: &Before,
    programs: Programs<'_>,
    done: &mut Vec<Done>,
) -> Result<Vec<Report>, ApplyError> {
    let mut reports = Vec::new();
    // The plan was made before the turn, and another run may have taken the address away since.
    let has_ipv6 = plan
        .families
        .iter()
        .any(|(family, _)| *family == Family::Ipv6);
    if has_ipv6 && address::add_passthrough().map_err(ApplyError::Address)? {
        done.push(Done::Address);
    }
    if plan.redirect.mode == Mode::Tproxy {
        for (family, _) in &plan.families {
            let route = plan.redirect.policy_route;
            let changed = policy_route::ensure(*family, route.mark, route.table)?;
            if changed.rule_added || changed.route_added {
                done.push(Done::PolicyRoute(*family, route));
            }
            if changed.anything() {
                reports.push(Report {
                    subject: family.name(),
                    what: changed.to_string(),
                });
            }
        }
    }
    if options.backend == Some(Backend::Native) {
        let what = before
            .native
            .converge(&plan.families, options.force, programs)?;
        done.push(Done::Native);
        reports.push(Report {
            subject: "inet",
            what: format!("nftables, as --native-nftables says: {what}"),
        });
        return Ok(reports);
    }
    for (family, rules) in &plan.families {
        let wanted = Ruleset::new(rules.clone());
        let ((tool, before), what) = converge(before.of(*family), &wanted, options, programs)?;
        done.push(Done::Iptables(tool, wanted, before));
        reports.push(Report {
            subject: family.name(),
            what,
        });
    }
    Ok(reports)
}
