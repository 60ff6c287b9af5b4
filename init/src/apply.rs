//! Brings the plan about: compare with what is installed, apply what differs, all or nothing.
//!
//! The only module that runs programs. New rules stand before old ones go, whichever backend holds
//! them, so that no connection slips through in between.

mod error;
mod native;
mod run;
mod survey;

use std::{fmt, process::Command};

pub use self::error::ApplyError;
use self::{
    native::Native,
    run::Programs,
    survey::{Survey, require},
};
use crate::{
    Backend, Log, address,
    capability::{self, Capability},
    config::{Mode, PolicyRoute},
    iptables::{
        installed::{Installed, Ruleset},
        program::{RESTORE_ARGUMENTS, Tool},
        restore,
    },
    plan::Plan,
    policy_route::{self, RouteError},
    rules::{Family, Rule},
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

/// What stood in every backend before the run.
struct Before {
    native: Native,
    families: [Survey; 2],
}

impl Before {
    fn read(programs: Programs<'_>) -> Result<Self, ApplyError> {
        Ok(Self {
            native: Native::read(programs)?,
            families: [
                Survey::read(Family::Ipv4, programs)?,
                Survey::read(Family::Ipv6, programs)?,
            ],
        })
    }

    fn refuse_other_mesh(&self) -> Result<(), ApplyError> {
        let installed = self.families.iter().flat_map(|s| [&s.nft, &s.legacy]);
        match installed.into_iter().any(|i| i.other_mesh) {
            true => Err(ApplyError::OtherMesh),
            false => Ok(()),
        }
    }

    fn of(&self, family: Family) -> &Survey {
        let [ipv4, ipv6] = &self.families;
        match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        }
    }
}

