//! The choice by hash: what has the same hash gets the same endpoint, and few move when endpoints
//! come and go.

mod maglev;
mod murmur;
mod ring;

use std::sync::Arc;

use twox_hash::XxHash64;

use self::{maglev::Table, ring::Ring};
use super::Choice;
use crate::cluster::{
    endpoint::Endpoint,
    policy::{HashFunction, Hashing, Policy},
};

/// Endpoints by hash.
#[derive(Debug)]
pub(super) struct Hashed {
    endpoints: Box<[Arc<Endpoint>]>,
    /// The shares of the endpoints, which add up to 1.
    shares: Box<[f64]>,
    places: Places,
    balance_factor: u32,
}

/// How many places there are, and how many of them an endpoint has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Spread {
    /// All places.
    pub size: u64,
    /// Of the endpoint that has the fewest.
    pub fewest: u64,
    /// Of the endpoint that has the most.
    pub most: u64,
}

#[derive(Debug)]
enum Places {
    Ring(Ring),
    Table(Table),
}

impl Hashed {
    /// The endpoints of localities, which may have a share. The policy is one that hashes.
    pub(super) fn new(
        policy: &Policy,
        localities: impl Iterator<Item = (Option<f64>, Vec<Arc<Endpoint>>)>,
    ) -> Self {
        let localities: Vec<_> = localities.collect();
        let weight = |endpoint: &Arc<Endpoint>| f64::from(endpoint.attributes.weight);
        let mut endpoints = Vec::new();
        let mut shares = Vec::new();
        for (locality_weight, members) in localities {
            let sum: f64 = members.iter().map(weight).sum();
            for endpoint in members {
                let share = match locality_weight {
                    // Each locality has its weight, whatever that of its endpoints.
                    Some(locality_weight) => locality_weight * weight(&endpoint) / sum,
                    None => weight(&endpoint),
                };
                if share > 0.0 {
                    endpoints.push(endpoint);
                    shares.push(share);
                }
            }
        }
        let sum: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= sum);
        let hashing = match policy {
            Policy::RingHash(ring) => ring.hashing,
            Policy::Maglev(maglev) => maglev.hashing,
            _ => Hashing::default(),
        };
        let keys: Vec<_> = endpoints.iter().map(|one| key(one, hashing)).collect();
        let places = match policy {
            Policy::Maglev(maglev) => Places::Table(Table::new(&keys, &shares, maglev.table_size)),
            Policy::RingHash(ring) => Places::Ring(Ring::new(
                &keys,
                &shares,
                (ring.minimum_ring_size, ring.maximum_ring_size),
                ring.hash_function,
            )),
            _ => Places::Ring(Ring::default()),
        };
        Self {
            endpoints: endpoints.into(),
            shares: shares.into(),
            places,
            balance_factor: hashing.balance_factor,
        }
    }

    pub(super) fn spread(&self) -> Spread {
        let mut counts = vec![0; self.endpoints.len()];
        let mut count = |index: u32| {
            if let Some(count) = counts.get_mut(index as usize) {
                *count += 1;
            }
        };
        match &self.places {
            Places::Ring(ring) => ring.places().for_each(&mut count),
            Places::Table(table) => table.places().for_each(&mut count),
        }
        Spread {
            size: counts.iter().sum(),
            fewest: counts.iter().copied().min().unwrap_or(0),
            most: counts.iter().copied().max().unwrap_or(0),
        }
    }

    /// The endpoint of the hash; the next one if that is excluded, as long as there is another.
    pub(super) fn choose(&self, hash: u64, choice: &Choice<'_>) -> Option<&Arc<Endpoint>> {
        let first = self.bounded(hash)?;
        if !(choice.excluded)(first) {
            return Some(first);
        }
        if self.endpoints.iter().all(|one| (choice.excluded)(one)) {
            return Some(first);
        }
        let mut places = (1..).map_while(|attempt| self.at(hash, attempt));
        places
            .find(|one| !(choice.excluded)(one))
            .or_else(|| self.endpoints.iter().find(|one| !(choice.excluded)(one)))
    }

    /// The endpoint at the place of the hash, or so many places after it; none past the last place.
    fn at(&self, hash: u64, attempt: usize) -> Option<&Arc<Endpoint>> {
        let index = match &self.places {
            Places::Ring(ring) => ring.at(hash, attempt),
            Places::Table(table) => table.at(hash, attempt),
        };
        self.endpoints.get(index?)
    }

    /// The endpoint of the hash, or another one if it has more than its share to do already.
    fn bounded(&self, hash: u64) -> Option<&Arc<Endpoint>> {
        let chosen = self.at(hash, 0)?;
        if self.balance_factor == 0 {
            return Some(chosen);
        }
        let active = |one: &Arc<Endpoint>| f64::from(one.state().active());
        let all: f64 = self.endpoints.iter().map(active).sum();
        let slots = ((all + 1.0) * f64::from(self.balance_factor) / 100.0).ceil();
        let load = |index: usize| {
            let own = (slots * self.shares[index]).ceil().max(1.0);
            active(&self.endpoints[index]) / own
        };
        let index = self
            .endpoints
            .iter()
            .position(|one| Arc::ptr_eq(one, chosen))?;
        if load(index) <= 1.0 {
            return Some(chosen);
        }
        // From anywhere on, but always from the same place for the same hash.
        let mut rng = fastrand::Rng::with_seed(hash);
        let number = self.endpoints.len();
        let (start, step) = (rng.usize(..number), stride(number, &mut rng));
        let others = (0..number).map(|turn| (start + turn * step) % number);
        let mut least = index;
        for other in others {
            if load(other) <= 1.0 {
                return self.endpoints.get(other);
            }
            if load(other) < load(least) {
                least = other;
            }
        }
        self.endpoints.get(least)
    }
}

/// A step that leads to each of so many places.
fn stride(number: usize, rng: &mut fastrand::Rng) -> usize {
    let from = rng.usize(1..=number);
    (from..)
        .find(|step| divisor(*step, number) == 1)
        .unwrap_or(1)
}

fn divisor(left: usize, right: usize) -> usize {
    if right == 0 {
        left
    } else {
        divisor(right, left % right)
    }
}

/// What an endpoint is known by.
fn key(endpoint: &Endpoint, hashing: Hashing) -> Box<str> {
    if hashing.use_hostname && !endpoint.attributes.hostname.is_empty() {
        return endpoint.attributes.hostname.clone();
    }
    endpoint.address.to_string().into()
}

fn hash(function: HashFunction, text: &[u8]) -> u64 {
    match function {
        HashFunction::XxHash => XxHash64::oneshot(0, text),
        HashFunction::MurmurHash2 => murmur::hash(text),
    }
}
