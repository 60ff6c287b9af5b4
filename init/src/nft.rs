//! Rules by nftables' own program: three tables that both families share, replaced together.
//!
//! ```text
//! rules of each family ─▶ merge ─▶ rules of both ─▶ transaction ─▶ nft -f -
//! nft -j -n list ruleset ─▶ parse ─▶ listed ─▶ matches: is it as it shall be?
//! ```
//!
//! The tables have Istio's names, so that a set which Istio made is replaced by ours in one commit.
//! They hold nothing of anybody else's; tables of others are neither changed nor named.
//!
//! - [`merge`]: the rules of two families as one list
//! - [`render`]: rules as the text that `nft -f` takes
//! - [`listed`]: what a ruleset holds, whoever made it
//! - [`parse`]: what `nft -j` prints, read

pub mod listed;
pub mod merge;
pub mod parse;
pub mod render;

pub use self::{
    listed::{Hook, Listed, ListedChain, ListedTable, count, matches},
    merge::merge,
    parse::{ListingError, parse},
    render::{creation, removal, transaction},
};
use crate::{
    netlink::{NfProto, holds_table, lacks_table},
    rules::{Chain, Rule, Table},
};

/// What prints the ruleset for [`parse`]: numbers in place of names.
pub const LIST_ARGUMENTS: [&str; 4] = ["-j", "-n", "list", "ruleset"];

/// What takes a [`transaction`] or a [`removal`] from its input.
pub const APPLY_ARGUMENTS: [&str; 2] = ["-f", "-"];

/// The family of our tables.
pub const FAMILY: &str = "inet";

/// The name of a table of ours.
pub fn table_name(table: Table) -> &'static str {
    match table {
        Table::Raw => "istio-proxy-raw",
        Table::Mangle => "istio-proxy-mangle",
        Table::Nat => "istio-proxy-nat",
    }
}

/// Whether any table of ours is there, as the kernel tells without a program; also when it does
/// not tell.
pub fn exists() -> bool {
    let mut tables = Table::ALL.into_iter();
    tables.any(|table| !lacks_table(NfProto::Inet, table_name(table)))
}

/// Whether any table of ours is there, as the kernel tells; not when it does not tell.
pub fn certainly_exists() -> bool {
    let mut tables = Table::ALL.into_iter();
    tables.any(|table| holds_table(NfProto::Inet, table_name(table)))
}

/// The table of ours that has this name.
fn table_of_name(name: &str) -> Option<Table> {
    let mut tables = Table::ALL.into_iter();
    tables.find(|table| table_name(*table) == name)
}

/// The chains to which packets come from the kernel, with nft's names.
const BASE_CHAINS: [(Chain, &str); 2] =
    [(Chain::PREROUTING, "prerouting"), (Chain::OUTPUT, "output")];

/// nft's name of a chain of ours.
fn chain_name(chain: &Chain) -> &str {
    let mut base_chains = BASE_CHAINS.iter();
    base_chains
        .find(|(base, _)| base == chain)
        .map_or(chain.name(), |(_, name)| *name)
}

/// The chain of ours that has this name.
fn chain_of_name(name: &str) -> Chain {
    let mut base_chains = BASE_CHAINS.iter();
    base_chains
        .find(|(_, base)| *base == name)
        .map_or_else(|| Chain::named(name), |(chain, _)| chain.clone())
}

/// Where packets come to a chain of ours from the kernel, if they do: where they come to the
/// chains of iptables' table.
fn hook(table: Table, chain: &Chain) -> Option<Hook> {
    let (_, name) = BASE_CHAINS.iter().find(|(base, _)| base == chain)?;
    let (kind, priority) = match table {
        Table::Raw => ("filter", -300),
        // Another mark is another route.
        Table::Mangle if *chain == Chain::OUTPUT => ("route", -150),
        Table::Mangle => ("filter", -150),
        Table::Nat => ("nat", -100),
    };
    Some(Hook {
        name: (*name).to_owned(),
        priority,
        kind: kind.to_owned(),
        drops: false,
    })
}

/// The chains of a table that rules stand in or hand packets to, in the order of their use.
fn chains(rules: &[Rule], table: Table) -> Vec<&Chain> {
    let mut chains = Vec::new();
    for rule in rules.iter().filter(|rule| rule.table == table) {
        for chain in [Some(&rule.chain), rule.target()].into_iter().flatten() {
            if !chains.contains(&chain) {
                chains.push(chain);
            }
        }
    }
    chains
}
