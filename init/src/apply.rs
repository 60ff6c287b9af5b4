//! Brings the plan about: compare with what is installed, apply what differs, all or nothing.
//!
//! The only module that runs programs.

mod error;

use std::{
    env, fmt, fs,
    io::{self, Write},
    process::{Command, Stdio},
};

use rustix::fs::Access;

pub use self::error::ApplyError;
use crate::{
    Backend, Log, address,
    capability::{self, Capability},
    iptables::{
        installed::{Installed, Ruleset},
        program::{Complaint, RESTORE_ARGUMENTS, Tool},
        restore,
    },
    netlink,
    plan::Plan,
    rules::Family,
    turn::Turn,
};

/// What became of one family.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    tool: Tool,
    wanted: usize,
    /// The rules of ours that stood there; `None` when they were right already.
    replaced: Option<usize>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tool, wanted, .. } = self;
        write!(f, "{}: {}: ", tool.family.name(), tool.backend)?;
        match self.replaced {
            None => write!(f, "{wanted} rules already installed"),
            Some(0) => write!(f, "{wanted} rules installed"),
            Some(replaced) => write!(
                f,
                "{wanted} rules installed in place of {replaced} that differed"
            ),
        }
    }
}

/// Applies the plan to the network namespace of this process.
///
/// # Errors
/// Says what is missing or who refused; whatever was changed before is then as it was.
pub fn apply(plan: &Plan, forced: Option<Backend>, log: &Log) -> Result<Vec<Report>, ApplyError> {
    require(Capability::NetAdmin)?;
    let _turn = Turn::take()?;
    let mut done = Vec::new();
    let outcome = plan
        .families
        .iter()
        .try_for_each(|(family, wanted)| {
            done.push(converge(
                *family,
                Ruleset::new(wanted.clone()),
                forced,
                log,
            )?);
            Ok(())
        })
        .and_then(|()| match plan.adds_address {
            true => address::add_passthrough().map_err(ApplyError::Address),
            false => Ok(()),
        });
    match outcome {
        Ok(()) => Ok(done.iter().map(Change::report).collect()),
        Err(error) => Err(undo(&done, error, log)),
    }
}

/// One family, brought to what is wanted.
struct Change {
    tool: Tool,
    wanted: Ruleset,
    /// What was there before, if that was something else.
    before: Option<Installed>,
}

impl Change {
    fn report(&self) -> Report {
        Report {
            tool: self.tool,
            wanted: self.wanted.lines.len(),
            replaced: self.before.as_ref().map(|before| before.ours.lines.len()),
        }
    }
}

fn undo(done: &[Change], error: ApplyError, log: &Log) -> ApplyError {
    for change in done.iter().rev() {
        let Some(before) = &change.before else {
            continue;
        };
        let now = Installed {
            ours: change.wanted.clone(),
            ..before.clone()
        };
        let Some(text) = restore::transition(&now, &before.ours, false) else {
            continue;
        };
        if let Err(undo) = run_restore(change.tool, &text, log) {
            return ApplyError::Undo {
                family: change.tool.family.name(),
                undo: Box::new(undo),
                source: Box::new(error),
            };
        }
    }
    error
}

/// Finds the backend for a family and makes its table right, by the first that is usable.
fn converge(
    family: Family,
    wanted: Ruleset,
    forced: Option<Backend>,
    log: &Log,
) -> Result<Change, ApplyError> {
    if let Some(backend) = forced {
        let tool = Tool::new(family, backend);
        return converge_by(tool, read(tool, log)?, wanted, log);
    }
    // Rules in both backends would be applied twice, so the one in use is ours, too. Asking the
    // kernel for the names of its tables does not make one, as a look into the table would.
    if legacy_tables(family)?.lines().any(|table| table == "nat") {
        let tool = Tool::new(family, Backend::Legacy);
        let installed = read(tool, log)?;
        if installed.holds_rules() {
            return converge_by(tool, installed, wanted, log);
        }
        log.debug(format_args!(
            "{}: the legacy table is empty, so it is not in use",
            family.name()
        ));
    }
    let mut unusable = None;
    for backend in [Backend::Nft, Backend::Legacy, Backend::Plain] {
        let tool = Tool::new(family, backend);
        let outcome =
            read(tool, log).and_then(|installed| converge_by(tool, installed, wanted.clone(), log));
        match outcome {
            Err(error) if error.leaves_other_backends() => {
                log.debug(format_args!("{}: {backend}: {error}", family.name()));
                // A program that the kernel failed tells more than one that is not there.
                let keep = matches!(unusable, Some(ApplyError::Unsupported { .. }));
                unusable = unusable.filter(|_| keep).or(Some(error));
            }
            outcome => return outcome,
        }
    }
    Err(match unusable {
        Some(error @ ApplyError::Unsupported { .. }) => error,
        _ => ApplyError::NoPrograms {
            family: family.name(),
        },
    })
}

