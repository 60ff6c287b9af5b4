//! A ruleset as it was read: every table, chain and rule, whoever made it.

use super::{FAMILY, chains, hook, table_name};
use crate::rules::{Chain, Rule, Table};

/// The tables of a ruleset, in the order of the listing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Listed {
    /// All of them, ours and others'.
    pub tables: Vec<ListedTable>,
}

/// One table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedTable {
    /// nft's name of the families whose packets pass it: `ip`, `ip6`, `inet` or another.
    pub family: String,
    /// Its name.
    pub name: String,
    /// Its chains.
    pub chains: Vec<ListedChain>,
}

/// One chain.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedChain {
    /// Its name; those of ours at hooks have the kernel's names, as in iptables.
    pub name: Chain,
    /// Where packets come to it from the kernel, if they do.
    pub hook: Option<Hook>,
    /// Its rules in order. In others' tables, [`Rule::table`] is the one that the hook's kind and
    /// priority come closest to.
    pub rules: Vec<Rule>,
}

/// Where packets come to a chain from the kernel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hook {
    /// nft's name of it: `prerouting`, `input`, `forward`, `output` or `postrouting`.
    pub name: String,
    /// Chains of lower priority are asked first.
    pub priority: i32,
    /// `filter`, `nat` or `route`.
    pub kind: String,
    /// Whether what no rule decides is dropped.
    pub drops: bool,
}

impl Listed {
    /// The table of a family and name.
    pub fn table(&self, family: &str, name: &str) -> Option<&ListedTable> {
        let mut tables = self.tables.iter();
        tables.find(|table| table.family == family && table.name == name)
    }
}

impl ListedTable {
    /// The chain of a name.
    pub fn chain(&self, name: &Chain) -> Option<&ListedChain> {
        self.chains.iter().find(|chain| chain.name == *name)
    }
}

/// How many rules our tables hold.
pub fn count(listed: &Listed) -> usize {
    let tables = Table::ALL.into_iter();
    let tables = tables.filter_map(|table| listed.table(FAMILY, table_name(table)));
    tables
        .flat_map(|table| &table.chains)
        .map(|chain| chain.rules.len())
        .sum()
}

/// Whether our tables hold the wanted rules and nothing else, so that nothing is to be done.
///
/// The rules are those that [`merge`](super::merge()) made.
pub fn matches(listed: &Listed, wanted: &[Rule]) -> bool {
    Table::ALL.into_iter().all(|table| {
        let wanted_chains = chains(wanted, table);
        match listed.table(FAMILY, table_name(table)) {
            None => wanted_chains.is_empty(),
            Some(found) => {
                found.chains.len() == wanted_chains.len()
                    && !wanted_chains.is_empty()
                    && wanted_chains.iter().all(|chain| {
                        let rules = wanted.iter();
                        let rules =
                            rules.filter(|rule| rule.table == table && rule.chain == **chain);
                        found
                            .chain(chain)
                            .is_some_and(|found| found.holds(hook(table, chain).as_ref(), rules))
                    })
            }
        }
    })
}

impl ListedChain {
    fn holds<'a>(&self, hook: Option<&Hook>, wanted: impl Iterator<Item = &'a Rule>) -> bool {
        let wanted: Vec<&Rule> = wanted.collect();
        self.hook.as_ref() == hook
            && self.rules.len() == wanted.len()
            && self
                .rules
                .iter()
                .zip(wanted)
                .all(|(found, rule)| found.means(rule))
    }
}
