//! The way of a packet through the rules, as the kernel goes it.
//!
//! A packet that a process sends passes the hook `output`; one that arrives, `prerouting`. What a
//! process sends to the pod itself passes both, one after the other. Within a hook, chains are
//! asked by priority: raw, mangle, nat. The nat table is asked for the first packet of a connection
//! alone, and once: whatever it says then holds for all of them.

use std::net::SocketAddr;

use super::{
    conditions::{Meets, Seen},
    packet::{Direction, Packet, loopback},
    tables::Tables,
    words,
};
use crate::{
    nft::{ListedChain, ListedTable},
    rules::{Chain, Rule, State, Table, Verdict},
};

/// No dump of a pod comes near it; chains that jump to each other many times over do.
const MOST_RULES: usize = 200_000;
/// The kernel's own limit is 16 for nf_tables.
const DEEPEST: usize = 64;

const LOOPBACK: &str = "lo";

/// Which hook a rule was met in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hook {
    /// What local processes send.
    Output,
    /// What arrives.
    Prerouting,
}

impl Hook {
    /// nft's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Prerouting => "prerouting",
        }
    }
}

/// One rule that was asked.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// In which hook.
    pub hook: Hook,
    /// The tables among which it stands.
    pub tables: &'a Tables,
    /// Its table.
    pub table: &'a ListedTable,
    /// Its chain.
    pub chain: &'a ListedChain,
    /// Its number in the chain, from 1 on.
    pub number: usize,
    /// The rule.
    pub rule: &'a Rule,
    /// Whether the packet meets it.
    pub meets: Meets<'a>,
}

impl Step<'_> {
    /// The rule's place, as in `nat ISTIO_OUTPUT rule 6`.
    pub fn place(&self) -> String {
        let table = self.tables.name(self.table);
        format!("{table} {} rule {}", self.chain.name, self.number)
    }
}

/// What becomes of the packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It goes to a port of the pod, by a new destination.
    Redirected {
        /// The port.
        port: u16,
    },
    /// It goes to a port of the pod, its addresses unchanged.
    Tproxied {
        /// The port.
        port: u16,
    },
    /// It goes to the open connection that it belongs to, by its mark.
    Diverted {
        /// The mark.
        mark: u32,
    },
    /// It goes where its sender wants.
    Uncaptured,
    /// It goes where the first packet of its connection went.
    AsItsConnection,
    /// It is lost.
    Dropped,
}

/// The way of a packet, and where it leads.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// The packet.
    pub packet: Packet,
    /// The rules that were asked, in order.
    pub steps: Vec<Step<'a>>,
    /// What becomes of the packet.
    pub outcome: Outcome,
    /// The step that decides, by its index; none where no rule does.
    pub decided_by: Option<usize>,
    /// Why the outcome may be another one.
    pub doubts: Vec<String>,
    /// What is to be known besides.
    pub notes: Vec<String>,
}

/// Walks a packet through the tables.
pub fn walk<'a>(tables: &'a [Tables], packet: &Packet) -> Explanation<'a> {
    let in_order: Vec<&Tables> = tables.iter().collect();
    let mut explanation = Walk::new(in_order.clone(), packet).run();
    let family = packet.family();
    let in_use = || in_order.iter().filter(|tables| tables.holds_rules(family));
    if in_use().count() > 1 {
        // Of chains with the same priority the kernel asks the one that was made last.
        let reversed: Vec<&Tables> = in_order.iter().rev().copied().collect();
        if Walk::new(reversed, packet).run().outcome != explanation.outcome {
            explanation.doubts.push(
                "two backends disagree, and the kernel first asks the one whose tables were made \
                 last, which cannot be seen"
                    .to_owned(),
            );
        }
        let names: Vec<String> = in_use().map(|tables| tables.backend.to_string()).collect();
        let redirects = in_order
            .iter()
            .filter(|tables| tables.holds_redirect(family));
        let names = names.join(" and ");
        explanation.notes.push(match redirects.count() {
            0 | 1 => format!("rules stand in {names}; the kernel asks them all"),
            _ => format!(
                "a redirect stands in {names}: that is a fault; `fairlead-init --cleanup-only` \
                 removes both, and a new pod has one"
            ),
        });
    }
    explanation
}

/// How a chain ends for the packet.
enum End {
    /// Nothing is decided.
    Undecided,
    /// The table lets it pass.
    Accepted,
    Dropped,
    Redirected(u16),
    Tproxied(u16),
}

struct Walk<'a> {
    tables: Vec<&'a Tables>,
    packet: Packet,
    seen: Seen,
    hook: Hook,
    steps: Vec<Step<'a>>,
    /// The step that decided last.
    decided_by: Option<usize>,
    /// The nat table has said where the connection goes.
    translated: bool,
    /// Rules of the nat table were not asked, since they had been before.
    nat_passed_over: bool,
    redirected: Option<(u16, Option<usize>)>,
    /// The mark by which it stays in the pod, with the connection that it belongs to.
    diverted: Option<u32>,
    doubts: Vec<String>,
    notes: Vec<String>,
}

/// A chain, and where it belongs.
#[derive(Clone, Copy)]
struct Place<'a> {
    tables: &'a Tables,
    table: &'a ListedTable,
    chain: &'a ListedChain,
}

