//! Turns by weight: who has the earliest deadline is next (earliest deadline first).

use std::{cmp::Ordering, collections::BinaryHeap};

/// A schedule of the numbers 0 to n - 1.
///
/// Each number comes up in proportion to its weight, as evenly as its weight allows. A choice takes
/// O(log n) and allocates nothing.
#[derive(Debug)]
pub(super) struct Edf {
    turns: BinaryHeap<Turn>,
    /// Breaks ties: who came first is first.
    order: u64,
}

#[derive(Debug)]
struct Turn {
    deadline: f64,
    order: u64,
    index: u32,
}

impl Edf {
    /// A schedule that starts at any of its turns, lest all workers begin with the same one. Numbers
    /// without weight have no turn.
    pub(super) fn new(weights: impl Iterator<Item = f64>, rng: &mut fastrand::Rng) -> Self {
        let weights: Vec<f64> = weights.collect();
        let mut left = rng.f64() * weights.iter().sum::<f64>();
        let mut first = None;
        for (index, weight) in weights.iter().enumerate() {
            if *weight > 0.0 {
                left -= weight;
                first = Some(index);
                if left < 0.0 {
                    break;
                }
            }
        }
        let turns = weights.iter().enumerate();
        let turns = turns.filter(|(_, weight)| **weight > 0.0);
        let turns = turns.map(|(index, weight)| Turn {
            // The first is chosen by weight; the others are at any point of their period.
            deadline: if Some(index) == first {
                0.0
            } else {
                rng.f64() / weight
            },
            order: index as u64,
            index: u32::try_from(index).unwrap_or(u32::MAX),
        });
        Self {
            turns: turns.collect(),
            order: weights.len() as u64,
        }
    }

    /// The next number; `weight` tells what its weight is by now.
    pub(super) fn next(&mut self, weight: impl Fn(usize) -> f64) -> Option<usize> {
        let mut turn = self.turns.peek_mut()?;
        let index = turn.index as usize;
        // A weight that became nothing is a long wait, not an endless one.
        turn.deadline += 1.0 / weight(index).max(1e-9);
        self.order += 1;
        turn.order = self.order;
        Some(index)
    }
}

impl Ord for Turn {
    /// The greatest is the next.
    fn cmp(&self, other: &Self) -> Ordering {
        let deadline = other.deadline.total_cmp(&self.deadline);
        deadline.then(other.order.cmp(&self.order))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(weights: &[f64], turns: usize, expected: &[usize]) {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut edf = Edf::new(weights.iter().copied(), &mut rng);
            let mut counts = vec![0; weights.len()];
            for _ in 0..turns {
                counts[edf.next(|index| weights[index]).unwrap()] += 1;
            }
            for (count, expected) in counts.iter().zip(expected) {
                let difference = usize::abs_diff(*count, *expected);
                assert!(difference <= 1, "{counts:?} of {weights:?}");
            }
        }
    }

    #[test]
    fn turns_are_in_proportion_to_weights() {
        check(&[1.0, 1.0, 1.0], 300, &[100, 100, 100]);
        check(&[1.0, 2.0, 3.0], 600, &[100, 200, 300]);
        check(&[0.0, 1.0], 10, &[0, 10]);
        check(&[0.5, 0.25, 0.25], 400, &[200, 100, 100]);
    }

    #[test]
    fn the_first_turn_is_by_weight() {
        let mut firsts = [0; 2];
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let mut edf = Edf::new([1.0, 3.0].into_iter(), &mut rng);
            firsts[edf.next(|index| [1.0, 3.0][index]).unwrap()] += 1;
        }
        assert!((2300..2700).contains(&firsts[0]), "{firsts:?}");
    }

    #[test]
    fn nobody_has_no_turn() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut edf = Edf::new([0.0].into_iter(), &mut rng);
        assert_eq!(edf.next(|_| 1.0), None);
    }
}
