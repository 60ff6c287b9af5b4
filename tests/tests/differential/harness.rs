//! Runs a case with either program, in a network namespace of its own, and compares.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

use fairlead_tests::{
    binary,
    netns::{Namespace, Process},
    wait,
};
use rustix::process::Signal;

use crate::{
    bootstrap::log,
    certificates::certificates,
    differences,
    observation::{Difference, Observation, matches},
    script::{Run, admin},
};

/// Statistics that are compared unless a case says otherwise.
const COMPARED: &[&str] = &[
    "listener.*",
    "tcp.*",
    "cluster.*",
    "*rbac.*",
    "connection_limit.*",
    "local_rate_limit.*",
    "tls_inspector.*",
    "http_inspector.*",
    "*proxy_proto*",
];

/// Statistics that say something else at each run, or of each program.
const NOT_COMPARED: &[&str] = &[
    "listener.admin.*",
    "listener.*.worker_*",
    "listener.*_cx_active",
    "*_buffered",
    "*.version",
    "*.update_time",
    "*.health_check.attempt",
    "*.health_check.success",
    "*.health_check.failure",
    "*.health_check.network_failure",
    "*_ms",
    "*.warming_state",
    "*.default.total_match_count",
    "*.max_host_weight",
];

/// Between two looks at a program.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two looks that must agree.
const STILL: Duration = Duration::from_millis(60);

/// What is compared of the statistics that are of one of these patterns.
#[derive(Clone, Copy, Debug)]
enum Compared<'a> {
    /// The values of counters and gauges that are not zero.
    Values(&'a [&'a str]),
    /// The names of counters and gauges.
    Names(&'a [&'a str]),
}

impl<'a> Compared<'a> {
    fn patterns(self) -> &'a [&'a str] {
        match self {
            Self::Values(patterns) | Self::Names(patterns) => patterns,
        }
    }

    /// How a value shows; histograms, whose values are no numbers, do not.
    fn shown(self, value: &str) -> Option<String> {
        let number: u64 = value.parse().ok()?;
        match self {
            Self::Values(_) => (number != 0).then(|| value.to_owned()),
            Self::Names(_) => Some("there".to_owned()),
        }
    }
}

/// A program that runs bootstraps.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    name: &'static str,
    program: PathBuf,
    arguments: &'static [&'static str],
}

impl Subject {
    fn envoy(name: &'static str) -> Self {
        let program = env::var_os("FAIRLEAD_ENVOY").map(PathBuf::from).expect(
            "FAIRLEAD_ENVOY is unset: run through `cargo xtask test`, which fetches Envoy and sets it",
        );
        assert!(program.is_file(), "{} is no program", program.display());
        Self {
            name,
            program,
            arguments: &["--disable-hot-restart", "--log-level", "warning"],
        }
    }

    /// Envoy, and what is compared with it.
    fn both() -> [Self; 2] {
        let second = if against_itself() {
            Self::envoy("envoy-again")
        } else {
            Self {
                name: "fairlead",
                program: binary("fairlead-proxy"),
                arguments: &[],
            }
        };
        [Self::envoy("envoy"), second]
    }

    fn command(&self, directory: &Path, further: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        let output = |name: &str| {
            fs::File::create(directory.join(name)).expect("make a file for the output")
        };
        command
            .arg("-c")
            .arg(directory.join("bootstrap.yaml"))
            .args(self.arguments)
            .args(further)
            .stdout(output("stdout"))
            .stderr(output("stderr"));
        command
    }
}

/// Whether Envoy is compared with itself.
fn against_itself() -> bool {
    env::var_os("FAIRLEAD_DIFFERENTIAL").is_some_and(|subject| subject == "envoy")
}

