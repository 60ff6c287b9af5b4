//! From rule to rule, and from chain to chain.

use super::{
    Hook, Step,
    hooks::{Place, Walk},
};
use crate::{
    explain::{Direction, Meets, words},
    rules::{Chain, State, Table, Verdict},
};

/// No dump of a pod comes near it; chains that jump to each other many times over do.
const MOST_RULES: usize = 200_000;
/// The kernel's own limit is 16 for nf_tables.
const DEEPEST: usize = 64;

/// How a chain ends for the packet.
pub(super) enum End {
    /// Nothing is decided.
    Undecided,
    /// The table lets it pass.
    Accepted,
    Dropped,
    Redirected(u16),
    Tproxied(u16),
}

impl<'a> Walk<'a> {
    pub(super) fn chain(&mut self, place: Place<'a>, path: &mut Vec<&'a Chain>) -> End {
        let name = &place.chain.name;
        if path.contains(&name) {
            self.doubt(format!(
                "{} {name} leads back to itself, which the kernel forbids: that is not followed",
                place.tables.name(place.table)
            ));
            return End::Undecided;
        }
        if path.len() == DEEPEST {
            self.doubt(format!(
                "chains deeper than {DEEPEST} jumps are not followed"
            ));
            return End::Undecided;
        }
        path.push(name);
        let end = self.rules(place, path);
        path.pop();
        end
    }

    fn rules(&mut self, place: Place<'a>, path: &mut Vec<&'a Chain>) -> End {
        for (index, rule) in place.chain.rules.iter().enumerate() {
            if self.steps.len() == MOST_RULES {
                self.doubt(format!("only the first {MOST_RULES} rules are asked"));
                return End::Undecided;
            }
            let meets = self.seen.meets(rule);
            self.steps.push(Step {
                hook: self.hook,
                tables: place.tables,
                table: place.table,
                chain: place.chain,
                number: index + 1,
                rule,
                meets,
            });
            match meets {
                Meets::All => {}
                Meets::Not(_) => continue,
                Meets::Unknown(condition) => {
                    if !is_inert(&rule.verdict) {
                        self.doubt_step(&words::condition(condition));
                    }
                    continue;
                }
            }
            match &rule.verdict {
                Verdict::Return => {
                    self.decide(place);
                    return End::Undecided;
                }
                Verdict::Accept => {
                    if place.chain.name == Chain::ISTIO_DIVERT {
                        self.diverted = Some(self.seen.mark);
                    }
                    self.decide(place);
                    return End::Accepted;
                }
                Verdict::Drop => {
                    self.decided_by = self.jump_to_last(0);
                    return End::Dropped;
                }
                Verdict::Redirect(port) => return End::Redirected(*port),
                Verdict::Tproxy { port, mark } => {
                    self.seen.mark = *mark;
                    self.decided_by = self.jump_to_last(0);
                    return End::Tproxied(*port);
                }
                Verdict::Jump(target) => match self.target(place, target) {
                    Some(next) => match self.chain(next, path) {
                        End::Undecided => {}
                        end => return end,
                    },
                    None => continue,
                },
                Verdict::Goto(target) => {
                    return match self.target(place, target) {
                        Some(next) => self.chain(next, path),
                        None => End::Undecided,
                    };
                }
                Verdict::SetMark(mark) => self.seen.mark = *mark,
                Verdict::SaveMark => self.seen.connection_mark = self.seen.mark,
                Verdict::RestoreMark => self.seen.mark = self.seen.connection_mark,
                Verdict::ConnectionZone(_) | Verdict::Continue => {}
                Verdict::Unknown(text) if is_notrack(text) => self.seen.state = State::Untracked,
                Verdict::Unknown(text) => {
                    if !is_inert(&rule.verdict) {
                        self.doubt_step(&format!("`{text}`"));
                    }
                }
            }
        }
        End::Undecided
    }

    fn target(&mut self, place: Place<'a>, name: &Chain) -> Option<Place<'a>> {
        let chain = place.table.chains.iter().find(|chain| chain.name == *name);
        if chain.is_none() {
            let table = place.tables.name(place.table);
            self.doubt(format!(
                "{table} has no chain {name}, to which a rule leads"
            ));
        }
        chain.map(|chain| Place { chain, ..place })
    }

    /// Remembers a rule that lets the packet pass, where such a rule says that it is not captured.
    fn decide(&mut self, place: Place<'a>) {
        let table = self.steps.last().map(|step| step.rule.table);
        let captures = match self.hook {
            Hook::Output => table == Some(Table::Nat),
            Hook::Prerouting => table.is_some_and(|table| table != Table::Raw),
        };
        // What is sent to the pod itself was decided when it was sent.
        let anew = self.packet.direction == Direction::Outbound && self.hook == Hook::Prerouting;
        if captures && !(anew && self.decided_by.is_some()) {
            self.decided_by = match place.chain.name == Chain::ISTIO_DIVERT {
                true => self.jump_to_last(0),
                false => self.steps.len().checked_sub(1),
            };
        }
    }

    /// The last step; where that is in a chain of one purpose, the one that leads there instead.
    pub(super) fn jump_to_last(&self, from: usize) -> Option<usize> {
        const PURPOSES: [Chain; 5] = [
            Chain::ISTIO_REDIRECT,
            Chain::ISTIO_IN_REDIRECT,
            Chain::ISTIO_TPROXY,
            Chain::ISTIO_DIVERT,
            Chain::ISTIO_DROP,
        ];
        let last = self.steps.len().checked_sub(1)?;
        let chain = &self.steps[last].chain.name;
        if !PURPOSES.contains(chain) {
            return Some(last);
        }
        let leads = |step: &Step<'_>| step.meets == Meets::All && step.rule.target() == Some(chain);
        let jump = self.steps[from..].iter().rposition(leads);
        Some(jump.map_or(last, |index| from + index))
    }

    fn doubt_step(&mut self, what: &str) {
        if let Some(step) = self.steps.last() {
            let place = step.place();
            self.doubt(format!(
                "{what} of {place} cannot be told from here; it is taken for not met"
            ));
        }
    }

    fn doubt(&mut self, doubt: String) {
        if !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
        }
    }
}

/// Targets that change nothing of a packet's way (iptables-extensions(8)).
fn is_inert(verdict: &Verdict) -> bool {
    const TARGETS: [&str; 14] = [
        "AUDIT", "CHECKSUM", "CLASSIFY", "CT", "DSCP", "HL", "LED", "LOG", "NFLOG", "SET",
        "TCPMSS", "TOS", "TRACE", "TTL",
    ];
    match verdict {
        Verdict::Continue => true,
        Verdict::Unknown(text) => {
            let target = text.strip_prefix("-j ").unwrap_or_default();
            let target = target.split(' ').next().unwrap_or_default();
            TARGETS.contains(&target) && !is_notrack(text)
        }
        _ => false,
    }
}

fn is_notrack(text: &str) -> bool {
    text == "-j NOTRACK" || text == "-j CT --notrack"
}
