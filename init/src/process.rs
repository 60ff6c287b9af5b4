//! Runs a program to its end, or to its deadline.

use std::{
    io::{self, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};

/// Programs wait up to five seconds for a lock and take milliseconds besides.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Feeds a program and collects what it prints; at the deadline it is killed, with all that it has
/// started.
///
/// # Errors
/// It cannot be started, or not be fed.
pub(crate) fn run(command: &mut Command, input: &str, deadline: Duration) -> io::Result<Output> {
    let mut child = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let _watch = watch(&child, deadline);
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says why itself.
        if let Err(error) = stdin.write_all(input.as_bytes())
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(error);
        }
    }
    child.wait_with_output()
}

/// Whether the deadline, or somebody else, ended it.
pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::KILL.as_raw())
}

/// Kills the child at the deadline, and what it has started, unless what is returned is dropped
/// before.
fn watch(child: &Child, deadline: Duration) -> Option<Sender<()>> {
    // Its own process group has its number, which stays its own until it is waited for: after all
    // that hold its output, such as the program that a script runs, have ended.
    let group = Pid::from_raw(i32::try_from(child.id()).ok()?)?;
    let (ended, end) = mpsc::channel();
    let watch = move || {
        if end.recv_timeout(deadline) == Err(RecvTimeoutError::Timeout) {
            // It may have ended just now.
            let _ = kill_process_group(group, Signal::KILL);
        }
    };
    // Where memory or threads are short, nobody watches.
    thread::Builder::new().spawn(watch).ok()?;
    Some(ended)
}
