//! Pods created at a fixed rate, each by server-side dry run: the API server admits them like any other,
//! and two cores are not kept busy by storing and scheduling them.

use std::{
    env, fmt,
    ops::ControlFlow,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fairlead_tests::kube::{TestNamespace, until};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, Config, api::PostParams, config::KubeConfigOptions};
use serde_json::json;
use tokio::{
    runtime::Runtime,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

const PODS_A_SECOND: u32 = 50;
/// Longer than the API server may take for all its webhooks.
const PATIENCE: Duration = Duration::from_secs(30);
/// The load goes on until no failure has been seen for so long, and nothing disturbs anymore.
const AFTERWARDS: Duration = Duration::from_secs(3);
/// After this much longer it ends all the same. A machine that is busy with other things as well takes a
/// while to get through what has piled up.
const RECOVERY: Duration = Duration::from_secs(60);
/// Failures further apart than this belong to two outages.
const GAP: Duration = Duration::from_secs(1);

/// The time of one load.
pub(crate) struct Clock {
    start: Instant,
    lasts: Duration,
    notes: Mutex<Vec<(Duration, String)>>,
}

impl Clock {
    fn start() -> Self {
        let seconds = env::var("FAIRLEAD_OUTAGE_SECONDS").ok();
        let seconds = seconds.map_or(20, |text| text.parse().expect("FAIRLEAD_OUTAGE_SECONDS"));
        Self {
            start: Instant::now(),
            lasts: Duration::from_secs(seconds),
            notes: Mutex::default(),
        }
    }

    /// Whether there is time for one more disturbance.
    pub(crate) fn goes_on(&self) -> bool {
        self.start.elapsed() < self.lasts
    }

    /// The same for [`at_rate`](fairlead_tests::kube::at_rate).
    pub(crate) fn flow(&self) -> ControlFlow<()> {
        if self.goes_on() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    /// Says in the outcome what happened now.
    pub(crate) fn note(&self, text: &str) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push((self.start.elapsed(), text.to_owned()));
    }
}

/// What came of one pod.
enum Answer {
    Injected,
    Uninjected,
    /// The API server could not get an answer of the webhook.
    Failed(String),
    /// The API server itself gave no answer, or could not yet.
    Unanswered(String),
}

/// What came of all pods.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    took: Duration,
    latencies: Vec<Duration>,
    injected: u32,
    uninjected: u32,
    failed: Vec<(Duration, String)>,
    unanswered: Vec<(Duration, String)>,
    notes: Vec<(Duration, String)>,
}

/// Creates pods while `disturb` runs, and for the time of the clock at least.
pub(crate) fn under_load(namespace: &TestNamespace, disturb: impl FnOnce(&Clock)) -> Outcome {
    let runtime = Runtime::new().expect("threads can be started");
    // Only a second call fails, and then the same provider is there already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let client = runtime.block_on(async {
        let config = Config::from_kubeconfig(&KubeConfigOptions::default()).await;
        Client::try_from(config.expect("KUBECONFIG names a cluster")).expect("it can be used")
    });
    let pods: Api<Pod> = Api::namespaced(client, namespace.name());
    // The API server learns of a namespace and its account a moment after they are made.
    until("the first pod", || {
        let first = runtime.block_on(create(&pods));
        matches!(first, Answer::Injected).then_some(())
    });
    let (clock, over) = (Clock::start(), Arc::new(AtomicBool::new(false)));
    let load = runtime.spawn(create_many(
        pods,
        clock.start,
        clock.lasts,
        Arc::clone(&over),
    ));
    disturb(&clock);
    over.store(true, Ordering::Release);
    let mut outcome = runtime.block_on(load).expect("the load does not panic");
    outcome.notes = clock
        .notes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    outcome
}

async fn create_many(
    pods: Api<Pod>,
    start: Instant,
    lasts: Duration,
    over: Arc<AtomicBool>,
) -> Outcome {
    let mut ticks = interval(Duration::from_secs(1) / PODS_A_SECOND);
    // What could not be created in time is made up for: the rate is the mean.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut outcome, mut answers) = (Outcome::default(), JoinSet::new());
    // When it was over, and when there was a failure last.
    let (mut ended, mut failed) = (None, Duration::ZERO);
    loop {
        let elapsed = start.elapsed();
        if over.load(Ordering::Acquire) && elapsed >= lasts {
            let ended = *ended.get_or_insert(elapsed);
            let piled_up = answers.len() > PODS_A_SECOND as usize;
            let recovered = elapsed >= failed.max(ended) + AFTERWARDS && !piled_up;
            if recovered || elapsed >= ended + RECOVERY {
                break;
            }
        }
        ticks.tick().await;
        let pods = pods.clone();
        answers.spawn(async move {
            let asked = start.elapsed();
            (asked, create(&pods).await, start.elapsed() - asked)
        });
        while let Some(answered) = answers.try_join_next() {
            if !outcome.add(answered.expect("asking does not panic")) {
                failed = start.elapsed();
            }
        }
    }
    outcome.took = start.elapsed();
    while let Some(answered) = answers.join_next().await {
        outcome.add(answered.expect("asking does not panic"));
    }
    outcome
}

