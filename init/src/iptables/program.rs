//! The programs of iptables: their names, and what their complaints mean.

use crate::{Backend, rules::Family};

/// How long another program may hold the lock of legacy iptables.
pub const LOCK_SECONDS: u32 = 5;

/// What every restore is given: keep foreign rules, and wait for the lock (nft has none).
pub const RESTORE_ARGUMENTS: [&str; 2] = ["--noflush", "--wait=5"];

/// The programs for one family and backend.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Tool {
    /// The family whose table they handle.
    pub family: Family,
    /// The backend they speak to.
    pub backend: Backend,
}

impl Tool {
    /// The programs for a family and backend.
    pub fn new(family: Family, backend: Backend) -> Self {
        Self { family, backend }
    }

    /// The program that prints the rules.
    pub fn save(self) -> &'static str {
        match (self.family, self.backend) {
            (_, Backend::Native) => "nft",
            (Family::Ipv4, Backend::Nft) => "iptables-nft-save",
            (Family::Ipv4, Backend::Legacy) => "iptables-legacy-save",
            (Family::Ipv4, Backend::Plain) => "iptables-save",
            (Family::Ipv6, Backend::Nft) => "ip6tables-nft-save",
            (Family::Ipv6, Backend::Legacy) => "ip6tables-legacy-save",
            (Family::Ipv6, Backend::Plain) => "ip6tables-save",
        }
    }

    /// The program that changes the rules, in one commit.
    pub fn restore(self) -> &'static str {
        match (self.family, self.backend) {
            (_, Backend::Native) => "nft",
            (Family::Ipv4, Backend::Nft) => "iptables-nft-restore",
            (Family::Ipv4, Backend::Legacy) => "iptables-legacy-restore",
            (Family::Ipv4, Backend::Plain) => "iptables-restore",
            (Family::Ipv6, Backend::Nft) => "ip6tables-nft-restore",
            (Family::Ipv6, Backend::Legacy) => "ip6tables-legacy-restore",
            (Family::Ipv6, Backend::Plain) => "ip6tables-restore",
        }
    }
}

/// What a program's complaint means for us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Complaint {
    /// The kernel refused for lack of privilege.
    Privilege,
    /// The kernel lacks the table, the backend or an extension that a rule needs.
    Unsupported,
    /// The lock was not free in time.
    Locked,
    /// The lock's file could not be made.
    LockFile,
    /// Anything else.
    Other,
}

impl Complaint {
    /// Reads the text that a failed program left.
    pub fn of(text: &str) -> Self {
        let says = |parts: &[&str]| parts.iter().any(|part| text.contains(part));
        // The order matters: legacy iptables adds "do you need to insmod?" to many complaints.
        if says(&["xtables lock", "Can't lock"]) {
            Self::Locked
        } else if says(&["lock file"]) {
            Self::LockFile
        } else if says(&[
            "Permission denied",
            "Operation not permitted",
            "must be root",
        ]) {
            Self::Privilege
        } else if says(&[
            "Protocol not supported",
            "Operation not supported",
            "No such file or directory",
            "Table does not exist",
            "do you need to insmod",
            "missing kernel module",
            "Protocol not available",
            "Module nf_tables not found",
        ]) {
            Self::Unsupported
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Complaint, LOCK_SECONDS, RESTORE_ARGUMENTS};

    #[test]
    fn the_lock_is_waited_for_as_long_as_messages_say() {
        assert!(RESTORE_ARGUMENTS.contains(&format!("--wait={LOCK_SECONDS}").as_str()));
    }

    #[test]
    fn each_complaint_is_understood() {
        for (text, expected) in [
            (
                "Could not fetch rule set generation id: Permission denied (you must be root)",
                Complaint::Privilege,
            ),
            (
                "can't initialize iptables table `nat': Permission denied (you must be root)\n\
                 Perhaps iptables or your kernel needs to be upgraded.",
                Complaint::Privilege,
            ),
            (
                "can't initialize iptables table `nat': Table does not exist (do you need to \
                 insmod?)",
                Complaint::Unsupported,
            ),
            (
                "Failed to initialize nft: Protocol not supported",
                Complaint::Unsupported,
            ),
            (
                "Extension owner revision 0 not supported, missing kernel module?",
                Complaint::Unsupported,
            ),
            (
                "Another app is currently holding the xtables lock. Stopped waiting after 5s.",
                Complaint::Locked,
            ),
            (
                "Fatal: can't open lock file /run/xtables.lock: Read-only file system",
                Complaint::LockFile,
            ),
            ("line 7 failed", Complaint::Other),
            ("", Complaint::Other),
        ] {
            assert_eq!(Complaint::of(text), expected, "{text}");
        }
    }
}