/// Runs a script with either program and compares.
#[track_caller]
pub(crate) fn check(case: &str, bootstrap: &str, script: impl Fn(&mut Run<'_>) + Sync) {
    check_statistics(case, bootstrap, COMPARED, script);
}

/// As [`check`], but of the statistics only the names are compared, with those that are zero.
#[track_caller]
pub(crate) fn check_names(
    case: &str,
    bootstrap: &str,
    compared: &[&str],
    script: impl Fn(&mut Run<'_>) + Sync,
) {
    compare(case, bootstrap, Compared::Names(compared), script);
}

/// As [`check`], with the patterns of the statistics to compare.
#[track_caller]
pub(crate) fn check_statistics(
    case: &str,
    bootstrap: &str,
    compared: &[&str],
    script: impl Fn(&mut Run<'_>) + Sync,
) {
    compare(case, bootstrap, Compared::Values(compared), script);
}

#[track_caller]
fn compare(
    case: &str,
    bootstrap: &str,
    compared: Compared<'_>,
    script: impl Fn(&mut Run<'_>) + Sync,
) {
    let both = Subject::both();
    let [envoy, ours] = both.map(|subject| observe(&subject, case, bootstrap, compared, &script));
    if env::var_os("FAIRLEAD_DIFFERENTIAL_SHOW").is_some() {
        println!("{case}: {envoy:#?}");
    }
    differences::judge(case, &envoy.differences(&ours), against_itself());
}

/// Both programs must refuse a bootstrap in `--mode validate`, ours naming the path; or, without a
/// path, both must accept it.
#[track_caller]
pub(crate) fn check_verdict(case: &str, bootstrap: &str, path: Option<&str>) {
    let itself = against_itself();
    let [envoy, ours] = Subject::both().map(|subject| {
        let scratch = Scratch::new(case, subject.name);
        certificates().write(&scratch.path);
        scratch.write_bootstrap(bootstrap);
        let namespace = Namespace::new();
        let further = ["--mode", "validate"];
        let mut process = namespace.spawn(subject.command(&scratch.path, &further));
        let verdict = if process.exit().success() {
            "accepted"
        } else {
            "refused"
        };
        if env::var_os("FAIRLEAD_DIFFERENTIAL_SHOW").is_some() {
            println!("{case}: {}: {verdict}\n{}", subject.name, scratch.output());
        }
        (verdict.to_owned(), scratch.output())
    });
    let mut found = Vec::new();
    if envoy.0 != ours.0 {
        found.push(Difference {
            what: "validate".to_owned(),
            envoy: envoy.0,
            ours: ours.0.clone(),
        });
    } else {
        let expected = if path.is_some() {
            "refused"
        } else {
            "accepted"
        };
        assert_eq!(envoy.0, expected, "{case}: {}", envoy.1);
    }
    differences::judge(case, &found, itself);
    let named = path.is_none_or(|path| ours.1.contains(path));
    assert!(
        itself || ours.0 == "accepted" || named,
        "{case}: ours refuses without naming {path:?}:\n{}",
        ours.1
    );
}

fn observe(
    subject: &Subject,
    case: &str,
    bootstrap: &str,
    compared: Compared<'_>,
    script: impl Fn(&mut Run<'_>) + Sync,
) -> Observation {
    let scratch = Scratch::new(case, subject.name);
    certificates().write(&scratch.path);
    scratch.write_bootstrap(bootstrap);
    let namespace = Namespace::new();
    let mut run = Run::new(&namespace, scratch.path.clone());
    let mut observation = Observation::default();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        namespace.run(|| {
            run.set_program(|| start(subject, &namespace, &scratch));
            script(&mut run);
            observation.statistics = settled(compared);
        });
    }));
    let (seen, process) = run.end();
    if let Err(panic) = outcome {
        println!(
            "{case}: {}: so far {seen:#?}\n{}",
            subject.name,
            scratch.output()
        );
        std::panic::resume_unwind(panic);
    }
    // The access log is written out at the end.
    let mut process = process.expect("the script starts the program");
    process.signal(Signal::TERM);
    process.exit();
    observation.seen = seen;
    observation.set_log(&fs::read_to_string(scratch.path.join("access.log")).unwrap_or_default());
    observation
}

/// Starts the program and waits until it is ready. Runs in the namespace.
fn start(subject: &Subject, namespace: &Namespace, scratch: &Scratch) -> Process {
    let further = ["--concurrency", "1"];
    let mut process = namespace.spawn(subject.command(&scratch.path, &further));
    wait::until_within(wait::DEADLINE, PAUSE, "the program to be ready", || {
        if let Ok(Some(status)) = process.child().try_wait() {
            panic!("{} ended: {status}\n{}", subject.name, scratch.output());
        }
        admin("GET", "/ready").filter(|answer| answer.contains("LIVE"))
    });
    process
}

/// The compared statistics once no downstream is connected and two looks agree.
fn settled(compared: Compared<'_>) -> std::collections::BTreeMap<String, String> {
    let look = || {
        let text = admin("GET", "/stats").unwrap_or_default();
        let all: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.split_once(": "))
            .collect();
        let idle = !all.iter().any(|(name, value)| {
            matches("listener.*.downstream_cx_active", name)
                && !name.starts_with("listener.admin.")
                && *value != "0"
        });
        let wanted = |name: &str| {
            let of = |patterns: &[&str]| patterns.iter().any(|pattern| matches(pattern, name));
            of(compared.patterns()) && !of(NOT_COMPARED)
        };
        idle.then(|| {
            all.into_iter()
                .filter(|(name, _)| wanted(name))
                .filter_map(|(name, value)| Some((name.to_owned(), compared.shown(value)?)))
                .collect::<std::collections::BTreeMap<_, _>>()
        })
    };
    wait::until_within(wait::DEADLINE, PAUSE, "connections to end", || {
        let first = look()?;
        thread::sleep(STILL);
        (look()? == first).then_some(first)
    })
}

/// A directory of one run, removed at its end.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(case: &str, subject: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let run = std::process::id();
        let path = env::temp_dir().join(format!("fairlead-differential-{run}-{number}-{subject}"));
        fs::create_dir(&path)
            .unwrap_or_else(|error| panic!("{case}: make {}: {error}", path.display()));
        Self { path }
    }

    fn write_bootstrap(&self, text: &str) {
        let text = text
            .replace("$LOG", &log())
            .replace("$DIR", &self.path.display().to_string());
        fs::write(self.path.join("bootstrap.yaml"), text).expect("write the bootstrap");
    }

    fn output(&self) -> String {
        ["stdout", "stderr"]
            .map(|name| fs::read_to_string(self.path.join(name)).unwrap_or_default())
            .concat()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind, it harms nobody.
        let _ = fs::remove_dir_all(&self.path);
    }
}
