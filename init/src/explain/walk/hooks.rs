//! From hook to hook, and from table to table.

use std::net::SocketAddr;

use super::{Explanation, Hook, Outcome, Step, chains::End};
use crate::{
    explain::{Direction, Packet, Tables, conditions::Seen, packet::loopback},
    nft::{ListedChain, ListedTable},
    rules::State,
};

const LOOPBACK: &str = "lo";

pub(super) struct Walk<'a> {
    pub(super) tables: Vec<&'a Tables>,
    pub(super) packet: Packet,
    pub(super) seen: Seen,
    pub(super) hook: Hook,
    pub(super) steps: Vec<Step<'a>>,
    /// The step that decided last.
    pub(super) decided_by: Option<usize>,
    /// The nat table has said where the connection goes.
    pub(super) translated: bool,
    /// Rules of the nat table were not asked, since they had been before.
    pub(super) nat_passed_over: bool,
    pub(super) redirected: Option<(u16, Option<usize>)>,
    /// The mark by which it stays in the pod, with the connection that it belongs to.
    pub(super) diverted: Option<u32>,
    pub(super) doubts: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// A chain, and where it belongs.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) tables: &'a Tables,
    pub(super) table: &'a ListedTable,
    pub(super) chain: &'a ListedChain,
}

impl<'a> Walk<'a> {
    pub(super) fn new(tables: Vec<&'a Tables>, packet: &Packet) -> Self {
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

    pub(super) fn run(mut self) -> Explanation<'a> {
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
