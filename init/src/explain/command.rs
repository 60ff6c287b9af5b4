//! `fairlead-init explain`.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;

use super::{Options, explain};
use crate::{Log, Verbosity, log::Form};

/// The first argument that asks for it; all others of `fairlead-init` are flags.
pub const NAME: &str = "explain";

/// Tells whether a packet is captured, and why, by the rules that are installed.
///
/// Walks the packet through the raw, mangle and nat tables of every backend, rule by rule, and says
/// what each rule is for and which setting made it. Changes nothing. Exits with 1 when there is no
/// answer.
#[derive(Debug, Parser)]
#[command(name = "fairlead-init explain", version, max_term_width = 100)]
struct Command {
    #[command(flatten)]
    options: Options,
}

/// Runs it if the arguments of the process ask for it.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1).peekable();
    arguments.next_if(|argument| argument == NAME)?;
    let program = OsString::from(format!("fairlead-init {NAME}"));
    let options = match Command::try_parse_from([program].into_iter().chain(arguments)) {
        Ok(command) => command.options,
        Err(usage) => {
            let is_help = !usage.use_stderr();
            return Some(exit(usage.print().is_ok() && is_help));
        }
    };
    let outcome = explain(&options).map_err(anyhow::Error::from);
    let outcome = outcome.and_then(|answer| {
        let printed = io::stdout().write_all(answer.as_bytes());
        printed.context("print the answer")
    });
    if let Err(error) = &outcome {
        Log::new(Verbosity::Quiet, Form::Text).error(format_args!("{error:#}"));
    }
    Some(exit(outcome.is_ok()))
}

fn exit(success: bool) -> ExitCode {
    if success {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
