//! What the first bytes of a connection tell before a filter chain is chosen, as Envoy's listener
//! filters do: pure, over bytes that somebody else peeked at.
//!
//! [`ListenerFilters`] is what a listener asks for. An [`Inspection`] runs it over the bytes seen so
//! far, as often as there are more of them, and says when it is done; it waits for nothing that no
//! filter needs, so a protocol in which the server speaks first is not held up without reason. The
//! bytes stay where they are, but for the header of the PROXY protocol, of which the [`Inspected`]
//! says the length.
//!
//! The inspectors themselves are functions of bytes: [`tls::inspect`], [`http::inspect`],
//! [`proxy_protocol::inspect`].

mod application_protocols;
mod filters;
pub mod http;
mod inspection;
mod predicate;
pub mod proxy_protocol;
mod statistic;
pub mod tls;

pub use self::{
    application_protocols::ApplicationProtocols,
    filters::ListenerFilters,
    inspection::{Failure, Inspected, Inspection, Progress, Proxied},
    predicate::Predicate,
    statistic::{Statistic, Statistics},
};
