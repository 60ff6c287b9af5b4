//! `fairlead-proxy`

use std::{
    env, fs,
    io::{self, Write},
    num::NonZeroUsize,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use fairlead_api::names::POD_INFO_PATH;
use fairlead_proxy::{
    arguments::{
        Arguments, BootstrapArguments, Command, Mode, RequestArguments, SidecarArguments,
        WaitArguments,
    },
    client,
    config::{Config, PodFiles},
    configuration::Source,
    original_dst::Conntrack,
    server::{self, Options, Server},
    sidecar::Sidecar,
};
use fairlead_runtime::log;
use fairlead_xds::envoy::config::bootstrap::v3::Bootstrap;

fn main() -> ExitCode {
    let Arguments { command, bootstrap } = Arguments::parse();
    let result = match command {
        Some(Command::Sidecar(arguments)) => run_sidecar(&arguments),
        Some(Command::Wait(arguments)) => run_wait(&arguments),
        Some(Command::Request(arguments)) => run_request(&arguments),
        None => run_bootstrap(bootstrap),
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
        let sidecar = Sidecar::start(config, Some(log), Arc::new(Conntrack)).await?;
        sidecar.run().await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Outside of Kubernetes there is none.
fn run_bootstrap(arguments: BootstrapArguments) -> anyhow::Result<ExitCode> {
    let BootstrapArguments {
        config_path,
        config_yaml,
        mode,
        concurrency,
        log_level,
        drain_time_seconds,
        file_flush_interval_milliseconds,
        allow_unknown_static_fields,
    } = arguments;
    anyhow::ensure!(
        config_path.is_some() || config_yaml.is_some(),
        "there is no bootstrap: name its file with -c FILE, or give it with --config-yaml"
    );
    let source = Source {
        built_in: Bootstrap::default(),
        path: config_path.clone(),
        yaml: config_yaml,
        allow_unknown: allow_unknown_static_fields,
    };
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .ok()
        .context("install the cryptography provider: this process has one already")?;
    let log = log::start(log_level, log::Format::Text)?;
    if mode == Mode::Validate {
        server::validate(&source)?;
        let name =
            config_path.map_or_else(|| "given".to_owned(), |path| path.display().to_string());
        println!("configuration '{name}' OK");
        return Ok(ExitCode::SUCCESS);
    }
    let processors = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let options = Options {
        source,
        concurrency: concurrency.map_or_else(processors, |number| number.get().into()),
        drain_time: Duration::from_secs(drain_time_seconds),
        file_flush_interval: Duration::from_millis(file_flush_interval_milliseconds),
        telemetry: None,
    };
    runtime()?.block_on(async {
        let server = Server::start(options, Some(log), Arc::new(Conntrack)).await?;
        server.run().await
    })?;
    Ok(ExitCode::SUCCESS)
}

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
