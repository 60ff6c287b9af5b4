//! Runs the programs of iptables and nftables, and tells what their failures mean.

use std::{env, io, process::Command, time::Duration};

use rustix::{
    fs::Access,
    thread::{MembarrierCommand, membarrier},
};

use super::ApplyError;
use crate::{
    Backend, Log,
    iptables::program::Tool,
    process::{self, DEADLINE},
    rules::Rule,
};

/// The programs of iptables and nftables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Programs<'a> {
    pub(super) log: &'a Log,
    /// Whether the lock of legacy iptables is one of the network namespace, as for a node agent that
    /// works in many.
    pub(super) locks_namespace: bool,
}

impl Programs<'_> {
    /// Runs one and returns what it printed. The rules are those that it is asked for, from which a
    /// complaint is explained.
    pub(super) fn run<'r>(
        self,
        tool: Tool,
        mut command: Command,
        input: &str,
        rules: impl IntoIterator<Item = &'r Rule>,
    ) -> Result<String, ApplyError> {
        let is_free = uses_lock(tool.backend) && env::var_os(LOCK_VARIABLE).is_none();
        if is_free && (self.locks_namespace || !can_lock()) {
            command.env(LOCK_VARIABLE, NAMESPACE);
        }
        let program = command.get_program().to_string_lossy().into_owned();
        self.log.debug(format_args!("run {program}"));
        if !input.is_empty() {
            self.log.debug(format_args!("its input:\n{input}"));
        }
        run(&mut command, &program, input, DEADLINE)?
            .map_err(|text| ApplyError::of_complaint(tool, program, rules, text.trim()))
    }
}

impl Programs<'_> {
    /// Returns when each packet that was on its way through the hooks has left them: it passes them
    /// within one read-side critical section of RCU, whose end membarrier(2) waits for.
    pub(super) fn let_pass(self) {
        if let Err(error) = membarrier(MembarrierCommand::Global) {
            self.log.debug(format_args!(
                "packets on their way are not waited for: membarrier: {error}"
            ));
        }
    }
}

/// What it printed, or its complaint.
fn run(
    command: &mut Command,
    program: &str,
    input: &str,
    deadline: Duration,
) -> Result<Result<String, String>, ApplyError> {
    let output = process::run(command, input, deadline).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ApplyError::NoProgram {
            program: program.to_owned(),
        },
        _ => ApplyError::Start {
            program: program.to_owned(),
            source,
        },
    })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(Ok(text(&output.stdout)))
    } else if process::was_killed(output.status) {
        Err(ApplyError::Killed {
            program: program.to_owned(),
        })
    } else {
        let complaint = text(&output.stderr);
        Ok(Err(match complaint.trim() {
            // One that crashed, or is no iptables at all.
            "" => format!("it said nothing, {}", output.status),
            _ => complaint,
        }))
    }
}

/// Names the file that legacy iptables locks.
const LOCK_VARIABLE: &str = "XTABLES_LOCKFILE";
/// Stands for the network namespace: the same file for all who change its rules.
const NAMESPACE: &str = "/proc/self/ns/net";

fn uses_lock(backend: Backend) -> bool {
    matches!(backend, Backend::Legacy | Backend::Plain)
}

/// Whether legacy iptables can make its usual lock, which a read-only root file system forbids.
fn can_lock() -> bool {
    let file = "/run/xtables.lock";
    rustix::fs::access(file, Access::READ_OK).is_ok()
        || rustix::fs::access("/run", Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::{
        process::Command,
        time::{Duration, Instant},
    };

    use super::{ApplyError, run};

    fn shell(script: &str, deadline: Duration) -> Result<Result<String, String>, ApplyError> {
        let mut command = Command::new("sh");
        run(command.args(["-c", script]), "sh", "", deadline)
    }

    #[test]
    fn what_a_script_has_started_ends_with_it_at_the_deadline() {
        let begin = Instant::now();
        for script in ["exec sleep 60", "sleep 60; true", "sleep 60 & sleep 60"] {
            let outcome = shell(script, Duration::from_millis(50));
            assert!(
                matches!(outcome, Err(ApplyError::Killed { .. })),
                "{script}: {outcome:?}"
            );
        }
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_that_fails_without_a_word_leaves_its_code() {
        let told = |script| shell(script, Duration::from_secs(30)).unwrap();
        assert_eq!(told("echo a"), Ok("a\n".to_owned()));
        assert_eq!(told("echo b >&2; exit 1"), Err("b\n".to_owned()));
        let silent = told("exit 3").unwrap_err();
        assert!(silent.contains("exit status: 3"), "{silent}");
    }
}
