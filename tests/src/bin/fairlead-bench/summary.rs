//! What a set of samples says, as quantiles.

/// Samples in order.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    sorted: Vec<f64>,
}

impl Summary {
    pub(crate) fn of(samples: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = samples.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    pub(crate) fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The value below which this share of the samples lies, interpolated between its two
    /// neighbours; none without samples.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        let position = share.clamp(0.0, 1.0) * last as f64;
        let lower = self.sorted.get(position.floor() as usize)?;
        let upper = self.sorted.get(position.ceil() as usize)?;
        Some(lower + (upper - lower) * position.fract())
    }

    pub(crate) fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(samples: &[f64], share: f64, expected: Option<f64>) {
        let found = Summary::of(samples.iter().copied()).quantile(share);
        assert_eq!(found, expected, "{share} of {samples:?}");
    }

    #[test]
    fn no_sample_has_no_quantile() {
        check(&[], 0.5, None);
    }

    #[test]
    fn one_sample_is_every_quantile() {
        check(&[7.0], 0.0, Some(7.0));
        check(&[7.0], 0.99, Some(7.0));
    }

    #[test]
    fn ends_are_the_least_and_the_greatest_in_any_order() {
        check(&[3.0, 1.0, 2.0], 0.0, Some(1.0));
        check(&[3.0, 1.0, 2.0], 1.0, Some(3.0));
    }

    #[test]
    fn median_of_an_even_count_lies_between_the_middle_two() {
        check(&[1.0, 2.0, 3.0, 4.0], 0.5, Some(2.5));
        check(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.5, Some(3.0));
    }

    #[test]
    fn quantiles_interpolate_between_neighbours() {
        let hundred_and_one: Vec<f64> = (0..=100).map(f64::from).collect();
        check(&hundred_and_one, 0.99, Some(99.0));
        check(&[0.0, 10.0], 0.9, Some(9.0));
    }

    #[test]
    fn share_outside_of_the_range_is_taken_as_its_end() {
        check(&[1.0, 2.0], 1.5, Some(2.0));
        check(&[1.0, 2.0], -1.0, Some(1.0));
    }
}
