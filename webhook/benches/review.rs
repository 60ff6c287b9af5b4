//! What one review costs the processor, from the bytes of the call to those of the answer.
//!
//! `cargo bench -p fairlead-webhook`. The limits are 150 µs for an ordinary pod and 5 ms for one of
//! 100 containers; `cargo xtask bench webhook` prints them beside the figures.

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]

#[path = "review/cpu_time.rs"]
mod cpu_time;
#[path = "review/pods.rs"]
mod pods;

use std::{hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use fairlead_webhook::{
    inject::Place,
    review::{Request, Verdict},
    settings::Settings,
};

use self::cpu_time::CpuTime;

/// What the chart makes of its default values.
const SETTINGS: &str = "
    image: fairlead/proxy:0.1.0
    imagePullPolicy: IfNotPresent
    resources:
      requests: { cpu: 50m, memory: 40Mi }
      limits: { cpu: '2', memory: 512Mi }
";

fn answer(body: &[u8], settings: &Settings) -> Vec<u8> {
    let request = Request::parse(body).unwrap();
    let answer = request.answer(settings, &Place::named(request.namespace(), true));
    request.respond(&answer).unwrap()
}

fn review(criterion: &mut Criterion<CpuTime>) {
    let settings = Settings::parse(SETTINGS).unwrap();
    let mut group = criterion.benchmark_group("review");
    for (name, containers) in [("ordinary pod", 1), ("pod of 100 containers", 100)] {
        let body = pods::review(containers).to_string().into_bytes();
        // A refusal would be cheap.
        let request = Request::parse(&body).unwrap();
        let place = Place::named(request.namespace(), true);
        let verdict = request.answer(&settings, &place).verdict;
        assert!(
            matches!(verdict, Verdict::Injected(_)),
            "{name}: {verdict:?}"
        );
        group.bench_function(name, |bencher| {
            bencher.iter(|| answer(black_box(&body), &settings));
        });
    }
    group.finish();
}

criterion_group!(
    name = benches;
    config = Criterion::default()
        .with_measurement(CpuTime)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3));
    targets = review
);
criterion_main!(benches);
