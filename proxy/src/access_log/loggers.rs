//! The access logs of a listener or a filter, as they are configured.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use fairlead_xds::{
    envoy::{
        config::{
            accesslog::v3::{AccessLog as Message, access_log::ConfigType},
            core::v3::SubstitutionFormatString,
        },
        extensions::access_loggers::{
            file::v3::{FileAccessLog, file_access_log::AccessLogFormat as OfFile},
            stream::v3::{
                StderrAccessLog, StdoutAccessLog, stderr_access_log::AccessLogFormat as OfStderr,
                stdout_access_log::AccessLogFormat as OfStdout,
            },
        },
    },
    google::protobuf::Any,
    prost::Name,
};
use fastrand::Rng;

use super::{
    Fields, Sinks,
    filter::Filter,
    format::{DEFAULT, Format},
    sinks::AccessLog,
};
use crate::compile::At;

/// What a configuration is read against.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Where lines can go; nowhere if a configuration is only checked.
    pub sinks: Option<&'a Sinks>,
    /// What is written alike by several, and need be kept only once.
    pub outputs: &'a Outputs,
    /// The environment of the process.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The name of the machine, for `%HOSTNAME%`; empty if it is not known.
    pub hostname: &'a str,
}

impl Surroundings<'_> {
    /// Nothing is known, and no line goes anywhere: to check a configuration only.
    pub fn none() -> Self {
        static NO_OUTPUTS: Outputs = Outputs::new();
        Self {
            sinks: None,
            outputs: &NO_OUTPUTS,
            environment: &|_| None,
            hostname: "",
        }
    }
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("sinks", &self.sinks)
            .field("hostname", &self.hostname)
            .finish_non_exhaustive()
    }
}

/// The outputs in use. In a mesh thousands of listeners have the same one.
#[derive(Debug)]
pub struct Outputs(Mutex<Option<Known>>);

/// By the message that each was read from.
type Known = HashMap<Box<[u8]>, Weak<Output>>;

/// How a line is written, and where it goes.
#[derive(Debug)]
struct Output {
    format: Format,
    /// None where a configuration is only checked.
    sink: Option<AccessLog>,
}

impl Outputs {
    /// None yet.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn find(&self, message: &Any) -> Option<Arc<Output>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref()?.get(&*key(message))?.upgrade()
    }

    fn keep(&self, message: &Any, output: &Arc<Output>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        known.retain(|_, output| output.strong_count() > 0);
        known.insert(key(message), Arc::downgrade(output));
    }
}

impl Default for Outputs {
    fn default() -> Self {
        Self::new()
    }
}

fn key(message: &Any) -> Box<[u8]> {
    let mut key = message.type_url.clone().into_bytes();
    key.push(0);
    key.extend_from_slice(&message.value);
    key.into()
}

/// The access logs of a listener or a filter.
#[derive(Debug, Default)]
pub struct AccessLogs(Box<[Logger]>);

#[derive(Debug)]
struct Logger {
    filter: Option<Filter>,
    output: Arc<Output>,
}

impl AccessLogs {
    /// The access logs that the messages ask for; those of the field `access_log` are at `at`.
    pub fn compile(
        at: &At<'_>,
        messages: &[Message],
        surroundings: &Surroundings<'_>,
    ) -> Option<Self> {
        let loggers = messages.iter().enumerate();
        let loggers: Vec<_> = loggers
            .map(|(index, message)| logger(&at.index(index), message, surroundings))
            .collect();
        // All were read, so that each fault is told.
        let loggers = loggers.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Self(loggers.into_iter().flatten().collect()))
    }

    /// Whether nobody asks for a line, so that fields need not be gathered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes a line of the connection to each log whose filter accepts it.
    pub fn log(&self, fields: &Fields<'_>, rng: &mut Rng) {
        for Logger { filter, output } in &self.0 {
            let Output { format, sink } = &**output;
            let Some(sink) = sink else { continue };
            let accepts = |filter: &Filter| filter.accepts(fields, rng);
            if !filter.as_ref().is_none_or(accepts) {
                continue;
            }
            let mut line = String::with_capacity(super::LINE);
            format.write(fields, rng, &mut line);
            sink.write(line);
        }
    }
}

