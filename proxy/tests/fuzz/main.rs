//! Mutated bytes and texts for all that reads what strangers write: none brings the proxy down, keeps it
//! busy, or is taken for two different things.
//!
//! Each input is made from a number alone, so that a failure can be had again: it prints the number and
//! the input. A plain run takes the same few thousand each time.
//!
//! - `FAIRLEAD_FUZZ_SECONDS=600 cargo test -p fairlead-proxy --test fuzz NAME` goes on for so long, from
//!   another number each time
//! - `FAIRLEAD_FUZZ_SEED=4711` looks at one input alone

#![expect(
    clippy::unwrap_used,
    reason = "a test ends by panicking, in its helpers too"
)]

mod access_log;
mod bootstrap;
mod client_hello;
mod inspectors;
mod mutation;
mod proxy_protocol;

use std::{
    env,
    fmt::Debug,
    panic::{self, AssertUnwindSafe},
    time::{Duration, Instant, SystemTime},
};

use fastrand::Rng;

/// No input of a few kilobytes may take longer, even unoptimized on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes inputs and looks at each, `count` of them or as many as the environment asks for.
fn fuzz<I: Debug>(count: u64, make: impl Fn(&mut Rng) -> I, look: impl Fn(&I)) {
    let number = |name: &str| {
        let text = env::var(name).ok()?;
        let number = text.parse::<u64>();
        Some(number.unwrap_or_else(|error| panic!("{name}={text}: {error}")))
    };
    let one = |seed: u64| {
        let input = make(&mut Rng::with_seed(seed));
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
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let first = since_epoch.unwrap().as_secs() << 32;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut looked = 0;
    while Instant::now() < end {
        one(first + looked);
        looked += 1;
    }
    eprintln!("{looked} inputs, from FAIRLEAD_FUZZ_SEED={first} on");
}
