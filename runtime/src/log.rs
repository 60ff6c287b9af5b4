//! The process log, whose level can change while it runs.
//!
//! One line an event on standard error; access logs are not logs in this sense and go to standard
//! output, each by its own writer.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
    levels: Arc<Mutex<Levels>>,
}

/// What is logged.
#[derive(Clone, Debug)]
struct Levels {
    all: LogLevel,
    /// By the beginnings of their targets' names: what is logged otherwise than all.
    targets: BTreeMap<&'static str, LogLevel>,
}

/// Starts the process log. Call it once, first in `main`.
///
/// # Errors
/// A log was started before.
pub fn start(level: LogLevel, format: Format) -> Result<Control, StartError> {
    let levels = Levels {
        all: level,
        targets: BTreeMap::new(),
    };
    let (filter, handle) = reload::Layer::new(filter(&levels));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        Format::Text => registry.with(lines.with_ansi(false)).try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(|_| StartError)?;
    Ok(Control {
        filter: handle,
        levels: Arc::new(Mutex::new(levels)),
    })
}

/// A log was started before.
#[derive(Debug, thiserror::Error)]
#[error("start the process log: this process has one already")]
pub struct StartError;

impl Control {
    /// The level in force, where no target has its own.
    pub fn level(&self) -> LogLevel {
        self.levels().all
    }

    /// The level of the targets whose names begin so.
    pub fn target_level(&self, target: &str) -> LogLevel {
        let levels = self.levels();
        let own = levels.targets.get(target);
        own.copied().unwrap_or(levels.all)
    }

    /// Puts another level in force for all targets, from the next event on.
    pub fn set_level(&self, level: LogLevel) {
        self.set(Levels {
            all: level,
            targets: BTreeMap::new(),
        });
    }

    /// Puts another level in force for the targets whose names begin so.
    pub fn set_target_level(&self, target: &'static str, level: LogLevel) {
        let mut levels = self.levels().clone();
        levels.targets.insert(target, level);
        self.set(levels);
    }

    fn set(&self, levels: Levels) {
        // The only error is that the subscriber is gone, which ends with the process.
        if self.filter.reload(filter(&levels)).is_ok() {
            *self.levels() = levels;
        }
    }

    fn levels(&self) -> MutexGuard<'_, Levels> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Our own crates at the level; libraries one step quieter than debug unless all is asked for, since
/// theirs are steps of protocols that we already name.
fn filter(levels: &Levels) -> EnvFilter {
    EnvFilter::new(directives(levels))
}

fn directives(levels: &Levels) -> String {
    let mut directives = match levels.all {
        LogLevel::Debug => "debug,hyper=info,hyper_util=info,h2=info,rustls=info,tower=info",
        other => directive(other),
    }
    .to_owned();
    for (target, level) in &levels.targets {
        // Writing to a string does not fail.
        let _ = write!(directives, ",{target}={}", directive(*level));
    }
    directives
}

fn directive(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "trace",
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warning => "warn",
        LogLevel::Error | LogLevel::Critical => "error",
        LogLevel::Off => "off",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_their_own_levels() {
        let mut levels = Levels {
            all: LogLevel::Warning,
            targets: BTreeMap::new(),
        };
        assert_eq!(directives(&levels), "warn");
        levels.targets.insert("a::b", LogLevel::Trace);
        levels.targets.insert("a::c", LogLevel::Critical);
        assert_eq!(directives(&levels), "warn,a::b=trace,a::c=error");
        let filter = filter(&levels);
        assert_eq!(filter.to_string().matches("a::").count(), 2);
    }
}
