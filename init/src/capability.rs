//! Which privileges the process has: asked before anything is run, so that the answer is clear.

use std::fs;

/// A capability that the redirect needs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Capability {
    /// To change rules and addresses.
    NetAdmin,
    /// For the socket by which legacy iptables talks to the kernel.
    NetRaw,
}

impl Capability {
    /// The name that a container's security context gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "NET_ADMIN",
            Self::NetRaw => "NET_RAW",
        }
    }

    fn bit(self) -> u64 {
        match self {
            Self::NetAdmin => 1 << 12,
            Self::NetRaw => 1 << 13,
        }
    }
}

/// Whether the process certainly lacks a capability; where that cannot be known, the kernel will say.
pub fn lacks(capability: Capability) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective(&status).is_some_and(|set| set & capability.bit() == 0)
}

/// The set of effective capabilities in a process status.
fn effective(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::{Capability, effective};

    #[test]
    fn effective_capabilities_are_a_hexadecimal_mask() {
        let set = effective("Name:\tx\nCapPrm:\t0\nCapEff:\t0000000000001000\n").unwrap();
        assert_ne!(set & Capability::NetAdmin.bit(), 0);
        assert_eq!(set & Capability::NetRaw.bit(), 0);
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
