//! Asks name servers, through hickory: a static program has no other resolver.

use std::{net::IpAddr, time::Duration};

use hickory_resolver::{
    Resolver as Hickory, TokioResolver,
    config::{
        ConnectionConfig, LookupIpStrategy, NameServerConfig, ProtocolConfig, ResolveHosts,
        ResolverConfig,
    },
    net::{NetError, runtime::TokioRuntimeProvider},
    system_conf::read_system_conf,
};

use super::settings::{Family, Servers};

/// Asks the servers of one configuration for addresses of certain families.
#[derive(Clone, Debug)]
pub struct Resolver {
    strategies: Box<[TokioResolver]>,
}

/// The addresses of a name; none, if there is no such name or it has none of the families asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Answer {
    /// In the servers' order.
    pub addresses: Vec<IpAddr>,
    /// Until the first of the records expires.
    pub ttl: Option<Duration>,
}

/// A name that could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("resolve {name}: {cause}")]
pub struct ResolveError {
    name: Box<str>,
    cause: NetError,
}

/// The system's resolver cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("read the resolver's configuration, /etc/resolv.conf")]
pub struct SystemError(#[from] NetError);

impl Resolver {
    /// Nothing is asked yet.
    ///
    /// # Errors
    /// The system's configuration is to be used, and cannot be read.
    pub fn new(servers: &Servers, family: Family) -> Result<Self, SystemError> {
        let strategies = match family {
            // Not hickory's two in one, which asks for the second only after a failure and not
            // where the first answer is empty.
            Family::Auto => vec![LookupIpStrategy::Ipv6Only, LookupIpStrategy::Ipv4Only],
            Family::V4Preferred => vec![LookupIpStrategy::Ipv4Only, LookupIpStrategy::Ipv6Only],
            Family::V4Only => vec![LookupIpStrategy::Ipv4Only],
            Family::V6Only => vec![LookupIpStrategy::Ipv6Only],
            Family::All => vec![LookupIpStrategy::Ipv4AndIpv6],
        };
        let strategies = strategies
            .into_iter()
            .map(|strategy| hickory(servers, strategy));
        Ok(Self {
            strategies: strategies.collect::<Result<_, _>>()?,
        })
    }

    /// The addresses of a name.
    ///
    /// # Errors
    /// No server answered, or one said that it failed.
    pub async fn resolve(&self, name: &str) -> Result<Answer, ResolveError> {
        let mut failed = None;
        for strategy in &self.strategies {
            match strategy.lookup_ip(name).await {
                Ok(found) => {
                    let addresses: Vec<IpAddr> = found.iter().collect();
                    let records = found.as_lookup().answers().iter();
                    let ttl = records.map(|record| record.ttl).min();
                    if !addresses.is_empty() {
                        return Ok(Answer {
                            addresses,
                            ttl: ttl.map(|seconds| Duration::from_secs(seconds.into())),
                        });
                    }
                }
                // That there is none is an answer, too.
                Err(error) if error.is_no_records_found() || error.is_nx_domain() => {}
                Err(cause) => failed = Some(cause),
            }
        }
        match failed {
            Some(cause) => Err(ResolveError {
                name: name.into(),
                cause,
            }),
            None => Ok(Answer::default()),
        }
    }
}

fn hickory(servers: &Servers, strategy: LookupIpStrategy) -> Result<TokioResolver, SystemError> {
    let system = match read_system_conf() {
        Ok(system) => system,
        Err(_) if !servers.addresses.is_empty() => Default::default(),
        Err(error) => return Err(error.into()),
    };
    let (config, mut options) = system;
    options.ip_strategy = strategy;
    options.use_hosts_file = ResolveHosts::Always;
    // The cluster says how long an answer holds.
    options.cache_size = 0;
    options.timeout = servers.time_out.unwrap_or(options.timeout);
    options.attempts = servers.tries.unwrap_or(options.attempts);
    let config = with_servers(config, servers);
    let provider = TokioRuntimeProvider::default();
    let builder = Hickory::builder_with_config(config, provider).with_options(options);
    Ok(builder.build()?)
}

fn with_servers(system: ResolverConfig, servers: &Servers) -> ResolverConfig {
    let (domain, search, mut asked) = system.into_parts();
    if !servers.addresses.is_empty() {
        let named = servers.addresses.iter().map(|address| {
            let mut server = NameServerConfig::udp_and_tcp(address.ip());
            for connection in &mut server.connections {
                connection.port = address.port();
            }
            server
        });
        asked = named.collect();
    }
    if servers.over_tcp {
        for server in &mut asked {
            let tcp = |connection: &ConnectionConfig| connection.protocol == ProtocolConfig::Tcp;
            server.connections.retain(tcp);
        }
    }
    if servers.no_search {
        return ResolverConfig::from_parts(None, Vec::new(), asked);
    }
    ResolverConfig::from_parts(domain, search, asked)
}

#[cfg(test)]
mod tests;
