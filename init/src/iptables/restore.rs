//! From what stands in the tables of a family to what shall: the text that
//! `iptables-restore --noflush` takes.
//!
//! A table is one commit, so nobody ever sees a half of it, and a fault in it changes nothing.

use std::{collections::BTreeSet, fmt::Write};

use super::installed::{Installed, Line, Ruleset};
use crate::rules::{Chain, Table};

/// The text that turns the installed rules of ours into the wanted ones; `None` when they are, and
/// nothing is forced.
///
/// Foreign rules stay, in their order. A jump in a kernel's chain keeps its place if it is right:
/// `--noflush` would add it a second time. Tables that get rules come before those that lose all of
/// theirs, so that at every moment one of them captures.
pub fn transition(installed: &Installed, wanted: &Ruleset, force: bool) -> Option<String> {
    let (gaining, losing): (Vec<Table>, Vec<Table>) = Table::ALL
        .into_iter()
        .partition(|table| wanted.lines_of(*table).next().is_some());
    let mut text = String::new();
    for table in gaining.into_iter().chain(losing) {
        let change = Change::new(installed, wanted, table);
        if !change.is_none() || (force && !change.is_empty()) {
            change.write(&mut text);
        }
    }
    (!text.is_empty()).then_some(text)
}

/// The parts of a transition: one for each table.
pub fn tables(transition: &str) -> impl Iterator<Item = &str> {
    transition.split_inclusive("\nCOMMIT\n")
}

/// One table, as it is and as it shall be.
struct Change<'a> {
    table: Table,
    old_chains: Vec<&'a Chain>,
    new_chains: Vec<&'a Chain>,
    old: Vec<&'a Line>,
    new: Vec<&'a Line>,
    referenced: Vec<&'a Chain>,
}

impl<'a> Change<'a> {
    fn new(installed: &'a Installed, wanted: &'a Ruleset, table: Table) -> Self {
        let referenced = installed.referenced.iter();
        Self {
            table,
            old_chains: installed.ours.chains_of(table).collect(),
            new_chains: wanted.chains_of(table).collect(),
            old: installed.ours.lines_of(table).collect(),
            new: wanted.lines_of(table).collect(),
            referenced: referenced
                .filter_map(|(of, chain)| (*of == table).then_some(chain))
                .collect(),
        }
    }

    /// Whether nothing is there and nothing is wanted.
    fn is_empty(&self) -> bool {
        self.old_chains.is_empty() && self.new_chains.is_empty() && self.old.is_empty()
    }

    /// Whether everything is as it shall be.
    fn is_none(&self) -> bool {
        let subset = |a: &[&Chain], b: &[&Chain]| a.iter().all(|chain| b.contains(chain));
        subset(&self.old_chains, &self.new_chains)
            && subset(&self.new_chains, &self.old_chains)
            && {
                let lines = self.old.iter().chain(&self.new);
                let chains: BTreeSet<&Chain> = lines.map(|line| &line.rule.chain).collect();
                chains.into_iter().all(|chain| self.keeps(chain))
            }
    }

    /// Whether the rules of ours in a chain mean what they shall, in order.
    fn keeps(&self, chain: &Chain) -> bool {
        let of = |lines: &[&'a Line]| -> Vec<&'a Line> {
            let lines = lines.iter().copied();
            lines.filter(|line| line.rule.chain == *chain).collect()
        };
        let (old, new) = (of(&self.old), of(&self.new));
        old.len() == new.len() && old.iter().zip(new).all(|(a, b)| a.rule.means(&b.rule))
    }

    fn write(&self, text: &mut String) {
        let new_chains = self.new_chains.iter();
        let stale = self.old_chains.iter();
        let stale: Vec<_> = stale
            .filter(|chain| !self.new_chains.contains(chain))
            .collect();
        put(text, format_args!("*{}", self.table.name()));
        for chain in new_chains.chain(stale.iter().copied()) {
            // Makes the chain, or empties it.
            put(text, format_args!(":{chain} - [0:0]"));
        }
        let changes = |line: &&&Line| line.rule.chain.is_ours() || !self.keeps(&line.rule.chain);
        for Line { rule, text: words } in self.old.iter().filter(changes) {
            if !rule.chain.is_ours() {
                put(text, format_args!("-D {} {words}", rule.chain));
            }
        }
        for Line { rule, text: words } in self.new.iter().filter(changes) {
            put(text, format_args!("-A {} {words}", rule.chain));
        }
        for chain in stale {
            if !self.referenced.contains(chain) {
                put(text, format_args!("-X {chain}"));
            }
        }
        text.push_str("COMMIT\n");
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests;
