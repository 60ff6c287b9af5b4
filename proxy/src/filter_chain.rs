//! Which filter chain of a listener takes a connection
//! (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener_components.proto>,
//! `FilterChainMatch`).
//!
//! The criteria are gone through in Envoy's order, and at each the chains that name the most specific
//! value of the connection are left: those that name its destination port, or else those that name
//! none. There is no way back. Where the chains of a port want other things than the connection has,
//! those without a port are not asked; the default filter chain is.
//!
//! [`FilterChains::compile`] makes a tree of it, one level for a criterion, without the levels at
//! which all chains say nothing. So the hundreds of chains of an inbound listener, which differ by
//! port, are one sorted list.

mod addresses;
mod criteria;
mod node;

use std::net::{IpAddr, SocketAddr};

use fairlead_xds::envoy::config::listener::v3::{FilterChain, Listener};

use self::{
    criteria::Criteria,
    node::{Builder, Node},
};
use crate::{
    compile::At,
    inspector::{ApplicationProtocols, Inspected},
};

/// What a filter chain is chosen by. IPv4 addresses are told as such, not as those of IPv6.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The destination; before the redirect, where it was asked for. A pipe has none.
    pub destination: Option<SocketAddr>,
    /// The server that the client asks for, in lower case.
    pub server_name: Option<&'a str>,
    /// `tls` or `raw_buffer`.
    pub transport_protocol: &'a str,
    /// What the client offers to speak.
    pub application_protocols: &'a ApplicationProtocols,
    /// The peer of the socket.
    pub direct_source: Option<IpAddr>,
    /// The source that a PROXY header tells, or else the peer of the socket.
    pub source: Option<SocketAddr>,
}

impl<'a> Facts<'a> {
    /// Those of a connection from the peer to the destination, of which the listener filters found
    /// this out.
    pub fn new(inspected: &'a Inspected, destination: SocketAddr, peer: SocketAddr) -> Self {
        let canonical =
            |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let proxied = inspected.proxied.as_ref();
        let (source, destination) = proxied
            .and_then(|proxied| proxied.addresses)
            .unwrap_or_else(|| (canonical(peer), canonical(destination)));
        Self {
            destination: Some(destination),
            server_name: inspected.server_name.as_deref(),
            transport_protocol: inspected.transport_protocol(),
            application_protocols: &inspected.application_protocols,
            direct_source: Some(canonical(peer).ip()),
            source: Some(source),
        }
    }
}

impl Facts<'_> {
    /// Whether the connection comes from the same host, as far as Envoy sees it: 127.0.0.6 is not
    /// the loopback address.
    fn is_local(&self) -> bool {
        let Some(source) = self.source.map(|source| source.ip()) else {
            return true;
        };
        let loopback = match source {
            IpAddr::V4(ip) => ip == std::net::Ipv4Addr::LOCALHOST,
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        loopback || self.destination.is_some_and(|to| to.ip() == source)
    }
}

/// What was chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Choice {
    /// The filter chain of this index.
    Chain(usize),
    /// The default filter chain.
    Default,
}

/// The filter chains of a listener.
#[derive(Debug)]
pub struct FilterChains<T> {
    chains: Box<[T]>,
    default: Option<Box<T>>,
    /// Which of the chains; there are none where there is a default chain alone.
    root: Option<Node>,
}

impl<T> FilterChains<T> {
    /// The chains of the listener at this place, each of them as `compile` makes it.
    pub fn compile(
        at: &At<'_>,
        listener: &Listener,
        compile: impl Fn(&At<'_>, &FilterChain) -> Option<T>,
    ) -> Option<Self> {
        let Listener {
            filter_chains,
            default_filter_chain,
            filter_chain_matcher,
            fcds_config,
            ..
        } = listener;
        let supported = [
            ("filter_chain_matcher", filter_chain_matcher.is_some()),
            ("fcds_config", fcds_config.is_some()),
        ]
        .map(|(name, asked)| {
            if asked {
                at.field(name).fault::<()>("is not supported");
            }
            !asked
        });
        let some = !filter_chains.is_empty() || default_filter_chain.is_some();
        if !some {
            at.field("filter_chains")
                .fault::<()>("is empty, and there is no default_filter_chain");
        }
        let here = at.field("filter_chains");
        let chains = at.each("filter_chains", filter_chains, &compile);
        let criteria = at.each("filter_chains", filter_chains, |at, chain| {
            Criteria::compile(at, chain.filter_chain_match.as_ref())
        });
        let default = default_filter_chain
            .as_ref()
            .map(|chain| compile(&at.field("default_filter_chain"), chain));
        // Only sound chains have places.
        if criteria.len() != filter_chains.len() {
            return None;
        }
        let root = Builder::new(&here, filter_chains, &criteria).build();
        let sound = some && supported == [true; 2] && chains.len() == filter_chains.len();
        let default = match default {
            Some(chain) => Some(Box::new(chain?)),
            None => None,
        };
        (sound && root.is_sound).then(|| Self {
            chains: chains.into(),
            default,
            root: root.node,
        })
    }

    /// The chain that takes the connection; without one, the connection ends.
    pub fn find(&self, facts: &Facts<'_>) -> Option<&T> {
        match self.choose(facts)? {
            Choice::Chain(index) => self.chains.get(index),
            Choice::Default => self.default.as_deref(),
        }
    }

    /// Which chain takes the connection.
    pub fn choose(&self, facts: &Facts<'_>) -> Option<Choice> {
        let chain = self.root.as_ref().and_then(|root| root.find(facts));
        match chain {
            Some(index) => Some(Choice::Chain(index)),
            None => self.default.is_some().then_some(Choice::Default),
        }
    }

    /// What was gone through for the connection, criterion by criterion, in words.
    pub fn explain(&self, facts: &Facts<'_>) -> Vec<String> {
        let mut steps = Vec::new();
        let mut node = self.root.as_ref();
        while let Some(here) = node {
            if let Node::Chain(index) = here {
                steps.push(format!("filter chain {index} takes the connection"));
                return steps;
            }
            let (step, next) = here.explain(facts);
            steps.push(step);
            node = next;
        }
        steps.push(match &self.default {
            Some(_) => "the default filter chain takes the connection".to_owned(),
            None => "no filter chain takes the connection".to_owned(),
        });
        steps
    }

    /// The chains, without the default one.
    pub fn chains(&self) -> &[T] {
        &self.chains
    }

    /// The chain for connections that no other takes.
    pub fn default_chain(&self) -> Option<&T> {
        self.default.as_deref()
    }
}

#[cfg(test)]
mod tests;
