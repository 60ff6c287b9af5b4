//! What a run tells: a few lines on standard error, which `kubectl logs` shows.

use std::{
    fmt,
    io::{self, Write},
};

use serde::Serialize;

use crate::Verbosity;

/// Writes lines up to a verbosity.
#[derive(Clone, Copy, Debug)]
pub struct Log {
    verbosity: Verbosity,
    form: Form,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Form {
    /// The level and the text.
    #[default]
    Text,
    /// An object with Istio's keys for both.
    Json,
}

impl Log {
    /// A log that tells this much.
    pub fn new(verbosity: Verbosity, form: Form) -> Self {
        Self { verbosity, form }
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

    fn write(&self, level: Verbosity, name: &'static str, line: impl fmt::Display) {
        if level <= self.verbosity {
            // The rules matter more than the line: a reader that is gone stops nothing.
            let _ = writeln!(io::stderr(), "{}", self.form.line(name, line));
        }
    }
}

impl Form {
    fn line(self, level: &'static str, text: impl fmt::Display) -> String {
        match self {
            Self::Text => format!("{level}: {text}"),
            Self::Json => {
                let msg = text.to_string();
                let line = serde_json::to_string(&Line { level, msg: &msg });
                // There is nothing in it that JSON could not hold.
                line.unwrap_or(msg)
            }
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    level: &'static str,
    msg: &'a str,
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn a_line_is_text_or_an_object() {
        let text = "2 settings are wrong:\n  --x '\"'";
        assert_eq!(Form::Text.line("error", text), format!("error: {text}"));
        assert_eq!(
            Form::Json.line("error", text),
            r#"{"level":"error","msg":"2 settings are wrong:\n  --x '\"'"}"#
        );
    }
}
