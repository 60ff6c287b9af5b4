//! A proxy that runs in a namespace.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use fairlead_tests::netns::{Namespace, Process, User};

use crate::{pin::Cpu, process};

/// Where both listen for their administrator.
const ADMIN: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 15000);

/// Longer than 5,000 clusters take on a slow machine.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Between two questions whether it is ready; a start is measured as exactly as this.
const PAUSE: Duration = Duration::from_millis(1);

/// The admin answers at once, or is not there yet.
const ADMIN_DEADLINE: Duration = Duration::from_secs(5);

/// How many of the last lines of a log are shown.
const SHOWN_LINES: usize = 12;

/// A ready proxy; it ends on drop.
#[derive(Debug)]
pub(super) struct Running {
    process: Process,
    /// From the start of the process until it said that it was ready.
    pub(super) started_in: Duration,
}

impl Running {
    /// Starts it as the proxy's user on a processor and waits until it is ready. What it prints goes
    /// to the log, whose end is part of an error.
    pub(super) fn start(
        namespace: &Namespace,
        cpu: Cpu,
        mut command: Command,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let file = File::create(log).with_context(|| format!("create {}", log.display()))?;
        let errors = file
            .try_clone()
            .with_context(|| format!("open {} twice", log.display()))?;
        command.stdin(Stdio::null()).stdout(file).stderr(errors);
        let shown = format!("{command:?}");
        let started = Instant::now();
        let mut process = cpu.run(|| namespace.spawn_as(User::PROXY, command))?;
        namespace
            .run(|| wait_until_ready(&mut process))
            .map_err(|error| anyhow!("{shown}: {error:#}; the end of its log:\n{}", tail(log)))?;
        Ok(Self {
            process,
            started_in: started.elapsed(),
        })
    }

    pub(super) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        process::cpu_seconds(self.process.id())
    }

    pub(super) fn resident_megabytes(&self) -> anyhow::Result<f64> {
        process::resident_megabytes(self.process.id())
    }
}

fn wait_until_ready(process: &mut Process) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        if let Some(status) = process.child().try_wait().context("wait for it")? {
            bail!("it ended before it was ready, {status}");
        }
        if ask("/ready").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            return Ok(());
        }
        if started.elapsed() > START_DEADLINE {
            bail!("it is not ready after {START_DEADLINE:?}");
        }
        thread::sleep(PAUSE);
    }
}

/// A statistic of the proxy in the namespace by its whole name.
pub(super) fn statistic(namespace: &Namespace, name: &str) -> anyhow::Result<u64> {
    let answer = namespace
        .run(|| ask(&format!("/stats?filter={name}")))
        .context("ask the admin for its statistics")?;
    statistic_in(&answer, name)
        .with_context(|| format!("the admin has no statistic {name}: {answer}"))
}

/// The ends of the names of those statistics that begin so and are not zero, sorted.
pub(super) fn statistics_below(namespace: &Namespace, prefix: &str) -> anyhow::Result<Vec<String>> {
    let answer = namespace
        .run(|| ask(&format!("/stats?filter={prefix}")))
        .context("ask the admin for its statistics")?;
    Ok(below(&answer, prefix))
}

fn below(answer: &str, prefix: &str) -> Vec<String> {
    let mut found: Vec<String> = answer
        .lines()
        .filter_map(|line| line.strip_prefix(prefix)?.split_once(": "))
        .filter(|(_, value)| value.trim() != "0")
        .map(|(name, _)| name.to_owned())
        .collect();
    found.sort_unstable();
    found
}

fn statistic_in(answer: &str, name: &str) -> Option<u64> {
    answer.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        (key == name).then(|| value.trim().parse().ok())?
    })
}

/// The whole answer of the admin in the calling thread's namespace, head and all.
fn ask(path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&ADMIN.into(), ADMIN_DEADLINE)?;
    stream.set_read_timeout(Some(ADMIN_DEADLINE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn tail(log: &Path) -> String {
    let text = match fs::read(log) {
        Ok(content) => String::from_utf8_lossy(&content).into_owned(),
        Err(error) => return format!("    (cannot read {}: {error})", log.display()),
    };
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(SHOWN_LINES);
    lines[from..]
        .iter()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Where the log of a proxy lies.
pub(super) fn log_in(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.log"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statistic_is_found_by_its_whole_name() {
        let answer = "HTTP/1.1 200 OK\r\n\r\n40\r\ncluster.a.ssl.handshake: 12\ncluster.a.ssl: 3\n";
        assert_eq!(statistic_in(answer, "cluster.a.ssl.handshake"), Some(12));
        assert_eq!(statistic_in(answer, "cluster.a.ssl"), Some(3));
        assert_eq!(statistic_in(answer, "ssl.handshake"), None);
    }

    #[test]
    fn statistics_below_a_prefix_are_those_that_counted() {
        let answer = "a.curves.P-256: 0\na.curves.X25519: 3\na.errors: 1\n";
        assert_eq!(below(answer, "a.curves."), ["X25519"]);
    }
}
