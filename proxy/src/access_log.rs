//! One line for each connection at its end, on standard output.
//!
//! Workers never wait for the output: lines go through a bounded queue to a thread that writes.
//! Lines that find the queue full are dropped and counted.

mod entry;
mod writer;

pub use self::{
    entry::Entry,
    writer::{AccessLog, Counts, Writer, start},
};
