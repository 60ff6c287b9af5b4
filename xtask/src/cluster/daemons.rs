//! Starting the daemons of a cluster, and watching them come up.

use std::fs::OpenOptions;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::configuration::Daemon;
use super::network::namespace_file;
use super::process::Process;
use super::state::{Record, State};
use crate::command::{Program, tail_of_file};
use crate::packages;

const POLL: Duration = Duration::from_millis(100);

/// Starts a daemon in the cluster's network namespace and records it.
///
/// It keeps nothing of the caller: its own session, no standard input, its output in a log file. So
/// it survives the terminal, and a pipe the caller writes to closes when the caller ends.
pub(crate) fn start(
    daemon: &Daemon,
    state: &State,
    record: &mut Record,
    namespace: &str,
) -> Result<()> {
    let own = state.program(daemon.name);
    let program = if own.exists() {
        own
    } else {
        packages::find(daemon.name).with_context(|| format!("{} is not installed", daemon.name))?
    };
    let log = state.log(daemon.name);
    let output = OpenOptions::new().create(true).append(true).open(&log);
    let output = output.with_context(|| format!("create {}", log.display()))?;
    let errors = output
        .try_clone()
        .with_context(|| format!("open {} twice", log.display()))?;
    // Both wrappers become the program they are given, so the process id stays.
    let mut command = Program::new("setsid")
        .args(["nsenter", &format!("--net={}", namespace_file(namespace))])
        .arg(program)
        .args(&daemon.arguments)
        .env("PATH", system_path())
        .current_dir("/")
        .into_command();
    let child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn();
    let id = child
        .with_context(|| format!("start {}", daemon.name))?
        .id();
    let id = i32::try_from(id).context("a process id is larger than the kernel makes them")?;
    let process = Process::with_id(id).with_context(|| ended(daemon.name, state))?;
    record.daemons.insert(daemon.name.to_owned(), process);
    state.write_record(record)
}

/// Waits until `ready` says so; fails early if a daemon ends.
pub(crate) fn wait(
    what: &str,
    deadline: Duration,
    state: &State,
    record: &Record,
    mut ready: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let started = Instant::now();
    while !ready()? {
        for (name, process) in &record.daemons {
            if !process.is_alive() {
                bail!(ended(name, state));
            }
        }
        if started.elapsed() > deadline {
            bail!(
                "{what} took longer than {} s; the daemons' logs are in {}",
                deadline.as_secs(),
                state.path("log").display()
            );
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn ended(name: &str, state: &State) -> String {
    let log = state.log(name);
    format!(
        "{name} ended; the end of {}:\n{}",
        log.display(),
        tail_of_file(&log)
    )
}

/// What daemons run themselves (runc, nft, mount) lies where a user's `PATH` may not lead.
fn system_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin:{path}")
}
