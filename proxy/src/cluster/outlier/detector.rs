//! Who is ejected, and for how long.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Kind, OutlierConfig, monitor::Sample};
use crate::cluster::{
    endpoint::{Endpoint, HealthFlag},
    endpoint_set::EndpointSet,
};

/// What was found or done; to be counted and logged.
#[derive(Clone, Debug)]
pub enum Event {
    /// An endpoint is an outlier.
    Detected(Arc<Endpoint>, Kind),
    /// It is ejected, for the so-manieth time.
    Ejected(Arc<Endpoint>, Kind, u32),
    /// By chance, as configured, it is not.
    NotEnforced(Arc<Endpoint>, Kind),
    /// It is not, because too many are already.
    Overflow(Arc<Endpoint>, Kind),
    /// It is used again.
    Unejected(Arc<Endpoint>),
}

impl Event {
    /// The counters that grow, of `outlier_detection.`.
    pub fn counters(&self) -> impl Iterator<Item = &'static str> {
        let total = |kind: &Kind| {
            let counted = matches!(kind, Kind::Consecutive5xx | Kind::SuccessRate);
            counted.then_some("ejections_total")
        };
        let counters = match self {
            Self::Detected(_, kind) => {
                let older = match kind {
                    Kind::Consecutive5xx => Some("ejections_consecutive_5xx"),
                    Kind::SuccessRate => Some("ejections_success_rate"),
                    _ => None,
                };
                [Some(kind.detected_name()), older, None]
            }
            Self::Ejected(_, kind, _) => [
                Some("ejections_enforced_total"),
                Some(kind.enforced_name()),
                total(kind),
            ],
            Self::NotEnforced(_, kind) => [total(kind), None, None],
            Self::Overflow(..) => [Some("ejections_overflow"), None, None],
            Self::Unejected(_) => [None; 3],
        };
        counters.into_iter().flatten()
    }
}

/// Who is ejected, and for how long. It has one owner, for all workers.
#[derive(Debug)]
pub struct Detector {
    config: Arc<OutlierConfig>,
    watched: BTreeMap<SocketAddr, Watched>,
    ejected: u32,
}

/// One endpoint.
#[derive(Debug)]
struct Watched {
    endpoint: Arc<Endpoint>,
    /// Since when it is ejected.
    ejected: Option<Instant>,
    /// How much longer it is ejected, by chance.
    jitter: Duration,
    /// How many times as long as the first time; falls while it is healthy.
    multiplier: u32,
    /// How often it was ejected.
    ejections: u32,
}

impl Detector {
    /// A detector of no endpoints.
    pub fn new(config: Arc<OutlierConfig>) -> Self {
        Self {
            config,
            watched: BTreeMap::new(),
            ejected: 0,
        }
    }

    /// When the next sweep is due after the last one.
    pub fn interval(&self) -> Duration {
        self.config.interval
    }

    /// The endpoints that are ejected: the gauge `ejections_active`.
    pub fn ejections_active(&self) -> u32 {
        self.ejected
    }

    /// Watches the endpoints of this set from now on, and no others.
    pub fn update(&mut self, set: &EndpointSet) {
        let mut before = std::mem::take(&mut self.watched);
        self.ejected = 0;
        for endpoint in set.endpoints() {
            let known = before.remove(&endpoint.address);
            let known = known.filter(|known| known.endpoint.is_same(endpoint));
            let watched = match known {
                Some(known) => Watched {
                    endpoint: Arc::clone(endpoint),
                    ..known
                },
                None => Watched::new(endpoint),
            };
            self.ejected += u32::from(watched.ejected.is_some());
            self.watched.insert(endpoint.address, watched);
        }
    }

    /// An endpoint's monitor told that it fails.
    pub fn failing(
        &mut self,
        endpoint: &Endpoint,
        kind: Kind,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let known = self.watched.get(&endpoint.address);
        let Some(known) = known.filter(|known| known.endpoint.is_same(endpoint)) else {
            // It went meanwhile.
            return events;
        };
        if known.ejected.is_none() {
            self.eject(endpoint.address, kind, now, rng, &mut events);
            endpoint.state().monitor().restart(kind);
        }
        events
    }

    /// An active health check of the endpoint succeeded.
    pub fn checked(&mut self, endpoint: &Endpoint) -> Option<Event> {
        let failed = endpoint.state().has(HealthFlag::FailedActiveHc);
        if failed || !self.config.successful_active_health_check_uneject_host {
            return None;
        }
        let known = self.watched.get_mut(&endpoint.address)?;
        let ejected = known.ejected.is_some() && known.endpoint.is_same(endpoint);
        ejected.then(|| {
            self.ejected -= 1;
            known.uneject()
        })
    }

