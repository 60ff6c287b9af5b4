//! A process of a test, which does not outlive it.

use std::{
    io,
    process::{Child, Command, ExitStatus},
};

use rustix::process::{Pid, Signal};

use crate::wait;

/// A running process; killed and reaped on drop.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    #[track_caller]
    pub(super) fn start(child: io::Result<Child>, command: &Command) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        match child {
            Ok(child) => Self { child, name },
            Err(error) => panic!("start {name}: {error}"),
        }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        if let Err(error) = rustix::process::kill_process(Pid::from_child(&self.child), signal) {
            panic!("signal {}: {error}", self.name);
        }
    }

    /// Waits for the end, no longer than the kit's deadline.
    #[track_caller]
    pub fn exit(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait::until(&what, || match self.child.try_wait() {
            Ok(status) => status,
            Err(error) => panic!("wait for {}: {error}", self.name),
        })
    }

    /// Resident memory in KiB.
    #[track_caller]
    pub fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .trim()
                    .strip_suffix("kB")?
                    .trim()
                    .parse()
                    .ok()
            })
            .unwrap_or_else(|| panic!("{path} has no VmRSS"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
