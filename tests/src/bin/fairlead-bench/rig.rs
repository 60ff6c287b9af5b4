//! The machine and the versions that figures belong to.

use std::{fmt::Write, fs, process::Command, thread, time::Duration};

use anyhow::{Context, ensure};
use fairlead_tests::binary;

/// How long the machine is watched before a figure is measured.
const WATCH: Duration = Duration::from_secs(1);

/// A machine that is busier than this before a figure is measured does something else besides.
const QUIET_SHARE: f64 = 0.15;

/// What a reader needs to compare the figures with others.
pub(crate) fn describe() -> anyhow::Result<String> {
    let cpu_info = read("/proc/cpuinfo")?;
    let memory_info = read("/proc/meminfo")?;
    let processor = field(&cpu_info, "model name").unwrap_or("unknown processor");
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let memory_kib: f64 = field(&memory_info, "MemTotal")
        .and_then(|text| text.strip_suffix(" kB")?.parse().ok())
        .unwrap_or_default();
    let mut text = format!(
        "rig: {processor}, {cores} cores, {:.0} GiB of memory, Linux {}\n    ",
        memory_kib / 1024.0 / 1024.0,
        read("/proc/sys/kernel/osrelease")?.trim()
    );
    write!(text, " {}", output("iptables", &["--version"])?)?;
    for program in ["fairlead-init", "fairlead-proxy"] {
        let program = binary(program);
        write!(
            text,
            ", {}",
            output(&program.to_string_lossy(), &["--version"])?
        )?;
    }
    // Not every copy of the sources is a repository.
    if let Ok(commit) = output("git", &["describe", "--always", "--dirty"]) {
        write!(text, ", commit {commit}")?;
    }
    text.push('\n');
    Ok(text)
}

/// How much of its processors the machine uses now, while nothing is measured yet.
pub(crate) fn busy_share() -> anyhow::Result<f64> {
    let before = cpu_times()?;
    thread::sleep(WATCH);
    let after = cpu_times()?;
    let busy = (after.busy - before.busy) as f64;
    let idle = (after.idle - before.idle) as f64;
    Ok(busy / (busy + idle))
}

/// What all processes together have used since the machine started.
pub(crate) fn cpu_seconds() -> anyhow::Result<f64> {
    Ok(cpu_times()?.busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Whether the figures may be trusted.
pub(crate) fn remark(busy_share: f64) -> String {
    let percent = busy_share * 100.0;
    let mut remark = format!("The machine was {percent:.0} % busy before this was measured");
    if busy_share > QUIET_SHARE {
        remark.push_str(": NOT QUIET, so these figures are worse than the truth");
    }
    remark + "."
}

/// In ticks, all processors together.
#[derive(Debug, Eq, PartialEq)]
struct CpuTimes {
    busy: u64,
    idle: u64,
}

fn cpu_times() -> anyhow::Result<CpuTimes> {
    parse_cpu_times(&read("/proc/stat")?).context("/proc/stat is not as expected")
}

/// Time that the hypervisor gave to others counts as busy: it is missing here too.
fn parse_cpu_times(stat: &str) -> Option<CpuTimes> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .map(|field| field.parse().ok())
        .collect::<Option<_>>()?;
    let [
        user,
        nice,
        system,
        idle,
        wait,
        interrupt,
        soft_interrupt,
        steal,
        ..,
    ] = ticks[..]
    else {
        return None;
    };
    Some(CpuTimes {
        busy: user + nice + system + interrupt + soft_interrupt + steal,
        idle: idle + wait,
    })
}

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {path}"))
}

/// The value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then_some(value.trim())
    })
}

fn output(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("start {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {}: {}",
        arguments.join(" "),
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_is_the_first_of_its_name() {
        let text = "processor\t: 0\nmodel name\t: A: fast one\nprocessor\t: 1\n";
        assert_eq!(field(text, "model name"), Some("A: fast one"));
        assert_eq!(field(text, "processor"), Some("0"));
        assert_eq!(field(text, "model"), None);
    }

    #[test]
    fn stolen_time_is_busy_and_waiting_for_a_disk_is_idle() {
        let stat = "cpu  1 2 3 40 50 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(parse_cpu_times(stat), Some(CpuTimes { busy: 27, idle: 90 }));
        assert_eq!(parse_cpu_times("intr 1\n"), None);
    }

    #[test]
    fn a_busy_machine_is_told_of() {
        assert!(!remark(0.02).contains("NOT QUIET"));
        assert!(remark(0.5).contains("50 % busy before this was measured: NOT QUIET"));
    }
}
