//! How much of the load each priority takes
//! (<https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/priority>).

/// What the endpoints of a priority are like.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Census {
    /// All endpoints.
    pub endpoints: u64,
    /// Those that are not excluded from what health is measured by.
    pub counted: u64,
    /// The healthy ones.
    pub healthy: u64,
    /// The degraded ones.
    pub degraded: u64,
    /// The three numbers above by weight, where health is measured by weight; the same otherwise.
    pub counted_weight: u64,
    /// The weight of the healthy ones.
    pub healthy_weight: u64,
    /// The weight of the degraded ones.
    pub degraded_weight: u64,
}

/// Which endpoints of a priority are meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Availability {
    /// The healthy ones.
    Healthy,
    /// The degraded ones.
    Degraded,
}

/// The load of each priority, in percent, and which of them are in panic.
#[derive(Debug, Eq, PartialEq)]
pub struct Loads(Box<[Load]>);

/// The load of one priority.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// The percentage that its healthy endpoints take.
    pub healthy: u32,
    /// The percentage that its degraded endpoints take.
    pub degraded: u32,
    /// Its endpoints are used whatever their health.
    pub panic: bool,
}

impl Loads {
    /// The loads of the priorities. Factor and threshold are percentages; a threshold of 0 means that
    /// there is no panic.
    pub fn new(priorities: &[Census], overprovisioning_factor: u32, panic_threshold: u32) -> Self {
        let health = |part: u64, whole: u64| {
            // Over 32 bits of weights and 32 bits of factor.
            let health = u128::from(overprovisioning_factor) * u128::from(part);
            let health = health.checked_div(u128::from(whole)).unwrap_or(0);
            u32::try_from(health.min(100)).unwrap_or(100)
        };
        let healthy = |one: &Census| health(one.healthy_weight, one.counted_weight);
        let degraded = |one: &Census| health(one.degraded_weight, one.counted_weight);
        let availability = priorities
            .iter()
            .map(|one| healthy(one) + degraded(one))
            .sum::<u32>()
            .min(100);
        let mut loads = vec![Load::default(); priorities.len()];
        distribute(&mut loads, priorities, availability, healthy, degraded);
        if panic_threshold == 0 {
            // With nobody available the first priority takes all, and finds nobody.
            if let Some(first) = loads.first_mut().filter(|_| availability == 0) {
                first.healthy = 100;
            }
        } else if availability < 100 {
            for (load, one) in loads.iter_mut().zip(priorities) {
                load.panic = is_in_panic(one, panic_threshold);
            }
            if loads.iter().all(|load| load.panic) {
                distribute_in_panic(&mut loads, priorities);
            }
        }
        Self(loads.into())
    }

    /// Whose turn a number is, of which any is as likely as any other.
    pub fn choose(&self, number: u64) -> Option<(usize, Availability)> {
        let mut left = u32::try_from(number % 100).unwrap_or(0);
        for (priority, load) in self.0.iter().enumerate() {
            if left < load.healthy {
                return Some((priority, Availability::Healthy));
            }
            left -= load.healthy;
        }
        for (priority, load) in self.0.iter().enumerate() {
            if left < load.degraded {
                return Some((priority, Availability::Degraded));
            }
            left -= load.degraded;
        }
        None
    }

    /// The loads, by priority.
    pub fn loads(&self) -> &[Load] {
        &self.0
    }
}

/// Healthy endpoints take the load from the first priority on; degraded ones take what is left.
fn distribute(
    loads: &mut [Load],
    priorities: &[Census],
    availability: u32,
    healthy: impl Fn(&Census) -> u32,
    degraded: impl Fn(&Census) -> u32,
) {
    if availability == 0 {
        return;
    }
    let mut left = 100;
    let mut share = |health: u32| {
        let share = (health * 100 / availability).min(left);
        left -= share;
        share
    };
    for (load, one) in loads.iter_mut().zip(priorities) {
        load.healthy = share(healthy(one));
    }
    for (load, one) in loads.iter_mut().zip(priorities) {
        load.degraded = share(degraded(one));
    }
    // What rounding left over.
    let first = priorities.iter().position(|one| healthy(one) > 0);
    if let Some(first) = first {
        loads[first].healthy += left;
    } else if let Some(first) = priorities.iter().position(|one| degraded(one) > 0) {
        loads[first].degraded += left;
    }
}

fn is_in_panic(one: &Census, threshold: u32) -> bool {
    let available = u128::from(one.healthy) + u128::from(one.degraded);
    one.counted == 0 || available * 100 < u128::from(threshold) * u128::from(one.counted)
}

