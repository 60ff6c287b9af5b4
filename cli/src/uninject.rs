//! `fairlead uninject`: a manifest without what was injected into it.

mod restore;

use clap::Args;
use serde_json::Value;

pub(crate) use self::restore::{record, restore, without_record};
use crate::{
    manifest::Subject,
    rewrite::{self, Verdict},
};

#[derive(Args)]
pub(crate) struct Options {
    /// The manifest; - is the standard input.
    #[arg(long, short, value_name = "FILE")]
    filename: String,
}

/// Prints the manifest without the sidecars; `false` if something in it is refused.
///
/// # Errors
/// The manifest cannot be read, or the output not be written.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    rewrite::run(&options.filename, |_| uninjected)
}

fn uninjected(_: &Subject, pod: &Value) -> Verdict {
    match restore(pod) {
        Ok(Some(pod)) => Verdict::Changed {
            pod,
            notes: vec!["uninjected".to_owned()],
        },
        Ok(None) => Verdict::Left {
            notes: vec!["not injected".to_owned()],
        },
        Err(error) => Verdict::Refused {
            faults: vec![error.to_string()],
        },
    }
}
