//! One line for each connection at its end.
//!
//! 1. Each of the [`AccessLogs`] knows which connections get a line ([`filter`]), how it is written
//!    ([`format`]) and where it goes ([`Sinks`]); each is read from Envoy's messages.
//! 2. Filters and formats ask the [`Fields`] of the connection.
//! 3. Workers never wait for an output: lines go through a bounded queue to a thread that writes.
//!    Lines that find the queue full are dropped and counted.

mod fields;
pub mod filter;
pub mod format;
mod kept;
mod loggers;
mod sinks;

pub use self::{
    fields::{Attempt, CloseType, Fields, FilterState, LogType, Metadata, Times, Tls, metadata},
    format::{Format, random_uuid},
    kept::KeptMetadata,
    loggers::{AccessLogs, Outputs, Surroundings},
    sinks::{AccessLog, Counts, FLUSH_INTERVAL, OpenError, Reopen, Sinks, Writer},
};

/// Room for a line of usual length, so that it is allocated once.
const LINE: usize = 512;
