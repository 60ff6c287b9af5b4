//! Policy rules: which are ours, and which of those stay.

use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};

use super::{RouteError, address_family};
use crate::rules::Family;

/// The kernel's rule for the main table, which has a route for everything: no later one is asked.
const PRIORITY_OF_MAIN: u32 = 32766;
/// No bit of the mark is left out.
const WHOLE_MARK: u32 = u32::MAX;
/// The kernel's words for "not given".
const NO_LIMIT: u32 = u32::MAX;

/// What a list of rules holds for one mark and table, by priority.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Standing {
    /// Rules with this mark and table and no further condition.
    pub(super) ours: Vec<u32>,
    /// Rules with further conditions, which the kernel may take for ours.
    pub(super) similar: Vec<u32>,
}

/// A step towards one rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    Add,
    /// The one with this priority.
    Delete(u32),
}

impl Standing {
    pub(super) fn of<'a>(
        rules: impl Iterator<Item = &'a RuleMessage>,
        family: Family,
        mark: u32,
        table: u32,
    ) -> Self {
        let mut standing = Self::default();
        for rule in rules.filter(|rule| rule.header.family == address_family(family)) {
            if !is_similar(rule, mark, table) {
                continue;
            }
            let list = if has_no_more(rule) {
                &mut standing.ours
            } else {
                &mut standing.similar
            };
            list.push(priority(rule));
        }
        standing
    }
}

/// The marks of the rules that lead to a table on no other condition.
pub(super) fn marks<'a>(
    rules: impl Iterator<Item = &'a RuleMessage>,
    family: Family,
    table: u32,
) -> Vec<u32> {
    let plain = rules.filter(|rule| {
        rule.header.family == address_family(family) && leads_to(rule, table) && has_no_more(rule)
    });
    let mut marks: Vec<u32> = plain
        .flat_map(|rule| &rule.attributes)
        .filter_map(|attribute| match attribute {
            RuleAttribute::FwMark(mark) => Some(*mark),
            _ => None,
        })
        .collect();
    marks.sort_unstable();
    marks.dedup();
    marks
}

/// The steps that leave one rule of ours: none is deleted before another one stands.
pub(super) fn to_one(standing: &Standing) -> Result<Vec<Change>, RouteError> {
    let useful = |priority: &&u32| **priority < PRIORITY_OF_MAIN;
    // One that the kernel could confuse with another had better be the one that stays.
    let confused = |priority: &&u32| standing.similar.contains(priority);
    let mut candidates = standing.ours.iter().filter(useful);
    let kept = candidates
        .clone()
        .find(confused)
        .or_else(|| candidates.next())
        .copied();
    let mut further = standing.ours.clone();
    let mut changes = Vec::new();
    match kept.and_then(|kept| further.iter().position(|priority| *priority == kept)) {
        Some(kept) => {
            further.remove(kept);
        }
        None => changes.push(Change::Add),
    }
    for priority in deletions(further, standing)? {
        changes.push(Change::Delete(priority));
    }
    Ok(changes)
}

/// The priorities of the rules to delete so that none of ours is left.
pub(super) fn to_none(standing: &Standing) -> Result<Vec<u32>, RouteError> {
    deletions(standing.ours.clone(), standing)
}

fn deletions(priorities: Vec<u32>, standing: &Standing) -> Result<Vec<u32>, RouteError> {
    match priorities
        .iter()
        .find(|priority| standing.similar.contains(priority))
    {
        Some(priority) => Err(RouteError::Ambiguous {
            priority: *priority,
        }),
        None => Ok(priorities),
    }
}

/// Whether the kernel may take a rule for ours when it is to delete that.
fn is_similar(rule: &RuleMessage, mark: u32, table: u32) -> bool {
    leads_to(rule, table) && rule.attributes.contains(&RuleAttribute::FwMark(mark))
}

fn leads_to(rule: &RuleMessage, table: u32) -> bool {
    rule.header.action == RuleAction::ToTable
        && (rule.attributes.contains(&RuleAttribute::Table(table))
            || u32::from(rule.header.table) == table)
}

/// Whether the mark is a rule's one condition.
fn has_no_more(rule: &RuleMessage) -> bool {
    let header = &rule.header;
    header.dst_len == 0
        && header.src_len == 0
        && header.tos == 0
        && !header.flags.contains(RuleFlags::Invert)
        && rule.attributes.iter().all(|attribute| match attribute {
            RuleAttribute::FwMark(_)
            | RuleAttribute::Table(_)
            | RuleAttribute::Priority(_)
            | RuleAttribute::Protocol(_)
            | RuleAttribute::FwMask(WHOLE_MARK)
            | RuleAttribute::SuppressPrefixLen(NO_LIMIT)
            | RuleAttribute::SuppressIfGroup(NO_LIMIT) => true,
            // A condition, known or not.
            _ => false,
        })
}

fn priority(rule: &RuleMessage) -> u32 {
    let given = rule
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RuleAttribute::Priority(priority) => Some(*priority),
            _ => None,
        });
    given.unwrap_or(0)
}

/// Asks for all rules of a family.
pub(super) fn question(family: Family) -> RuleMessage {
    let mut rule = RuleMessage::default();
    rule.header.family = address_family(family);
    rule
}

/// Our rule; the kernel puts it before all but its first one.
pub(super) fn addition(family: Family, mark: u32, table: u32) -> RuleMessage {
    let mut rule = question(family);
    rule.header.action = RuleAction::ToTable;
    // The header has one byte for it, so the number goes into an attribute.
    rule.attributes = vec![
        RuleAttribute::FwMark(mark),
        RuleAttribute::FwMask(WHOLE_MARK),
        RuleAttribute::Table(table),
    ];
    rule
}

/// Our rule with this priority.
pub(super) fn deletion(family: Family, mark: u32, table: u32, priority: u32) -> RuleMessage {
    let mut rule = question(family);
    rule.header.action = RuleAction::ToTable;
    rule.attributes = vec![
        RuleAttribute::FwMark(mark),
        RuleAttribute::FwMask(WHOLE_MARK),
        RuleAttribute::Table(table),
        RuleAttribute::Priority(priority),
    ];
    rule
}

#[cfg(test)]
mod tests;
