//! One line for each connection at its end.
//!
//! Workers never wait for an output: lines go through a bounded queue to a thread that writes.
//! Lines that find the queue full are dropped and counted.

mod entry;
mod sinks;

pub use self::{
    entry::Entry,
    sinks::{AccessLog, Counts, FLUSH_INTERVAL, OpenError, Reopen, Sinks, Writer, start},
};