fn converge_by(
    tool: Tool,
    installed: Installed,
    wanted: Ruleset,
    log: &Log,
) -> Result<Change, ApplyError> {
    let before = match restore::transition(&installed, &wanted, false) {
        Some(text) => {
            run_restore(tool, &text, log)?;
            Some(installed)
        }
        None => None,
    };
    Ok(Change {
        tool,
        wanted,
        before,
    })
}

/// The tables of legacy iptables that this namespace has; none where the kernel has no such thing.
fn legacy_tables(family: Family) -> Result<String, ApplyError> {
    let path = match family {
        Family::Ipv4 => "/proc/net/ip_tables_names",
        Family::Ipv6 => "/proc/net/ip6_tables_names",
    };
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        outcome => outcome.map_err(|source| ApplyError::Tables { path, source }),
    }
}

fn require(capability: Capability) -> Result<(), ApplyError> {
    if capability::lacks(capability) {
        Err(ApplyError::Capability(capability.name()))
    } else {
        Ok(())
    }
}

fn read(tool: Tool, log: &Log) -> Result<Installed, ApplyError> {
    if tool.backend == Backend::Legacy {
        require(Capability::NetRaw)?;
    }
    if tool.backend == Backend::Nft && netlink::lacks_table(tool.family.into(), "nat") {
        log.debug(format_args!("{}: nft: no nat table", tool.family.name()));
        return Ok(Installed::default());
    }
    let command = Command::new(tool.save());
    run(tool, command, "", log).map(|save| Installed::parse(&save))
}

fn run_restore(tool: Tool, text: &str, log: &Log) -> Result<(), ApplyError> {
    let mut command = Command::new(tool.restore());
    command.args(RESTORE_ARGUMENTS);
    if tool.backend != Backend::Nft && env::var_os(LOCK_VARIABLE).is_none() && !can_lock() {
        command.env(LOCK_VARIABLE, NAMESPACE);
    }
    run(tool, command, text, log).map(drop)
}

/// Names the file that legacy iptables locks.
const LOCK_VARIABLE: &str = "XTABLES_LOCKFILE";
/// Stands for the network namespace: the same file for all who change its rules.
const NAMESPACE: &str = "/proc/self/ns/net";

/// Whether legacy iptables can make its usual lock, which a read-only root file system forbids.
fn can_lock() -> bool {
    let file = "/run/xtables.lock";
    rustix::fs::access(file, Access::READ_OK).is_ok()
        || rustix::fs::access("/run", Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Runs a program to its end and returns what it printed.
fn run(tool: Tool, mut command: Command, input: &str, log: &Log) -> Result<String, ApplyError> {
    let program = command.get_program().to_string_lossy().into_owned();
    log.debug(format_args!("run {program}"));
    if !input.is_empty() {
        log.debug(format_args!("its input:\n{input}"));
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let start = |source| ApplyError::Start {
        program: program.clone(),
        source,
    };
    let mut child = match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ApplyError::NoProgram { program });
        }
        outcome => outcome.map_err(start)?,
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says why below.
        if let Err(source) = stdin.write_all(input.as_bytes())
            && source.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(start(source));
        }
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(ApplyError::of_complaint(
        tool,
        program,
        Complaint::of(&text),
        text.trim(),
    ))
}
