//! Removes namespaces: one at its end, and those of runs that were killed.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal};

/// Starts every name, so that nobody else's namespace is ever taken for ours.
const PREFIX: &str = "fairlead-test";

/// The name of a run's nth namespace; it carries the run's process id.
pub(super) fn name(run: u32, number: u32) -> String {
    format!("{PREFIX}-{run}-{number}")
}

/// The run that made a namespace of this name, if it was one of ours.
fn run_of(name: &str) -> Option<u32> {
    let (run, number) = name
        .strip_prefix(PREFIX)?
        .strip_prefix('-')?
        .split_once('-')?;
    number.parse::<u32>().ok()?;
    run.parse().ok()
}

/// Removes the namespaces of runs that ended without removing them, and ends what still runs there.
pub(super) fn sweep() {
    // Before the first namespace the directory does not exist.
    let Ok(entries) = fs::read_dir(super::DIRECTORY) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ended =
            run_of(&name).is_some_and(|run| !Path::new("/proc").join(run.to_string()).exists());
        if ended {
            end_processes(&name);
            delete(&name);
        }
    }
}

/// Deletes a namespace; one that is already gone is no fault.
pub(super) fn delete(name: &str) {
    quietly(&["netns", "delete", name]);
}

fn end_processes(name: &str) {
    for id in processes(name) {
        let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
        // A process that has ended since is what we want.
        let _ = pid.map(|pid| rustix::process::kill_process(pid, Signal::KILL));
    }
}

/// The processes inside a namespace.
pub(super) fn processes(name: &str) -> Vec<u32> {
    let ids = quietly(&["netns", "pids", name]);
    ids.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

fn quietly(arguments: &[&str]) -> String {
    Command::new("ip")
        .args(arguments)
        .stderr(Stdio::null())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{name, run_of};

    #[test]
    fn only_own_names_tell_a_run() {
        assert_eq!(run_of(&name(17, 3)), Some(17));
        for foreign in [
            "cni-1234",
            "fairlead-test",
            "fairlead-test-x-1",
            "fairlead-test-1-x",
        ] {
            assert_eq!(run_of(foreign), None, "{foreign}");
        }
    }
}
