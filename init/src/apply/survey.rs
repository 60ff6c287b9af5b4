//! What is installed in the network namespace, in every backend, before anything is changed.

use std::process::Command;

use super::{ApplyError, native::Native, run::Programs};
use crate::{
    Backend,
    capability::{self, Capability},
    iptables::{
        installed::Installed,
        legacy::{self, TableNamesError},
        program::Tool,
    },
    netlink,
    rules::{Family, Table},
};

/// What stood in every backend before the run.
pub(super) struct Before {
    pub(super) native: Native,
    pub(super) families: [Survey; 2],
}

impl Before {
    pub(super) fn read(programs: Programs<'_>) -> Result<Self, ApplyError> {
        Ok(Self {
            native: Native::read(programs)?,
            families: [
                Survey::read(Family::Ipv4, programs)?,
                Survey::read(Family::Ipv6, programs)?,
            ],
        })
    }

    pub(super) fn refuse_other_mesh(&self) -> Result<(), ApplyError> {
        let installed = self.families.iter().flat_map(|s| [&s.nft, &s.legacy]);
        match installed.into_iter().any(|i| i.other_mesh) {
            true => Err(ApplyError::OtherMesh),
            false => Ok(()),
        }
    }

    pub(super) fn of(&self, family: Family) -> &Survey {
        let [ipv4, ipv6] = &self.families;
        match family {
            Family::Ipv4 => ipv4,
            Family::Ipv6 => ipv6,
        }
    }
}

/// What stands in the tables of iptables of one family.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) family: Family,
    pub(super) nft: Installed,
    pub(super) legacy: Installed,
}

impl Survey {
    /// Reads both variants. Nothing is run where the kernel says that there is nothing, so a new pod
    /// costs no program and no look makes a table.
    pub(super) fn read(family: Family, programs: Programs<'_>) -> Result<Self, ApplyError> {
        let nft = if has_nft_tables(family) {
            let nft = save(Tool::new(family, Backend::Nft), programs);
            // Where there is only one iptables, it is that of the tables that are used.
            match or_else_plain(nft, family, programs)? {
                None if holds_redirect(family) => {
                    return Err(ApplyError::OutOfReach {
                        place: "the tables of iptables-nft",
                        program: Tool::new(family, Backend::Nft).save(),
                    });
                }
                // Nothing there can be changed, whatever it is.
                installed => installed.unwrap_or_default(),
            }
        } else {
            Installed::default()
        };
        if let Some(table) = nft.unreadable.filter(|_| holds_redirect(family)) {
            return Err(unreadable(table, family));
        }
        let legacy = if has_legacy_tables(family)? {
            let legacy = Tool::new(family, Backend::Legacy);
            or_else_plain(save(legacy, programs), family, programs)?.unwrap_or_default()
        } else {
            Installed::default()
        };
        Ok(Self {
            family,
            nft,
            legacy,
        })
    }

    /// What stands there in a backend; in the plain one whatever it is.
    pub(super) fn installed(&self, backend: Backend) -> &Installed {
        match backend {
            Backend::Legacy => &self.legacy,
            Backend::Plain if self.legacy.holds_rules() => &self.legacy,
            Backend::Native | Backend::Nft | Backend::Plain => &self.nft,
        }
    }
}

pub(super) fn unreadable(table: Table, family: Family) -> ApplyError {
    ApplyError::Unreadable {
        table: table.name(),
        family: family.name(),
    }
}

/// What was read, by the plain program if there is no other; nothing if there is none at all.
fn or_else_plain(
    outcome: Result<Installed, ApplyError>,
    family: Family,
    programs: Programs<'_>,
) -> Result<Option<Installed>, ApplyError> {
    match outcome {
        Err(ApplyError::NoProgram { .. }) => {
            match save(Tool::new(family, Backend::Plain), programs) {
                Err(ApplyError::NoProgram { .. }) => Ok(None),
                outcome => outcome.map(Some),
            }
        }
        outcome => outcome.map(Some),
    }
}

/// Reads one variant's rules.
fn save(tool: Tool, programs: Programs<'_>) -> Result<Installed, ApplyError> {
    if tool.backend == Backend::Legacy {
        require(Capability::NetRaw)?;
    }
    let save = programs.run(tool, Command::new(tool.save()), "", [])?;
    Ok(Installed::parse(&save))
}

pub(super) fn require(capability: Capability) -> Result<(), ApplyError> {
    if capability::lacks(capability) {
        Err(ApplyError::Capability(capability.name()))
    } else {
        Ok(())
    }
}

fn has_nft_tables(family: Family) -> bool {
    Table::ALL
        .into_iter()
        .any(|table| !netlink::lacks_table(family.into(), table.name()))
}

/// Whether iptables' tables in nf_tables certainly hold the redirect of a mesh, as far as can be told
/// without a program: by its chains, Istio's and ours or Linkerd's.
fn holds_redirect(family: Family) -> bool {
    const CHAINS: [&str; 4] = [
        "ISTIO_INBOUND",
        "ISTIO_OUTPUT",
        "PROXY_INIT_REDIRECT",
        "PROXY_INIT_OUTPUT",
    ];
    let holds = |table: Table| {
        let mut chains = CHAINS.into_iter();
        chains.any(|chain| netlink::holds_chain(family.into(), table.name(), chain))
    };
    Table::ALL.into_iter().any(holds)
}

/// Whether this namespace has tables of legacy iptables.
fn has_legacy_tables(family: Family) -> Result<bool, ApplyError> {
    let names = legacy::table_names(family)
        .map_err(|TableNamesError { path, source }| ApplyError::Tables { path, source })?;
    Ok(names.lines().any(|name| Table::of_name(name).is_some()))
}
