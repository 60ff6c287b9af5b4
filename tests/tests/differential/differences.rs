//! What is known to differ between Envoy and Fairlead, and the table of it in the documentation.

mod clusters;
mod connections;
mod encryption;

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use crate::observation::{Difference, matches};

/// A difference that is known. Patterns: `*` stands for anything.
#[derive(Debug)]
pub(crate) struct Known {
    /// The name of the case; or a pattern of names, none of which need show it.
    pub(crate) case: &'static str,
    /// `seen DEED`, `log FIELD`, `log lines`, `stat NAME` or `validate`: a pattern.
    pub(crate) what: &'static str,
    /// What Envoy shows: a pattern.
    pub(crate) envoy: &'static str,
    /// What ours shows: a pattern.
    pub(crate) ours: &'static str,
    /// Why it is so.
    pub(crate) reason: &'static str,
}

/// All that is known, in the order of the table.
fn known() -> Vec<&'static Known> {
    [connections::KNOWN, clusters::KNOWN, encryption::KNOWN]
        .into_iter()
        .flatten()
        .collect()
}

/// Fails, telling all, when differences are not known, or known ones are no more.
#[track_caller]
pub(crate) fn judge(case: &str, found: &[Difference], itself: bool) {
    let report = report(&if itself { Vec::new() } else { known() }, case, found);
    assert!(report.is_empty(), "{case} differs:\n{report}");
}

/// What is wrong with the differences that were found; empty if nothing is.
fn report(known: &[&Known], case: &str, found: &[Difference]) -> String {
    let mut report = String::new();
    let mut of_case = known.iter().filter(|known| matches(known.case, case));
    for found in found {
        if !of_case.clone().any(|known| known.is(found)) {
            let Difference { what, envoy, ours } = found;
            let _ = writeln!(report, "  {what}\n    envoy: {envoy}\n    ours:  {ours}");
        }
    }
    let of_case = of_case.by_ref().filter(|known| !known.case.contains('*'));
    for known in of_case.filter(|known| !found.iter().any(|found| known.is(found))) {
        let _ = writeln!(report, "  declared but not there any more: {known:?}");
    }
    report
}

impl Known {
    fn is(&self, found: &Difference) -> bool {
        matches(self.what, &found.what)
            && matches(self.envoy, &found.envoy)
            && matches(self.ours, &found.ours)
    }
}

#[test]
fn only_what_is_declared_may_differ_and_must() {
    let known = |case, what| Known {
        case,
        what,
        envoy: "1",
        ours: "*",
        reason: "",
    };
    let found = [Difference {
        what: "stat a.b".to_owned(),
        envoy: "1".to_owned(),
        ours: "2".to_owned(),
    }];
    let report = |known: &[Known], found: &[Difference]| {
        let known: Vec<_> = known.iter().collect();
        report(&known, "some", found).is_empty()
    };
    assert!(!report(&[], &found), "not declared");
    assert!(report(&[known("some", "stat a.*")], &found), "declared");
    assert!(
        report(&[known("*", "stat a.*")], &found),
        "declared for all"
    );
    assert!(
        !report(&[known("other", "stat a.*")], &found),
        "declared for another"
    );
    assert!(
        !report(&[known("some", "log flags")], &found),
        "declared otherwise"
    );
    assert!(!report(&[known("some", "stat a.*")], &[]), "no more");
    assert!(
        report(&[known("*", "stat a.*")], &[]),
        "need not show in every case"
    );
}

#[test]
fn the_table_in_the_documentation_is_true() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/envoy-differences.md");
    let table = table();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &table).expect("write the table");
    }
    let written = std::fs::read_to_string(&path).expect("read the table");
    assert_eq!(
        written, table,
        "docs/envoy-differences.md is not the table of the suite: run with UPDATE_GOLDEN=1"
    );
}

#[test]
fn every_known_difference_is_of_a_case() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/cases");
    let sources: String = std::fs::read_dir(directory)
        .expect("list the cases")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a source"))
        .collect();
    let orphans: BTreeSet<_> = known()
        .into_iter()
        .map(|known| known.case)
        .filter(|case| !case.contains('*') && !sources.contains(&format!("{case},")))
        .collect();
    assert!(orphans.is_empty(), "no case is called {orphans:?}");
}

fn table() -> String {
    let mut text = String::from(
        "# Differences from Envoy\n\n\
         The differential suite runs the same bootstraps in Envoy 1.40 and in Fairlead and compares what\n\
         clients see, the access log and the statistics. All that differs is in this table; the suite\n\
         fails when anything else differs, and when a row is no longer true. A `*` stands for anything.\n\n\
         | case | what | Envoy | Fairlead | why |\n|---|---|---|---|---|\n",
    );
    for known in known() {
        let Known {
            case,
            what,
            envoy,
            ours,
            reason,
        } = known;
        let cell = |text: &str| text.replace('|', "\\|");
        let case = case.replace('_', " ");
        let _ = writeln!(
            text,
            "| {case} | `{}` | `{}` | `{}` | {reason} |",
            cell(what),
            cell(envoy),
            cell(ours)
        );
    }
    text
}
