//! What stands in a nat table: the text of `iptables-save` → ours, and what foreign rules need.

use crate::ruleset::{Line, Ruleset, is_ours, words};

/// The nat table of one family and backend.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Installed {
    /// Our chains, what stands in them, and the jumps to them from the kernel's chains.
    pub ours: Ruleset,
    /// Rules that are not ours.
    pub foreign: usize,
    /// Our chains that foreign chains jump to; they cannot be deleted.
    pub referenced: Vec<String>,
}

const BUILT_IN: [&str; 4] = ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"];

impl Installed {
    /// Reads what `iptables-save -t nat` prints; whatever it does not know it passes over.
    pub fn parse(save: &str) -> Self {
        let mut installed = Self::default();
        for line in save.lines() {
            if let Some(declaration) = line.strip_prefix(':') {
                let chain = declaration.split(' ').next().unwrap_or_default();
                if is_ours(chain) {
                    installed.ours.chains.push(chain.to_owned());
                }
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let (chain, specification) = rule.split_once(' ').unwrap_or((rule, ""));
                installed.add(chain, specification);
            }
        }
        installed.forget_husks();
        installed
    }

    /// An empty chain of ours that a foreign one jumps to is all that can be left of it.
    fn forget_husks(&mut self) {
        let Self {
            ours, referenced, ..
        } = self;
        let rules = &ours.rules;
        ours.chains.retain(|chain| {
            !referenced.contains(chain) || rules.iter().any(|rule| rule.chain == *chain)
        });
    }

    /// Whether anybody put a rule there: an empty table is none.
    pub fn holds_rules(&self) -> bool {
        self.foreign > 0 || !self.ours.is_empty()
    }

    fn add(&mut self, chain: &str, specification: &str) {
        let target = target(specification).filter(|target| is_ours(target));
        if is_ours(chain) || (BUILT_IN.contains(&chain) && target.is_some()) {
            self.ours.rules.push(Line {
                chain: chain.to_owned(),
                specification: specification.to_owned(),
            });
            return;
        }
        self.foreign += 1;
        self.referenced.extend(target);
    }
}

fn target(specification: &str) -> Option<String> {
    let mut words = words(specification).into_iter();
    words.find(|word| matches!(word.as_str(), "-j" | "-g" | "--jump" | "--goto"))?;
    words.next()
}

#[cfg(test)]
mod tests {
    use super::Installed;

    #[test]
    fn an_empty_table_holds_no_rules() {
        let save = "# Generated\n*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT DROP [1:60]\nCOMMIT\n";
        let installed = Installed::parse(save);
        assert_eq!(installed, Installed::default());
        assert!(!installed.holds_rules());
    }

    #[test]
    fn ours_and_foreign_are_told_apart() {
        let installed = Installed::parse(
            "*nat\n:OUTPUT ACCEPT [0:0]\n:ISTIO_OUTPUT - [0:0]\n:ISTIO_OLD - [0:0]\n:DOCKER - [0:0]\n\
             -A OUTPUT -m comment --comment \"to -j ISTIO_OUTPUT\" -j ACCEPT\n\
             -A OUTPUT -j ISTIO_OUTPUT\n\
             -A DOCKER -j ISTIO_OUTPUT\n\
             -A DOCKER -j ISTIO_OLD\n\
             -A ISTIO_OUTPUT -j RETURN\nCOMMIT\n",
        );
        assert_eq!(installed.ours.chains, ["ISTIO_OUTPUT"]);
        let ours: Vec<(&str, &str)> = installed
            .ours
            .rules
            .iter()
            .map(|line| (line.chain.as_str(), line.specification.as_str()))
            .collect();
        assert_eq!(
            ours,
            [("OUTPUT", "-j ISTIO_OUTPUT"), ("ISTIO_OUTPUT", "-j RETURN")]
        );
        assert_eq!(installed.foreign, 3);
        assert_eq!(installed.referenced, ["ISTIO_OUTPUT", "ISTIO_OLD"]);
    }

    #[test]
    fn what_is_not_understood_is_passed_over() {
        for text in [
            "",
            "\u{0}",
            "-A",
            "-A ",
            ":",
            "-A OUTPUT",
            "-A OUTPUT -j",
            ": -\n-A X \"",
        ] {
            Installed::parse(text);
        }
    }
}
