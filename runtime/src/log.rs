//! The process log, whose level can change while it runs.
//!
//! One line an event on standard error; access logs are not logs in this sense and go to standard
//! output, each by its own writer.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use fairlead_api::values::LogLevel;
use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// Readable text.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Changes the level of the running process.
#[derive(Clone, Debug)]
pub struct Control {
    filter: reload::Handle<EnvFilter, Registry>,
    level: Arc<Mutex<LogLevel>>,
}

/// Starts the process log. Call it once, first in `main`.
///
/// # Errors
/// A log was started before.
pub fn start(level: LogLevel, format: Format) -> Result<Control, StartError> {
    let (filter, handle) = reload::Layer::new(filter(level));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        Format::Text => registry.with(lines.with_ansi(false)).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(|_| StartError)?;
    Ok(Control {
        filter: handle,
        level: Arc::new(Mutex::new(level)),
    })
}

/// A log was started before.
#[derive(Debug, thiserror::Error)]
#[error("start the process log: this process has one already")]
pub struct StartError;

impl Control {
    /// The level in force.
    pub fn level(&self) -> LogLevel {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts another level in force, from the next event on.
    pub fn set_level(&self, level: LogLevel) {
        // The only error is that the subscriber is gone, which ends with the process.
        if self.filter.reload(filter(level)).is_ok() {
            *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
        }
    }
}

/// Our own crates at the level; libraries one step quieter than debug unless all is asked for, since
/// theirs are steps of protocols that we already name.
fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug,hyper=info,hyper_util=info,h2=info,rustls=info,tower=info",
        LogLevel::Info => "info",
        LogLevel::Warning => "warn",
        LogLevel::Error | LogLevel::Critical => "error",
        LogLevel::Off => "off",
    })
}