/// Each priority takes as much of the load as it has of the endpoints.
fn distribute_in_panic(loads: &mut [Load], priorities: &[Census]) {
    let all: u64 = priorities.iter().map(|one| one.endpoints).sum();
    let mut left = 100;
    for (load, one) in loads.iter_mut().zip(priorities) {
        load.degraded = 0;
        let share = (one.endpoints * 100).checked_div(all).unwrap_or(0);
        load.healthy = u32::try_from(share).unwrap_or(0);
        left -= load.healthy;
    }
    let first = priorities.iter().position(|one| one.endpoints > 0);
    if let Some(load) = loads.get_mut(first.unwrap_or(0)) {
        load.healthy += left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census((healthy, degraded): (u64, u64)) -> Census {
        Census {
            endpoints: 100,
            counted: 100,
            healthy,
            degraded,
            counted_weight: 100,
            healthy_weight: healthy,
            degraded_weight: degraded,
        }
    }

    #[track_caller]
    fn check(priorities: &[(u64, u64)], healthy: &[u32], degraded: &[u32], panic: &[bool]) {
        check_with(50, priorities, healthy, degraded, panic);
    }

    #[track_caller]
    fn check_with(
        threshold: u32,
        priorities: &[(u64, u64)],
        healthy: &[u32],
        degraded: &[u32],
        panic: &[bool],
    ) {
        let priorities: Vec<_> = priorities.iter().copied().map(census).collect();
        let loads = Loads::new(&priorities, 140, threshold);
        let of = |load: fn(&Load) -> u32| loads.loads().iter().map(load).collect::<Vec<_>>();
        assert_eq!(of(|load| load.healthy), healthy);
        assert_eq!(of(|load| load.degraded), degraded);
        let panics: Vec<_> = loads.loads().iter().map(|load| load.panic).collect();
        assert_eq!(panics, panic);
    }

    #[track_caller]
    fn check_healthy(healthy: &[u64], loads: &[u32], panic: bool) {
        let none = vec![0; loads.len()];
        let priorities: Vec<_> = healthy.iter().map(|healthy| (*healthy, 0)).collect();
        check(&priorities, loads, &none, &vec![panic; loads.len()]);
    }

    #[test]
    fn two_priorities_share_as_documented() {
        check_healthy(&[100, 100], &[100, 0], false);
        check_healthy(&[72, 100], &[100, 0], false);
        check_healthy(&[71, 100], &[99, 1], false);
        check_healthy(&[50, 100], &[70, 30], false);
        check_healthy(&[25, 100], &[35, 65], false);
        check_healthy(&[0, 100], &[0, 100], false);
        check_healthy(&[72, 72], &[100, 0], false);
        check_healthy(&[71, 71], &[99, 1], false);
        check_healthy(&[50, 50], &[70, 30], false);
        check_healthy(&[25, 25], &[50, 50], true);
    }

    #[test]
    fn three_priorities_share_as_documented() {
        check_healthy(&[100, 100, 100], &[100, 0, 0], false);
        check_healthy(&[71, 71, 100], &[99, 1, 0], false);
        check_healthy(&[50, 50, 100], &[70, 30, 0], false);
        check_healthy(&[25, 100, 100], &[35, 65, 0], false);
        check_healthy(&[25, 25, 100], &[35, 35, 30], false);
    }

    #[test]
    fn what_rounding_leaves_goes_to_the_first_that_is_available() {
        let priorities = [census((25, 0)), census((25, 0)), census((20, 0))];
        let loads = Loads::new(&priorities, 140, 0);
        let loads: Vec<_> = loads.loads().iter().map(|load| load.healthy).collect();
        assert_eq!(loads, [37, 35, 28]);
    }

    #[test]
    fn panic_is_of_a_priority_and_only_where_others_do_not_suffice() {
        check(&[(5, 0), (65, 0)], &[8, 92], &[0, 0], &[true, false]);
        check(&[(0, 0), (0, 0)], &[50, 50], &[0, 0], &[true, true]);
        check_with(0, &[(0, 0), (0, 0)], &[100, 0], &[0, 0], &[false, false]);
        check_with(0, &[(25, 0), (25, 0)], &[50, 50], &[0, 0], &[false, false]);
    }

    #[test]
    fn degraded_endpoints_take_what_healthy_ones_cannot() {
        check(&[(72, 28)], &[100], &[0], &[false]);
        check(&[(71, 29)], &[99], &[1], &[false]);
        check(&[(50, 50)], &[70], &[30], &[false]);
        check(&[(25, 75)], &[35], &[65], &[false]);
        check(&[(5, 95)], &[7], &[93], &[false]);
        check(&[(0, 100)], &[0], &[100], &[false]);
        check(&[(0, 100), (100, 0)], &[0, 100], &[0, 0], &[false, false]);
    }

    #[test]
    fn a_priority_without_endpoints_takes_nothing() {
        let empty = Census::default();
        let loads = Loads::new(&[empty, census((100, 0))], 140, 50);
        assert_eq!(loads.loads()[1].healthy, 100);
        assert!(!loads.loads()[0].panic);
        let loads = Loads::new(&[empty, census((0, 0))], 140, 50);
        assert_eq!(loads.loads()[1].healthy, 100);
        assert_eq!(Loads::new(&[], 140, 50).choose(3), None);
        let loads = Loads::new(&[empty], 140, 50);
        assert_eq!(loads.choose(99), Some((0, Availability::Healthy)));
    }

    #[test]
    fn each_number_is_somebodys_turn() {
        let loads = Loads::new(&[census((50, 0)), census((0, 30))], 140, 50);
        let of = |wanted| {
            let turns = (0..100).filter(|number| loads.choose(*number) == Some(wanted));
            turns.count()
        };
        assert_eq!(of((0, Availability::Healthy)), 70);
        assert_eq!(of((1, Availability::Degraded)), 30);
    }

    #[test]
    fn large_weights_do_not_overflow() {
        let one = Census {
            counted_weight: u64::from(u32::MAX) * 1000,
            healthy_weight: u64::from(u32::MAX) * 1000,
            ..census((100, 0))
        };
        let loads = Loads::new(&[one], u32::MAX, 50);
        assert_eq!(loads.loads()[0].healthy, 100);
    }
}
