//! Reports as text: what happens first, then what to do, then what led to it.

use std::fmt::Write;

use super::{
    mesh::{Installation, Server},
    predict::Outcome,
    report::{EntryReport, Now, PodNow, Report},
};

/// How many pods are named of those that have the same.
const SHOWN: usize = 3;

/// Several reports, each after the other; with the entries, or without.
pub(super) fn text(reports: &[Report], with_entries: bool) -> String {
    let mut out = String::new();
    for (index, report) in reports.iter().enumerate() {
        if index > 0 && with_entries {
            out.push('\n');
        }
        write_report(report, with_entries, &mut out);
    }
    out
}

/// The pods that a namespace may get, as a table; the entries are those of the first.
pub(super) fn table(namespace: &str, labels: &[(&str, &str)], reports: &[Report]) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let labels = if labels.is_empty() {
        "no labels".to_owned()
    } else {
        labels.join(", ")
    };
    let mut out = format!("namespace {namespace} ({labels})\n");
    let width = reports.iter().map(|report| report.subject.len()).max();
    let width = width.unwrap_or_default();
    for report in reports {
        line(
            &mut out,
            &format!("  {:width$}  {}", report.subject, happens(&report.outcome)),
        );
    }
    // Most of it is the same for each pod; what to change, the first says.
    let mut told: Vec<&str> = Vec::new();
    for report in reports {
        for problem in &report.problems {
            if !told.contains(&problem.as_str()) {
                told.push(problem);
                line(&mut out, &format!("  problem: {problem}"));
            }
        }
    }
    if let Some(first) = reports.first() {
        write_advice(first, &mut out);
    }
    if let Some(first) = reports.first() {
        out.push_str("\nfor ");
        line(&mut out, &format!("{}:", first.subject));
        write_entries(&first.entries, &mut out);
    }
    out
}

fn write_report(report: &Report, with_entries: bool, out: &mut String) {
    line(
        out,
        &format!(
            "{} in namespace {}: {}",
            report.subject,
            report.namespace,
            happens(&report.outcome)
        ),
    );
    if let Outcome::Refused { faults, .. } = &report.outcome {
        for fault in faults {
            line(out, &format!("  fault: {fault}"));
        }
    }
    if let Outcome::Unreachable { by, .. } = &report.outcome
        && let Server::Service(service) = &by.server
    {
        let namespace = &service.namespace;
        line(
            out,
            &format!("  see: kubectl --namespace {namespace} get pods"),
        );
    }
    if let Some(now) = &report.now {
        write_now(now, out);
    }
    write_notes(report, out);
    if with_entries {
        write_entries(&report.entries, out);
    }
}

fn write_notes(report: &Report, out: &mut String) {
    for warning in &report.warnings {
        line(out, &format!("  warning: {warning}"));
    }
    for problem in &report.problems {
        line(out, &format!("  problem: {problem}"));
    }
    write_advice(report, out);
}

fn write_advice(report: &Report, out: &mut String) {
    let for_what = match report.outcome {
        Outcome::Conflict { .. } => "for one sidecar",
        _ => "for a sidecar",
    };
    for (index, advice) in report.advice.iter().enumerate() {
        let start = if index == 0 { for_what } else { "or" };
        line(out, &format!("  {start}: {advice}"));
    }
}

/// What happens to a pod, in one line.
fn happens(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Injected { by } => format!("injected by {by}"),
        Outcome::Skipped { by, why } => format!("left alone by {by}: {why}"),
        Outcome::NotAsked { why } => format!("left alone: {why}"),
        Outcome::OtherMesh { by } => format!("injected by {by}, not by Fairlead"),
        Outcome::Unanswered { why } => format!("no sidecar: {why}"),
        Outcome::Refused { by, .. } => format!("refused by {by}"),
        Outcome::Unreachable { by, why, created } => {
            let effect = if *created {
                "created without a sidecar"
            } else {
                "not created"
            };
            format!("{effect}, since the API server cannot ask {by}: {why}")
        }
        Outcome::Conflict { between } => {
            let between: Vec<String> = between.iter().map(ToString::to_string).collect();
            format!("conflict: injected by {}", between.join(" and by "))
        }
        Outcome::Unknown { why } => format!("cannot be told: {why}"),
    }
}

/// Pods that have the same in one line.
fn write_now(now: &Now, out: &mut String) {
    let mut groups: Vec<(&PodNow, Vec<&str>)> = Vec::new();
    for pod in &now.pods {
        let same = |known: &PodNow| known.sidecar == pod.sidecar && known.current == pod.current;
        match groups.iter_mut().find(|(known, _)| same(known)) {
            Some((_, names)) => names.push(&pod.name),
            None => groups.push((pod, vec![&pod.name])),
        }
    }
    for (pod, names) in groups {
        let has = if names.len() == 1 { "has" } else { "have" };
        let sidecar = pod.sidecar.as_deref().unwrap_or("no sidecar");
        let remark = if pod.current == Some(false) {
            ", as was decided at creation"
        } else {
            ""
        };
        let (shown, others) = names.split_at(names.len().min(SHOWN));
        let shown = shown.join(", ");
        let others = match others.len() {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        line(
            out,
            &format!("  now: {shown}{others} {has} {sidecar}{remark}"),
        );
    }
    if let Some(restart) = &now.restart {
        line(out, &format!("  to renew: {restart}"));
    }
}

/// Grouped by the object that they stand in.
fn write_entries(entries: &[EntryReport], out: &mut String) {
    let mut previous: Option<(&str, Option<&Installation>)> = None;
    for entry in entries {
        let group = (entry.configuration.as_str(), entry.installation.as_ref());
        if previous != Some(group) {
            let whose = match &entry.installation {
                Some(installation) => installation.to_string(),
                None => "of no mesh that is known here".to_owned(),
            };
            line(out, &format!("  {} ({whose})", entry.configuration));
            previous = Some(group);
        }
        let asked = match entry.asked {
            Some(true) => "asked",
            Some(false) => "not asked",
            None => "uncertain",
        };
        let why = match &entry.answer {
            Some(answer) => format!(": {answer}"),
            None if entry.why.is_empty() => String::new(),
            None => format!(": {}", entry.why.join("; ")),
        };
        line(out, &format!("    {asked:9}  {}{why}", entry.name));
    }
}

fn line(out: &mut String, line: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{line}");
}
