//! `fairlead inject`: the webhook's work on a file, before anything is applied.

mod pod;
pub(crate) mod settings;

use std::collections::BTreeMap;

use clap::Args;
use kube::Client;
use serde_json::Value;

pub(crate) use self::pod::{as_created, fault_lines};
use self::{pod::Injector, settings::Source};
use crate::{
    manifest::{self, Subject},
    rewrite,
};

#[derive(Args)]
pub(crate) struct Options {
    /// The manifest; - is the standard input.
    #[arg(long, short, value_name = "FILE")]
    filename: String,
    /// The namespace of what names none; default: that of the kubeconfig's context, or `default`.
    #[arg(long, short)]
    namespace: Option<String>,
    #[command(flatten)]
    source: Source,
}

/// Prints the manifest with the sidecar in each pod that is to have it; `false` if one is refused.
///
/// # Errors
/// The settings or the manifest cannot be read, or the output not be written.
pub(crate) async fn run<E>(
    options: &Options,
    client: impl AsyncFnOnce() -> Result<Client, E>,
) -> anyhow::Result<bool>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let found = settings::load(&options.source, client).await?;
    for warning in &found.warnings {
        eprintln!("warning: mesh configuration: {warning}");
    }
    let mut injector = Injector {
        settings: found.settings,
        mesh: found.mesh,
        native: found.native,
        namespace: options.namespace.clone().unwrap_or(found.namespace),
        namespaces: BTreeMap::new(),
    };
    rewrite::run(&options.filename, |manifest| {
        injector.namespaces = manifest::namespaces(manifest);
        move |subject: &Subject, pod: &Value| injector.inject(subject, pod)
    })
}
