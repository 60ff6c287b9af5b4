//! What a run tells: a few lines on standard error, which `kubectl logs` shows.

use std::fmt;

use crate::Verbosity;

/// Writes lines up to a verbosity.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    verbosity: Verbosity,
}

impl Log {
    /// A log that tells this much.
    pub fn new(verbosity: Verbosity) -> Self {
        Self { verbosity }
    }

    /// What was done.
    pub fn info(&self, line: impl fmt::Display) {
        self.write(Verbosity::Info, "info", line);
    }

    /// What the user should change.
    pub fn warn(&self, line: impl fmt::Display) {
        self.write(Verbosity::Info, "warn", line);
    }

    /// How it was done.
    pub fn debug(&self, line: impl fmt::Display) {
        self.write(Verbosity::Debug, "debug", line);
    }

    /// Why it was not done; always told.
    pub fn error(&self, line: impl fmt::Display) {
        self.write(Verbosity::Quiet, "error", line);
    }

    fn write(&self, level: Verbosity, name: &str, line: impl fmt::Display) {
        if level <= self.verbosity {
            eprintln!("{name}: {line}");
        }
    }
}
