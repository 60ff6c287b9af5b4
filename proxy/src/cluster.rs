//! Clusters: which endpoints there are and which of them a connection goes to.
//!
//! An [`assignment`] names the endpoints of a cluster. It becomes an [`endpoint_set`], which all
//! workers share and which keeps what is known of an [`endpoint`] from one assignment to the next.
//! Each worker has its own [`balancer`], which carries out the [`policy`] over the set. The
//! [`circuit_breaker`] bounds what a cluster is used for at a time; [`outlier`] detection leaves
//! endpoints alone that fail.
//!
//! Nothing here waits, reads a clock or draws lots: instants and generators are passed in.

pub mod assignment;
pub mod balancer;
pub mod circuit_breaker;
pub mod config;
pub mod discovery;
pub mod endpoint;
pub mod endpoint_set;
pub mod metadata;
pub mod outlier;
pub mod policy;
pub mod running;
mod statistics;
pub mod transport;
pub mod upkeep;
