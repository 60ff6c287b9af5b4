//! Which tables legacy iptables has, as the kernel tells: a look by its programs would make one.

use std::{fs, io};

use crate::rules::Family;

/// The kernel's list could not be read.
#[derive(Debug)]
pub(crate) struct TableNamesError {
    pub(crate) path: &'static str,
    pub(crate) source: io::Error,
}

/// The names of the tables of this network namespace, one a line; none where the kernel has no
/// legacy iptables.
pub(crate) fn table_names(family: Family) -> Result<String, TableNamesError> {
    let path = match family {
        Family::Ipv4 => "/proc/net/ip_tables_names",
        Family::Ipv6 => "/proc/net/ip6_tables_names",
    };
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        outcome => outcome.map_err(|source| TableNamesError { path, source }),
    }
}
