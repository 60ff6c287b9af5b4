//! What stands in the tables of a family: the text of `iptables-save` → ours, and what is not.

use super::text::{parse, specification};
use crate::rules::{Chain, Is, Match, Rule, SELF_CALL_MARK, Table, Verdict};

/// A rule, and the text that stands for it where it was read from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// What it means.
    pub rule: Rule,
    /// What follows `-A CHAIN`.
    pub text: String,
}

impl From<Rule> for Line {
    fn from(rule: Rule) -> Self {
        let text = specification(&rule);
        Self { rule, text }
    }
}

/// Chains and rules that are ours.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ruleset {
    /// Our own chains.
    pub chains: Vec<(Table, Chain)>,
    /// The rules in them and our jumps in the kernel's chains, each chain's in order.
    pub lines: Vec<Line>,
}

impl Ruleset {
    /// The rules with the chains that they stand in or hand packets to, in the order of their use.
    pub fn new(rules: Vec<Rule>) -> Self {
        let mut chains: Vec<(Table, Chain)> = Vec::new();
        for rule in &rules {
            for chain in [Some(&rule.chain), rule.target()].into_iter().flatten() {
                let known = |(table, name): &(Table, Chain)| *table == rule.table && name == chain;
                if chain.is_ours() && !chains.iter().any(known) {
                    chains.push((rule.table, chain.clone()));
                }
            }
        }
        let lines = rules.into_iter().map(Line::from).collect();
        Self { chains, lines }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.lines.is_empty()
    }

    /// The chains of a table.
    pub fn chains_of(&self, table: Table) -> impl Iterator<Item = &Chain> {
        let chains = self.chains.iter();
        chains.filter_map(move |(of, chain)| (*of == table).then_some(chain))
    }

    /// The rules of a table.
    pub fn lines_of(&self, table: Table) -> impl Iterator<Item = &Line> {
        let lines = self.lines.iter();
        lines.filter(move |line| line.rule.table == table)
    }
}

/// Everything that a save tells of the tables that hold rules of ours.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Saved {
    /// The chains that are declared.
    pub chains: Vec<(Table, Chain)>,
    /// The kernel's chains that drop what no rule decides.
    pub dropping: Vec<(Table, Chain)>,
    /// The rules, each chain's in order.
    pub lines: Vec<Line>,
    /// A table that is left out, as it holds what nft can make and iptables cannot show.
    pub unreadable: Option<Table>,
}

impl Saved {
    /// Reads what `iptables-save` prints; whatever it does not know it passes over.
    pub fn parse(save: &str) -> Self {
        let mut saved = Self::default();
        let mut table = None;
        for line in save.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = Table::of_name(name.trim_end());
            }
            if let Some(name) = incompatible_table(line) {
                saved.unreadable = saved.unreadable.or(Table::of_name(name));
            }
            let Some(table) = table else { continue };
            if let Some(declaration) = line.strip_prefix(':') {
                let mut words = declaration.split(' ');
                let chain = Chain::named(words.next().unwrap_or_default());
                if words.next() == Some("DROP") {
                    saved.dropping.push((table, chain.clone()));
                }
                saved.chains.push((table, chain));
            } else if let Some(rule) = without_counters(line).strip_prefix("-A ") {
                let (chain, text) = rule.split_once(' ').unwrap_or((rule, ""));
                saved.lines.push(Line {
                    rule: parse(table, Chain::named(chain), text),
                    text: text.to_owned(),
                });
            }
        }
        saved
    }
}

/// The table that `iptables-nft-save` says it cannot show, in a comment and without failing.
fn incompatible_table(line: &str) -> Option<&str> {
    let (name, rest) = line.strip_prefix("# Table `")?.split_once('\'')?;
    rest.starts_with(" is incompatible").then_some(name)
}

/// A line without the packets and bytes that `iptables-save -c` puts before each rule.
fn without_counters(line: &str) -> &str {
    let counted = line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "));
    counted.map_or(line, |(_, rule)| rule)
}

/// The tables of one family and backend, as far as they matter.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Installed {
    /// Our chains, what stands in them, and the jumps to them from the kernel's chains.
    pub ours: Ruleset,
    /// How many rules are not ours.
    pub foreign: usize,
    /// Our chains that foreign chains jump to; they cannot be deleted.
    pub referenced: Vec<(Table, Chain)>,
    /// Whether another mesh's redirect stands there: Linkerd's.
    pub other_mesh: bool,
    /// A table of which nothing is known, as somebody's rules by nft are none that iptables has.
    pub unreadable: Option<Table>,
}

