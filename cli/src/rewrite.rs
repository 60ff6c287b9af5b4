//! What `inject` and `uninject` have in common: a manifest goes through them, and each of its pods
//! has a line on the standard error. If one is refused, nothing is printed but the reasons.

use std::io::{self, Write};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::manifest::{self, Manifest, Place, Subject};

/// What becomes of a pod.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It is written anew.
    Changed { pod: Value, notes: Vec<String> },
    /// It stays as it is.
    Left { notes: Vec<String> },
    /// Nothing is written.
    Refused { faults: Vec<String> },
}

/// A manifest that went through.
#[derive(Debug, Default)]
struct Rewritten {
    text: String,
    /// A line for each pod and each of its notes.
    report: Vec<String>,
    /// One each.
    faults: Vec<String>,
}

/// Rewrites an input to the standard output; `false` if something in it is refused. `prepare` sees
/// the whole manifest before each of its pods is decided on.
///
/// # Errors
/// The input cannot be read, or the output not be written.
pub(crate) fn run<D>(path: &str, prepare: impl FnOnce(&Manifest<'_>) -> D) -> anyhow::Result<bool>
where
    D: FnMut(&Subject, &Value) -> Verdict,
{
    let name = manifest::name(path);
    let text = manifest::read(path)?;
    let manifest = match Manifest::parse(&text) {
        Ok(manifest) => manifest,
        Err(errors) => {
            for error in errors {
                eprintln!("error: {name}: {error}");
            }
            return Ok(false);
        }
    };
    if manifest.is_empty() {
        bail!("{name} has no document; is what should have written it at fault?");
    }
    let decide = prepare(&manifest);
    let rewritten = rewrite(manifest, decide);
    for line in rewritten.report {
        eprintln!("{line}");
    }
    if !rewritten.faults.is_empty() {
        for fault in &rewritten.faults {
            eprintln!("error: {name}: {fault}");
        }
        eprintln!("error: nothing is printed, because of what is said above");
        return Ok(false);
    }
    io::stdout()
        .write_all(rewritten.text.as_bytes())
        .context("print the manifest")?;
    Ok(true)
}

fn rewrite(
    manifest: Manifest<'_>,
    mut decide: impl FnMut(&Subject, &Value) -> Verdict,
) -> Rewritten {
    let mut rewritten = Rewritten::default();
    for mut document in manifest.documents {
        if document.value.is_null() {
            document.write(false, &mut rewritten.text);
            continue;
        }
        let place = document.place;
        let mut changed = false;
        let edited = manifest::edit(&mut document.value, |subject, pod| {
            let verdict = decide(subject, pod);
            rewritten.note(place, subject, &verdict);
            if let Verdict::Changed { pod: new, .. } = verdict {
                *pod = new;
                changed = true;
            }
        });
        for error in edited.err().unwrap_or_default() {
            rewritten.faults.push(format!("{place}: {error}"));
        }
        document.write(changed, &mut rewritten.text);
    }
    rewritten
}

impl Rewritten {
    fn note(&mut self, place: Place, subject: &Subject, verdict: &Verdict) {
        match verdict {
            Verdict::Changed { notes, .. } | Verdict::Left { notes } => {
                let lines = notes.iter().map(|note| format!("{subject}: {note}"));
                self.report.extend(lines);
            }
            Verdict::Refused { faults } => {
                let lines = faults.iter();
                let lines = lines.map(|fault| format!("{place}: {subject}: refused: {fault}"));
                self.faults.extend(lines);
            }
        }
    }
}
