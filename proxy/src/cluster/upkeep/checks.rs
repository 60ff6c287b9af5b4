//! The active health checks of a cluster's endpoints.

use std::{collections::HashMap, io, net::SocketAddr, pin::pin, sync::Arc, time::Instant};

use tokio::{
    io::AsyncWriteExt,
    task::{AbortHandle, JoinSet},
    time::sleep,
};
use tracing::{info, warn};

use crate::{
    cluster::{
        config::ClusterConfig,
        endpoint::{Endpoint, HealthFlag},
        running::Cluster,
        transport::TransportSocket,
    },
    connect::{self, connect_with},
    direction::Direction,
    health_check::{
        probe::{Probe, Stream as ProbeStream, Target},
        progress::{Outcome, Progress},
        settings::Settings as CheckSettings,
    },
    stats::{Scope, Shared, sets::cluster::HealthCheckStatistics},
    tls,
};

type HealthStatistics = Arc<Scope<Shared<HealthCheckStatistics>>>;

/// Checks the endpoints of a cluster, each on its own.
pub(super) async fn check(cluster: Arc<Cluster>, counted: HealthStatistics) {
    let mut checked: HashMap<SocketAddr, (Arc<Endpoint>, AbortHandle)> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        // Before they are looked at, so that no other assignment is missed.
        let mut assigned = pin!(cluster.assigned());
        let waits = futures_util::poll!(&mut assigned).is_pending();
        let endpoints = cluster.endpoints();
        checked.retain(|address, (of, task)| {
            let stays = endpoints.find(*address).is_some_and(|now| now.is_same(of));
            if !stays {
                task.abort();
            }
            stays
        });
        for endpoint in endpoints.endpoints() {
            let target = endpoint.attributes.health_check.as_ref();
            if target.is_some_and(|target| target.disabled) {
                continue;
            }
            checked.entry(endpoint.address).or_insert_with(|| {
                let checks = check_one(cluster.clone(), endpoint.clone(), counted.clone());
                (endpoint.clone(), tasks.spawn(checks))
            });
        }
        // Of those that were ended.
        while tasks.try_join_next().is_some() {}
        if waits {
            assigned.await;
        }
    }
}

async fn check_one(cluster: Arc<Cluster>, endpoint: Arc<Endpoint>, counted: HealthStatistics) {
    // Envoy, too, takes one kind of check for a cluster.
    let Some(settings) = cluster.config.health_checks.first() else {
        return;
    };
    let mut random = fastrand::Rng::new();
    let mut progress = Progress::new();
    let mut probe = Probe::default();
    let mut address = endpoint.health_check_address();
    if let Some(port) = settings.port {
        address.set_port(port);
    }
    let hostname = endpoint.attributes.health_check.as_ref();
    let hostname = hostname.map(|target| &*target.hostname).unwrap_or_default();
    let host = if hostname.is_empty() {
        &*cluster.config.name
    } else {
        hostname
    };
    sleep(settings.pauses.before(&mut random)).await;
    loop {
        counted.set().attempt.increment();
        let connect = || dial(&cluster.config, &endpoint, address, settings);
        let finding = probe.ask(settings, Target { address, host }, connect).await;
        let traffic = cluster.is_used();
        let conclusion = progress.conclude(settings, finding.outcome, traffic, &mut random);
        let counts = counted.set();
        match finding.outcome {
            Outcome::Passed { .. } => counts.success.increment(),
            Outcome::Unreachable { .. } => {
                counts.failure.increment();
                counts.network_failure.increment();
            }
            Outcome::Denied | Outcome::Retriable => counts.failure.increment(),
        }
        let state = endpoint.state();
        state.set(HealthFlag::PendingActiveHc, false);
        state.set(HealthFlag::FailedActiveHc, !conclusion.healthy);
        state.set(HealthFlag::DegradedActiveHc, conclusion.degraded);
        let timed_out = matches!(finding.outcome, Outcome::Unreachable { timed_out: true });
        state.set(HealthFlag::ActiveHcTimeout, timed_out);
        if let Outcome::Passed { .. } = finding.outcome {
            cluster.checked(&endpoint);
        }
        if conclusion.changed {
            let name = &*cluster.config.name;
            if conclusion.healthy {
                state.begin_slow_start(Instant::now());
                info!(cluster = name, endpoint = %address, "healthy by its checks");
            } else {
                let words = finding.words.as_deref().unwrap_or_default();
                warn!(cluster = name, endpoint = %address, "unhealthy by its checks: {words}");
                cluster.endpoint_failed();
            }
        } else if settings.log_every_failure
            && let Some(words) = &finding.words
        {
            warn!(cluster = &*cluster.config.name, endpoint = %address, "check failed: {words}");
        }
        cluster.census();
        let healthy = cluster.endpoints();
        let healthy = healthy
            .endpoints()
            .filter(|one| !one.state().has(HealthFlag::FailedActiveHc));
        counts.healthy.set(healthy.count() as u64);
        sleep(conclusion.pause).await;
    }
}

/// A connection for a check: as for traffic, without what the traffic is counted by.
async fn dial(
    config: &ClusterConfig,
    endpoint: &Endpoint,
    address: SocketAddr,
    settings: &CheckSettings,
) -> io::Result<Box<dyn ProbeStream>> {
    let upstream = connect::Upstream {
        direction: Direction::Outbound,
        address,
        source: config.connection.source_for(address.ip()),
    };
    let mut tcp = connect_with(upstream, &config.connection, settings.time_out)
        .await
        .map_err(io::Error::other)?;
    let local = tcp.local_addr()?;
    let (mut socket, _) = config.transport.of(endpoint);
    while let TransportSocket::ProxyProtocol(both) = socket {
        let (header, inner) = &**both;
        tcp.write_all(&header.encode_own((local, address))).await?;
        socket = inner;
    }
    let TransportSocket::Tls(context) = socket else {
        return Ok(Box::new(tcp));
    };
    let alpn: Vec<Vec<u8>> = settings
        .alpn
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let host = &*endpoint.attributes.hostname;
    let what = tls::Connect {
        ends: tls::Ends {
            peer: address,
            local,
        },
        host: (!host.is_empty()).then_some(host),
        sni: None,
        alpn: (!alpn.is_empty()).then_some(&alpn[..]),
    };
    let (stream, _) = tls::connect(context, tcp, what, settings.time_out)
        .await
        .map_err(io::Error::other)?;
    Ok(Box::new(stream))
}

#[cfg(test)]
mod tests;