async fn create(pods: &Api<Pod>) -> Answer {
    let pod = json!({
        "metadata": { "generateName": "load-", "labels": { "app": "load" } },
        "spec": { "containers": [{ "name": "application", "image": "application" }] },
    });
    let pod = serde_json::from_value(pod).expect("it is a pod");
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match timeout(PATIENCE, pods.create(&dry_run, &pod)).await {
        Ok(Ok(pod)) if is_injected(&pod) => Answer::Injected,
        Ok(Ok(_)) => Answer::Uninjected,
        Ok(Err(kube::Error::Api(status))) if status.message.contains("webhook") => {
            Answer::Failed(status.message)
        }
        Ok(Err(kube::Error::Api(status))) => Answer::Unanswered(status.message),
        Ok(Err(error)) => Answer::Unanswered(format!("{error:?}")),
        Err(_) => Answer::Unanswered(format!("no answer within {PATIENCE:?}")),
    }
}

fn is_injected(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let initial = spec.init_containers.iter().flatten();
    let mut all = initial.chain(&spec.containers);
    all.any(|container| container.name == "istio-proxy")
}

impl Outcome {
    /// Whether it is no failure.
    fn add(&mut self, (asked, answer, took): (Duration, Answer, Duration)) -> bool {
        let good = matches!(answer, Answer::Injected | Answer::Uninjected);
        match answer {
            Answer::Injected => {
                self.injected += 1;
                self.latencies.push(took);
            }
            Answer::Uninjected => self.uninjected += 1,
            Answer::Failed(why) => self.failed.push((asked, why)),
            Answer::Unanswered(why) => self.unanswered.push((asked, why)),
        }
        good
    }

    /// Every pod was created, with its sidecar.
    #[track_caller]
    pub(crate) fn assert_nothing_failed(&self) {
        self.assert_recovered();
        assert_eq!((self.failed.len(), self.unanswered.len()), (0, 0));
    }

    /// No pod was created without its sidecar, and in the end each was created.
    #[track_caller]
    pub(crate) fn assert_recovered(&self) {
        assert_eq!(self.uninjected, 0);
        assert!(self.injected > 0);
        let failures = self.failed.iter().chain(&self.unanswered);
        let last = failures.map(|(asked, _)| *asked).max().unwrap_or_default();
        let quiet = self.took.saturating_sub(last);
        assert!(
            quiet >= AFTERWARDS / 2,
            "the last pod failed {quiet:?} before the end"
        );
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed.len() + self.unanswered.len();
        let asked = self.injected + self.uninjected + u32::try_from(failed).unwrap_or(u32::MAX);
        let seconds = self.took.as_secs_f64();
        let mut latencies = self.latencies.clone();
        latencies.sort();
        let quantile = |part: f64| {
            let index = (latencies.len() as f64 * part) as usize;
            let latency = latencies.get(index.min(latencies.len().saturating_sub(1)));
            latency.map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
        };
        writeln!(
            f,
            "{asked} pods in {seconds:.1} s ({:.1} a second): {} injected, {} uninjected, {} failed calls of the \
             webhook, {} without an answer of the API server; p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
            f64::from(asked) / seconds,
            self.injected,
            self.uninjected,
            self.failed.len(),
            self.unanswered.len(),
            quantile(0.5),
            quantile(0.99),
            quantile(1.0),
        )?;
        for (at, note) in &self.notes {
            writeln!(f, "  at {:.2} s: {note}", at.as_secs_f64())?;
        }
        windows(f, "failed calls of the webhook", &self.failed)?;
        windows(f, "without an answer of the API server", &self.unanswered)
    }
}

/// Failures in groups, with the time between the first and the last of each.
fn windows(f: &mut fmt::Formatter<'_>, what: &str, failures: &[(Duration, String)]) -> fmt::Result {
    let mut failures: Vec<_> = failures.iter().collect();
    failures.sort();
    for window in failures.chunk_by(|(one, _), (next, _)| *next - *one < GAP) {
        let (first, last) = (window[0].0, window[window.len() - 1].0);
        writeln!(
            f,
            "  {} {what} from {:.2} s to {:.2} s, {:.2} s: {}",
            window.len(),
            first.as_secs_f64(),
            last.as_secs_f64(),
            (last - first).as_secs_f64(),
            window[0].1,
        )?;
    }
    Ok(())
}
