//! Removes what an earlier run has left: rules of other backends, policy routes, the address.

use super::{ApplyError, Report, iptables::run_restore, run::Programs, survey::Before, undo::Done};
use crate::{
    Backend, address,
    config::{Mode, PolicyRoute},
    iptables::{
        installed::{Installed, Ruleset},
        program::Tool,
        restore,
    },
    plan::Plan,
    policy_route::{self, RouteError},
    rules::{Family, Rule},
};

/// Where the rules are now.
pub(super) fn holders(done: &[Done]) -> Vec<(Option<Family>, Backend)> {
    let holders = done.iter().filter_map(|change| match change {
        Done::Iptables(tool, ..) => Some((Some(tool.family), tool.backend)),
        Done::Native => Some((None, Backend::Native)),
        Done::PolicyRoute(..) | Done::Address => None,
    });
    holders.collect()
}

/// Removes what is ours from every backend that shall not hold it.
pub(super) fn remove_elsewhere(
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
            programs.let_pass();
            remove(tool, installed, programs)?;
            let count = installed.ours.lines.len();
            reports.push(Report {
                subject: survey.family.name(),
                what: format!("{backend}: {count} rules removed"),
            });
        }
    }
    if !holders.contains(&(None, Backend::Native)) && before.native.is_there() {
        programs.let_pass();
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
pub(super) fn remove_unused(
    plan: &Plan,
    families: &[(Family, Vec<Rule>)],
) -> Result<Vec<Report>, ApplyError> {
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