/// What was changed, to be undone should a later step fail.
enum Done {
    /// The rules of a family by iptables, and what stood there, if that was something else.
    Iptables(Tool, Ruleset, Option<Installed>),
    /// Those of both families by nftables, which is one step.
    Native,
    /// The policy route of a family was added.
    PolicyRoute(Family, PolicyRoute),
    /// The proxy's source address was added.
    Address,
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

/// Finds the backend for a family and makes its tables right, by the first that is usable.
fn converge(
    survey: &Survey,
    wanted: &Ruleset,
    options: Options,
    programs: Programs<'_>,
) -> Result<((Tool, Option<Installed>), String), ApplyError> {
    let (candidates, reason): (&[Backend], _) = match options.backend {
        Some(Backend::Legacy) => (&[Backend::Legacy], FORCED),
        Some(_) => (&[Backend::Nft], FORCED),
        // Rules in both backends would be applied twice, so the one in use is ours, too.
        None if survey.legacy.holds_rules() => (
            &[Backend::Legacy, Backend::Plain],
            "as legacy tables hold rules",
        ),
        None => (
            &[Backend::Nft, Backend::Legacy, Backend::Plain],
            "as no legacy table holds rules",
        ),
    };
    let family = survey.family.name();
    let mut unusable = None;
    for backend in candidates {
        let tool = Tool::new(survey.family, *backend);
        match converge_by(
            tool,
            survey.installed(*backend),
            wanted,
            options.force,
            programs,
        ) {
            Err(error) if error.leaves_other_backends() && candidates.len() > 1 => {
                let log = programs.log;
                log.debug(format_args!("{family}: {backend}: {error}"));
                // A program that the kernel failed tells more than one that is not there.
                let keep = matches!(unusable, Some(ApplyError::Unsupported { .. }));
                unusable = unusable.filter(|_| keep).or(Some(error));
            }
            Err(error) => return Err(error),
            Ok((before, what)) => {
                let reason = match unusable {
                    Some(_) => "as no other is usable",
                    None => reason,
                };
                let what = format!("{backend}, {reason}: {what}");
                return Ok(((tool, before), what));
            }
        }
    }
    Err(match unusable {
        Some(error @ ApplyError::Unsupported { .. }) => error,
        _ => ApplyError::NoPrograms { family },
    })
}

const FORCED: &str = "as --force-iptables-binary says";

/// Makes the tables right, and tells what stood there if that was something else.
fn converge_by(
    tool: Tool,
    installed: &Installed,
    wanted: &Ruleset,
    force: bool,
    programs: Programs<'_>,
) -> Result<(Option<Installed>, String), ApplyError> {
    if tool.backend == Backend::Legacy {
        require(Capability::NetRaw)?;
    }
    let count = wanted.lines.len();
    let Some(text) = restore::transition(installed, wanted, force) else {
        return Ok((None, format!("{count} rules already installed")));
    };
    run_restore(tool, &text, wanted, programs)?;
    let what = match installed.ours.lines.len() {
        0 => format!("{count} rules installed"),
        _ if restore::transition(installed, wanted, false).is_none() => {
            format!("{count} rules installed again")
        }
        replaced => format!("{count} rules installed in place of {replaced} that differed"),
    };
    Ok((Some(installed.clone()), what))
}

fn run_restore(
    tool: Tool,
    text: &str,
    wanted: &Ruleset,
    programs: Programs<'_>,
) -> Result<(), ApplyError> {
    let mut command = Command::new(tool.restore());
    command.args(RESTORE_ARGUMENTS);
    let rules = wanted.lines.iter().map(|line| &line.rule);
    programs.run(tool, command, text, rules).map(drop)
}

/// Where the rules are now.
fn holders(done: &[Done]) -> Vec<(Option<Family>, Backend)> {
    let holders = done.iter().filter_map(|change| match change {
        Done::Iptables(tool, ..) => Some((Some(tool.family), tool.backend)),
        Done::Native => Some((None, Backend::Native)),
        Done::PolicyRoute(..) | Done::Address => None,
    });
    holders.collect()
}

/// Removes what is ours from every backend that shall not hold it.
fn remove_elsewhere(
    before: &Before,
    holders: &[(Option<Family>, Backend)],
    programs: Programs<'_>,
) -> Result<Vec<Report>, ApplyError> {
    let mut reports = Vec::new();
    for survey in &before.families {
        for backend in [Backend::Nft, Backend::Legacy] {
            let installed = survey.installed(backend);
            let holds = |held: &(Option<Family>, Backend)| {
                held.0 == Some(survey.family) && (held.1 == backend || held.1 == Backend::Plain)
            };
            if installed.ours.is_empty() || holders.iter().any(holds) {
                continue;
            }
            let tool = Tool::new(survey.family, backend);
            remove(tool, installed, programs)?;
            let count = installed.ours.lines.len();
            reports.push(Report {
                subject: survey.family.name(),
                what: format!("{backend}: {count} rules removed"),
            });
        }
    }
    if !holders.contains(&(None, Backend::Native)) && before.native.is_there() {
        let count = before.native.remove(programs)?;
        reports.push(Report {
            subject: "inet",
            what: format!("nftables: {count} rules removed"),
        });
    }
    Ok(reports)
}

fn remove(tool: Tool, installed: &Installed, programs: Programs<'_>) -> Result<(), ApplyError> {
    let nothing = Ruleset::default();
    let Some(text) = restore::transition(installed, &nothing, false) else {
        return Ok(());
    };
    match run_restore(tool, &text, &nothing, programs) {
        // What was read by the only iptables that there is.
        Err(ApplyError::NoProgram { .. }) => {
            let plain = Tool::new(tool.family, Backend::Plain);
            run_restore(plain, &text, &nothing, programs)
        }
        outcome => outcome,
    }
}

/// Removes the policy routes and the address that no family with rules needs.
fn remove_unused(plan: &Plan, families: &[(Family, Vec<Rule>)]) -> Result<Vec<Report>, ApplyError> {
    let mut reports = Vec::new();
    let possible: &[Family] = match plan.has_ipv6 {
        true => &[Family::Ipv4, Family::Ipv6],
        false => &[Family::Ipv4],
    };
    for family in possible {
        let has_rules = families.iter().any(|(planned, _)| planned == family);
        let keeps_route = has_rules && plan.redirect.mode == Mode::Tproxy;
        for mark in remove_policy_routes(*family, plan.redirect.policy_route, keeps_route)? {
            reports.push(Report {
                subject: family.name(),
                what: format!("policy route of mark {mark} removed"),
            });
        }
        let removes_address = *family == Family::Ipv6 && !has_rules;
        if removes_address && address::remove_passthrough().map_err(ApplyError::Address)? {
            reports.push(Report {
                subject: "address",
                what: format!("{} removed", crate::rules::PASSTHROUGH_IPV6),
            });
        }
    }
    Ok(reports)
}

/// What Istio's own program makes unless told otherwise; nothing tells that it did.
const ISTIOS: PolicyRoute = PolicyRoute {
    mark: 1337,
    table: 133,
};

/// Removes those of other settings, and that of the plan unless it is kept; tells their marks.
fn remove_policy_routes(
    family: Family,
    planned: PolicyRoute,
    keeps_planned: bool,
) -> Result<Vec<u32>, RouteError> {
    let kept = keeps_planned.then_some((planned.mark, planned.table));
    let mut marks = policy_route::remove_others(family, kept)?;
    for PolicyRoute { mark, table } in [planned, ISTIOS] {
        // Its route is the kept one's, and its rule is gone with the others of that table.
        if kept.is_some_and(|(_, kept)| kept == table) {
            continue;
        }
        match policy_route::remove(family, mark, table) {
            // Such a kernel never had one.
            Err(RouteError::NoPolicyRouting { .. }) => {}
            outcome => marks.extend(outcome?.then_some(mark)),
        }
    }
    Ok(marks)
}

fn undo(done: &[Done], error: ApplyError, programs: Programs<'_>) -> ApplyError {
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
