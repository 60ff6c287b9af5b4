//! The programs of iptables: their names, and what their complaints mean.

use crate::{
    Backend,
    rules::{Family, Match, Rule, Table, Verdict},
};

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

/// The kernel modules by which a backend keeps these rules, or those of the default ones where none
/// are told.
pub fn modules<'a>(tool: Tool, rules: impl IntoIterator<Item = &'a Rule>) -> Vec<&'static str> {
    let mut tables = Vec::new();
    let mut extensions = Vec::new();
    let add = |list: &mut Vec<&'static str>, name| {
        if !list.contains(&name) {
            list.push(name);
        }
    };
    for rule in rules {
        add(&mut tables, table_module(tool, rule.table));
        let conditions = rule.matches.iter().filter_map(match_module);
        for name in conditions.chain(verdict_module(&rule.verdict)) {
            add(&mut extensions, name);
        }
    }
    if tables.is_empty() {
        tables.push(table_module(tool, Table::Nat));
        extensions.extend(["xt_REDIRECT", "xt_owner"]);
    }
    let base: &[&str] = match tool.backend {
        Backend::Native => return [&["nf_tables", "nft_ct", "nft_redir"], &tables[..]].concat(),
        Backend::Nft => &["nf_tables", "nft_compat"],
        Backend::Legacy | Backend::Plain => &[],
    };
    [base, &tables, &extensions].concat()
}

fn table_module(tool: Tool, table: Table) -> &'static str {
    match (tool.backend, tool.family, table) {
        (Backend::Native | Backend::Nft, _, Table::Nat) => "nft_chain_nat",
        (Backend::Native | Backend::Nft, ..) => "nf_tables",
        (_, Family::Ipv4, Table::Raw) => "iptable_raw",
        (_, Family::Ipv4, Table::Mangle) => "iptable_mangle",
        (_, Family::Ipv4, Table::Nat) => "iptable_nat",
        (_, Family::Ipv6, Table::Raw) => "ip6table_raw",
        (_, Family::Ipv6, Table::Mangle) => "ip6table_mangle",
        (_, Family::Ipv6, Table::Nat) => "ip6table_nat",
    }
}

fn match_module(condition: &Match) -> Option<&'static str> {
    Some(match condition {
        Match::Uid(_) | Match::Gid(_) => "xt_owner",
        Match::Mark(_) => "xt_mark",
        Match::ConnectionMark(_) => "xt_connmark",
        Match::State(_) => "xt_conntrack",
        Match::SourcePort(_, ports) | Match::DestinationPort(_, ports)
            if ports.value().len() > 1 =>
        {
            "xt_multiport"
        }
        _ => return None,
    })
}

fn verdict_module(verdict: &Verdict) -> Option<&'static str> {
    Some(match verdict {
        Verdict::Redirect(_) => "xt_REDIRECT",
        Verdict::Tproxy { .. } => "xt_TPROXY",
        Verdict::SetMark(_) => "xt_mark",
        Verdict::SaveMark | Verdict::RestoreMark => "xt_connmark",
        Verdict::ConnectionZone(_) => "xt_CT",
        _ => return None,
    })
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
