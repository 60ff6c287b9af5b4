//! The machine and the versions that figures belong to.

use std::{fs, process::Command, thread};

use anyhow::{Context, ensure};
use fairlead_tests::binary;

/// A machine with more runnable threads than this does something else besides.
const QUIET_LOAD: f64 = 0.5;

/// Prints what a reader needs to compare the figures with others.
pub(crate) fn print() -> anyhow::Result<()> {
    let cpu_info = read("/proc/cpuinfo")?;
    let memory_info = read("/proc/meminfo")?;
    let processor = field(&cpu_info, "model name").unwrap_or("unknown processor");
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let memory_kib: f64 = field(&memory_info, "MemTotal")
        .and_then(|text| text.strip_suffix(" kB")?.parse().ok())
        .unwrap_or_default();
    let gibibytes = memory_kib / 1024.0 / 1024.0;
    println!("rig: {processor}, {cores} cores, {gibibytes:.0} GiB of memory");
    println!("     Linux {}", read("/proc/sys/kernel/osrelease")?.trim());
    println!("     {}", output("iptables", "--version")?);
    for program in ["fairlead-init", "fairlead-proxy"] {
        let version = output(&binary(program).to_string_lossy(), "--version")?;
        println!("     {version}");
    }
    let load = read("/proc/loadavg")?;
    let load: f64 = load
        .split(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .context("read the load average")?;
    let remark = if load > QUIET_LOAD {
        ": NOT QUIET, the figures suffer"
    } else {
        ""
    };
    println!("     load average before the run {load}{remark}\n");
    Ok(())
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

fn output(program: &str, argument: &str) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("start {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {argument}: {}",
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
}
