//! The way of a packet through the rules, as the kernel goes it.
//!
//! A packet that a process sends passes the hook `output`; one that arrives, `prerouting`. What a
//! process sends to the pod itself passes both, one after the other. Within a hook, chains are
//! asked by priority: raw, mangle, nat. The nat table is asked for the first packet of a connection
//! alone, and once: whatever it says then holds for all of them.

mod chains;
mod hooks;

use self::hooks::Walk;
use super::{conditions::Meets, packet::Packet, tables::Tables};
use crate::{
    nft::{ListedChain, ListedTable},
    rules::Rule,
};

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
