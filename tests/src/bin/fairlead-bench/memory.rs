//! What `/proc/PID/status` says of a process's memory.

/// A field such as `VmRSS`, in megabytes of 10^6 bytes.
pub(crate) fn megabytes(status: &str, field: &str) -> Option<f64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kib: f64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024.0 / 1e6)
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
}
