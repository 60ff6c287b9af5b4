//! Mutated reviews and annotations: each gets an answer, and none brings the webhook down.
//!
//! Each input is made from a number alone, so that a failure can be had again: it prints the number and the input. A
//! plain run takes the same few thousand each time.
//!
//! - `FAIRLEAD_FUZZ_SECONDS=600 cargo test -p fairlead-webhook --test fuzz` goes on for so long, from another number
//!   each time
//! - `FAIRLEAD_FUZZ_SEED=4711` looks at one input alone

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "fuzz/annotations.rs"]
mod annotations;
#[path = "fuzz/random.rs"]
mod random;
#[path = "fuzz/reviews.rs"]
mod reviews;

use std::{
    env,
    fmt::Debug,
    panic::{self, AssertUnwindSafe},
    time::{Duration, Instant, SystemTime},
};

use fairlead_webhook::{patch::additions, settings::Settings};
use json_patch::Patch;
use serde_json::Value;

use self::random::Random;

const NAMESPACE: &str = "shop";

/// No input of a few kilobytes may keep the webhook busy for longer, even unoptimized on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// Makes inputs and looks at each, `count` of them or as many as the environment asks for.
fn fuzz<I: Debug>(count: u64, make: impl Fn(&mut Random) -> I, look: impl Fn(&I)) {
    let number = |name: &str| {
        let text = env::var(name).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|error| panic!("{name}={text}: {error}")),
        )
    };
    let one = |seed: u64| {
        let input = make(&mut Random::new(seed));
        let started = Instant::now();
        if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| look(&input))) {
            eprintln!("FAIRLEAD_FUZZ_SEED={seed}, which is {input:?}");
            panic::resume_unwind(panic);
        }
        let took = started.elapsed();
        assert!(
            took < PATIENCE,
            "{took:?} for FAIRLEAD_FUZZ_SEED={seed}, which is {input:?}"
        );
    };
    if let Some(seed) = number("FAIRLEAD_FUZZ_SEED") {
        return one(seed);
    }
    let Some(seconds) = number("FAIRLEAD_FUZZ_SECONDS") else {
        return (0..count).for_each(one);
    };
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let first = since_epoch.as_secs() << 32;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut looked = 0;
    while Instant::now() < end {
        one(first + looked);
        looked += 1;
    }
    eprintln!("{looked} inputs, from FAIRLEAD_FUZZ_SEED={first} on");
}

fn settings() -> Settings {
    Settings::parse("{ image: 'fairlead/proxy:0.1.0', imagePullSecrets: [mesh-registry] }").unwrap()
}

/// The patch gives the injected pod.
#[track_caller]
fn check_patch(pod: &Value, injected: &Value) {
    let Patch(operations) = additions(pod, injected);
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &operations).unwrap();
    let Patch(difference) = additions(&patched, injected);
    assert_eq!(
        &patched, injected,
        "the patch gives another pod: {difference:?} are missing"
    );
}
