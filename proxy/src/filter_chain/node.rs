//! The tree of filter chains.

use std::{collections::BTreeMap, net::IpAddr};

use fairlead_xds::envoy::config::listener::v3::FilterChain;

use super::{
    Facts,
    addresses::Addresses,
    criteria::{Criteria, Criterion, Key},
};
use crate::compile::At;

/// What is left of the chains after some criteria.
#[derive(Debug)]
pub(super) enum Node {
    /// This one.
    Chain(usize),
    /// It depends on one more criterion.
    Branch(Box<Branch>),
}

#[derive(Debug)]
pub(super) struct Branch {
    criterion: Criterion,
    children: Children,
    /// Where the connection has none of the values that the children are for.
    any: Option<Node>,
}

#[derive(Debug)]
enum Children {
    /// Sorted.
    Ports(Box<[(u16, Node)]>),
    Ranges(Addresses<Node>),
    /// Sorted.
    Names(Box<[(Box<str>, Node)]>),
    Source {
        local: Option<Node>,
        external: Option<Node>,
    },
}

impl Node {
    /// The chain that takes the connection.
    pub(super) fn find(&self, facts: &Facts<'_>) -> Option<usize> {
        let mut node = self;
        loop {
            match node {
                Self::Chain(index) => return Some(*index),
                Self::Branch(branch) => node = branch.next(facts)?,
            }
        }
    }

    /// In words what this criterion leaves, and that.
    pub(super) fn explain(&self, facts: &Facts<'_>) -> (String, Option<&Self>) {
        match self {
            Self::Chain(index) => (format!("filter chain {index} is left"), None),
            Self::Branch(branch) => {
                let specific = branch.specific(facts);
                let name = branch.criterion.name();
                let step = match (&specific, &branch.any) {
                    (Some((key, _)), _) => format!("{name}: {key} is asked for"),
                    (None, Some(_)) => format!("{name}: nothing is asked of it"),
                    (None, None) => format!("{name}: others than the connection's are asked for"),
                };
                let next = specific.map(|(_, node)| node);
                (step, next.or(branch.any.as_ref()))
            }
        }
    }
}

impl Branch {
    fn next(&self, facts: &Facts<'_>) -> Option<&Node> {
        let specific = match (&self.children, self.criterion) {
            (Children::Ports(ports), criterion) => {
                port_of(facts, criterion).and_then(|port| by_port(ports, port))
            }
            (Children::Ranges(ranges), criterion) => {
                let address = address_of(facts, criterion);
                let found = address.and_then(|address| ranges.longest(address));
                found.map(|(_, node)| node)
            }
            (Children::Names(names), criterion) => {
                name_of(names, facts, criterion).map(|(_, node)| node)
            }
            (Children::Source { local, external }, _) => {
                let side = if facts.is_local() { local } else { external };
                side.as_ref()
            }
        };
        specific.or(self.any.as_ref())
    }

    /// The child for a value that the connection has, and the value.
    fn specific(&self, facts: &Facts<'_>) -> Option<(Key, &Node)> {
        match &self.children {
            Children::Ports(ports) => {
                let port = port_of(facts, self.criterion)?;
                Some((Key::Port(port), by_port(ports, port)?))
            }
            Children::Ranges(ranges) => {
                let (range, node) = ranges.longest(address_of(facts, self.criterion)?)?;
                Some((Key::Range(range), node))
            }
            Children::Names(names) => {
                let (name, node) = name_of(names, facts, self.criterion)?;
                Some((Key::Name(name.into()), node))
            }
            Children::Source { local, external } => {
                let (key, side) = if facts.is_local() {
                    (Key::Local, local)
                } else {
                    (Key::External, external)
                };
                Some((key, side.as_ref()?))
            }
        }
    }
}

fn port_of(facts: &Facts<'_>, criterion: Criterion) -> Option<u16> {
    let address = match criterion {
        Criterion::SourcePort => facts.source,
        _ => facts.destination,
    };
    address.map(|address| address.port())
}

fn address_of(facts: &Facts<'_>, criterion: Criterion) -> Option<IpAddr> {
    match criterion {
        Criterion::DirectSourceIp => facts.direct_source,
        Criterion::SourceIp => facts.source.map(|source| source.ip()),
        _ => facts.destination.map(|destination| destination.ip()),
    }
}

fn by_port(ports: &[(u16, Node)], port: u16) -> Option<&Node> {
    let index = ports.binary_search_by_key(&port, |(port, _)| *port).ok()?;
    Some(&ports[index].1)
}

type Named = (Box<str>, Node);

fn by_name<'a>(names: &'a [Named], name: &[u8]) -> Option<(&'a str, &'a Node)> {
    let found = names.binary_search_by(|(known, _)| known.as_bytes().cmp(name));
    let (name, node) = &names[found.ok()?];
    Some((name, node))
}

fn name_of<'a>(
    names: &'a [Named],
    facts: &Facts<'_>,
    criterion: Criterion,
) -> Option<(&'a str, &'a Node)> {
    match criterion {
        Criterion::ServerName => by_server_name(names, facts.server_name?),
        Criterion::ApplicationProtocol => {
            let mut offered = facts.application_protocols.iter();
            offered.find_map(|protocol| by_name(names, protocol))
        }
        _ => by_name(names, facts.transport_protocol.as_bytes()),
    }
}

