//! The network filters of a chain: those that admit the connection, and the last, which takes it.

use std::time::Instant;

use tokio::time::sleep;

use super::{
    answer::{echo, respond},
    record::{Limited, Record},
};
use crate::{
    authorization::{Facts as PolicyFacts, PeerIdentity},
    ending::{Ending, Refusal},
    listener::config::{FilterChain, FilterStatistics},
    network_filter::{NetworkFilter, TerminalFilter, connection_limit},
    stream::Farewell,
    upstream::Transport,
};

impl Record {
    /// Lets the filters of the chain decide, and the last of them take the connection.
    pub(super) async fn filter(&mut self, chain: &FilterChain, mut transport: Transport) -> Ending {
        let mut held = Vec::new();
        let of_filter = match self.admit(chain, &mut held).await {
            Ok(of_filter) => of_filter,
            Err(refusal) => {
                match refusal {
                    // What the client says meanwhile is taken, as Envoy does, and not answered by
                    // a reset.
                    Refusal::Denied { .. } => transport.end(Farewell::Finish).await,
                    _ => transport.close().await,
                }
                return Ending::Refused(refusal);
            }
        };
        match &chain.filters.terminal {
            Some(TerminalFilter::TcpProxy(proxy)) => {
                let Some(counts) = &chain.statistics.tcp_proxy else {
                    return Ending::Refused(Refusal::NoFilters);
                };
                let counts = counts.clone();
                let counts = counts.of(self.worker.number);
                self.proxy(proxy, counts, of_filter.as_deref(), transport)
                    .await
            }
            Some(TerminalFilter::Echo) => Box::pin(echo(&mut transport, self.peer)).await,
            Some(TerminalFilter::DirectResponse(direct)) => {
                Box::pin(respond(&mut transport, &direct.response, self.peer)).await
            }
            None => Ending::Refused(Refusal::NoFilters),
        }
    }

    /// Asks the filters before the last; the cluster, if one of them names it.
    async fn admit(
        &self,
        chain: &FilterChain,
        held: &mut Vec<Limited>,
    ) -> Result<Option<Box<str>>, Refusal> {
        let mut of_filter = None;
        let filters = chain.filters.filters.iter().zip(&chain.statistics.filters);
        for (filter, statistics) in filters {
            match filter {
                NetworkFilter::SniCluster => of_filter = self.server_name.clone(),
                NetworkFilter::ConnectionLimit(limit) => match limit.enter() {
                    connection_limit::Entry::Uncounted => {}
                    connection_limit::Entry::Admitted(counted) => {
                        held.push(self.limited(counted, statistics));
                    }
                    connection_limit::Entry::Limited { counted, delay } => {
                        if let FilterStatistics::ConnectionLimit(counts) = statistics {
                            counts
                                .of(self.worker.number)
                                .limited_connections
                                .increment();
                        }
                        let _held = self.limited(counted, statistics);
                        if let Some(delay) = delay {
                            sleep(delay).await;
                        }
                        return Err(Refusal::OverConnectionLimit);
                    }
                },
                NetworkFilter::LocalRateLimit(limit) => {
                    if !limit.admits(Instant::now()) {
                        if let FilterStatistics::LocalRateLimit(counts) = statistics {
                            counts.of(self.worker.number).rate_limited.increment();
                        }
                        return Err(Refusal::RateLimited);
                    }
                }
                NetworkFilter::Rbac(rbac) => {
                    // At once, where Envoy waits for the first bytes with the upstream connected
                    // already: what is refused so reaches nobody, and gets nothing from anybody.
                    let peer = self.identity();
                    let facts = PolicyFacts {
                        remote: self.remote,
                        direct_remote: self.peer,
                        destination: self.local,
                        server_name: self.server_name.as_deref().unwrap_or_default(),
                        peer: peer.as_ref(),
                    };
                    let verdict = rbac.decide(&facts);
                    self.decided(&verdict, statistics);
                    if verdict.is_denied() {
                        let words = verdict.enforced.map(|decision| decision.to_string());
                        let details = verdict
                            .enforced
                            .and_then(|decision| decision.termination_details());
                        if let Some(delay) = rbac.delay_deny {
                            sleep(delay).await;
                        }
                        return Err(Refusal::Denied {
                            details: details.unwrap_or_default(),
                            words: words.unwrap_or_default(),
                        });
                    }
                }
            }
        }
        Ok(of_filter)
    }

    /// What policies ask of the downstream's certificate.
    fn identity(&self) -> Option<PeerIdentity> {
        let handshaked = self.tls.as_ref()?;
        let Some(parsed) = handshaked.peer.as_ref().and_then(|peer| peer.parsed()) else {
            return Some(PeerIdentity::default());
        };
        Some(PeerIdentity {
            is_validated: handshaked.validated,
            uri_sans: parsed.uri_sans.clone(),
            dns_sans: parsed.dns_sans.clone(),
            subject: parsed.subject.clone(),
        })
    }
}
