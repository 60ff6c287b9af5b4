//! What `nft -j list ruleset` prints → tables, chains and rules, whoever made them.
//!
//! What is not known stays as text, so that nothing is taken for less than it is.

mod condition;
mod verdict;

use serde_json::{Map, Value};

use self::{condition::condition, verdict::verdict};
use super::{
    FAMILY, Hook, Listed, ListedChain, ListedTable, chain_of_name, merge::normal, table_of_name,
};
use crate::rules::{Chain, Match, Rule, Table};

/// Why a text is no ruleset.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// It is not JSON.
    #[error("the ruleset is not the JSON that `nft -j list ruleset` prints")]
    Json(#[source] serde_json::Error),
    /// It is JSON of something else.
    #[error("the JSON is no ruleset of nft: it has no list named nftables")]
    NotARuleset,
}

/// Reads what `nft -j list ruleset` prints, with names or with numbers.
///
/// # Errors
/// When the text is no ruleset. Within one, what is not known is kept as text, or passed over
/// where it decides nothing.
pub fn parse(json: &str) -> Result<Listed, ListingError> {
    let value: Value = serde_json::from_str(json).map_err(ListingError::Json)?;
    let items = value.get("nftables").and_then(Value::as_array);
    let items = items.ok_or(ListingError::NotARuleset)?;
    let mut listed = Listed::default();
    let objects = |kind| {
        items
            .iter()
            .filter_map(move |item| item.get(kind)?.as_object())
    };
    let mut dormant = Vec::new();
    for table in objects("table") {
        let (family, name) = (text(table, "family"), text(table, "name"));
        if is_dormant(table) {
            dormant.push((family, name));
        }
        listed.table_mut(family, name);
    }
    for chain in objects("chain") {
        let (family, table) = (text(chain, "family"), text(chain, "table"));
        let name = chain_name(family, table, text(chain, "name"));
        let hook = hook(chain).filter(|_| !dormant.contains(&(family, table)));
        listed.table_mut(family, table).chain_mut(name).hook = hook;
    }
    for rule in objects("rule") {
        let (family, table) = (text(rule, "family"), text(rule, "table"));
        let chain = chain_name(family, table, text(rule, "chain"));
        let listed_chain = listed.table_mut(family, table).chain_mut(chain.clone());
        let expressions = rule.get("expr").and_then(Value::as_array);
        let expressions = expressions.map_or(&[][..], Vec::as_slice);
        let rule = read_rule(is_ours(family, table), chain, expressions);
        listed_chain.rules.push(rule);
    }
    for table in &mut listed.tables {
        set_tables(table);
    }
    Ok(listed)
}

fn read_rule(is_ours: bool, chain: Chain, expressions: &[Value]) -> Rule {
    let mut matches = Vec::new();
    let mut expressions = expressions
        .iter()
        .filter(|expression| !is_harmless(expression, is_ours));
    let mut deeds: Vec<&Value> = Vec::new();
    for expression in expressions.by_ref() {
        match condition(expression) {
            Some(conditions) => matches.extend(conditions),
            None => {
                deeds.push(expression);
                break;
            }
        }
    }
    deeds.extend(expressions);
    let rule = Rule {
        // The right one depends on chains that may follow.
        table: Table::Mangle,
        chain,
        matches,
        verdict: verdict(&deeds, is_ours),
    };
    normal(&rule)
}

/// Whether an expression neither tests nor changes a packet. In our own tables only counters are
/// expected; a log there is somebody's change.
fn is_harmless(expression: &Value, is_ours: bool) -> bool {
    let has = |kind| expression.get(kind).is_some();
    has("counter") || !is_ours && has("log")
}

/// Sets the table of rules that are not told by the table's name.
fn set_tables(table: &mut ListedTable) {
    let ours = if table.family == FAMILY {
        table_of_name(&table.name)
    } else {
        None
    };
    let named = ours.or_else(|| Table::of_name(&table.name));
    let first = table
        .chains
        .iter()
        .find_map(|chain| Some(closest(chain.hook.as_ref()?)));
    for chain in &mut table.chains {
        let of_hook = chain.hook.as_ref().map(closest);
        let of_chain = named.or(of_hook).or(first).unwrap_or(Table::Mangle);
        for rule in &mut chain.rules {
            rule.table = of_chain;
        }
    }
}

fn closest(hook: &Hook) -> Table {
    match (hook.kind.as_str(), hook.priority) {
        ("nat", _) => Table::Nat,
        (_, ..-200) => Table::Raw,
        _ => Table::Mangle,
    }
}

fn is_ours(family: &str, table: &str) -> bool {
    family == FAMILY && table_of_name(table).is_some()
}

fn chain_name(family: &str, table: &str, name: &str) -> Chain {
    if is_ours(family, table) {
        chain_of_name(name)
    } else {
        Chain::named(name)
    }
}

/// Whether the kernel gives no packets to a table's chains. Some versions of nft garble the name
/// of the flag, so any counts that does not say something else.
fn is_dormant(table: &Map<String, Value>) -> bool {
    let says_else = |flag: &Value| matches!(flag.as_str(), Some("owner" | "persist"));
    match table.get("flags") {
        None => false,
        Some(Value::Array(flags)) => flags.iter().any(|flag| !says_else(flag)),
        Some(flag) => !says_else(flag),
    }
}

fn hook(chain: &Map<String, Value>) -> Option<Hook> {
    let name = chain.get("hook")?.as_str()?;
    let priority = chain
        .get("prio")
        .and_then(Value::as_i64)
        .unwrap_or_default();
    Some(Hook {
        name: name.to_owned(),
        priority: i32::try_from(priority).unwrap_or_default(),
        kind: text(chain, "type").to_owned(),
        drops: text(chain, "policy") == "drop",
    })
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A condition that no rule of ours has.
fn unknown(expression: &Value) -> Match {
    Match::Unknown(expression.to_string())
}

impl Listed {
    fn table_mut(&mut self, family: &str, name: &str) -> &mut ListedTable {
        let is_it = |table: &ListedTable| table.family == family && table.name == name;
        let position = self.tables.iter().position(is_it).unwrap_or_else(|| {
            self.tables.push(ListedTable {
                family: family.to_owned(),
                name: name.to_owned(),
                chains: Vec::new(),
            });
            self.tables.len() - 1
        });
        &mut self.tables[position]
    }
}

impl ListedTable {
    fn chain_mut(&mut self, name: Chain) -> &mut ListedChain {
        let is_it = |chain: &ListedChain| chain.name == name;
        let position = self.chains.iter().position(is_it).unwrap_or_else(|| {
            self.chains.push(ListedChain {
                name,
                hook: None,
                rules: Vec::new(),
            });
            self.chains.len() - 1
        });
        &mut self.chains[position]
    }
}

#[cfg(test)]
mod tests;
