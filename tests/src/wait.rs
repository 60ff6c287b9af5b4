//! Waits on a condition, never longer than a deadline.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::netns::Namespace;

/// Long enough for a loaded machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Between two looks at the condition.
const PAUSE: Duration = Duration::from_millis(2);

/// Asks until there is an answer; panics at the deadline, saying what was waited for.
#[track_caller]
pub fn until<T>(what: &str, answer: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, PAUSE, what, answer)
}

/// [`until`] with another deadline and another pause between two looks.
#[track_caller]
pub fn until_within<T>(
    deadline: Duration,
    pause: Duration,
    what: &str,
    mut answer: impl FnMut() -> Option<T>,
) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {deadline:?} for {what}");
        thread::sleep(pause);
    }
}

/// Waits until something listens on a TCP port of the namespace, without connecting to it.
#[track_caller]
pub fn for_listener(namespace: &Namespace, port: u16) {
    until(
        &format!("a listener on port {port} of {}", namespace.name()),
        || namespace.run(|| listens(port)).then_some(()),
    );
}

/// Whether the calling thread's namespace has a listener on the port.
fn listens(port: u16) -> bool {
    // The local address ends in the port in hexadecimal; state 0A is LISTEN.
    let suffix = format!(":{port:04X}");
    ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .any(|table| {
            table.lines().skip(1).any(|line| {
                let mut columns = line.split_whitespace().skip(1);
                let local = columns.next().unwrap_or_default();
                local.ends_with(&suffix) && columns.nth(1) == Some("0A")
            })
        })
}
