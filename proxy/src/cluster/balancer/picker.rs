//! The choice among endpoints that are equally good: in turn, by activity, or at random.

use std::{sync::Arc, time::Instant};

use super::{Choice, edf::Edf};
use crate::cluster::{
    endpoint::Endpoint,
    policy::{Policy, SlowStart},
};

/// How often turns go on before others than excluded endpoints are looked for.
const TURNS: usize = 3;

/// Endpoints that are equally good.
#[derive(Debug)]
pub(super) struct Picker {
    endpoints: Box<[Arc<Endpoint>]>,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// In turn.
    Rotation(usize),
    /// In turn, by weight.
    Weighted(Edf),
    /// The least active of some.
    LeastOf(u32),
    /// The least active of all.
    LeastOfAll,
    /// Any.
    Random,
}

impl Picker {
    pub(super) fn new(
        policy: &Policy,
        endpoints: Vec<Arc<Endpoint>>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let unequal = unequal(policy, &endpoints, now);
        let way = match policy {
            Policy::LeastRequest(least) if least.full_scan => Way::LeastOfAll,
            Policy::RoundRobin { .. } | Policy::LeastRequest(_) if unequal => {
                let weights = endpoints.iter().map(|one| weight(policy, one, now));
                Way::Weighted(Edf::new(weights, rng))
            }
            Policy::LeastRequest(least) => Way::LeastOf(least.choice_count),
            Policy::RoundRobin { .. } => Way::Rotation(rng.usize(..endpoints.len().max(1))),
            _ => Way::Random,
        };
        Self {
            endpoints: endpoints.into(),
            way,
        }
    }

    /// The endpoint whose turn it is; an excluded one only if there is no other.
    pub(super) fn choose(
        &mut self,
        policy: &Policy,
        choice: &Choice<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<&Arc<Endpoint>> {
        let mut last = 0;
        for _ in 0..TURNS.min(self.endpoints.len()) {
            last = self.next(policy, choice.now, rng)?;
            if !(choice.excluded)(&self.endpoints[last]) {
                return self.endpoints.get(last);
            }
        }
        // Whoever follows the last; each is looked at once.
        let (before, from) = self.endpoints.split_at_checked(last)?;
        from.iter()
            .chain(before)
            .find(|one| !(choice.excluded)(one))
            .or_else(|| from.first())
    }

    fn next(&mut self, policy: &Policy, now: Instant, rng: &mut fastrand::Rng) -> Option<usize> {
        let endpoints = &self.endpoints;
        let number = endpoints.len();
        let active = |index: usize| endpoints[index].state().active();
        match &mut self.way {
            Way::Rotation(next) => {
                let this = *next % number;
                *next = this + 1;
                Some(this)
            }
            Way::Weighted(turns) => turns.next(|index| weight(policy, &endpoints[index], now)),
            Way::LeastOf(choices) => {
                let candidates = (0..*choices).map(|_| rng.usize(..number));
                candidates.min_by_key(|index| active(*index))
            }
            Way::LeastOfAll => {
                // Of several with equally little, the first from anywhere on.
                let start = rng.usize(..number);
                let all = (start..number).chain(0..start);
                all.min_by_key(|index| active(*index))
            }
            Way::Random => Some(rng.usize(..number)),
        }
    }
}

/// Whether endpoints differ in what they are to get.
fn unequal(policy: &Policy, endpoints: &[Arc<Endpoint>], now: Instant) -> bool {
    let first = endpoints.first().map(|one| one.attributes.weight);
    let weights = endpoints.iter().map(|one| Some(one.attributes.weight));
    let slow_start = slow_start(policy);
    let is_new = |one: &Arc<Endpoint>| {
        slow_start.is_some_and(|slow_start| one.state().age(now) < slow_start.window)
    };
    weights.into_iter().any(|weight| weight != first) || endpoints.iter().any(is_new)
}

fn slow_start(policy: &Policy) -> Option<&SlowStart> {
    match policy {
        Policy::RoundRobin { slow_start } => slow_start.as_deref(),
        Policy::LeastRequest(least) => least.slow_start.as_deref(),
        _ => None,
    }
}

/// What an endpoint is to get by now.
fn weight(policy: &Policy, endpoint: &Endpoint, now: Instant) -> f64 {
    let mut weight = f64::from(endpoint.attributes.weight);
    if let Policy::LeastRequest(least) = policy {
        let active = f64::from(endpoint.state().active()) + 1.0;
        // One is what is mostly asked for, and needs no power.
        weight /= if least.active_request_bias == 1.0 {
            active
        } else {
            active.powf(least.active_request_bias)
        };
    }
    if let Some(slow_start) = slow_start(policy) {
        weight *= slow_start.factor(endpoint.state().age(now));
    }
    weight
}

impl SlowStart {
    /// The part of its share that an endpoint of this age gets.
    pub(super) fn factor(&self, age: std::time::Duration) -> f64 {
        if age >= self.window {
            return 1.0;
        }
        let age = age.as_secs_f64().max(0.001);
        let time = (age / self.window.as_secs_f64()).min(1.0);
        let grown = if self.aggression == 1.0 {
            time
        } else {
            time.powf(1.0 / self.aggression)
        };
        grown.max(self.min_weight)
    }
}
