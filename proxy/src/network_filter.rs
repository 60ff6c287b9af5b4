//! What is done with a connection once its filter chain is chosen
//! (<https://www.envoyproxy.io/docs/envoy/latest/configuration/listeners/network_filters/network_filters>).
//!
//! [`compile`] turns the filters of a chain into [`NetworkFilters`]: those that look at a connection
//! first, in their order, and the one that takes it. Each decides by plain values; whoever owns the
//! connection reads, waits and counts.

pub mod connection_limit;
pub mod direct_response;
pub mod local_ratelimit;
pub mod rbac;
pub mod statistics;
pub mod tcp_proxy;
pub mod token_bucket;

mod extension;
mod field;
#[cfg(test)]
mod tests;
mod typed_struct;

use std::{sync::Arc, time::Instant};

use fairlead_xds::envoy::config::{accesslog::v3::AccessLog, listener::v3::Filter};

use self::{
    connection_limit::ConnectionLimit,
    direct_response::DirectResponse,
    extension::Compiled,
    local_ratelimit::{LocalRateLimit, SharedTokenBuckets},
    rbac::Rbac,
    tcp_proxy::TcpProxy,
};
use crate::compile::At;

/// The filters of a chain, with their access logs as `L`.
#[derive(Debug)]
pub struct NetworkFilters<L> {
    /// What looks at a connection first, in this order.
    pub filters: Box<[NetworkFilter]>,
    /// What takes it then; none where the chain has no filters, and a connection is closed at once.
    pub terminal: Option<TerminalFilter<L>>,
}

/// A filter that lets connections go on to the next.
#[derive(Debug)]
pub enum NetworkFilter {
    /// Names the cluster after the server name that the downstream asked for, if it did.
    SniCluster,
    /// Lets go on whom its policies let.
    Rbac(Box<Rbac>),
    /// Lets go on as many as there may be.
    ConnectionLimit(Arc<ConnectionLimit>),
    /// Lets go on as many as may come in a time.
    LocalRateLimit(LocalRateLimit),
}

/// A filter that takes connections.
#[derive(Debug)]
pub enum TerminalFilter<L> {
    /// Passes bytes between the downstream and an endpoint.
    TcpProxy(Box<TcpProxy<L>>),
    /// Sends back what it gets.
    Echo,
    /// Sends always the same, and closes.
    DirectResponse(DirectResponse),
}

/// What filters need, to be compiled, besides their messages.
pub struct Surroundings<'a, L> {
    /// Compiles the access logs of a filter, which stand at the place.
    pub access_log: &'a dyn Fn(&At<'_>, &[AccessLog]) -> Option<L>,
    /// The token buckets that filters share.
    pub token_buckets: &'a SharedTokenBuckets,
    /// The time now, when new buckets are full.
    pub now: Instant,
}

/// The filters of the chain at this place.
///
/// As in Envoy the last filter, and no other, takes the connection.
pub fn compile<L>(
    at: &At<'_>,
    filters: &[Filter],
    surroundings: &Surroundings<'_, L>,
) -> Option<NetworkFilters<L>> {
    let at = at.field("filters");
    let mut sound = true;
    let mut before = Vec::new();
    let mut terminal = None;
    for (index, message) in filters.iter().enumerate() {
        let at = at.index(index);
        let is_last = index + 1 == filters.len();
        let not_terminal = || {
            at.fault::<()>(format!(
                "the filter '{}' is the last of its chain, but takes no connection",
                message.name
            ))
        };
        match extension::compile(&at, message, surroundings) {
            Some(Compiled::Terminal(filter)) if is_last => terminal = Some(filter),
            Some(Compiled::Terminal(_)) => {
                at.fault::<()>(format!(
                    "the filter '{}' takes the connection, and must be the last of its chain",
                    message.name
                ));
                sound = false;
            }
            Some(Compiled::Filter(_) | Compiled::WithoutEffect) if is_last => {
                not_terminal();
                sound = false;
            }
            Some(Compiled::Filter(filter)) => before.push(filter),
            Some(Compiled::WithoutEffect) => {}
            None => sound = false,
        }
    }
    sound.then(|| NetworkFilters {
        filters: before.into(),
        terminal,
    })
}
