//! Which privileges the process has: asked before anything is run, so that the answer is clear.

use std::fs;

use fairlead_api::values::Selection;

use crate::Redirect;

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

/// A rule would name a user or group that no process here can have.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{kind} {id} does not exist in the user namespace of this container ({map}), so no rule can \
     name it: give the pod hostUsers: true, or a runtime that maps 65536 ids"
)]
pub struct UnmappedError {
    kind: &'static str,
    id: u32,
    map: &'static str,
}

/// Checks that rules can name the proxy's users and groups (`user_namespaces(7)`).
///
/// # Errors
/// The first one that is not mapped.
pub fn require_mapped(redirect: &Redirect) -> Result<(), UnmappedError> {
    // Where that cannot be known, the kernel will say.
    let map = |path| fs::read_to_string(path).unwrap_or_default();
    unmapped(redirect, &map(UID_MAP), &map(GID_MAP)).map_or(Ok(()), Err)
}

const UID_MAP: &str = "/proc/self/uid_map";
const GID_MAP: &str = "/proc/self/gid_map";

/// The first user or group that rules would name and that the maps do not have.
fn unmapped(redirect: &Redirect, uid_map: &str, gid_map: &str) -> Option<UnmappedError> {
    let owner_groups = match &redirect.owner_groups {
        Selection::All => &redirect.excluded_owner_groups,
        Selection::Only(groups) => groups,
    };
    let named = [
        ("user", UID_MAP, uid_map, &redirect.proxy_uids),
        ("group", GID_MAP, gid_map, &redirect.proxy_gids),
        ("group", GID_MAP, gid_map, owner_groups),
    ];
    named.into_iter().find_map(|(kind, path, map, ids)| {
        let id = ids.iter().find(|id| !is_mapped(map, **id))?;
        Some(UnmappedError {
            kind,
            id: *id,
            map: path,
        })
    })
}

/// Whether a map has an id; each line is the first id inside, the first one outside, and how many.
fn is_mapped(map: &str, id: u32) -> bool {
    let mut ranges = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace();
        let first: u64 = numbers.next()?.parse().ok()?;
        let count: u64 = numbers.nth(1)?.parse().ok()?;
        Some(first..first.saturating_add(count))
    });
    map.is_empty() || ranges.any(|range| range.contains(&u64::from(id)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Capability, UnmappedError, effective, is_mapped, unmapped};
    use crate::{Config, Flags, random::Random};

    #[test]
    fn effective_capabilities_are_a_hexadecimal_mask() {
        let set = effective("Name:\tx\nCapPrm:\t0\nCapEff:\t0000000000001000\n").unwrap();
        assert_ne!(set & Capability::NetAdmin.bit(), 0);
        assert_eq!(set & Capability::NetRaw.bit(), 0);
        assert_eq!(effective("Name:\tx\n"), None);
    }

    #[test]
    fn an_id_that_is_not_mapped_has_a_remedy() {
        let error = UnmappedError {
            kind: "user",
            id: 70_000,
            map: "/proc/self/uid_map",
        };
        assert_eq!(
            error.to_string(),
            "user 70000 does not exist in the user namespace of this container \
             (/proc/self/uid_map), so no rule can name it: give the pod hostUsers: true, or a \
             runtime that maps 65536 ids"
        );
    }

    #[test]
    fn each_id_that_a_rule_would_name_must_be_mapped() {
        let map = "0 100000 1000\n";
        for (arguments, expected) in [
            (&["-u", "7"][..], None),
            (&["-u", "7,1337"], Some(("user", 1337))),
            (&["-u", "7", "-g", "1337"], Some(("group", 1337))),
            (
                &["-u", "7", "--istio-outbound-owner-groups", "5,5000"],
                Some(("group", 5000)),
            ),
            (
                &["-u", "7", "--istio-outbound-owner-groups-exclude", "5000"],
                Some(("group", 5000)),
            ),
        ] {
            let flags = Flags::parse_from([&["fairlead-init"], arguments].concat());
            let redirect = Config::from_flags(&flags).unwrap().redirect;
            let found = unmapped(&redirect, map, map).map(|error| (error.kind, error.id));
            assert_eq!(found, expected, "{arguments:?}");
        }
    }

    #[test]
    fn ids_are_mapped_in_ranges() {
        let map = "         0     100000       1000\n      2000          7          1\n";
        for (id, mapped) in [
            (0, true),
            (999, true),
            (1000, false),
            (2000, true),
            (2001, false),
        ] {
            assert_eq!(is_mapped(map, id), mapped, "{id}");
        }
        assert!(is_mapped("0 0 4294967295\n", 1337));
        assert!(is_mapped("", 1337));
        assert!(is_mapped("0 0 18446744073709551615\n", 1337));
        assert!(!is_mapped("18446744073709551615 0 1\n", 1337));
    }

    #[test]
    fn no_mutation_of_a_map_or_a_status_is_too_much() {
        let mut random = Random::new(11);
        let map = "         0     100000       1000\n      2000          7          1\n";
        let status = "Name:\tx\nCapPrm:\t0\nCapEff:\t0000000000001000\n";
        for _ in 0..20_000 {
            let pieces = ["18446744073709551615", "-1", "\n", " ", "CapEff:"];
            is_mapped(&random.mutation(map, &pieces), 1337);
            effective(&random.mutation(status, &pieces));
        }
    }
}
