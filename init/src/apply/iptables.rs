//! The rules of one family by the programs of iptables.

use std::process::Command;

use super::{
    ApplyError, Options,
    run::Programs,
    survey::{Survey, require, unreadable},
};
use crate::{
    Backend,
    capability::Capability,
    iptables::{
        installed::{Installed, Ruleset},
        program::{RESTORE_ARGUMENTS, Tool},
        restore,
    },
};

/// Finds the backend for a family and makes its tables right, by the first that is usable.
pub(super) fn converge(
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
    if let Some(table) = installed.unreadable {
        return Err(unreadable(table, tool.family));
    }
    let count = wanted.lines.len();
    let Some(text) = restore::transition(installed, wanted, force) else {
        return Ok((None, format!("{count} rules already installed")));
    };
    if installed.ours.lines.is_empty() {
        run_restore(tool, &text, wanted, programs)?;
    } else {
        // What has passed the first table before it captures must not come to the next one after that
        // does no more.
        for (index, table) in restore::tables(&text).enumerate() {
            if index > 0 {
                programs.let_pass();
            }
            run_restore(tool, table, wanted, programs)?;
        }
    }
    let what = match installed.ours.lines.len() {
        0 => format!("{count} rules installed"),
        _ if restore::transition(installed, wanted, false).is_none() => {
            format!("{count} rules installed again")
        }
        replaced => format!("{count} rules installed in place of {replaced} that differed"),
    };
    Ok((Some(installed.clone()), what))
}

pub(super) fn run_restore(
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
