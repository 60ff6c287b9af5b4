//! What became of the lines.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// What became of the lines.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Values>);

#[derive(Debug, Default)]
struct Values {
    written: AtomicU64,
    dropped: AtomicU64,
    write_buffered: AtomicU64,
    write_completed: AtomicU64,
    write_failed: AtomicU64,
    flushed_by_timer: AtomicU64,
    reopen_failed: AtomicU64,
    write_total_buffered: AtomicU64,
}

impl Counts {
    /// Lines that were written.
    pub fn written(&self) -> u64 {
        self.0.written.load(Relaxed)
    }

    /// Lines that were lost, to a full queue or an output that takes no more.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }

    /// Envoy's counters, which have the prefix `filesystem.`.
    pub fn filesystem(&self) -> [(&'static str, u64); 5] {
        let values = &self.0;
        [
            ("flushed_by_timer", values.flushed_by_timer.load(Relaxed)),
            ("reopen_failed", values.reopen_failed.load(Relaxed)),
            ("write_buffered", values.write_buffered.load(Relaxed)),
            ("write_completed", values.write_completed.load(Relaxed)),
            ("write_failed", values.write_failed.load(Relaxed)),
        ]
    }

    /// Envoy's gauge `filesystem.write_total_buffered`: bytes that wait to be written.
    pub fn write_total_buffered(&self) -> u64 {
        self.0.write_total_buffered.load(Relaxed)
    }

    pub(super) fn add_dropped(&self, lines: u64) {
        self.0.dropped.fetch_add(lines, Relaxed);
    }

    pub(super) fn buffered(&self, bytes: usize) {
        self.0.write_buffered.fetch_add(1, Relaxed);
        self.0.write_total_buffered.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn flushed(&self, lines: u64, bytes: usize, written: bool) {
        self.0.write_total_buffered.fetch_sub(bytes as u64, Relaxed);
        if written {
            self.0.write_completed.fetch_add(1, Relaxed);
            self.0.written.fetch_add(lines, Relaxed);
        } else {
            self.0.write_failed.fetch_add(1, Relaxed);
            self.add_dropped(lines);
        }
    }

    pub(super) fn flushed_by_timer(&self) {
        self.0.flushed_by_timer.fetch_add(1, Relaxed);
    }

    pub(super) fn reopen_failed(&self) {
        self.0.reopen_failed.fetch_add(1, Relaxed);
    }
}
