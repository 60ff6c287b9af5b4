//! What stands in a namespace: ours, and what others put there.

use std::process::Command;

use fairlead_tests::netns::Namespace;

use crate::pod::BACKENDS;

/// The families, with their words for iptables and for `ip`.
pub(super) const FAMILIES: [(&str, &str, &str); 2] =
    [("ipv4", "iptables", "-4"), ("ipv6", "ip6tables", "-6")];

/// Every rule, chain, route and address; each line begins with its family.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct State {
    /// What `fairlead-init` answers for, each chain's rules in order.
    pub(super) ours: Vec<String>,
    /// What it must leave alone, in order.
    pub(super) foreign: Vec<String>,
    /// Our rules in the tables of iptables, as arguments of `-D`.
    pub(super) rules: Vec<Standing>,
}

/// A rule of ours in a table of iptables.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Standing {
    pub(super) program: String,
    pub(super) table: String,
    pub(super) chain: String,
    pub(super) words: String,
}

impl State {
    #[track_caller]
    pub(crate) fn of(pod: &Namespace) -> Self {
        let mut state = Self::default();
        for (family, iptables, ip) in FAMILIES {
            for backend in BACKENDS {
                state.read_iptables(pod, family, &format!("{iptables}-{backend}"));
            }
            for line in pod.stdout("ip", &[ip, "rule", "list"]).lines() {
                let (_, rule) = line.split_once(':').expect("a priority");
                let line = format!("{family} rule {}", rule.trim());
                let is_ours = MARKS.iter().any(|mark| rule.contains(mark));
                state.list(is_ours).push(line);
            }
            let routes = pod.stdout("ip", &[ip, "route", "show", "table", "all"]);
            for line in routes.lines().filter(|line| line.contains(" table ")) {
                // Who made it, and with which metric, is not told.
                let tables = TABLES.iter().filter(|table| line.contains(**table));
                let kind = line
                    .strip_prefix("local default dev lo ")
                    .map_or(line, |_| "local");
                state
                    .ours
                    .extend(tables.map(|table| format!("{family} route {kind}{table}")));
            }
        }
        if pod
            .stdout("ip", &["-6", "-o", "address", "show", "dev", "lo"])
            .contains(" ::6/128 ")
        {
            state.ours.push("ipv6 address ::6".to_owned());
        }
        let ruleset = pod.stdout("nft", &["-s", "list", "ruleset", "inet"]);
        let mut is_ours = false;
        for line in ruleset.lines() {
            if line.starts_with("table ") {
                is_ours = line.starts_with("table inet istio-proxy-");
            }
            state.list(is_ours).push(format!("inet {line}"));
        }
        state.ours.sort_by_cached_key(|line| chain_of(line));
        state
    }

    fn list(&mut self, is_ours: bool) -> &mut Vec<String> {
        if is_ours {
            &mut self.ours
        } else {
            &mut self.foreign
        }
    }

    #[track_caller]
    fn read_iptables(&mut self, pod: &Namespace, family: &str, program: &str) {
        let save = pod.stdout(&format!("{program}-save"), &[]);
        let mut table = "";
        for line in save.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name;
            }
            let place = format!("{family} {program} {table}");
            if let Some(declaration) = line.strip_prefix(':') {
                let (chain, _) = declaration.split_once(' ').expect("a policy");
                let is_ours = chain.starts_with("ISTIO_");
                if is_ours || chain.starts_with("THEIRS") {
                    self.list(is_ours).push(format!("{place} {chain} :"));
                }
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let (chain, words) = rule.split_once(' ').expect("a rule");
                let is_foreign = chain.starts_with("THEIRS") || words.contains("foreign");
                let is_ours = chain.starts_with("ISTIO_") || !is_foreign;
                self.list(is_ours).push(format!("{place} {chain} {words}"));
                if is_ours {
                    self.rules.push(Standing {
                        program: program.to_owned(),
                        table: table.to_owned(),
                        chain: chain.to_owned(),
                        words: words.to_owned(),
                    });
                }
            }
        }
    }

    /// Those lines that tell of chains which others' chains still jump to: they cannot be deleted.
    pub(super) fn referenced(&self) -> Vec<String> {
        let declarations = self.ours.iter().filter(|line| line.ends_with(" :"));
        let referenced = declarations.filter(|line| {
            let (place, chain) = line
                .trim_end_matches(" :")
                .rsplit_once(' ')
                .expect("a chain");
            let jump = format!(" -j {chain}");
            self.foreign
                .iter()
                .any(|rule| rule.starts_with(place) && rule.ends_with(&jump))
        });
        referenced.cloned().collect()
    }

    /// Whether legacy tables of a family hold rules of anybody.
    pub(super) fn holds_legacy(&self, family: &str) -> bool {
        let lines = self.ours.iter().chain(&self.foreign);
        let tables = ["raw", "mangle", "nat"];
        let mut rules = lines.filter(|line| !line.ends_with(" :") || line.contains(" ISTIO_"));
        rules.any(|line| {
            let mut words = line.split(' ');
            words.next() == Some(family)
                && words
                    .next()
                    .is_some_and(|program| program.ends_with("-legacy"))
                && words.next().is_some_and(|table| tables.contains(&table))
        })
    }
}

/// The marks and routing tables of all configurations, as `ip` prints them.
const MARKS: [&str; 2] = ["fwmark 0x539 lookup 133", "fwmark 0x7d0 lookup 200"];
const TABLES: [&str; 2] = [" table 133 ", " table 200 "];

/// Orders chains and leaves the order within them.
fn chain_of(line: &str) -> String {
    let words = if line.starts_with("inet") { 0 } else { 4 };
    let is_rule = !line.ends_with(" :");
    let words: Vec<&str> = line.split(' ').take(words).collect();
    format!("{} {is_rule}", words.join(" "))
}

/// Runs a program that may fail: what it is about may not be there.
pub(super) fn attempt(pod: &Namespace, program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments);
    pod.output(command).status.success()
}
