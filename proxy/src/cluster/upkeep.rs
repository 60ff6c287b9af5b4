//! What goes on beside the traffic of a cluster: its names are asked for, its file is read, its endpoints
//! are checked and left alone.

use std::{
    collections::HashMap,
    future::pending,
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use fairlead_xds::envoy::config::endpoint::v3::ClusterLoadAssignment;
use tokio::{
    select,
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{interval, sleep},
};
use tracing::{info, warn};

use super::{
    assignment::{Address, Assignment},
    config::ClusterConfig,
    discovery::Discovery,
    endpoint::{Endpoint, HealthFlag},
    endpoint_set::{EndpointSet, Making},
    outlier::{Detector, Event},
    running::{Cluster, Failure},
};
use crate::{
    compile::Findings,
    configuration::{self, Stamp},
    connect::{self, connect_with},
    direction::Direction,
    dns::{resolver::Resolver, settings::Settings as DnsSettings},
    health_check::{
        probe::{Probe, Stream as ProbeStream, Target},
        progress::{Outcome, Progress},
        settings::Settings as CheckSettings,
    },
    stats::{Set as _, Store},
    tls,
};

use super::transport::TransportSocket;

/// Between two looks at a file.
const POLL: Duration = Duration::from_secs(1);

/// A cluster with what goes on beside it; that ends when this is dropped.
#[derive(Debug)]
pub struct Kept {
    /// The cluster.
    pub cluster: Arc<Cluster>,
    warm: watch::Receiver<bool>,
    tasks: Vec<AbortHandle>,
}

impl Kept {
    /// Returns when its endpoints are known for the first time, or could not be found out.
    pub async fn warm(&self) {
        // A cluster that is gone is as warm as it will be.
        let _ = self.warm.clone().wait_for(|warm| *warm).await;
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts a cluster; `before` is one of the same name whose endpoints are known.
pub fn start(config: &Arc<ClusterConfig>, before: Option<&Cluster>, store: &Store) -> Kept {
    let (failing, failures) = match &config.outlier {
        Some(_) => {
            let (failing, failures) = mpsc::unbounded_channel();
            (Some(failing), Some(failures))
        }
        None => (None, None),
    };
    let first = match &config.discovery {
        Discovery::Static(assignment) => assignment.clone(),
        _ => Assignment::default(),
    };
    let before = before.map(Cluster::endpoints);
    let making = making(config);
    let set = EndpointSet::update(before.as_deref(), &first, |_| Vec::new(), making);
    let cluster = Arc::new(Cluster::new(config.clone(), set, failing, store));
    let (warm, warmed) = watch::channel(!matches!(
        config.discovery,
        Discovery::StrictDns(_) | Discovery::LogicalDns(_)
    ));
    let mut tasks = Vec::new();
    let mut spawn = |task: AbortHandle| tasks.push(task);
    match &config.discovery {
        Discovery::Static(_) | Discovery::OriginalDst { .. } => {}
        Discovery::StrictDns(both) | Discovery::LogicalDns(both) => {
            let logical = matches!(config.discovery, Discovery::LogicalDns(_));
            let names = Names {
                cluster: cluster.clone(),
                assignment: both.0.clone(),
                settings: both.1.clone(),
                logical,
                warm,
            };
            spawn(tokio::spawn(names.keep()).abort_handle());
        }
        Discovery::File { path, name, .. } => {
            let file = File {
                cluster: cluster.clone(),
                path: path.as_path().into(),
                name: name.clone(),
            };
            let seen = file.look(None);
            spawn(tokio::spawn(file.keep(seen)).abort_handle());
        }
    }
    if !config.health_checks.is_empty() {
        spawn(
            tokio::spawn(check(
                cluster.clone(),
                store.health_check(&config.stat_name),
            ))
            .abort_handle(),
        );
    }
    if let (Some(outlier), Some(failures)) = (&config.outlier, failures) {
        let detector = Detector::new(outlier.clone());
        let counted = store.outlier_detection(&config.stat_name);
        spawn(tokio::spawn(detect(cluster.clone(), detector, failures, counted)).abort_handle());
    }
    Kept {
        cluster,
        warm: warmed,
        tasks,
    }
}

fn making(config: &ClusterConfig) -> Making {
    Making {
        active_health_checks: !config.health_checks.is_empty(),
        now: Instant::now(),
    }
}

/// The names of a cluster.
struct Names {
    cluster: Arc<Cluster>,
    assignment: Assignment,
    settings: DnsSettings,
    logical: bool,
    warm: watch::Sender<bool>,
}

impl Names {
    async fn keep(self) {
        let name = self.cluster.config.name.clone();
        let resolver = match Resolver::new(&self.settings.servers, self.settings.family) {
            Ok(resolver) => resolver,
            Err(error) => {
                warn!(
                    cluster = &*name,
                    "{error}: {:?}",
                    std::error::Error::source(&error)
                );
                return pending().await;
            }
        };
        let mut random = fastrand::Rng::new();
        let mut known: HashMap<Box<str>, Vec<IpAddr>> = HashMap::new();
        let mut failures = 0;
        loop {
            let counted = self.cluster.statistics.updates.set();
            let mut changed = false;
            let mut failed = false;
            let mut ttl = None;
            for asked in self.names() {
                counted.update_attempt.increment();
                match resolver.resolve(asked).await {
                    Ok(answer) => {
                        counted.update_success.increment();
                        ttl = ttl.into_iter().chain(answer.ttl).min();
                        let mut addresses = answer.addresses;
                        if self.logical {
                            addresses.truncate(1);
                        }
                        // The order is the servers', and says nothing.
                        addresses.sort();
                        let before = known.get(asked).map(Vec::as_slice).unwrap_or_default();
                        if before == addresses {
                            counted.update_no_rebuild.increment();
                        } else {
                            changed = true;
                            known.insert(asked.into(), addresses);
                        }
                    }
                    Err(error) => {
                        counted.update_failure.increment();
                        failed = true;
                        warn!(cluster = &*name, "{error}: the last answer stays");
                    }
                }
            }
            if changed {
                self.assign(&known);
            }
            self.warm.send_replace(true);
            failures = if failed { failures + 1 } else { 0 };
            let refresh = &self.settings.refresh;
            sleep(if failed {
                refresh.after_failure(failures, &mut random)
            } else {
                refresh.after_answer(ttl, &mut random)
            })
            .await;
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let endpoints = self.assignment.localities.iter();
        let endpoints = endpoints.flat_map(|locality| &locality.endpoints);
        endpoints.filter_map(|endpoint| match &endpoint.address {
            Address::Name(name, _) => Some(&**name),
            Address::Ip(_) => None,
        })
    }

    fn assign(&self, known: &HashMap<Box<str>, Vec<IpAddr>>) {
        let before = self.cluster.endpoints();
        let resolve = |name: &str| known.get(name).cloned().unwrap_or_default();
        let making = making(&self.cluster.config);
        let set = EndpointSet::update(Some(&before), &self.assignment, resolve, making);
        self.cluster.assign(set);
    }
}

/// The file that the endpoints of a cluster stand in.
struct File {
    cluster: Arc<Cluster>,
    path: Arc<Path>,
    name: Box<str>,
}

impl File {
    async fn keep(self, mut seen: Stamp) {
        let mut looks = interval(POLL);
        loop {
            looks.tick().await;
            seen = self.look(Some(&seen));
        }
    }

    /// Takes what stands in the file, if that is another one than was seen.
    fn look(&self, seen: Option<&Stamp>) -> Stamp {
        let stamp = configuration::stamp(&self.path);
        if seen == Some(&stamp) {
            return stamp;
        }
        let counted = self.cluster.statistics.updates.set();
        counted.update_attempt.increment();
        match self.read() {
            Ok(assignment) => {
                counted.update_success.increment();
                let before = self.cluster.endpoints();
                let making = making(&self.cluster.config);
                let none = |_: &str| Vec::new();
                let set = EndpointSet::update(Some(&before), &assignment, none, making);
                self.cluster.assign(set);
            }
            Err(error) => {
                counted.update_failure.increment();
                let (cluster, path) = (&*self.cluster.config.name, self.path.display());
                warn!(
                    cluster,
                    "read the endpoints in {path}: {error}: the last ones stay"
                );
            }
        }
        stamp
    }

    fn read(&self) -> Result<Assignment, String> {
        let text = std::fs::read(&self.path).map_err(|error| error.to_string())?;
        let all = configuration::resources::<ClusterLoadAssignment>(&self.path, &text)?;
        let own = all.iter().find(|one| one.cluster_name == *self.name);
        let own = own.ok_or_else(|| format!("there is no assignment '{}'", self.name))?;
        let findings = Findings::default();
        let compiled = Assignment::compile(&findings.at("assignment"), own);
        compiled.ok_or_else(|| {
            let faults: Vec<_> = findings.faults().iter().map(ToString::to_string).collect();
            faults.join("; ")
        })
    }
}

type HealthStatistics = Arc<
    crate::stats::Scope<crate::stats::Shared<crate::stats::sets::cluster::HealthCheckStatistics>>,
>;

/// Checks the endpoints of a cluster, each on its own.
async fn check(cluster: Arc<Cluster>, counted: HealthStatistics) {
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
    let tcp = connect_with(upstream, &config.connection, settings.time_out)
        .await
        .map_err(io::Error::other)?;
    let (socket, _) = config.transport.of(endpoint);
    let TransportSocket::Tls(context) = socket else {
        return Ok(Box::new(tcp));
    };
    let alpn: Vec<Vec<u8>> = settings
        .alpn
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let local = tcp.local_addr()?;
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

type OutlierStatistics = Arc<
    crate::stats::Scope<
        crate::stats::Shared<crate::stats::sets::cluster::OutlierDetectionStatistics>,
    >,
>;

/// Ejects endpoints that fail, and takes them back.
async fn detect(
    cluster: Arc<Cluster>,
    mut detector: Detector,
    mut failures: mpsc::UnboundedReceiver<Failure>,
    counted: OutlierStatistics,
) {
    let mut sweeps = interval(detector.interval());
    let mut random = fastrand::Rng::new();
    loop {
        let events = select! {
            failure = failures.recv() => {
                let Some(Failure { endpoint, kind }) = failure else {
                    return;
                };
                detector.update(&cluster.endpoints());
                detector
                    .failing(&endpoint, kind, Instant::now(), &mut random)
                    .into_iter()
                    .collect()
            }
            _ = sweeps.tick() => {
                detector.update(&cluster.endpoints());
                detector.sweep(Instant::now(), &mut random)
            }
        };
        count(&cluster, &detector, &events, &counted);
    }
}

fn count(cluster: &Cluster, detector: &Detector, events: &[Event], counted: &OutlierStatistics) {
    for event in events {
        for name in event.counters() {
            counted.set().increment(name);
        }
        info!(
            cluster = &*cluster.config.name,
            "outlier detection: {event:?}"
        );
    }
    if !events.is_empty() {
        cluster.census();
        cluster.endpoint_failed();
    }
    let active = u64::from(detector.ejections_active());
    counted.set().ejections_active.set(active);
}
