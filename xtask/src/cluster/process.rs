//! Processes of a cluster: recorded so that another one that got the same id later is never
//! mistaken for them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// How long killed processes may take to disappear.
const KILL_DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// One process: its id, and when it started in kernel ticks after boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) id: i32,
    pub(crate) started: u64,
}

impl Process {
    /// The process that has this id now.
    pub(crate) fn with_id(id: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (has_ended, started) = state(&stat)?;
        // Its other threads may take a moment longer, and with them its ports and files.
        (!has_ended || threads(id) > 1).then_some(Self { id, started })
    }

    /// Whether this very process still runs a program called `name`.
    pub(crate) fn runs(self, name: &str) -> bool {
        Self::with_id(self.id) == Some(self)
            && arguments(self.id)
                .first()
                .is_some_and(|first| base_name(first) == name)
    }

    /// Whether this very process still runs, whatever program it is by now.
    pub(crate) fn is_alive(self) -> bool {
        Self::with_id(self.id) == Some(self)
    }
}

/// Processes whose program is one of `programs` and which name `directory`, or something in it, in
/// their arguments.
pub(crate) fn with_argument_under(directory: &Path, programs: &[&str]) -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let entry = entry.context("read /proc")?;
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let arguments = arguments(id);
        if belongs(&arguments, directory, programs)
            && let Some(process) = Process::with_id(id)
        {
            found.push(process);
        }
    }
    Ok(found)
}

/// Kills the processes and waits until they are gone. What they hold is disposable, so they are not
/// asked first.
pub(crate) fn kill(processes: &[Process]) -> Result<()> {
    for process in processes.iter().filter(|process| process.is_alive()) {
        let Some(id) = Pid::from_raw(process.id) else {
            continue;
        };
        match kill_process(id, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("kill process {}", process.id));
            }
        }
    }
    let deadline = Instant::now() + KILL_DEADLINE;
    for process in processes {
        while process.is_alive() {
            if Instant::now() > deadline {
                bail!("process {} does not end although it was killed", process.id);
            }
            thread::sleep(POLL);
        }
    }
    Ok(())
}

/// A path ends at a slash, an equals sign, a scheme or a comma before it: `--config=DIR/file`,
/// `unix://DIR/socket`.
fn belongs(arguments: &[Vec<u8>], directory: &Path, programs: &[&str]) -> bool {
    let Some((program, rest)) = arguments.split_first() else {
        return false;
    };
    let needle = [directory.as_os_str().as_bytes(), b"/"].concat();
    programs.contains(&base_name(program).as_str())
        && [program].into_iter().chain(rest).any(|argument| {
            argument
                .windows(needle.len())
                .any(|window| window == needle)
        })
}

fn arguments(id: i32) -> Vec<Vec<u8>> {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .filter(|argument| !argument.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

fn base_name(program: &[u8]) -> String {
    let name = Path::new(OsStr::from_bytes(program))
        .file_name()
        .unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn threads(id: i32) -> usize {
    fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count)
}

/// Reads from `/proc/ID/stat` whether the process has ended, which a zombie has, and when it started.
/// The program's name, in parentheses, may itself hold spaces and parentheses.
fn state(stat: &str) -> Option<(bool, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    // The 22nd field of the line, of which the state is the third.
    Some((has_ended, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_state(stat: &str, expected: Option<(bool, u64)>) {
        assert_eq!(state(stat), expected);
    }

    #[test]
    fn the_state_is_found_behind_an_odd_name() {
        check_state(
            "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 1 2 0 0 20 0 1 0 4321 9 9",
            Some((false, 4321)),
        );
    }

    #[test]
    fn zombies_have_ended_and_rubbish_has_no_state() {
        check_state(
            "7 (etcd) Z 1 7 7 0 -1 0 0 0 0 0 1 2 0 0 20 0 1 0 4321 9 9",
            Some((true, 4321)),
        );
        check_state("", None);
        check_state("7 (etcd) S 1", None);
    }

    #[track_caller]
    fn check_belongs(line: &str, expected: bool) {
        let arguments: Vec<_> = line
            .split(' ')
            .map(|argument| argument.as_bytes().to_vec())
            .collect();
        assert_eq!(
            belongs(
                &arguments,
                Path::new("/state/cluster-dev"),
                &["etcd", "kubelet"]
            ),
            expected,
            "{line}"
        );
    }

    #[test]
    fn only_daemons_that_name_the_directory_belong() {
        check_belongs("/usr/bin/etcd --data-dir=/state/cluster-dev/etcd", true);
        check_belongs("/state/cluster-dev/bin/kubelet --v=1", true);
        check_belongs("/usr/bin/etcd --data-dir=/state/cluster-dev2/etcd", false);
        check_belongs("tail -f /state/cluster-dev/log/etcd.log", false);
        check_belongs("/usr/bin/etcd --data-dir=/var/lib/etcd", false);
    }

    #[test]
    fn killed_child_is_gone_and_a_second_kill_is_no_error() {
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let process = Process::with_id(child.id().try_into().unwrap()).unwrap();
        // The kernel lets the parent go on a moment before the child's arguments can be read.
        let deadline = Instant::now() + KILL_DEADLINE;
        while !process.runs("sleep") {
            assert!(Instant::now() < deadline, "sleep does not run");
            thread::sleep(POLL);
        }
        assert!(!process.runs("etcd"));
        kill(&[process]).unwrap();
        kill(&[process]).unwrap();
        assert!(!process.runs("sleep"));
        child.wait().unwrap();
    }

    #[test]
    fn same_id_with_another_start_is_another_process() {
        let own = Process::with_id(std::process::id().try_into().unwrap()).unwrap();
        assert!(
            !Process {
                started: own.started + 1,
                ..own
            }
            .is_alive()
        );
    }
}
