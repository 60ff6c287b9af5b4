//! The users' reference of annotations is made of the table, never written by hand.
//!
//! `UPDATE_GOLDEN=1 cargo test -p fairlead-api` rewrites it.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::{env, fmt::Write, fs, path::Path};

use fairlead_api::annotations::table::{self, Annotation, SECTIONS, Section, Usage};
use serde_json::Value;

const INTRODUCTION: &str = "\
<!-- Made of api/src/annotations/table/entries.rs: UPDATE_GOLDEN=1 cargo test -p fairlead-api -->

# Annotations

What a pod may say of its sidecar. `fairlead annotations` prints the same.

- **Wrong values.** A pod with a value that is not accepted is refused, with a line for each: its key, the value and what
  is accepted. Control characters are accepted nowhere.
- **Lists** have commas without spaces. `*` stands for all where it is named. A range of ports has a dash. An empty list is
  one, too: `includeInboundPorts: \"\"` captures none.
- **Namespaces.** Where the table has a ✔, a namespace may have the annotation as well: it is then the default of its pods',
  stronger than the mesh's, and the pod's own is stronger. Of `proxyCPU`, `proxyCPULimit`, `proxyMemory` and
  `proxyMemoryLimit` a pod that has one has all: those of its namespace and of the mesh count for nothing. A change counts
  for pods that are created afterwards.
- **Unknown keys** of annotations and labels under `sidecar.`, `traffic.sidecar.`, `status.sidecar.`, `readiness.status.sidecar.`, `inject.`, `proxy.`
  and `prometheus.istio.io/`, `istio.io/` and `fairlead.io/`, and keys that look misspelt, have no effect. The webhook warns
  of them, and of those below that have none, with the key that may be meant. kubectl shows the warnings where it creates
  the pod itself: of a Deployment's pods see `fairlead inject`. Of one pod it is nine warnings at most, since the API server
  cuts what is longer than 256 bytes each or 4096 in all.

Defaults in code font with a dot are values of the chart.
";

#[test]
fn the_reference_is_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/fairlead/ANNOTATIONS.md");
    let wanted = page();
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    assert!(
        found == wanted,
        "{} differs; UPDATE_GOLDEN=1 rewrites it",
        path.display()
    );
}

#[test]
fn each_value_of_the_chart_that_is_named_is_there() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/fairlead/values.yaml");
    let values: Value = serde_norway::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut named = 0;
    for annotation in table::all() {
        let words = [annotation.accepts, annotation.default];
        let literals = words
            .iter()
            .flat_map(|text| text.split('`').skip(1).step_by(2));
        let is_value = |word: &&str| {
            let fields = word.split('.');
            fields.clone().count() > 1
                && fields.clone().all(|f| f.starts_with(char::is_alphabetic))
                && !word.contains([',', '/', ':'])
        };
        for literal in literals.filter(is_value) {
            let pointer = format!("/{}", literal.replace('.', "/"));
            assert!(values.pointer(&pointer).is_some(), "{literal}");
            named += 1;
        }
    }
    assert!(named > 15, "{named}");
}

fn page() -> String {
    let sections = SECTIONS.iter().map(section);
    let sections: Vec<String> = sections.collect();
    format!("{INTRODUCTION}\n{}", sections.join("\n"))
}

fn section(section: &Section) -> String {
    let mut text = format!("## {}\n\n", section.title);
    let has_values =
        |annotation: &&Annotation| !matches!(annotation.usage, Usage::Record | Usage::NoEffect);
    if section.annotations.iter().all(|a| has_values(&a)) {
        text +=
            "| Annotation | Accepted | Default | On namespaces | Effect |\n|---|---|---|---|---|\n";
        for annotation in section.annotations {
            let Annotation {
                key,
                accepts,
                default,
                effect,
                usage,
            } = annotation;
            let default = if default.is_empty() { "none" } else { default };
            let on_namespaces = if usage.is_for_namespaces() { "✔" } else { "" };
            writeln!(
                text,
                "| `{key}` | {accepts} | {default} | {on_namespaces} | {effect} |"
            )
            .unwrap();
        }
    } else {
        let what = match section.annotations[0].usage {
            Usage::NoEffect => "Why",
            _ => "What",
        };
        writeln!(text, "| Annotation | {what} |\n|---|---|").unwrap();
        for Annotation { key, effect, .. } in section.annotations {
            writeln!(text, "| `{key}` | {effect} |").unwrap();
        }
    }
    text
}
