//! From random tables to the wanted rules, with a model of what `iptables-restore` does.

use clap::Parser;

use crate::{
    Config, Flags,
    iptables::{
        installed::{Installed, Ruleset},
        restore, text,
    },
    plan::{Plan, Surroundings},
    random::Random,
    rules::{Chain, Table},
};

const PIECES: [&str; 12] = [
    "-A OUTPUT -j ISTIO_OUTPUT\n",
    "-A PREROUTING -p tcp -j ISTIO_INBOUND\n",
    "-A OUTPUT -m comment --comment \"a \\\"b\\\" -j X\" -j ACCEPT\n",
    "-A THEIRS -j ISTIO_OUTPUT\n",
    "-A OUTPUT -j THEIRS\n",
    "-A PREROUTING -i net1 -j RETURN\n",
    "-A ISTIO_OUTPUT -j LOG\n",
    "-A ISTIO_OLD -g ISTIO_REDIRECT\n",
    "*mangle\n",
    "! ",
    "\"",
    "-j",
];

#[test]
fn from_any_tables_a_transition_leads_to_the_wanted_rules() {
    let wanted = wanted();
    let dumps: Vec<String> = wanted.iter().map(whole).collect();
    let mut random = Random::new(31);
    for _ in 0..2_000 {
        let mut tables = match random.below(8) {
            0 => Tables::default(),
            _ => {
                let dump = &dumps[random.below(dumps.len())];
                let lines = shuffled(dump, &mut random);
                let mutation = random.mutation(&lines, &PIECES);
                // Nor does it matter that no kernel could hold it.
                restore::transition(&Installed::parse(&mutation), &wanted[0], false);
                Tables::load(&mutation)
            }
        };
        let nothing = Ruleset::default();
        let target = match random.below(6) {
            0 => &nothing,
            _ => &wanted[random.below(wanted.len())],
        };
        check(&mut tables, target, random.below(5) == 0);
    }
}

#[track_caller]
fn check(tables: &mut Tables, wanted: &Ruleset, force: bool) {
    let before = tables.save();
    let installed = Installed::parse(&before);
    let foreign = tables.foreign();
    if let Some(text) = restore::transition(&installed, wanted, force) {
        if let Err(fault) = tables.restore(&text) {
            panic!("{fault}\nof\n{text}\nfor\n{before}");
        }
        assert_eq!(tables.foreign(), foreign, "{text}\nfor\n{before}");
    }
    let after = Installed::parse(&tables.save());
    let again = restore::transition(&after, wanted, false);
    assert_eq!(again, None, "for\n{before}");
    for line in &wanted.lines {
        let stands = after.ours.lines.iter().any(|other| {
            (other.rule.table, &other.rule.chain) == (line.rule.table, &line.rule.chain)
                && other.rule.means(&line.rule)
        });
        assert!(stands, "{} for\n{before}", line.text);
    }
    assert_eq!(after.ours.lines.len(), wanted.lines.len());
}

fn wanted() -> Vec<Ruleset> {
    let configurations: [&[&str]; 4] = [
        &["-b", "*", "-d", "15090", "-i", "*"],
        &[
            "-b",
            "80,90",
            "-i",
            "10.0.0.0/8",
            "-o",
            "25",
            "-c",
            "net1",
            "-k",
            "vm0",
        ],
        &["-b", "*", "-i", "*", "-m", "TPROXY", "--drop-invalid"],
        &["-b", "*", "-i", "*", "--redirect-dns", "--capture-all-dns"],
    ];
    let rulesets = configurations.map(|arguments| {
        let flags = Flags::try_parse_from([&["fairlead-init"], arguments].concat());
        let config = Config::from_flags(&flags.expect("flags")).expect("a configuration");
        let mut families = Plan::new(&config, &Surroundings::default()).families;
        Ruleset::new(families.remove(0).1)
    });
    rulesets.into()
}

/// The tables that hold a set and nothing else.
fn whole(wanted: &Ruleset) -> String {
    let mut tables = Tables::default();
    let text = restore::transition(&Installed::default(), wanted, false).expect("rules");
    tables.restore(&text).expect("a set");
    tables.save()
}

/// The lines, some of them away, twice or elsewhere, and some of others between them.
fn shuffled(text: &str, random: &mut Random) -> String {
    let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
    for _ in 0..random.below(6) {
        let (one, other) = (random.below(lines.len()), random.below(lines.len()));
        match random.below(4) {
            0 if lines.len() > 1 => drop(lines.remove(one)),
            1 => lines.insert(other, lines[one].clone()),
            2 => lines.swap(one, other),
            _ => lines.insert(one, random.one_of(&PIECES).to_owned()),
        }
    }
    lines.concat()
}

/// Whether iptables takes a chain of this name.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() < 29 && !name.contains(|c: char| c.is_whitespace() || c == '"')
}

/// What the kernel has: chains in order, and their rules as text.
#[derive(Clone, Debug, Default)]
struct Tables(Vec<ModelChain>);

