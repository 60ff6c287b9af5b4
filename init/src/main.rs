//! Reads the flags, programs the redirect, or explains it, exits.

use std::{
    env, fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use fairlead_init::{
    Action, Config, Flags, Log, Verbosity, address, apply,
    config::{NameServers, Validation},
    explain,
    log::Form,
    network_namespace,
    plan::{Plan, Surroundings},
    resolver,
    validation::{self, ValidationError},
};

fn main() -> ExitCode {
    if let Some(code) = explain::command::run(env::args_os()) {
        return code;
    }
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(usage) => return print(&usage),
    };
    let form = match flags.log_as_json {
        Some(true) => Form::Json,
        _ => Form::Text,
    };
    let outcome = Config::from_flags(&flags)
        .map_err(anyhow::Error::from)
        .and_then(|config| run(&config, form));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            Log::new(Verbosity::Quiet, form).error(format_args!("{error:#}"));
            match error.downcast_ref() {
                Some(ValidationError::Unproven(_)) => ExitCode::from(UNPROVEN),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// By which Istio's node agents, too, know a pod whose redirect does not work.
const UNPROVEN: u8 = 126;

/// Prints help, or why the flags cannot be read: as any other fault, exit code 1.
fn print(usage: &clap::Error) -> ExitCode {
    match usage.print() {
        Ok(()) if !usage.use_stderr() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn run(config: &Config, form: Form) -> anyhow::Result<()> {
    let log = Log::new(config.verbosity, form);
    if let Some(path) = &config.network_namespace {
        network_namespace::enter(path)?;
    }
    let surroundings = Surroundings {
        ipv6_addresses: address::ipv6_addresses()?,
        name_servers: match config.name_servers {
            Some(NameServers::System) => resolver::name_servers()?,
            _ => Vec::new(),
        },
    };
    let plan = Plan::new(config, &surroundings);
    for warning in &plan.warnings {
        log.warn(warning);
    }
    let options = apply::Options {
        backend: config.backend,
        force: config.force,
        locks_namespace: config.node_agent || config.network_namespace.is_some(),
    };
    let reports = match &config.action {
        Action::DryRun(file) => return print_plan(&plan.dry_run(config.backend), file.as_deref()),
        Action::Apply => apply::apply(&plan, options, &log)?,
        Action::CleanUp => apply::clean_up(&plan, options, &log)?,
        Action::Skip => Vec::new(),
    };
    for report in reports {
        log.info(report);
    }
    match config.validation {
        Some(validation) if config.action != Action::CleanUp => validate(&plan, validation, &log),
        _ => Ok(()),
    }
}

fn validate(plan: &Plan, validation: Validation, log: &Log) -> anyhow::Result<()> {
    let settings = validation::Settings {
        redirect: plan.redirect.clone(),
        families: plan.families.iter().map(|(family, _)| *family).collect(),
        probe_port: validation.probe_port,
        timeout: validation.timeout,
    };
    let validation::Validated { proven, left_out } = validation::validate(&settings)?;
    for line in proven {
        log.info(format_args!("proven: {line}"));
    }
    for line in left_out {
        log.info(line);
    }
    Ok(())
}

fn print_plan(text: &str, file: Option<&Path>) -> anyhow::Result<()> {
    if let Some(path) = file {
        fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    io::stdout()
        .write_all(text.as_bytes())
        .context("print the rules")
}