impl From<Saved> for Installed {
    fn from(saved: Saved) -> Self {
        let other_mesh = saved
            .chains
            .iter()
            .any(|(table, chain)| *table == Table::Nat && chain.name().starts_with("PROXY_INIT_"));
        let chains = saved.chains.into_iter();
        let mut ours = Ruleset {
            chains: chains.filter(|(_, chain)| chain.is_ours()).collect(),
            lines: Vec::new(),
        };
        let pairs = interface_pairs(&saved.lines);
        let (mut foreign, mut referenced) = (0, Vec::new());
        for line in saved.lines {
            let rule = &line.rule;
            let target = rule.target().filter(|target| target.is_ours());
            let is_ours = rule.chain.is_ours()
                || rule.chain.is_kernels()
                    && (target.is_some() || is_istios(rule) || pairs.contains(rule));
            if is_ours {
                ours.lines.push(line);
                continue;
            }
            foreign += 1;
            referenced.extend(target.map(|target| (rule.table, target.clone())));
        }
        // An empty chain of ours that a foreign one jumps to is all that can be left of it.
        let lines = &ours.lines;
        ours.chains.retain(|(table, chain)| {
            let holds = |line: &Line| line.rule.table == *table && line.rule.chain == *chain;
            !referenced.contains(&(*table, chain.clone())) || lines.iter().any(holds)
        });
        Self {
            ours,
            foreign,
            referenced,
            other_mesh,
            unreadable: saved.unreadable,
        }
    }
}

impl Installed {
    /// Reads what `iptables-save` prints.
    pub fn parse(save: &str) -> Self {
        Saved::parse(save).into()
    }

    /// Whether anybody put a rule there: an empty table is none.
    pub fn holds_rules(&self) -> bool {
        self.foreign > 0 || !self.ours.is_empty()
    }
}

/// Istio has these in the kernel's chains of its mangle table, ours are in chains of our own.
fn is_istios(rule: &Rule) -> bool {
    let marked = |condition: &Match| {
        matches!(
            condition,
            Match::Mark(Is::Equal(_)) | Match::ConnectionMark(Is::Equal(_))
        )
    };
    let of_owner = |condition: &Match| {
        matches!(
            condition,
            Match::Uid(Is::Equal(_)) | Match::Gid(Is::Equal(_))
        )
    };
    rule.table == Table::Mangle
        && match &rule.verdict {
            Verdict::SaveMark | Verdict::RestoreMark => rule.matches.iter().any(marked),
            Verdict::SetMark(mark) => *mark == SELF_CALL_MARK && rule.matches.iter().any(of_owner),
            Verdict::Return => {
                rule.matches.iter().any(marked)
                    && rule.chain == Chain::OUTPUT
                    && rule
                        .matches
                        .contains(&Match::OutInterface(Is::Equal("lo".to_owned())))
            }
            _ => false,
        }
}

/// Istio leaves interfaces out by a pair of rules in the kernel's chains, ahead of its jump, of
/// which another hand may have put a second one in front; one of virtual machines by a rule after those that redirect it. Ours are in chains of our own.
fn interface_pairs(lines: &[Line]) -> Vec<Rule> {
    let rules = || lines.iter().map(|line| &line.rule);
    let is_jump = |rule: &&Rule| {
        let target = rule.target();
        target.is_some_and(|target| target.is_ours() && *target != Chain::ISTIO_REDIRECT)
    };
    let before_jump = |table: Table, chain: Chain| {
        let of_chain = rules().filter(move |rule| rule.table == table && rule.chain == chain);
        let last = of_chain
            .clone()
            .enumerate()
            .filter(|(_, rule)| is_jump(rule));
        let end = last.last().map_or(usize::MAX, |(index, _)| index);
        of_chain
            .take(end)
            .filter(|rule| rule.verdict == Verdict::Return && rule.matches.len() == 1)
    };
    let mut pairs = Vec::new();
    for table in [Table::Mangle, Table::Nat] {
        let has_jump = |chain: &Chain| {
            rules().any(|rule| {
                rule.table == table
                    && rule.chain == *chain
                    && rule.target().is_some_and(Chain::is_ours)
            })
        };
        if !has_jump(&Chain::PREROUTING) && !has_jump(&Chain::OUTPUT) {
            continue;
        }
        for arriving in before_jump(table, Chain::PREROUTING) {
            let Some(Match::InInterface(Is::Equal(name))) = arriving.matches.first() else {
                continue;
            };
            let leaving = before_jump(table, Chain::OUTPUT)
                .find(|rule| rule.matches == [Match::OutInterface(Is::Equal(name.clone()))]);
            let redirected = rules().any(|rule| {
                rule.chain == Chain::PREROUTING
                    && rule.target() == Some(&Chain::ISTIO_REDIRECT)
                    && rule.matches.contains(&arriving.matches[0])
            });
            if leaving.is_some() || redirected {
                pairs.push(arriving.clone());
                pairs.extend(leaving.cloned());
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests;
