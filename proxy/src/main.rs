//! `fairlead-proxy`

use std::{
    env, fs,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::Parser;
use fairlead_api::names::POD_INFO_PATH;
use fairlead_proxy::{
    arguments::{Arguments, Command, RequestArguments, SidecarArguments, WaitArguments},
    client,
    config::{Config, PodFiles},
    original_dst::Conntrack,
    sidecar::Sidecar,
};
use fairlead_runtime::log;

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Sidecar(arguments) => run_sidecar(&arguments),
        Command::Wait(arguments) => run_wait(&arguments),
        Command::Request(arguments) => run_request(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("fairlead-proxy: {error:#}");
        ExitCode::FAILURE
    })
}

fn run_sidecar(arguments: &SidecarArguments) -> anyhow::Result<ExitCode> {
    let files = PodFiles {
        labels: pod_file("labels")?,
        annotations: pod_file("annotations")?,
    };
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let config = Config::from_lookup(|name| env::var(name).ok(), names, arguments, &files)?;
    let log = log::start(config.log_level, log::Format::Text)?;
    runtime()?.block_on(async {
        let sidecar = Sidecar::start(config, Some(log), Arc::new(Conntrack), io::stdout()).await?;
        anyhow::Ok(sidecar.run().await?)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Outside of Kubernetes there is none.
fn pod_file(name: &str) -> anyhow::Result<String> {
    let path = format!("{POD_INFO_PATH}/{name}");
    match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        result => result.with_context(|| format!("read {path}")),
    }
}

fn run_wait(arguments: &WaitArguments) -> anyhow::Result<ExitCode> {
    let WaitArguments {
        url,
        timeout,
        period,
    } = arguments;
    runtime()?.block_on(client::wait(url, *timeout, *period))?;
    Ok(ExitCode::SUCCESS)
}

fn run_request(arguments: &RequestArguments) -> anyhow::Result<ExitCode> {
    let RequestArguments { method, path, port } = arguments;
    let answer = client::request(method.clone(), path, *port);
    let (status, body) = runtime()?.block_on(answer)?;
    io::stdout().write_all(&body).context("print the answer")?;
    if status.is_client_error() || status.is_server_error() {
        eprintln!("fairlead-proxy: {method} {path}: {status}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")
}
