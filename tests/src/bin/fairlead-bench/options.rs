//! How the sidecar's figures are measured, and what becomes of them.

use std::path::PathBuf;

use clap::Args;

/// Options of the figure `proxy`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Fewer and shorter rounds of the sidecar's figures: a first impression
    #[arg(long)]
    pub(crate) quick: bool,
    /// Where to keep the sidecar's figures as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// The sidecar's figures of an earlier run, to show what has changed since
    #[arg(long, value_name = "FILE")]
    pub(crate) compare: Option<PathBuf>,
}

impl Options {
    /// The number for who has time, or that for who has not.
    pub(crate) fn rounds<T>(&self, thorough: T, quick: T) -> T {
        if self.quick { quick } else { thorough }
    }
}
