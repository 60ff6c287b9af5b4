//! Whether a connection may go on: Envoy's role based access control
//! (<https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/rbac/v3/rbac.proto>).
//!
//! An [`Engine`] is compiled once from the policies and decides by [`Facts`] alone. Whatever of a
//! policy is not carried out here is a fault: a rule that is left out may let in anybody.

mod decision;
mod engine;
mod facts;
mod permission;
mod principal;
mod rule;
#[cfg(test)]
mod tests;

pub use self::{
    decision::Decision,
    engine::Engine,
    facts::{Facts, PeerIdentity},
};
