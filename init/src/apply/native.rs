//! The rules of both families in nftables' own tables.

use std::process::Command;

use super::{ApplyError, run::Programs};
use crate::{
    Backend,
    iptables::program::Tool,
    nft::{self, Listed, ListedTable},
    rules::{Family, Rule, Table},
};

/// What stands in our tables, if they are there.
pub(super) struct Native {
    listed: Option<Listed>,
}

impl Native {
    /// Reads our tables; nothing is run where the kernel says that there are none.
    pub(super) fn read(programs: Programs<'_>) -> Result<Self, ApplyError> {
        if !nft::exists() {
            return Ok(Self { listed: None });
        }
        let mut command = Command::new(TOOL.save());
        command.args(nft::LIST_ARGUMENTS);
        let json = match programs.run(TOOL, command, "", []) {
            Err(ApplyError::NoProgram { .. }) if nft::certainly_exists() => {
                return Err(ApplyError::OutOfReach {
                    place: "the tables of nftables",
                    program: TOOL.save(),
                });
            }
            // Then there are no tables that this run could use or remove.
            Err(error) if error.leaves_other_backends() => return Ok(Self { listed: None }),
            outcome => outcome?,
        };
        let listed = nft::parse(&json).map_err(ApplyError::Listing)?;
        Ok(Self {
            listed: Some(listed),
        })
    }

    /// Whether any table of ours is there.
    pub(super) fn is_there(&self) -> bool {
        let listed = self.listed.as_ref();
        listed.is_some_and(|listed| listed.tables.iter().any(is_ours))
    }

    /// Makes the tables right in one transaction, and tells what became of them.
    pub(super) fn converge(
        &self,
        families: &[(Family, Vec<Rule>)],
        force: bool,
        programs: Programs<'_>,
    ) -> Result<String, ApplyError> {
        let wanted = nft::merge(families);
        let count = wanted.len();
        let stands = self
            .listed
            .as_ref()
            .is_some_and(|listed| nft::matches(listed, &wanted));
        if stands && !force {
            return Ok(format!("{count} rules already installed"));
        }
        let text = match self.is_there() {
            true => nft::transaction(&wanted),
            false => nft::creation(&wanted),
        };
        feed(&text, &wanted, programs)?;
        Ok(match self.count() {
            0 => format!("{count} rules installed"),
            _ if stands => format!("{count} rules installed again"),
            replaced => format!("{count} rules installed in place of {replaced} that differed"),
        })
    }

    /// Removes the tables, and tells how many rules they had.
    pub(super) fn remove(&self, programs: Programs<'_>) -> Result<usize, ApplyError> {
        feed(&nft::removal(), &[], programs)?;
        Ok(self.count())
    }

    fn count(&self) -> usize {
        let tables = self.listed.iter().flat_map(|listed| &listed.tables);
        tables
            .filter(|table| is_ours(table))
            .flat_map(|table| &table.chains)
            .map(|chain| chain.rules.len())
            .sum()
    }
}

fn is_ours(table: &ListedTable) -> bool {
    let mut names = Table::ALL.into_iter().map(nft::table_name);
    table.family == nft::FAMILY && names.any(|name| name == table.name)
}

/// Both families share it.
const TOOL: Tool = Tool {
    family: Family::Ipv4,
    backend: Backend::Native,
};

fn feed(text: &str, rules: &[Rule], programs: Programs<'_>) -> Result<(), ApplyError> {
    let mut command = Command::new(TOOL.restore());
    command.args(nft::APPLY_ARGUMENTS);
    programs.run(TOOL, command, text, rules).map(drop)
}
