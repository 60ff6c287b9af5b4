//! Compiles a bootstrap, to run it or only to tell its faults.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use fairlead_xds::{bootstrap::Pieces, envoy::config::bootstrap::v3::Bootstrap};
use tracing::warn;

use super::StartError;
use crate::{
    access_log::{self, Outputs, Sinks, Surroundings as LogSurroundings},
    compile::{Findings, values::socket_address},
    configuration::{self, ConfigurationError, Source, read_secrets},
    listener::config::Surroundings,
    network_filter::local_ratelimit::SharedTokenBuckets,
    snapshot::Snapshot,
    stats::{StatsConfig, Store},
    tls::Contexts,
};

/// What configurations are compiled with.
pub(super) struct Compiler {
    pub(super) contexts: Arc<Contexts>,
    sinks: Sinks,
    outputs: Outputs,
    hostname: String,
    buckets: SharedTokenBuckets,
    store: Arc<Store>,
}

impl Compiler {
    pub(super) fn new(
        bootstrap: &Pieces,
        sinks: Sinks,
        store: Arc<Store>,
    ) -> Result<Self, ConfigurationError> {
        Ok(Self {
            contexts: Arc::new(Contexts::new(
                |name| std::env::var(name).ok(),
                read_secrets,
                configuration::secrets(bootstrap)?,
            )),
            sinks,
            outputs: Outputs::new(),
            hostname: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            buckets: SharedTokenBuckets::default(),
            store,
        })
    }

    pub(super) fn compile(
        &self,
        bootstrap: &Pieces,
        before: &[Arc<crate::listener::config::Listener>],
    ) -> Result<Snapshot, ConfigurationError> {
        let findings = Findings::default();
        self.contexts.look_at_files();
        let with = Surroundings {
            contexts: &self.contexts,
            logs: LogSurroundings {
                sinks: Some(&self.sinks),
                outputs: &self.outputs,
                environment: &|name| std::env::var(name).ok(),
                hostname: &self.hostname,
            },
            token_buckets: &self.buckets,
            store: &self.store,
            before,
            now: Instant::now(),
        };
        let snapshot = Snapshot::compile(&findings, bootstrap, &with);
        for found in findings.unsupported() {
            warn!("{found}");
        }
        snapshot.ok_or_else(|| ConfigurationError::of(&findings))
    }
}

/// Says whether the configuration could be run, without running it.
///
/// # Errors
/// All of its faults.
pub fn validate(source: &Source) -> Result<(), StartError> {
    let (bootstrap, warnings) = source.read()?;
    for warning in warnings {
        warn!("{warning}");
    }
    let failed = |what| move |source| StartError::Resource { what, source };
    let (sinks, _writer) =
        Sinks::start(access_log::FLUSH_INTERVAL).map_err(failed("the access log"))?;
    let store = Arc::new(Store::new(stats_config(&bootstrap.bootstrap)?));
    admin_address(&bootstrap.bootstrap)?;
    Compiler::new(&bootstrap, sinks, store)?.compile(&bootstrap, &[])?;
    Ok(())
}

pub(super) fn stats_config(bootstrap: &Bootstrap) -> Result<StatsConfig, ConfigurationError> {
    let Some(message) = &bootstrap.stats_config else {
        return Ok(StatsConfig::default());
    };
    let findings = Findings::default();
    StatsConfig::compile(&findings.at("stats_config"), message)
        .ok_or_else(|| ConfigurationError::of(&findings))
}

pub(super) fn admin_address(
    bootstrap: &Bootstrap,
) -> Result<Option<SocketAddr>, ConfigurationError> {
    let Some(address) = bootstrap
        .admin
        .as_ref()
        .and_then(|admin| admin.address.as_ref())
    else {
        return Ok(None);
    };
    let findings = Findings::default();
    match socket_address(&findings.at("admin.address"), address) {
        Some(address) => Ok(Some(address)),
        None => Err(ConfigurationError::of(&findings)),
    }
}
