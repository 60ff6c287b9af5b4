//! The rules that a packet meets, in one form for all tools that print them.

use std::fmt;

use crate::{
    iptables::installed::Saved,
    nft::{Hook, Listed, ListedChain, ListedTable},
    rules::{Chain, Family, Match, Rule, Table, Verdict},
};

/// Whose tables they are: the kernel keeps them side by side.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Backend {
    /// nf_tables behind iptables' syntax.
    Nft,
    /// The old ip_tables.
    Legacy,
    /// nf_tables by its own program.
    Native,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nft => "iptables-nft",
            Self::Legacy => "iptables-legacy",
            Self::Native => "nftables",
        })
    }
}

/// The tables of one backend.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tables {
    /// Whose they are.
    pub backend: Backend,
    /// Each with the name that its tool gives it.
    pub tables: Vec<ListedTable>,
    /// What is to be said of them besides.
    pub notes: Vec<String>,
}

impl Tables {
    /// Of what `iptables-save` prints of one family.
    pub fn from_saved(backend: Backend, family: Family, saved: Saved) -> Self {
        let mut tables: Vec<ListedTable> = Vec::new();
        for (table, chain) in saved.chains {
            let hook = hook(table, &chain).map(|(name, priority, kind)| Hook {
                name: name.to_owned(),
                priority,
                kind: kind.to_owned(),
                drops: saved.dropping.contains(&(table, chain.clone())),
            });
            chain_of(&mut tables, family, table, &chain).hook = hook;
        }
        for line in saved.lines {
            let Rule {
                table, ref chain, ..
            } = line.rule;
            let chain = chain_of(&mut tables, family, table, chain);
            chain.rules.push(line.rule);
        }
        Self {
            backend,
            tables,
            notes: Vec::new(),
        }
    }

    /// Of nft's listing, without the tables that iptables keeps there if it was asked itself.
    pub fn from_listed(listed: Listed, iptables_was_asked: bool) -> Self {
        let is_iptables = |table: &ListedTable| {
            matches!(table.family.as_str(), "ip" | "ip6")
                && ["raw", "mangle", "nat", "filter", "security"].contains(&table.name.as_str())
        };
        let mut tables = listed.tables;
        let mut notes = Vec::new();
        if iptables_was_asked {
            tables.retain(|table| !is_iptables(table));
        } else if tables
            .iter()
            .any(|table| is_iptables(table) && hides_rules(table))
        {
            notes.push(
                "nft does not show all of iptables' rules: give what iptables-save or \
                 ip6tables-save prints, too"
                    .to_owned(),
            );
        }
        Self {
            backend: Backend::Native,
            tables,
            notes,
        }
    }

    /// The tables that packets of a family pass.
    pub(super) fn of_family(&self, family: Family) -> impl Iterator<Item = &ListedTable> {
        let name = nft_name(family);
        let tables = self.tables.iter();
        tables.filter(move |table| table.family == name || table.family == "inet")
    }

    /// Whether there are tables of a family, were they empty.
    pub(super) fn covers(&self, family: Family) -> bool {
        self.of_family(family).next().is_some()
    }

    /// Whether a rule stands anywhere for a family.
    pub(super) fn holds_rules(&self, family: Family) -> bool {
        let mut chains = self.of_family(family).flat_map(|table| &table.chains);
        chains.any(|chain| !chain.rules.is_empty())
    }

    /// Whether a redirect as Fairlead's or Istio's stands there for a family.
    pub(super) fn holds_redirect(&self, family: Family) -> bool {
        let mut chains = self.of_family(family).flat_map(|table| &table.chains);
        chains.any(|chain| chain.name.is_ours() && !chain.rules.is_empty())
    }

    /// What the text calls a table.
    pub(super) fn name(&self, table: &ListedTable) -> String {
        match self.backend {
            Backend::Native => format!("{} {}", table.family, table.name),
            Backend::Nft | Backend::Legacy => table.name.clone(),
        }
    }
}

/// Whether nft leaves parts of rules out: what iptables has an extension for.
fn hides_rules(table: &ListedTable) -> bool {
    let is_extension = |text: &str| text.starts_with("{\"xt\":");
    let mut rules = table.chains.iter().flat_map(|chain| &chain.rules);
    rules.any(|rule| {
        let mut conditions = rule.matches.iter();
        matches!(&rule.verdict, Verdict::Unknown(text) if is_extension(text))
            || conditions.any(|is| matches!(is, Match::Unknown(text) if is_extension(text)))
    })
}

fn nft_name(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ip",
        Family::Ipv6 => "ip6",
    }
}

fn chain_of<'a>(
    tables: &'a mut Vec<ListedTable>,
    family: Family,
    table: Table,
    chain: &Chain,
) -> &'a mut ListedChain {
    let table = entry(
        tables,
        |listed| listed.name == table.name(),
        || ListedTable {
            family: nft_name(family).to_owned(),
            name: table.name().to_owned(),
            chains: Vec::new(),
        },
    );
    entry(
        &mut table.chains,
        |listed| listed.name == *chain,
        || ListedChain {
            name: chain.clone(),
            hook: None,
            rules: Vec::new(),
        },
    )
}

fn entry<T>(list: &mut Vec<T>, is: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let index = list.iter().position(is).unwrap_or_else(|| {
        list.push(new());
        list.len() - 1
    });
    &mut list[index]
}

/// Where the kernel asks a chain of iptables' (linux/netfilter_ipv4.h).
fn hook(table: Table, chain: &Chain) -> Option<(&'static str, i32, &'static str)> {
    let point = match chain.name() {
        "PREROUTING" => "prerouting",
        "INPUT" => "input",
        "FORWARD" => "forward",
        "OUTPUT" => "output",
        "POSTROUTING" => "postrouting",
        _ => return None,
    };
    Some(match table {
        Table::Raw => (point, -300, "filter"),
        Table::Mangle => (point, -150, "filter"),
        Table::Nat => (point, -100, "nat"),
    })
}
