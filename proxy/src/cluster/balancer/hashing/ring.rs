//! A ring of hashes, of which each endpoint has as many as its share says (ketama).

use std::fmt::Write;

use crate::cluster::policy::HashFunction;

/// Places, sorted by their hashes.
#[derive(Debug, Default)]
pub(super) struct Ring(Box<[(u64, u32)]>);

impl Ring {
    /// The ring of endpoints that are known by these keys and have these shares.
    pub(super) fn new(
        keys: &[Box<str>],
        shares: &[f64],
        (minimum, maximum): (u32, u32),
        function: HashFunction,
    ) -> Self {
        let Some(least) = shares.iter().copied().reduce(f64::min) else {
            return Self::default();
        };
        // As many places as give the least share a whole number of them.
        let size = ((least * f64::from(minimum)).ceil() / least).min(f64::from(maximum));
        let mut places = Vec::new();
        let (mut number, mut target) = (0.0, 0.0);
        let mut text = String::new();
        for (index, (key, share)) in keys.iter().zip(shares).enumerate() {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            target += size * share;
            let mut turn = 0;
            while number < target {
                text.clear();
                // Writing to a text does not fail.
                let _ = write!(text, "{key}_{turn}");
                places.push((super::hash(function, text.as_bytes()), index));
                turn += 1;
                number += 1.0;
            }
        }
        places.sort_unstable();
        Self(places.into())
    }

    /// Of each place the endpoint that has it.
    pub(super) fn places(&self) -> impl Iterator<Item = u32> {
        self.0.iter().map(|(_, index)| *index)
    }

    /// The endpoint at the first place from the hash on, or so many places further; none when the
    /// ring was gone round.
    pub(super) fn at(&self, hash: u64, attempt: usize) -> Option<usize> {
        if attempt >= self.0.len() {
            return None;
        }
        let first = self.0.partition_point(|(place, _)| *place < hash);
        let (_, index) = self.0[(first + attempt) % self.0.len()];
        Some(index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(weights: &[f64], bounds: (u32, u32)) -> Ring {
        let sum: f64 = weights.iter().sum();
        let shares: Vec<_> = weights.iter().map(|weight| weight / sum).collect();
        let keys: Vec<Box<str>> = (0..weights.len())
            .map(|index| format!("10.0.0.{index}:80").into())
            .collect();
        Ring::new(&keys, &shares, bounds, HashFunction::XxHash)
    }

    #[track_caller]
    fn check(weights: &[f64], bounds: (u32, u32), expected: &[usize]) {
        let ring = ring(weights, bounds);
        let mut counts = vec![0; weights.len()];
        for (_, index) in &ring.0 {
            counts[*index as usize] += 1;
        }
        assert_eq!(counts, expected);
    }

    #[test]
    fn places_are_as_many_as_shares_say() {
        check(&[1.0, 1.0], (1024, 8192), &[512, 512]);
        check(&[1.0, 3.0], (8, 8192), &[2, 6]);
        // The least share gets a whole place.
        check(&[1.0, 15.0], (4, 8192), &[1, 15]);
        // Too many for the ring: the fraction goes round by round.
        check(&[1.0, 1.0], (1, 1), &[1, 0]);
        check(&[], (1024, 8192), &[]);
    }

    #[test]
    fn a_hash_has_the_next_place_and_the_last_wraps() {
        let ring = ring(&[1.0, 1.0, 1.0], (12, 12));
        let places = ring.0.to_vec();
        for (turn, (hash, index)) in places.iter().enumerate() {
            assert_eq!(ring.at(*hash, 0), Some(*index as usize));
            let next = places[(turn + 1) % places.len()].1;
            assert_eq!(ring.at(hash + 1, 0), Some(next as usize));
            assert_eq!(ring.at(*hash, 1), Some(next as usize));
        }
        assert_eq!(ring.at(0, places.len()), None);
        assert_eq!(Ring::default().at(1, 0), None);
    }
}
