//! Statistics: counted by the workers, added up and shown by the admin thread.
//!
//! A [`Store`] holds [`Scope`]s, each the statistics of one thing under a common beginning of their
//! names: `cluster.a.`, `listener.0.0.0.0_80.`. What a scope has is declared in [`sets`]. A worker
//! counts in its own copy ([`PerWorker`]), so that counting takes no lock and shares no cache line;
//! what is rare or belongs to no worker is [`Shared`]. [`export`] writes Envoy's forms of it all, as
//! [`StatsConfig`] says.

mod cell;
mod config;
pub mod export;
mod flush;
mod given;
mod histogram;
mod scope;
mod set;
pub mod sets;
mod store;
mod tags;

pub use self::{
    cell::{Cell, Counter, Gauge, Level, SharedCounter, TextReadout},
    config::StatsConfig,
    flush::Flush,
    given::Given,
    histogram::{Bin, Distribution, Histogram, Merged},
    scope::{Group, Reading, Scope, Series, Source, Value},
    set::{Asked, Field, Kind, Known, Part, PerWorker, Set, Shared, Worker},
    store::Store,
};

#[cfg(test)]
mod tests;
