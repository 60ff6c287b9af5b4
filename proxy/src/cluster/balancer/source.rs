//! Endpoints of one priority and one health, by locality where localities have weights.

use std::{sync::Arc, time::Instant};

use super::{
    Choice,
    edf::Edf,
    group::{Locality, Member},
    hashing::{Hashed, Spread},
    picker::Picker,
};
use crate::cluster::{
    endpoint::{Endpoint, Health},
    policy::Policy,
};

/// Which endpoints of a priority are meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Those of any health: in panic.
    All,
    Healthy,
    Degraded,
}

/// Endpoints of one priority and one health.
#[derive(Debug)]
pub(super) enum Source {
    /// Any of them, in the policy's way.
    Flat(Picker),
    /// First a locality, by weight.
    Localities {
        turns: Edf,
        weights: Box<[f64]>,
        pickers: Box<[Picker]>,
    },
    /// By hash.
    Hashed(Hashed),
}

impl Kind {
    fn accepts(self, member: &Member) -> bool {
        match self {
            Self::All => true,
            Self::Healthy => member.health == Health::Healthy,
            Self::Degraded => member.health == Health::Degraded,
        }
    }
}

impl Source {
    pub(super) fn new(
        policy: &Policy,
        weighted: bool,
        localities: &[Locality],
        kind: Kind,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Self {
        let of = |locality: &Locality| -> Vec<Arc<Endpoint>> {
            let members = locality.members.iter();
            let members = members.filter(|member| kind.accepts(member));
            members.map(|member| Arc::clone(&member.endpoint)).collect()
        };
        if matches!(policy, Policy::RingHash(_) | Policy::Maglev(_)) {
            let weighted = weighted && localities.iter().any(|one| one.weight > 0.0);
            let shares = localities.iter().map(|locality| {
                let endpoints = of(locality);
                (weighted.then_some(locality.weight), endpoints)
            });
            return Self::Hashed(Hashed::new(policy, shares));
        }
        // In panic localities do not count either.
        if weighted && kind != Kind::All {
            let weights: Box<[f64]> = localities
                .iter()
                .map(|locality| effective_weight(locality, kind))
                .collect();
            if weights.iter().any(|weight| *weight > 0.0) {
                let pickers = localities
                    .iter()
                    .map(|locality| Picker::new(policy, of(locality), now, rng));
                return Self::Localities {
                    pickers: pickers.collect(),
                    turns: Edf::new(weights.iter().copied(), rng),
                    weights,
                };
            }
        }
        let endpoints = localities.iter().flat_map(of).collect();
        Self::Flat(Picker::new(policy, endpoints, now, rng))
    }

    /// How places are spread, of policies that hash.
    pub(super) fn spread(&self) -> Option<Spread> {
        match self {
            Self::Hashed(hashed) => Some(hashed.spread()),
            Self::Flat(_) | Self::Localities { .. } => None,
        }
    }

    pub(super) fn choose(
        &mut self,
        policy: &Policy,
        hash: u64,
        choice: &Choice<'_>,
        rng: &mut fastrand::Rng,
    ) -> Option<&Arc<Endpoint>> {
        match self {
            Self::Flat(picker) => picker.choose(policy, choice, rng),
            Self::Localities {
                turns,
                weights,
                pickers,
            } => {
                let locality = turns.next(|index| weights[index])?;
                pickers[locality].choose(policy, choice, rng)
            }
            Self::Hashed(hashed) => hashed.choose(hash, choice),
        }
    }
}

/// The share of a locality, less what it lacks of endpoints of this health.
fn effective_weight(locality: &Locality, kind: Kind) -> f64 {
    let counted = locality.members.iter().filter(|member| !member.excluded);
    let counted = counted.count();
    let able = locality.members.iter().filter(|one| kind.accepts(one));
    let able = able.count();
    if counted == 0 || able == 0 {
        return 0.0;
    }
    let factor = f64::from(locality.overprovisioning_factor) / 100.0;
    locality.weight * (factor * able as f64 / counted as f64).min(1.0)
}
