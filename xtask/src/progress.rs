//! What a person sees while waiting.
//!
//! Progress goes to standard error, so that the output of a verb can be piped.

use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::Result;

/// Says that something begins which is worth no elapsed time.
pub(crate) fn say(text: &str) {
    print(&format!("==> {text}"));
}

/// Adds a detail to the step under way.
pub(crate) fn detail(text: &str) {
    print(&format!("    {text}"));
}

/// Reports the error a verb ends with.
pub(crate) fn fail(error: &anyhow::Error) {
    print(&format!("error: {error:#}"));
}

/// Runs one step: prints its title before, and how long it took after.
pub(crate) fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    say(title);
    let done = work()?;
    // Two steps may run at once, so the closing line names its step: the first words of the title.
    let name = title.split(" (").next().unwrap_or(title);
    detail(&format!("{name}: {:.1} s", started.elapsed().as_secs_f64()));
    Ok(done)
}

fn print(line: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    // Progress nobody can read any more is not worth stopping for.
    drop(writeln!(std::io::stderr(), "{line}"));
}
