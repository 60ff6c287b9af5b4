//! The most memory that a short program held, exactly: the kernel stops it on its way out and lets us look.
//!
//! Neither polling nor the account of a dead child would do: the first comes too late, and the
//! second starts with the memory of whoever started the child.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use fairlead_tests::netns::Namespace;
use nix::{
    sys::{
        ptrace::{self, Event, Options},
        signal::{self, Signal},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use crate::process;

/// A shell that waits to be traced before it becomes the program.
const HELD: &str = r#"kill -STOP $$; exec "$0" "$@""#;

/// Runs the program, which must succeed, and returns the peak of its resident memory in megabytes.
pub(super) fn megabytes(namespace: &Namespace, program: &Command) -> anyhow::Result<f64> {
    let mut command = Command::new("sh");
    command
        .args(["-c", HELD])
        .arg(program.get_program())
        .args(program.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // On one thread from start to end: to the kernel the thread is the tracer.
    namespace
        .run(|| trace(command))
        .with_context(|| format!("trace {}", program.get_program().display()))
}

fn trace(mut command: Command) -> anyhow::Result<f64> {
    let child = command.spawn()?;
    let id = Pid::from_raw(i32::try_from(child.id())?);
    match waitpid(id, Some(WaitPidFlag::WUNTRACED))? {
        WaitStatus::Stopped(_, Signal::SIGSTOP) => {}
        status => bail!("it did not wait to be traced: {status:?}"),
    }
    ptrace::seize(id, Options::PTRACE_O_TRACEEXIT)?;
    signal::kill(id, Signal::SIGCONT)?;
    let mut peak = None;
    loop {
        match waitpid(id, None)? {
            WaitStatus::PtraceEvent(_, _, event) => {
                if event == Event::PTRACE_EVENT_EXIT as i32 {
                    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
                    peak = process::megabytes(&status, "VmHWM");
                }
                ptrace::cont(id, None)?;
            }
            WaitStatus::Stopped(_, signal) => ptrace::cont(id, signal)?,
            WaitStatus::Exited(_, 0) => return peak.context("the kernel told no peak"),
            status => bail!("it ended by {status:?}"),
        }
    }
}
