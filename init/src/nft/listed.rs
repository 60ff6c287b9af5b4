//! A ruleset as it was read: every table, chain and rule, whoever made it.

use crate::rules::{Chain, Rule};

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
