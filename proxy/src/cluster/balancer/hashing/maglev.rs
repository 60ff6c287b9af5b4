//! A table that endpoints fill in turn, each in an order of its own (Maglev).

use twox_hash::XxHash64;

/// Of each place the endpoint that has it.
#[derive(Debug)]
pub(super) struct Table(Box<[u32]>);

/// Not taken yet.
const FREE: u32 = u32::MAX;

struct Filler {
    offset: u64,
    skip: u64,
    share: f64,
    /// How far it went in its order.
    next: u64,
    /// The rounds, by share, that it had.
    turns: f64,
}

impl Table {
    /// The table of endpoints that are known by these keys and have these shares. The size is a prime
    /// number, so that each order meets each place.
    pub(super) fn new(keys: &[Box<str>], shares: &[f64], size: u32) -> Self {
        let Some(most) = shares.iter().copied().reduce(f64::max) else {
            return Self(Box::default());
        };
        let size = u64::from(size);
        let mut fillers: Vec<_> = keys
            .iter()
            .zip(shares)
            .map(|(key, share)| Filler {
                offset: XxHash64::oneshot(0, key.as_bytes()) % size,
                skip: XxHash64::oneshot(1, key.as_bytes()) % (size - 1).max(1) + 1,
                share: *share,
                next: 0,
                turns: 0.0,
            })
            .collect();
        let mut places = vec![FREE; usize::try_from(size).unwrap_or(0)];
        let mut free = places.len();
        let mut round = 1.0;
        while free > 0 {
            for (index, filler) in fillers.iter_mut().enumerate() {
                // The largest share has a turn each round; others have fewer.
                if round * filler.share < filler.turns {
                    continue;
                }
                filler.turns += most;
                let place = loop {
                    let place = (filler.offset + filler.skip * filler.next) % size;
                    filler.next += 1;
                    let place = &mut places[usize::try_from(place).unwrap_or(0)];
                    if *place == FREE {
                        break place;
                    }
                };
                *place = u32::try_from(index).unwrap_or(0);
                free -= 1;
                if free == 0 {
                    break;
                }
            }
            round += 1.0;
        }
        Self(places.into())
    }

    /// Of each place the endpoint that has it.
    pub(super) fn places(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// The endpoint at the place of the hash, or at another place for each attempt; none after as
    /// many attempts as there are places.
    pub(super) fn at(&self, mut hash: u64, attempt: usize) -> Option<usize> {
        if attempt >= self.0.len() {
            return None;
        }
        if attempt > 0 {
            hash ^= (u64::MAX - attempt as u64).wrapping_add(1);
        }
        let place = hash % self.0.len() as u64;
        let place = usize::try_from(place).ok()?;
        Some(self.0[place] as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(weights: &[f64], size: u32) -> Table {
        let sum: f64 = weights.iter().sum();
        let shares: Vec<_> = weights.iter().map(|weight| weight / sum).collect();
        let keys: Vec<Box<str>> = (0..weights.len())
            .map(|index| format!("10.0.0.{index}:80").into())
            .collect();
        Table::new(&keys, &shares, size)
    }

    #[track_caller]
    fn check(weights: &[f64], size: u32) {
        let table = table(weights, size);
        let mut counts = vec![0.0; weights.len()];
        for index in &table.0 {
            counts[*index as usize] += 1.0;
        }
        let sum: f64 = weights.iter().sum();
        for (count, weight) in counts.iter().zip(weights) {
            let expected = weight / sum * f64::from(size);
            assert!((count - expected).abs() <= 1.0 + weight / sum, "{counts:?}");
        }
    }

    #[test]
    fn places_are_as_many_as_shares_say() {
        check(&[1.0], 2);
        check(&[1.0, 1.0], 65_537);
        check(&[1.0, 2.0, 1.0], 65_537);
        check(&[1.0, 1.0, 1.0, 7.0], 251);
        assert_eq!(table(&[], 251).at(1, 0), None);
    }

    #[test]
    fn few_places_change_when_an_endpoint_goes() {
        let (before, after) = (table(&[1.0; 10], 65_537), table(&[1.0; 9], 65_537));
        let kept = before.0.iter().zip(&after.0);
        let moved = kept.filter(|(before, after)| **before != 9 && before != after);
        assert!(moved.count() < 65_537 / 20);
    }
}
