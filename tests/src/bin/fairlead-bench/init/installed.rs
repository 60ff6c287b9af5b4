//! The rules that a program left, and whether two programs left the same.

use std::{collections::BTreeMap, fmt, io, process::Command};

use anyhow::{Context, ensure};
use fairlead_tests::netns::Namespace;

use super::subject::Backend;

/// The programs that list what the kernel has, by the family they list.
const LISTS: [(&str, &str); 2] = [("IPv4", "iptables-save"), ("IPv6", "ip6tables-save")];

/// What says, in the list of a pod that is redirected, that it is.
const JUMP: &str = "-A OUTPUT -j ISTIO_OUTPUT";

/// A chain's name with its family and table.
type Chain = (&'static str, String, String);

/// The rules of each chain, in order, as iptables writes them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Installed {
    chains: BTreeMap<Chain, Vec<String>>,
}

impl Installed {
    /// Reads the rules of both families, which must both redirect.
    pub(super) fn of(pod: &Namespace) -> anyhow::Result<Self> {
        let mut installed = Self::default();
        for (family, program) in LISTS {
            let list = pod.stdout(program, &[]);
            ensure!(
                list.contains(JUMP),
                "{family} is not redirected; {program} lists:\n{list}"
            );
            installed.read(family, &list);
        }
        Ok(installed)
    }

    fn read(&mut self, family: &'static str, list: &str) {
        let mut table = "";
        for line in list.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name;
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let (chain, rule) = rule.split_once(' ').unwrap_or((rule, ""));
                let chain = (family, table.to_owned(), chain.to_owned());
                self.chains.entry(chain).or_default().push(rule.to_owned());
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.chains.values().map(Vec::len).sum()
    }

    /// Where the other set is not this one, first; the order of rules counts, that of chains does
    /// not, and an empty chain is none.
    pub(super) fn difference(&self, other: &Self) -> Option<Difference> {
        let chains = self.chains.keys().chain(other.chains.keys());
        let rules = |installed: &Self, chain| -> Vec<String> {
            installed.chains.get(chain).cloned().unwrap_or_default()
        };
        chains.into_iter().find_map(|chain| {
            let (ours, theirs) = (rules(self, chain), rules(other, chain));
            let longest = ours.len().max(theirs.len());
            let index = (0..longest).find(|&index| ours.get(index) != theirs.get(index))?;
            Some(Difference {
                chain: chain.clone(),
                number: index + 1,
                rules: [ours.get(index).cloned(), theirs.get(index).cloned()],
            })
        })
    }
}

/// The first rule that two sets do not share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Difference {
    chain: Chain,
    number: usize,
    rules: [Option<String>; 2],
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, table, chain) = &self.chain;
        let [ours, theirs] = self
            .rules
            .each_ref()
            .map(|rule| rule.as_deref().unwrap_or("none"));
        let number = self.number;
        write!(
            f,
            "{family} {table} {chain} rule {number} is `{ours}` and `{theirs}`"
        )
    }
}

/// Fails unless the pod is redirected in the way that the backend shows.
pub(super) fn check(pod: &Namespace, backend: Backend) -> anyhow::Result<()> {
    match backend {
        Backend::Iptables => Installed::of(pod).map(drop),
        Backend::Nftables => {
            let list = pod.stdout("nft", &["list", "ruleset"]);
            ensure!(
                list.contains("redirect to"),
                "nothing is redirected; nft lists:\n{list}"
            );
            Ok(())
        }
    }
}

/// Whether the legacy backend has rules too; not where there is no such backend.
pub(super) fn has_legacy_rules(pod: &Namespace) -> anyhow::Result<bool> {
    match pod.run(|| Command::new("iptables-legacy-save").output()) {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).contains(JUMP)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("start iptables-legacy-save"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(list: &str) -> Installed {
        let mut installed = Installed::default();
        installed.read("IPv4", list);
        installed
    }

    #[track_caller]
    fn check(ours: &str, theirs: &str, expected: Option<&str>) {
        let difference = installed(ours).difference(&installed(theirs));
        assert_eq!(
            difference.map(|difference| difference.to_string()),
            expected.map(str::to_owned)
        );
    }

    #[test]
    fn counters_comments_and_the_order_of_chains_do_not_count() {
        let ours =
            "# now\n*nat\n:OUTPUT ACCEPT [1:2]\n-A OUTPUT -j O\n-A O -j R\n-A O -j T\nCOMMIT\n";
        let theirs = "*nat\n:EMPTY -\n-A O -j R\n-A O -j T\n-A OUTPUT -j O\nCOMMIT\n";
        check(ours, theirs, None);
        assert_eq!(installed(ours).count(), 3);
    }

    #[test]
    fn order_within_a_chain_counts() {
        check(
            "*nat\n-A O -j R\n-A O -j T\n",
            "*nat\n-A O -j T\n-A O -j R\n",
            Some("IPv4 nat O rule 1 is `-j R` and `-j T`"),
        );
    }

    #[test]
    fn a_rule_more_is_a_difference_on_either_side() {
        let (short, long) = ("*nat\n-A O -j R\n", "*nat\n-A O -j R\n-A O -j R\n");
        check(short, long, Some("IPv4 nat O rule 2 is `none` and `-j R`"));
        check(long, short, Some("IPv4 nat O rule 2 is `-j R` and `none`"));
    }

    #[test]
    fn the_same_rule_in_another_table_is_a_difference() {
        check(
            "*nat\n-A O -j R\n",
            "*raw\n-A O -j R\n",
            Some("IPv4 nat O rule 1 is `-j R` and `none`"),
        );
    }
}