/// The name itself, or the longest wildcard: of `www.example.com` `*.example.com`, then `*.com`.
fn by_server_name<'a>(names: &'a [Named], name: &str) -> Option<(&'a str, &'a Node)> {
    let suffixes = name.char_indices().filter(|(index, letter)| {
        // As in Envoy: a label comes before the dot, and something after it.
        *letter == '.' && *index > 0 && index + 1 < name.len()
    });
    let wildcards = suffixes.map(|(index, _)| &name[index..]);
    let mut candidates = std::iter::once(name).chain(wildcards);
    candidates.find_map(|candidate| by_name(names, candidate.as_bytes()))
}

/// Makes the tree.
pub(super) struct Builder<'a> {
    at: &'a At<'a>,
    chains: &'a [FilterChain],
    criteria: &'a [Criteria],
    /// The chains of which it was told that they take what others take.
    told: Vec<usize>,
}

pub(super) struct Built {
    pub(super) node: Option<Node>,
    /// Whether no two chains take the same connections.
    pub(super) is_sound: bool,
}

impl<'a> Builder<'a> {
    pub(super) fn new(at: &'a At<'a>, chains: &'a [FilterChain], criteria: &'a [Criteria]) -> Self {
        Self {
            at,
            chains,
            criteria,
            told: Vec::new(),
        }
    }

    pub(super) fn build(mut self) -> Built {
        let all: Vec<_> = (0..self.chains.len()).collect();
        let node = (!all.is_empty()).then(|| self.node(&all, &Criterion::ALL, &mut Vec::new()));
        Built {
            node,
            is_sound: self.told.is_empty(),
        }
    }

    /// The tree of these chains below these criteria, of which there is one at least. `path` is what
    /// the chains share already.
    fn node(
        &mut self,
        chains: &[usize],
        criteria: &[Criterion],
        path: &mut Vec<(Criterion, Key)>,
    ) -> Node {
        let Some((criterion, further)) = criteria.split_first() else {
            return self.leaf(chains, path);
        };
        let mut any = Vec::new();
        let mut keyed: BTreeMap<&Key, Vec<usize>> = BTreeMap::new();
        let criteria: &'a [Criteria] = self.criteria;
        for chain in chains {
            for key in criteria[*chain].keys(*criterion) {
                match key {
                    Some(key) => keyed.entry(key).or_default().push(*chain),
                    None => any.push(*chain),
                }
            }
        }
        if keyed.is_empty() {
            return self.node(&any, further, path);
        }
        let children = keyed.into_iter().map(|(key, chains)| {
            path.push((*criterion, key.clone()));
            let node = self.node(&chains, further, path);
            path.pop();
            (key.clone(), node)
        });
        let children: Vec<_> = children.collect();
        let any = (!any.is_empty()).then(|| self.node(&any, further, path));
        Node::Branch(Box::new(Branch {
            criterion: *criterion,
            children: Children::new(children),
            any,
        }))
    }

    fn leaf(&mut self, chains: &[usize], path: &[(Criterion, Key)]) -> Node {
        let first = chains[0];
        for chain in &chains[1..] {
            if self.told.contains(chain) {
                continue;
            }
            self.told.push(*chain);
            let shared: Vec<_> = path
                .iter()
                .map(|(criterion, key)| format!("{} {key}", criterion.name()))
                .collect();
            let shared = match shared.join(", ") {
                shared if shared.is_empty() => "asks nothing of a connection".to_owned(),
                shared => format!("takes connections of {shared}"),
            };
            self.at.index(*chain).fault::<()>(format!(
                "{}{shared}, as filter chain {} does; one of them must ask for something else",
                self.name(*chain),
                self.other(first),
            ));
        }
        Node::Chain(first)
    }

    fn name(&self, chain: usize) -> String {
        match &*self.chains[chain].name {
            "" => String::new(),
            name => format!("'{name}' "),
        }
    }

    fn other(&self, chain: usize) -> String {
        match &*self.chains[chain].name {
            "" => chain.to_string(),
            name => format!("{chain} ('{name}')"),
        }
    }
}

impl Children {
    /// Of keys of one criterion, sorted.
    fn new(children: Vec<(Key, Node)>) -> Self {
        let mut ports = Vec::new();
        let mut ranges = Vec::new();
        let mut names = Vec::new();
        let (mut local, mut external) = (None, None);
        for (key, node) in children {
            match key {
                Key::Port(port) => ports.push((port, node)),
                Key::Range(range) => ranges.push((range, node)),
                Key::Name(name) => names.push((name, node)),
                Key::Local => local = Some(node),
                Key::External => external = Some(node),
            }
        }
        if !ports.is_empty() {
            Self::Ports(ports.into())
        } else if !ranges.is_empty() {
            Self::Ranges(Addresses::new(ranges))
        } else if !names.is_empty() {
            Self::Names(names.into())
        } else {
            Self::Source { local, external }
        }
    }
}