/// Nothing in the place of a logger that is left out.
fn logger(
    at: &At<'_>,
    message: &Message,
    surroundings: &Surroundings<'_>,
) -> Option<Option<Logger>> {
    let Message {
        name,
        filter,
        config_type,
    } = message;
    let filter = match filter {
        None => Some(None),
        Some(filter) => Filter::compile(&at.field("filter"), filter).map(Some),
    };
    let ConfigType::TypedConfig(any) = at.required("typed_config", config_type.as_ref())?;
    let output = output(&at.field("typed_config"), name, any, surroundings)?;
    let filter = filter?;
    Some(output.map(|output| Logger { filter, output }))
}

/// The output that the message asks for, or the one that was made for another like it.
fn output(
    at: &At<'_>,
    name: &str,
    any: &Any,
    surroundings: &Surroundings<'_>,
) -> Option<Option<Arc<Output>>> {
    // Those that are only checked have no sink, and are no use to others.
    let shared = surroundings.sinks.map(|_| surroundings.outputs);
    if let Some(output) = shared.and_then(|outputs| outputs.find(any)) {
        return Some(Some(output));
    }
    let Some((format, sink)) = written(at, name, any, surroundings)? else {
        return Some(None);
    };
    let output = Arc::new(Output { format, sink });
    if let Some(outputs) = shared {
        outputs.keep(any, &output);
    }
    Some(Some(output))
}

type Written = (Format, Option<AccessLog>);

fn written(
    at: &At<'_>,
    name: &str,
    any: &Any,
    surroundings: &Surroundings<'_>,
) -> Option<Option<Written>> {
    let stream = |path: &str, format: Option<&SubstitutionFormatString>| {
        let format = match format {
            None => Format::text(at, DEFAULT, surroundings),
            Some(format) => Format::compile(&at.field("log_format"), format, surroundings),
        };
        let sink = sink(at, path, surroundings);
        Some(Some((format?, sink?)))
    };
    if any.type_url == FileAccessLog::type_url() {
        file(at, &at.decode(any)?, surroundings).map(Some)
    } else if any.type_url == StdoutAccessLog::type_url() {
        let StdoutAccessLog { access_log_format } = at.decode(any)?;
        let format = access_log_format.map(|OfStdout::LogFormat(format)| format);
        stream("/dev/stdout", format.as_ref())
    } else if any.type_url == StderrAccessLog::type_url() {
        let StderrAccessLog { access_log_format } = at.decode(any)?;
        let format = access_log_format.map(|OfStderr::LogFormat(format)| format);
        stream("/dev/stderr", format.as_ref())
    } else {
        at.unsupported(format!(
            "the access log '{name}' of the type {} is not supported, and writes nothing",
            any.type_url
        ));
        Some(None)
    }
}

fn file(at: &At<'_>, message: &FileAccessLog, surroundings: &Surroundings<'_>) -> Option<Written> {
    let FileAccessLog {
        path,
        access_log_format,
    } = message;
    #[expect(deprecated, reason = "Envoy still takes them")]
    let format = match access_log_format {
        None => Format::text(at, DEFAULT, surroundings),
        // As in Envoy, no text is the default text.
        Some(OfFile::Format(text)) if text.is_empty() => Format::text(at, DEFAULT, surroundings),
        Some(OfFile::Format(text)) => Format::text(&at.field("format"), text, surroundings),
        Some(OfFile::JsonFormat(object)) => {
            Format::json(&at.field("json_format"), object, surroundings)
        }
        Some(OfFile::TypedJsonFormat(object)) => {
            Format::json(&at.field("typed_json_format"), object, surroundings)
        }
        Some(OfFile::LogFormat(format)) => {
            Format::compile(&at.field("log_format"), format, surroundings)
        }
    };
    let at = at.field("path");
    if path.is_empty() {
        return at.fault("is empty");
    }
    let sink = sink(&at, path, surroundings);
    Some((format?, sink?))
}

/// The inner nothing stands for no place, where a configuration is only checked.
fn sink(at: &At<'_>, path: &str, surroundings: &Surroundings<'_>) -> Option<Option<AccessLog>> {
    let Some(sinks) = surroundings.sinks else {
        return Some(None);
    };
    match sinks.open(path) {
        Ok(sink) => Some(Some(sink)),
        Err(error) => at.fault(format!(
            "{error}: {}; name a file that user and group of the proxy may write to",
            error.source
        )),
    }
}

#[cfg(test)]
mod tests;
