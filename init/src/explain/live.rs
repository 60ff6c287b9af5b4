//! The rules that are installed in the network namespace of this process, in every backend.
//!
//! Looking changes nothing: legacy iptables makes a table when it is asked for one, so it is asked
//! only where the kernel has one already.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::{Command, Output},
};

use super::{
    options::Route,
    tables::{Backend, Tables},
};
use crate::{
    Backend as Variant,
    capability::{Capability, lacks},
    iptables::{
        installed::Saved,
        legacy::{self, TableNamesError},
        program::{Complaint, Tool},
    },
    nft,
    process::{self, DEADLINE},
    rules::Family,
};

/// Why the installed rules are not known.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// The container lacks a privilege.
    #[error(
        "the capability {0} is missing, without which the kernel shows no rules. For a pod: \
         `fairlead explain-packet --pod NAME`; or on its node, as root: `nsenter \
         --net=/proc/PID/ns/net fairlead-init explain ...` with PID any process of the pod; or \
         save them there by `nsenter --net=/proc/PID/ns/net iptables-save > FILE` \
         (ip6tables-save for IPv6, nft -j list ruleset for nftables) and give --from FILE"
    )]
    Capability(&'static str),
    /// The list of legacy tables could not be read.
    #[error("read {path}: run as root")]
    Names {
        /// The kernel's list.
        path: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// No program that shows rules.
    #[error(
        "neither {iptables} nor nft is on the PATH: use an image that has them, such as \
         fairlead/proxy"
    )]
    NoPrograms {
        /// The program of iptables for the family.
        iptables: &'static str,
    },
    /// There are legacy tables, and nothing shows them.
    #[error("{program} is not on the PATH, and legacy tables are in use: use an image that has it")]
    NoLegacy {
        /// The program.
        program: &'static str,
    },
    /// A program could not be run.
    #[error("run {program}")]
    Start {
        /// The program.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A program failed.
    #[error("{program} failed ({complaint})")]
    Program {
        /// The program.
        program: &'static str,
        /// What it said.
        complaint: String,
    },
    /// nft's listing could not be read.
    #[error("read what nft lists")]
    Listing(#[from] nft::ListingError),
}

impl LiveError {
    /// Whether the output of a run elsewhere says that a capability is missing.
    pub fn tells_of_capability(output: &str) -> bool {
        output.contains("the capability ") && output.contains(" is missing, without which")
    }
}

/// Reads the installed rules that packets of a family meet.
///
/// # Errors
/// A privilege or a program is missing, or a program failed.
pub fn read(family: Family) -> Result<Vec<Tables>, LiveError> {
    if lacks(Capability::NetAdmin) {
        return Err(LiveError::Capability(Capability::NetAdmin.name()));
    }
    let mut tables = Vec::new();
    let nft_variant = Tool::new(family, Variant::Nft);
    let by_iptables = match run(nft_variant.save(), &[])? {
        Some(save) => Some(save),
        // Where there is only one iptables, the kernel's tables say which it is.
        None if legacy_tables(family)?.is_empty() => {
            run(Tool::new(family, Variant::Plain).save(), &[])?
        }
        None => None,
    };
    let saved = by_iptables.as_deref().map(Saved::parse);
    let unreadable = saved.as_ref().and_then(|saved| saved.unreadable);
    if let Some(saved) = saved {
        let mut saved = Tables::from_saved(Backend::Nft, family, saved);
        if let Some(table) = unreadable {
            // nft shows all of them, if not as well.
            saved.tables.clear();
            saved.notes.push(format!(
                "iptables cannot show the table {}: its tables are read by nft",
                table.name()
            ));
        }
        tables.push(saved);
    }
    if !legacy_tables(family)?.is_empty() {
        tables.push(read_legacy(family)?);
    }
    match run("nft", &nft::LIST_ARGUMENTS)? {
        Some(listing) => {
            let listed = nft::parse(&listing)?;
            let iptables_was_asked = by_iptables.is_some() && unreadable.is_none();
            tables.push(Tables::from_listed(listed, iptables_was_asked));
        }
        None if by_iptables.is_none() || unreadable.is_some() => {
            let iptables = nft_variant.save();
            return Err(LiveError::NoPrograms { iptables });
        }
        None => {
            if let Some(first) = tables.first_mut() {
                first
                    .notes
                    .push("nft is not on the PATH: rules of nftables' own are not seen".to_owned());
            }
        }
    }
    Ok(tables)
}

/// What the kernel would make of a packet to a destination; nothing is sent.
pub fn route(destination: SocketAddr) -> Route {
    let any: IpAddr = match destination {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((any, 0))
        .and_then(|socket| {
            socket.connect(destination)?;
            socket.local_addr()
        })
        .map(|address| address.ip());
    // Without a route there is no address to come from.
    Route {
        source: source.ok(),
    }
}

fn read_legacy(family: Family) -> Result<Tables, LiveError> {
    if lacks(Capability::NetRaw) {
        return Err(LiveError::Capability(Capability::NetRaw.name()));
    }
    let program = Tool::new(family, Variant::Legacy).save();
    let save = match run(program, &[])? {
        Some(save) => Some(save),
        None => run(Tool::new(family, Variant::Plain).save(), &[])?,
    };
    let save = save.ok_or(LiveError::NoLegacy { program })?;
    Ok(Tables::from_saved(
        Backend::Legacy,
        family,
        Saved::parse(&save),
    ))
}

/// The tables of legacy iptables that the namespace has, without making any.
fn legacy_tables(family: Family) -> Result<String, LiveError> {
    legacy::table_names(family)
        .map_err(|TableNamesError { path, source }| LiveError::Names { path, source })
}

/// What a program prints; `None` where there is no such program, or nothing that it could show.
fn run(program: &'static str, arguments: &[&str]) -> Result<Option<String>, LiveError> {
    let output = match process::run(Command::new(program).args(arguments), "", DEADLINE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        outcome => outcome.map_err(|source| LiveError::Start { program, source })?,
    };
    let Output {
        status,
        stdout,
        stderr,
    } = output;
    if status.success() {
        return Ok(Some(String::from_utf8_lossy(&stdout).into_owned()));
    }
    if process::was_killed(status) {
        return Err(LiveError::Program {
            program,
            complaint: format!("killed after {} s", DEADLINE.as_secs()),
        });
    }
    let text = String::from_utf8_lossy(&stderr);
    match Complaint::of(&text) {
        // The kernel has no such backend, so it holds no rules either.
        Complaint::Unsupported => Ok(Some(String::new())),
        Complaint::Privilege => Err(LiveError::Capability(Capability::NetAdmin.name())),
        _ => Err(LiveError::Program {
            program,
            complaint: text.trim().replace('\n', "; "),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::LiveError;

    #[test]
    fn a_missing_capability_is_told_from_other_faults() {
        let missing = LiveError::Capability("NET_ADMIN").to_string();
        assert!(LiveError::tells_of_capability(&format!(
            "error: {missing}\n"
        )));
        let program = "iptables-nft-save";
        let other = LiveError::NoLegacy { program }.to_string();
        assert!(!LiveError::tells_of_capability(&other));
    }
}
