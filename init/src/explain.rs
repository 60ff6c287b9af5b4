//! Why a packet is captured, or not: its way through the rules that stand, in words.
//!
//! ```text
//! options ─▶ packet ──────────────┐
//!                                 ├─▶ walk ─▶ explanation ─▶ report: text or JSON
//! live or dump ─▶ tables ─────────┘                 └─ reason: which setting made a rule
//! ```
//!
//! - [`command`]: `fairlead-init explain`
//! - [`options`]: its flags, which are also those of `fairlead explain-packet`
//! - [`packet`]: what is asked about
//! - [`live`], [`dump`]: the rules of this network namespace, or saved ones; only [`live`] runs
//!   programs
//! - [`tables`]: rules of any tool in one form
//! - [`walk`]: as the kernel goes through them
//! - [`reason`]: why a rule of ours stands there

pub mod command;
mod conditions;
pub mod dump;
pub mod live;
pub mod options;
pub mod packet;
pub mod reason;
mod report;
pub mod tables;
pub mod walk;
mod words;

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

pub use self::{
    conditions::Meets,
    dump::DumpError,
    live::LiveError,
    options::{Options, OptionsError, Output, Route},
    packet::{Direction, Packet},
    reason::{Reason, Setting},
    report::printable,
    tables::Tables,
    walk::{Explanation, Hook, Outcome, Step, walk},
};

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The flags describe no packet.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The installed rules are not known.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The file could not be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds no rules.
    #[error("{}", path.display())]
    Dump {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: DumpError,
    },
}

/// Explains what becomes of the packet, in the form that is asked for.
///
/// # Errors
/// The flags contradict each other, or the rules cannot be read.
pub fn explain(options: &Options) -> Result<String, ExplainError> {
    let (packet, tables) = match &options.from {
        Some(path) => {
            let packet = options.packet(Route::default())?;
            let dump = |source| ExplainError::Dump {
                path: path.clone(),
                source,
            };
            let tables = dump::parse(&read(path)?, packet.family()).map_err(dump)?;
            (packet, tables)
        }
        None => {
            let packet = options.packet(live::route(options.destination))?;
            let tables = live::read(packet.family())?;
            (packet, tables)
        }
    };
    let mut explanation = walk(&tables, &packet);
    if options.from.is_some() && !tables.iter().any(|tables| tables.covers(packet.family())) {
        let family = packet.family().name();
        explanation
            .doubts
            .push(format!("the dump has no tables of {family}"));
    }
    Ok(match options.output {
        Output::Text => explanation.text(options.verbose),
        Output::Json => explanation.json(options.verbose) + "\n",
    })
}

fn read(path: &Path) -> Result<String, ExplainError> {
    let bytes = if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.map_err(|source| ExplainError::Read {
        path: path.into(),
        source,
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests;
