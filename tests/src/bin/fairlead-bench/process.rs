//! What `/proc/PID` says of a process: its memory, and the time it has had on a processor.

use std::fs;

use anyhow::Context;

/// A field of `/proc/PID/status` such as `VmRSS`, in megabytes of 10^6 bytes.
pub(crate) fn megabytes(status: &str, field: &str) -> Option<f64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: f64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}

/// What the process holds in memory now.
pub(crate) fn resident_megabytes(id: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{id}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    megabytes(&status, "VmRSS").with_context(|| format!("{path} has no VmRSS"))
}

/// What the process has used so far, all threads, in user mode and in the kernel.
pub(crate) fn cpu_seconds(id: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{id}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let ticks = cpu_ticks(&stat).with_context(|| format!("{path} is not as expected"))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The sum of `utime` and `stime`. The program's name before them may hold spaces.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_whole_name() {
        let status = "Name:\tx\nVmHWM:\t   90000 kB\nVmRSS:\t   10000 kB\n";
        assert_eq!(megabytes(status, "VmRSS"), Some(10.24));
        assert_eq!(megabytes(status, "VmHWM"), Some(92.16));
        assert_eq!(megabytes(status, "Vm"), None);
    }

    #[test]
    fn cpu_time_is_found_behind_any_name() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 3 0 99";
        assert_eq!(cpu_ticks(stat), Some(42));
        assert_eq!(cpu_ticks("42 (a"), None);
    }
}
