//! The process, from its configuration to its end.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use fairlead_api::mesh_config::config_map;
use fairlead_runtime::{
    drain,
    readiness::Readiness,
    server::{BindError, bind, serve},
    signal::Termination,
};
use kube::Api;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use crate::{
    api_server::{self, ConnectError},
    certificate::Keeper,
    config::Config,
    events::Events,
    metrics::Metrics,
    server::{self, Certificate, Injector},
    settings::NativeSidecar,
    surroundings::{Mesh, Namespaces, Nodes, Surroundings, mesh},
};

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// No way to the API server.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Signals cannot be received.
    #[error("listen for SIGTERM")]
    Signal(#[source] io::Error),
}

/// Serves until SIGTERM, then drains.
///
/// # Errors
/// Something that is needed from the start is missing. What may come later is waited for.
pub async fn run(config: Config) -> Result<(), StartError> {
    let mut termination = Termination::listen().map_err(StartError::Signal)?;
    let https = bind_any("the HTTPS pages", config.https_port).await?;
    let plain = bind_any("the metrics and health pages", config.metrics_port).await?;
    let client = api_server::client().await?;

    let readiness = Readiness::default();
    let version = readiness.gate("API server version");
    let mesh_config = readiness.gate("mesh configuration");
    let namespaces_listed = readiness.gate("namespaces");
    let trusted = readiness.gate("API server trusts the certificate");
    let (metrics, registry) = Metrics::of_revision(&config.settings.revision);
    let certificate = Certificate::default();
    let (minor, api_server) = watch::channel(None);
    let (signal, watch) = drain::channel();

    let (events, publish) = Events::new(
        client.clone(),
        &config.instance,
        config.settings.events,
        &config.settings.revision,
        metrics.clone(),
    );
    let surroundings = Surroundings {
        mesh: Mesh::default(),
        namespaces: Namespaces::new(client.clone()),
        nodes: Nodes::default(),
        api_server,
    };
    let follow_mesh = mesh::Follower {
        maps: Api::namespaced(client.clone(), &config.names.namespace),
        name: config_map(&config.settings.revision),
        mesh: surroundings.mesh.clone(),
        gate: mesh_config,
        metrics: metrics.clone(),
        events: events.clone(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(publish);
    tasks.spawn(follow_mesh.run());
    tasks.spawn(surroundings.namespaces.clone().follow(namespaces_listed));
    // Nothing else depends on the nodes.
    if config.settings.native_sidecar == NativeSidecar::Auto {
        let gate = readiness.gate("nodes");
        tasks.spawn(surroundings.nodes.clone().follow(client.clone(), gate));
    }
    tasks.spawn(api_server::follow_version(client.clone(), minor, version));
    let keeper = Keeper::new(
        client,
        config.names,
        config.origin,
        certificate.clone(),
        trusted,
        metrics.clone(),
    );
    tasks.spawn(keeper.run());
    let injector = Injector::new(config.settings, surroundings, metrics, events);
    let (leaving, asked_to_leave) = watch::channel(false);
    let pages = server::router(injector, readiness.clone(), asked_to_leave);
    tokio::spawn(server::serve(
        https,
        server::tls_config(certificate),
        pages,
        watch.clone(),
        server::CONNECTIONS,
    ));
    let plain_pages = server::plain_router(readiness, registry);
    tokio::spawn(serve(plain, plain_pages, watch));
    info!(
        https = config.https_port,
        plain = config.metrics_port,
        "serving"
    );

    let name = termination.received().await;
    // Kubernetes takes a pod that ends out of the Service by itself, but not at once: until every
    // node knows, calls arrive as before. Readiness stays, because where no other replica is ready
    // the nodes go on using one that ends as long as it says that it serves. Meanwhile those that
    // keep connections are asked to part, so that what is closed at last has long been idle.
    leaving.send_replace(true);
    info!(signal = name, propagation = ?config.propagation, "ending: serve until every node knows");
    tokio::select! {
        () = sleep(config.propagation) => {}
        name = termination.received() => info!(signal = name, "ending at once"),
    }
    tasks.abort_all();
    if timeout(config.drain, signal.drain()).await.is_err() {
        warn!(drain = ?config.drain, "closed connections that did not end in time");
    }
    info!("ended");
    Ok(())
}

/// Takes a port on every address of both families, or of IPv4 where the kernel has no IPv6.
async fn bind_any(purpose: &'static str, port: u16) -> Result<TcpListener, BindError> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match bind(purpose, both).await {
        Err(BindError::Other { .. }) => bind(purpose, (Ipv4Addr::UNSPECIFIED, port).into()).await,
        bound => bound,
    }
}
