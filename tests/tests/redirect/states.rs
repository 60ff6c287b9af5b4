//! Whatever has happened to a namespace, one more run brings exactly the wanted rules about.

mod istio;
mod random;
mod state;
mod steps;
mod together;

use std::{
    collections::HashMap,
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use fairlead_tests::netns::Namespace;

pub(crate) use self::state::State;
use self::{
    random::Random,
    state::FAMILIES,
    steps::{CONFIGURATIONS, Run, WAYS, step},
};
use crate::pod::apply;

/// The first sequence's seed; each further one has the next number.
const SEED: u64 = 20_261_121;
const SEQUENCES: u64 = 200;

/// Names the seed of the one sequence to run again.
const ONE: &str = "FAIRLEAD_STATES_SEED";
/// Says how many to run, in place of 200.
const COUNT: &str = "FAIRLEAD_STATES_COUNT";

/// What a run leaves in an empty namespace, by its configuration and way.
type Fresh = HashMap<(usize, usize), Vec<String>>;

#[test]
#[ignore = "needs root"]
fn any_sequence_ends_in_the_wanted_rules() {
    let fresh = fresh();
    let number = |name| env::var(name).ok().map(|text| text.parse().expect(name));
    if let Some(seed) = number(ONE) {
        return sequence(seed, &fresh);
    }
    let end = SEED + number(COUNT).unwrap_or(SEQUENCES);
    let next = AtomicU64::new(SEED);
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return;
        }
        sequence(seed, &fresh);
    };
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
}

fn fresh() -> Fresh {
    let mut fresh = Fresh::new();
    for configuration in 0..CONFIGURATIONS.len() {
        // The last way is one of the others, whichever is found.
        for way in 0..WAYS.len() - 1 {
            let pod = Namespace::new();
            let run = Run { configuration, way };
            apply(&pod, &run.arguments());
            let state = State::of(&pod);
            assert_eq!(inet_tables(&state.foreign), 0);
            fresh.insert((configuration, way), state.ours);
        }
    }
    fresh
}

fn inet_tables(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.starts_with("inet")).count()
}

/// Tells the seed and the steps if the sequence fails.
struct Story {
    seed: u64,
    steps: Vec<String>,
}

impl Drop for Story {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("again by {ONE}={}: {:#?}", self.seed, self.steps);
        }
    }
}

fn sequence(seed: u64, fresh: &Fresh) {
    let mut story = Story {
        seed,
        steps: Vec::new(),
    };
    let mut random = Random::of_seed(seed);
    let pod = Namespace::new();
    let mut state = State::of(&pod);
    for _ in 0..2 + random.below(6) {
        let (what, keeps_foreign) = step(&pod, &state, &mut random);
        story.steps.push(what);
        let after = State::of(&pod);
        if keeps_foreign {
            assert_eq!(after.foreign, state.foreign);
        }
        state = after;
    }

    let run = Run::random(&mut random);
    story.steps.push(run.name());
    let expected = expected(run, &state, fresh);
    apply(&pod, &run.arguments());
    let after = State::of(&pod);
    check_ours(&after, &expected);
    assert_eq!(after.foreign, state.foreign);

    check_again(&pod, run);
    assert_eq!(State::of(&pod), after);

    if random.once_in(2) {
        story.steps.push("clean up".to_owned());
        apply(&pod, &["--cleanup-only"]);
        let cleaned = State::of(&pod);
        check_ours(&cleaned, &[]);
        assert_eq!(cleaned.foreign, state.foreign);
    }
}

/// What shall stand, where the way was left open by what stood.
fn expected(run: Run, before: &State, fresh: &Fresh) -> Vec<String> {
    if run.way < WAYS.len() - 1 {
        return fresh[&(run.configuration, run.way)].clone();
    }
    let mut expected = Vec::new();
    for (family, ..) in FAMILIES {
        let way = usize::from(before.holds_legacy(family));
        let lines = fresh[&(run.configuration, way)].iter();
        expected.extend(lines.filter(|line| line.starts_with(family)).cloned());
    }
    expected
}

/// Besides what is expected only empty chains may stand, which others' rules jump to.
#[track_caller]
fn check_ours(state: &State, expected: &[String]) {
    let mut ours = state.ours.clone();
    let referenced = state.referenced();
    ours.retain(|line| expected.contains(line) || !referenced.contains(line));
    if ours != expected {
        let without = |lines: &[String], others: &[String]| -> Vec<String> {
            let lines = lines.iter().filter(|line| !others.contains(line));
            lines.cloned().collect()
        };
        panic!(
            "too much: {:#?}\nmissing: {:#?}\n(if neither, the order or the number)",
            without(&ours, expected),
            without(expected, &ours)
        );
    }
}

/// A further run finds all of it installed, and only looks.
#[track_caller]
fn check_again(pod: &Namespace, run: Run) {
    let mut arguments = run.arguments();
    arguments.push("--log_output_level=default:debug");
    let told = apply(pod, &arguments);
    for line in told.lines() {
        let is_look =
            line.starts_with("debug: run ") && (line.ends_with("-save") || line.ends_with(" nft"));
        assert!(is_look || line.ends_with(" already installed"), "{told}");
    }
    assert!(told.contains(" already installed"), "{told}");
}
