//! `fairlead annotations`: the reference of annotations, on the terminal.

use std::io::{self, Write};

use anyhow::Context;
use clap::Args;
use fairlead_api::{
    annotations::table::{self, Annotation, SECTIONS, Usage},
    nearest::nearest,
};

#[derive(Args)]
pub(crate) struct Options {
    /// A part of their names, in any case; default: all of them.
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

/// Prints the annotations whose names have a part; `false` if there are none.
///
/// # Errors
/// The output cannot be written.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let part = options.key.as_deref().unwrap_or_default();
    let text = page(part);
    if text.is_empty() {
        eprintln!("error: {}", unknown(part));
        return Ok(false);
    }
    io::stdout()
        .write_all(text.as_bytes())
        .context("print the annotations")?;
    Ok(true)
}

fn page(part: &str) -> String {
    let part = part.to_lowercase();
    let mut text = String::new();
    for section in &SECTIONS {
        let wanted = section.annotations.iter();
        let wanted: Vec<_> = wanted
            .filter(|annotation| annotation.key.to_lowercase().contains(&part))
            .collect();
        if wanted.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text += &format!("{}\n", section.title);
        for annotation in wanted {
            text += &entry(annotation);
        }
    }
    text
}

fn entry(annotation: &Annotation) -> String {
    let Annotation {
        key,
        usage,
        accepts,
        default,
        effect,
    } = annotation;
    let mut text = format!("\n  {key}\n    {effect}\n");
    if !matches!(usage, Usage::Record | Usage::NoEffect) {
        text += &format!("    accepted: {accepts}\n");
        if !default.is_empty() {
            text += &format!("    default:  {default}\n");
        }
        if usage.is_for_namespaces() {
            text += "    on a namespace: the default of its pods'\n";
        }
    }
    text.replace('`', "")
}

fn unknown(part: &str) -> String {
    let names = table::all().map(|annotation| annotation.key);
    let names = names.flat_map(|key| [Some(key), key.split_once('/').map(|(_, name)| name)]);
    match nearest(part, names.flatten()) {
        Some(meant) => format!("no annotation has {part:?} in its name; is {meant} meant?"),
        None => format!("no annotation has {part:?} in its name; without it, all are listed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_found_by_a_part_of_its_name() {
        assert_eq!(
            page("PROXYCPUL"),
            "The proxy\n\n  sidecar.istio.io/proxyCPULimit\n    \
             their CPU limit; rounded up, the number of the proxy's threads\n    \
             accepted: a quantity: 100m, 0.5, 2\n    \
             default:  proxy.resources, if the pod has none of these four\n    \
             on a namespace: the default of its pods'\n"
        );
        let all = page("");
        for annotation in table::all() {
            assert!(all.contains(annotation.key), "{}", annotation.key);
        }
    }

    #[test]
    fn a_misspelt_name_has_a_remedy() {
        assert_eq!(page("proxyCPUs"), "");
        assert!(unknown("proxyCPUs").ends_with("is proxyCPU meant?"));
        assert!(unknown("sidecar.istio.io/injct").ends_with("is sidecar.istio.io/inject meant?"));
        assert!(unknown("colour").ends_with("all are listed"));
    }
}