impl<'a> Walk<'a> {
    fn new(tables: Vec<&'a Tables>, packet: &Packet) -> Self {
        Self {
            tables,
            packet: packet.clone(),
            seen: packet.into(),
            hook: match packet.direction {
                Direction::Outbound => Hook::Output,
                Direction::Inbound => Hook::Prerouting,
            },
            steps: Vec::new(),
            decided_by: None,
            translated: false,
            nat_passed_over: false,
            redirected: None,
            diverted: None,
            doubts: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn run(mut self) -> Explanation<'a> {
        if self.hook == Hook::Prerouting && self.by_loopback() {
            // It passed `output` before, and nat then.
            self.translated = true;
        }
        let outcome = self.outcome();
        for tables in &self.tables {
            self.notes.extend(tables.notes.iter().cloned());
        }
        self.note_other_rules();
        Explanation {
            packet: self.packet,
            steps: self.steps,
            outcome,
            decided_by: self.decided_by,
            doubts: self.doubts,
            notes: self.notes,
        }
    }

    fn outcome(&mut self) -> Outcome {
        if let Some(outcome) = self.pass() {
            return outcome;
        }
        if self.hook == Hook::Output {
            if self.by_loopback() {
                self.arrive_by_loopback();
                if let Some(outcome) = self.pass() {
                    return outcome;
                }
            } else if self.seen.mark != self.packet.mark {
                self.notes.push(format!(
                    "it leaves with mark {}, by which a policy route (`ip rule`) may send it \
                     elsewhere",
                    self.seen.mark
                ));
            }
        }
        if let Some((port, decided_by)) = self.redirected {
            self.decided_by = decided_by;
            return Outcome::Redirected { port };
        }
        match self.diverted {
            Some(mark) => Outcome::Diverted { mark },
            None if self.nat_passed_over => Outcome::AsItsConnection,
            None => Outcome::Uncaptured,
        }
    }

    fn by_loopback(&self) -> bool {
        let interface = match self.hook {
            Hook::Output => &self.seen.out_interface,
            Hook::Prerouting => &self.seen.in_interface,
        };
        interface.as_deref() == Some(LOOPBACK)
    }

    /// A packet to the pod itself comes in again at once; its marks stay, its socket does not.
    fn arrive_by_loopback(&mut self) {
        self.hook = Hook::Prerouting;
        self.translated = true;
        let seen = &mut self.seen;
        seen.in_interface = seen.out_interface.take();
        (seen.uid, seen.gid) = (None, None);
    }

    /// Asks the chains of a hook; an outcome that no later one can change.
    fn pass(&mut self) -> Option<Outcome> {
        for place in self.bases() {
            let Some(hook) = &place.chain.hook else {
                continue;
            };
            if hook.kind == "nat" && !self.asks_nat(place) {
                continue;
            }
            let steps_before = self.steps.len();
            match self.chain(place, &mut Vec::new()) {
                End::Undecided if hook.drops => {
                    self.decided_by = None;
                    self.notes.push(format!(
                        "what no rule of {} {} decides is dropped",
                        place.tables.name(place.table),
                        place.chain.name
                    ));
                    return Some(Outcome::Dropped);
                }
                End::Undecided | End::Accepted => {}
                End::Dropped => return Some(Outcome::Dropped),
                End::Tproxied(port) => return Some(Outcome::Tproxied { port }),
                End::Redirected(port) => {
                    self.redirected = Some((port, self.jump_to_last(steps_before)));
                    self.translated = true;
                    self.go_to_port(port);
                }
            }
        }
        None
    }

    /// The chains of the hook, in the kernel's order.
    fn bases(&self) -> Vec<Place<'a>> {
        let mut bases = Vec::new();
        for tables in &self.tables {
            for table in tables.of_family(self.packet.family()) {
                for chain in &table.chains {
                    let hook = chain.hook.as_ref();
                    if hook.is_some_and(|hook| hook.name == self.hook.name()) {
                        bases.push(Place {
                            tables,
                            table,
                            chain,
                        });
                    }
                }
            }
        }
        bases.sort_by_key(|place| place.chain.hook.as_ref().map(|hook| hook.priority));
        bases
    }

    fn asks_nat(&mut self, place: Place<'a>) -> bool {
        match self.seen.state {
            State::New | State::Related => !self.translated,
            State::Established => {
                self.nat_passed_over |= !place.chain.rules.is_empty();
                false
            }
            // It belongs to no connection whose addresses could be changed.
            State::Invalid | State::Untracked => false,
        }
    }

    /// A redirect's destination: what is sent stays on loopback, what arrives goes to the address
    /// of its interface.
    fn go_to_port(&mut self, port: u16) {
        let seen = &mut self.seen;
        let ip = match self.hook {
            Hook::Output => {
                seen.out_interface = Some(LOOPBACK.to_owned());
                loopback(self.packet.family())
            }
            Hook::Prerouting => seen.destination.ip(),
        };
        seen.destination = SocketAddr::new(ip, port);
    }

    fn chain(&mut self, place: Place<'a>, path: &mut Vec<&'a Chain>) -> End {
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
    fn jump_to_last(&self, from: usize) -> Option<usize> {
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

    fn note_other_rules(&mut self) {
        let mut others = Vec::new();
        for tables in &self.tables {
            for table in tables.of_family(self.packet.family()) {
                for chain in &table.chains {
                    let walked = chain.hook.as_ref().is_none_or(|hook| {
                        [Hook::Output, Hook::Prerouting]
                            .iter()
                            .any(|walked| walked.name() == hook.name)
                    });
                    let drops = chain.hook.as_ref().is_some_and(|hook| hook.drops);
                    if !walked && (drops || !chain.rules.is_empty()) {
                        others.push(format!("{} {}", tables.name(table), chain.name));
                    }
                }
            }
        }
        if !others.is_empty() {
            self.notes.push(format!(
                "later hooks have rules too, which are not walked and may still drop it: {}",
                others.join(", ")
            ));
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