#[derive(Clone, Debug)]
struct ModelChain {
    table: Table,
    name: String,
    rules: Vec<String>,
}

impl Tables {
    /// Takes whatever a text can mean.
    fn load(text: &str) -> Self {
        let mut tables = Self::default();
        let mut table = Table::Nat;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = Table::of_name(name).unwrap_or(table);
            } else if let Some(declaration) = line.strip_prefix(':') {
                let name = declaration.split(' ').next().unwrap_or_default();
                if is_name(name) {
                    tables.chain_mut(table, name);
                }
            } else if let Some((chain, rule)) = line
                .strip_prefix("-A ")
                .and_then(|rule| rule.split_once(' '))
                && is_name(chain)
            {
                let parsed = text::parse(table, Chain::named(chain), rule);
                let target = parsed.target().map(Chain::name);
                if target.is_some_and(|name| !is_name(name)) {
                    continue;
                }
                tables.chain_mut(table, chain).rules.push(rule.to_owned());
                // The kernel has no rule that leads nowhere.
                if let Some(name) = target {
                    tables.chain_mut(table, name);
                }
            }
        }
        tables
    }

    fn position(&self, table: Table, name: &str) -> Option<usize> {
        let mut chains = self.0.iter();
        chains.position(|chain| chain.table == table && chain.name == name)
    }

    fn chain_mut(&mut self, table: Table, name: &str) -> &mut ModelChain {
        let position = self.position(table, name).unwrap_or_else(|| {
            self.0.push(ModelChain {
                table,
                name: name.to_owned(),
                rules: Vec::new(),
            });
            self.0.len() - 1
        });
        &mut self.0[position]
    }

    fn save(&self) -> String {
        let mut text = String::new();
        for table in Table::ALL {
            text += &format!("*{}\n", table.name());
            let chains = || self.0.iter().filter(|chain| chain.table == table);
            for chain in chains() {
                text += &format!(":{} - [0:0]\n", chain.name);
            }
            for chain in chains() {
                for rule in &chain.rules {
                    text += &format!("-A {} {rule}\n", chain.name);
                }
            }
            text += "COMMIT\n";
        }
        text
    }

    /// The rules that are not ours, chain by chain.
    fn foreign(&self) -> Vec<(Table, String, String)> {
        let installed = Installed::parse(&self.save());
        let mut foreign = Vec::new();
        for chain in self
            .0
            .iter()
            .filter(|chain| !chain.name.starts_with("ISTIO_"))
        {
            for rule in &chain.rules {
                let is_ours = installed.ours.lines.iter().any(|line| {
                    line.rule.table == chain.table
                        && line.rule.chain.name() == chain.name
                        && line.text == *rule
                });
                if !is_ours {
                    foreign.push((chain.table, chain.name.clone(), rule.clone()));
                }
            }
        }
        foreign.sort_by_key(|(table, chain, _)| (*table, chain.clone()));
        foreign
    }

    /// What `iptables-restore --noflush` does, table by table.
    fn restore(&mut self, text: &str) -> Result<(), String> {
        let mut table = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = Table::of_name(name);
                continue;
            }
            let here = table.ok_or_else(|| format!("{line}: no table"))?;
            let mut words = line.splitn(3, ' ');
            let (deed, name) = (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            );
            let rule = words.next().unwrap_or_default();
            match deed {
                "COMMIT" => table = None,
                "-A" => {
                    // The kernel's own chains are always there.
                    if !Chain::named(name).is_kernels() && self.position(here, name).is_none() {
                        return Err(format!("{line}: no such chain"));
                    }
                    let target = text::parse(here, Chain::named(name), rule);
                    if let Some(target) = target.target()
                        && self.position(here, target.name()).is_none()
                    {
                        return Err(format!("{line}: no such target"));
                    }
                    self.chain_mut(here, name).rules.push(rule.to_owned());
                }
                "-D" => {
                    let rules = &mut self.chain_mut(here, name).rules;
                    let stands = rules.iter().position(|other| other == rule);
                    rules.remove(stands.ok_or_else(|| format!("{line}: no such rule"))?);
                }
                "-X" => {
                    let position = self.position(here, name);
                    let position = position.ok_or_else(|| format!("{line}: no such chain"))?;
                    if !self.0[position].rules.is_empty() || self.is_referenced(here, name) {
                        return Err(format!("{line}: the chain is used"));
                    }
                    self.0.remove(position);
                }
                _ => match deed.strip_prefix(':') {
                    Some(chain) => self.chain_mut(here, chain).rules.clear(),
                    None => return Err(format!("{line}: not understood")),
                },
            }
        }
        Ok(())
    }

    fn is_referenced(&self, table: Table, name: &str) -> bool {
        let mut chains = self.0.iter().filter(|chain| chain.table == table);
        chains.any(|chain| {
            chain.rules.iter().any(|rule| {
                let rule = text::parse(table, Chain::named(chain.name.as_str()), rule);
                rule.target().is_some_and(|target| target.name() == name)
            })
        })
    }
}
