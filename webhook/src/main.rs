//! The process of the sidecar injector.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use fairlead_runtime::log;
use fairlead_webhook::{
    config::{Config, Flags},
    run::run,
};

fn main() -> ExitCode {
    match start(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fairlead-webhook: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(flags: &Flags) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok()
        .context("install the cryptography provider: this process has one already")?;
    let config = Config::load(flags)?;
    log::start(config.log_level, config.log_format)?;
    // Reviews are short and the rest waits; a second thread keeps a large review from delaying others.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(run(config))?;
    Ok(())
}
