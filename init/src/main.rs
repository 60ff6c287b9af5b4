//! Reads the flags, programs the redirect, exits.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use fairlead_init::{
    Action, Config, Flags, Log, Verbosity, address, apply,
    plan::{Plan, Surroundings},
};

fn main() -> ExitCode {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(usage) => return print(&usage),
    };
    let outcome = Config::from_flags(&flags)
        .map_err(anyhow::Error::from)
        .and_then(|config| run(&config));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Log::new(Verbosity::Quiet).error(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Prints help, or why the flags cannot be read: as any other fault, exit code 1.
fn print(usage: &clap::Error) -> ExitCode {
    match usage.print() {
        Ok(()) if !usage.use_stderr() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn run(config: &Config) -> anyhow::Result<()> {
    let log = Log::new(config.verbosity);
    let surroundings = Surroundings {
        ipv6_addresses: address::ipv6_addresses()?,
        name_servers: Vec::new(),
    };
    let plan = Plan::new(config, &surroundings);
    for warning in &plan.warnings {
        log.warn(warning);
    }
    if let Action::DryRun(_) = &config.action {
        let text = plan.dry_run(config.backend);
        return io::stdout()
            .write_all(text.as_bytes())
            .context("print the rules");
    }
    for report in apply::apply(&plan, config.backend, &log)? {
        log.info(report);
    }
    Ok(())
}