    /// Looks at all endpoints: whose time is over, and who fails more often than it should.
    pub fn sweep(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Vec<Event> {
        let mut events = Vec::new();
        for watched in self.watched.values_mut() {
            let Some(since) = watched.ejected else {
                watched.multiplier = watched.multiplier.saturating_sub(1);
                continue;
            };
            let base = self.config.base_ejection_time;
            let time = base.saturating_mul(watched.multiplier);
            let time = time.min(self.config.max_ejection_time);
            let time = time.saturating_add(watched.jitter);
            if now.saturating_duration_since(since) >= time {
                self.ejected -= 1;
                events.push(watched.uneject());
            }
        }
        let samples: Vec<_> = self
            .watched
            .iter()
            .map(|(address, watched)| {
                let sample = watched.endpoint.state().monitor().take();
                (*address, watched.ejected.is_some(), sample)
            })
            .collect();
        for (origin, kinds) in [
            (0, [Kind::SuccessRate, Kind::FailurePercentage]),
            (
                1,
                [
                    Kind::LocalOriginSuccessRate,
                    Kind::LocalOriginFailurePercentage,
                ],
            ),
        ] {
            let samples = samples.iter().filter(|(_, ejected, _)| !ejected);
            let samples: Vec<_> = samples
                .map(|(address, _, sample)| (*address, sample[origin]))
                .filter(|(_, sample)| sample.all > 0)
                .collect();
            for (address, kind) in outliers(&self.config, &samples, kinds) {
                let ejected = self.watched.get(&address);
                if ejected.is_some_and(|watched| watched.ejected.is_none()) {
                    self.eject(address, kind, now, rng, &mut events);
                }
            }
        }
        events
    }

    fn eject(
        &mut self,
        address: SocketAddr,
        kind: Kind,
        now: Instant,
        rng: &mut fastrand::Rng,
        events: &mut Vec<Event>,
    ) {
        let number = self.watched.len() as u64;
        let Some(watched) = self.watched.get_mut(&address) else {
            return;
        };
        let config = &*self.config;
        let endpoint = Arc::clone(&watched.endpoint);
        events.push(Event::Detected(Arc::clone(&endpoint), kind));
        let percent = u64::from(config.max_ejection_percent);
        let within = (u64::from(self.ejected) + 1) * 100 <= percent * number;
        let allowed = within || (config.always_eject_one_host && self.ejected == 0);
        if !allowed {
            events.push(Event::Overflow(endpoint, kind));
            return;
        }
        if rng.u32(..100) >= config.enforcing(kind) {
            events.push(Event::NotEnforced(endpoint, kind));
            return;
        }
        self.ejected += 1;
        watched.eject(config, now, rng);
        events.push(Event::Ejected(endpoint, kind, watched.ejections));
    }
}

impl Watched {
    fn new(endpoint: &Arc<Endpoint>) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            ejected: None,
            jitter: Duration::ZERO,
            multiplier: 0,
            ejections: 0,
        }
    }

    fn eject(&mut self, config: &OutlierConfig, now: Instant, rng: &mut fastrand::Rng) {
        self.ejected = Some(now);
        self.ejections += 1;
        let most = config.max_ejection_time_jitter.as_millis();
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        self.jitter = Duration::from_millis(rng.u64(..=most));
        let (base, longest) = (config.base_ejection_time, config.max_ejection_time);
        if base.saturating_mul(self.multiplier) < longest.saturating_add(base) {
            self.multiplier += 1;
        }
        let state = self.endpoint.state();
        state.set(HealthFlag::FailedOutlierCheck, true);
    }

    fn uneject(&mut self) -> Event {
        self.ejected = None;
        let state = self.endpoint.state();
        for kind in Kind::ALL {
            state.monitor().restart(kind);
        }
        state.set(HealthFlag::FailedOutlierCheck, false);
        Event::Unejected(Arc::clone(&self.endpoint))
    }
}

/// The endpoints that succeed less often than the others, or fail too often.
fn outliers(
    config: &OutlierConfig,
    samples: &[(SocketAddr, Sample)],
    [rate_kind, failure_kind]: [Kind; 2],
) -> Vec<(SocketAddr, Kind)> {
    let of = |volume: u32| {
        let enough = samples
            .iter()
            .filter(move |(_, sample)| sample.all >= u64::from(volume));
        enough.map(|(address, sample)| (*address, sample.success_rate()))
    };
    let mut outliers = Vec::new();
    let rates: Vec<_> = of(config.success_rate_request_volume).collect();
    if !rates.is_empty() && rates.len() as u64 >= u64::from(config.success_rate_minimum_hosts) {
        let threshold = threshold(&rates, f64::from(config.success_rate_stdev_factor) / 1000.0);
        let low = rates.iter().filter(|(_, rate)| *rate < threshold);
        outliers.extend(low.map(|(address, _)| (*address, rate_kind)));
    }
    let rates: Vec<_> = of(config.failure_percentage_request_volume).collect();
    if !rates.is_empty() && rates.len() as u64 >= u64::from(config.failure_percentage_minimum_hosts)
    {
        let most = f64::from(config.failure_percentage_threshold);
        let high = rates.iter().filter(|(_, rate)| 100.0 - rate >= most);
        outliers.extend(high.map(|(address, _)| (*address, failure_kind)));
    }
    outliers
}

/// The mean, less so many standard deviations.
fn threshold(rates: &[(SocketAddr, f64)], factor: f64) -> f64 {
    let number = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / number;
    let squares = rates.iter().map(|(_, rate)| (rate - mean).powi(2));
    let deviation = (squares.sum::<f64>() / number).sqrt();
    mean - factor * deviation
}
