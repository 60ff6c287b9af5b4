//! The life of a sidecar: a server that runs a bootstrap of its own making, and the ports that the
//! kubelet and Prometheus ask; started together or not at all, drained, and ended.

pub mod bootstrap;
mod sockets;

use std::{sync::Arc, time::Duration};

use axum::Router;
use fairlead_runtime::{drain, log, server as http};
use tokio::{net::TcpListener, time::timeout};
use tracing::info;

use self::{bootstrap::bootstrap, sockets::Sockets};
use crate::{
    access_log::FLUSH_INTERVAL,
    arguments::Ports,
    config::Config,
    configuration::Source,
    direction::Direction,
    health::{self, Answers},
    lifecycle::Stop,
    listener::ListenError,
    original_dst::Redirect,
    server::{self, Options, Server},
    telemetry::{Report, Telemetry},
};

/// How long answers of the health ports may go on at the end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Why the process could not start; nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// One of the ports for the kubelet and Prometheus.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// What carries traffic.
    #[error(transparent)]
    Server(#[from] server::StartError),
}

/// The running process.
pub struct Sidecar {
    answers: Arc<Answers>,
    server: Server,
    health: drain::Signal,
}

impl Sidecar {
    /// Takes all ports and starts all threads.
    ///
    /// # Errors
    /// Something could not be started, and nothing runs.
    pub async fn start(
        mut config: Config,
        log: Option<log::Control>,
        redirect: Arc<dyn Redirect>,
    ) -> Result<Self, StartError> {
        let sockets = Sockets::bind(&mut config.ports)?;
        let telemetry = Arc::new(Telemetry::new(config.workers.into()));
        let options = Options {
            source: Source {
                built_in: bootstrap(&config, sockets::is_ipv6_there()),
                ..Source::default()
            },
            concurrency: config.workers.into(),
            drain_time: config.proxy.termination_drain_duration,
            file_flush_interval: FLUSH_INTERVAL,
            telemetry: Some(telemetry.clone()),
        };
        let server = Server::start(options, log, redirect).await?;
        let bound = |direction: Direction| server.port(direction.listener());
        config.ports.outbound = bound(Direction::Outbound).unwrap_or(config.ports.outbound);
        config.ports.inbound = bound(Direction::Inbound).unwrap_or(config.ports.inbound);
        config.ports.admin = server.admin_port().unwrap_or(config.ports.admin);
        let store = server.store().clone();
        let report = Report::new(telemetry, &store, config.node.clone());
        store.provide(move || report.statistics());
        let answers = Arc::new(Answers {
            lifecycle: server.lifecycle().clone(),
            store,
            config,
        });
        let (health, ending) = drain::channel();
        for (listeners, router) in [
            (sockets.status, health::status(answers.clone())),
            (sockets.health, health::health(answers.clone())),
            (sockets.metrics, health::metrics(answers.clone())),
        ] {
            serve(listeners, &router, &ending);
        }
        Ok(Self {
            answers,
            server,
            health,
        })
    }

    /// The ports that it listens on.
    pub fn ports(&self) -> Ports {
        self.answers.config.ports
    }

    /// Runs until a signal or an operator ends it, and the drain is over.
    ///
    /// # Errors
    /// A worker is lost, or signals cannot be had.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let stop = match self.server.initialize().await {
            Ok(None) => self.carry().await,
            Ok(Some(stop)) => Ok(stop),
            Err(cause) => Err(cause),
        };
        self.server.end().await;
        // The last answers, to whoever asked for the end; what is left ends with the runtime.
        let _ = timeout(LAST_ANSWERS, self.health.drain()).await;
        info!("ended");
        stop.map(|_| ())
    }

    /// Carries traffic, and drains at the end.
    async fn carry(&mut self) -> anyhow::Result<Stop> {
        let config = &self.answers.config;
        info!(
            node = config.node.id(),
            workers = config.workers,
            outbound = config.ports.outbound,
            inbound = config.ports.inbound,
            "ready"
        );
        let stop = self.server.live().await;
        if let Ok(Stop::Gracefully) = stop {
            let at_most = config.proxy.termination_drain_duration;
            let until_idle = config.exit_on_zero_connections;
            self.server.drain(at_most, until_idle).await;
        }
        stop
    }
}

fn serve(listeners: Vec<TcpListener>, router: &Router, ending: &drain::Watch) {
    for listener in listeners {
        tokio::spawn(http::serve(listener, router.clone(), ending.clone()));
    }
}
